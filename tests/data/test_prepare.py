"""The paper's data preparation: what is cut out, and a folder that survives being interrupted."""

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import skimage.data
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError
from PIL import Image as PillowImage

import sparnet.data.prepare.folder as module
from sparnet.data.faces import read_faces
from sparnet.data.prepare import (
    MANIFEST,
    SETTINGS,
    CelebaConfig,
    FfhqConfig,
    NaturalConfig,
    Preparation,
    PrepareConfig,
    Reason,
    Record,
    Summary,
    choose_face,
    cut_celeba,
    cut_ffhq,
    cut_natural,
    open_preparation,
    read_identities,
    read_partition,
    square_around,
)
from sparnet.errors import DataError, WeightsError
from sparnet.faces.align import align, template
from sparnet.faces.detect import Face
from sparnet.image import Image, write_image

SMALL = FfhqConfig(size_px=16)


def noise(height: int, width: int, *, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face(left: float, top: float, right: float, bottom: float) -> Face:
    points = template(512) / 512 * [right - left, bottom - top] + [left, top]
    return Face(box=(float(left), float(top), float(right), float(bottom)), score=0.99, points=points)


class Sees:
    """A detector that always sees the same faces."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: Image) -> list[Face]:
        del image
        return self.faces


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five square pictures of 32 px, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("1.png", "2.png", "10.png", "more/1.png", "more/zoë.webp")):
        write_image(folder / name, noise(32, 32, seed=number))
    return folder


def prepare(
    source: Path,
    output: Path,
    config: PrepareConfig = SMALL,
    *,
    workers: int = 1,
    stop_after: int | None = None,
    **files: Path,
) -> tuple[list[str], Summary]:
    """Run a preparation; return the photos that were done, and the summary."""
    done: list[str] = []
    with open_preparation(source, output, config, **files) as preparation:
        with closing(preparation.run(workers=workers)) as photos:
            for records in photos:
                done.append(records[0].source)
                if len(done) == stop_after:
                    break
        return done, preparation.summary()


def pack(source: Path, output: Path, *, terms: str | None = None, **files: Path) -> int:
    with open_preparation(source, output, SMALL, **files) as preparation:
        list(preparation.run())
        return preparation.pack(terms=terms)


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder; hidden ones, and the settings, which name the folder of photos, aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".sparnet-prepare") and path.name != SETTINGS
    }


def records(folder: Path) -> list[Record]:
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [Record.model_validate_json(line) for line in lines]


# The paper's crops


def test_the_face_a_photo_is_about_is_large_and_near_the_middle():
    middle, large_at_the_edge, small_in_the_middle = (
        face(40, 40, 60, 60),
        face(0, 0, 30, 30),
        face(48, 48, 52, 52),
    )
    faces = [large_at_the_edge, middle, small_in_the_middle]
    assert choose_face(faces, height=100, width=100) is middle
    # 900 - 2 * 0 against 400 - 0: of two in the middle, the larger
    assert choose_face([face(35, 35, 65, 65), middle], height=100, width=100) is not middle
    # 30 * 30 - 2 * (35^2 + 35^2) = -4000 against 4 * 4 = 16
    assert choose_face([large_at_the_edge, small_in_the_middle], height=100, width=100) is small_in_the_middle


def test_the_square_lies_about_the_middle_of_the_box():
    assert square_around(face(100, 100, 140, 180), margin=1.5, height=400, width=400) == (60, 80, 180, 200)


def test_a_square_that_reaches_beyond_the_photo_is_moved_inside():
    assert square_around(face(0, 350, 40, 400), margin=2.0, height=400, width=400) == (0, 300, 100, 400)


def test_a_square_larger_than_the_photo_is_reduced_to_it():
    assert square_around(face(20, 100, 80, 180), margin=2.0, height=300, width=100) == (0, 90, 100, 190)


def test_a_photo_too_narrow_for_its_face_gives_no_square():
    tall = face(0, 100, 60, 180)
    assert square_around(tall, margin=1.2, height=300, width=60) is None
    assert cut_celeba(noise(300, 60), CelebaConfig(), Sees(tall))[0].reason == "cut off"


def test_a_square_holds_the_whole_face_and_lies_in_the_photo():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in rng.integers(40, 300, 2))
        left, right = sorted(rng.uniform(0, width, 2).tolist())
        top, bottom = sorted(rng.uniform(0, height, 2).tolist())
        found = face(left, top, right, bottom)
        square = square_around(found, margin=float(rng.uniform(1, 3)), height=height, width=width)
        if square is None:
            assert found.size_px > min(height, width) - 1
            continue
        x0, y0, x1, y1 = square
        assert x1 - x0 == y1 - y0
        assert 0 <= x0 <= left + 1
        assert 0 <= y0 <= top + 1
        assert right - 1 <= x1 <= width
        assert bottom - 1 <= y1 <= height


def test_a_crop_is_pillows_bicubic_of_its_square():
    photo = noise(400, 500)
    (cut,) = cut_celeba(photo, CelebaConfig(margin=1.5), Sees(face(200, 100, 300, 220)))
    assert cut.square == (160, 70, 340, 250)
    crop = PillowImage.fromarray(photo).crop(cut.square)
    expected = crop.resize((128, 128), PillowImage.Resampling.BICUBIC)
    np.testing.assert_array_equal(cut.image, np.asarray(expected))


@pytest.mark.parametrize(("side", "reason"), [(127, "too small"), (128, "too small"), (129, None)])
def test_the_crop_not_the_face_must_be_larger_than_128_px(side, reason):
    found = face(100, 100, 100 + side / 2, 100 + side / 2)
    (cut,) = cut_celeba(noise(400, 400), CelebaConfig(margin=2), Sees(found))
    assert cut.reason == reason


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_faces_of_ffhq_are_made_smaller_by_pillows_antialiased_filter(name):
    original = noise(64, 64)
    (cut,) = cut_ffhq(original, FfhqConfig.model_validate({"size_px": 32, "filter": name}))
    expected = PillowImage.fromarray(original).resize((32, 32), PillowImage.Resampling[name.upper()])
    np.testing.assert_array_equal(cut.image, np.asarray(expected))
    # antialiased: it reads every pixel, where a plain bilinear filter at half the size reads 2 x 2
    assert cut.image is not None
    assert cut.image.std() < 0.6 * original.std()


def test_what_is_no_face_of_ffhq_is_dropped_and_one_of_the_right_size_left_alone():
    original = noise(16, 16)
    assert cut_ffhq(original, SMALL)[0].image is original
    assert cut_ffhq(noise(15, 15), SMALL)[0].reason == "too small"
    assert cut_ffhq(noise(64, 63), SMALL)[0].reason == "not square"


def test_natural_faces_are_those_under_48_px_aligned():
    photo = noise(300, 300)
    small, at_the_limit, large = face(10, 10, 40, 57.9), face(100, 100, 140, 148), face(150, 150, 290, 290)
    cuts = cut_natural(photo, NaturalConfig(), Sees(large, at_the_limit, small))
    assert [cut.reason for cut in cuts] == ["too large", "too large", None]
    np.testing.assert_array_equal(cuts[2].image, align(photo, small, 512).image)


def test_a_face_whose_points_are_nonsense_is_dropped_alone():
    broken = Face(box=(10.0, 10.0, 40.0, 40.0), score=0.9, points=np.zeros((5, 2)))
    cuts = cut_natural(noise(100, 100), NaturalConfig(), Sees(face(50, 50, 80, 80), broken))
    assert [cut.reason for cut in cuts] == [None, "cannot be aligned"]


@pytest.mark.parametrize("cut", [cut_celeba, cut_natural])
def test_a_photo_without_a_face_is_an_answer(cut):
    config = CelebaConfig() if cut is cut_celeba else NaturalConfig()
    assert [made.reason for made in cut(noise(60, 60), config, Sees())] == ["no face"]


def test_a_float_picture_is_refused():
    """Only the checker refuses this; without it the call returns nonsense."""
    with pytest.raises((TypeCheckError, BeartypeCallHintParamViolation)):
        cut_ffhq(np.zeros((64, 64, 3), dtype=np.float32), SMALL)


def test_natural_faces_must_not_be_looked_for_above_the_size_that_is_kept():
    with pytest.raises(ValueError, match="min_face_px must be below smaller_than_px"):
        NaturalConfig(min_face_px=48)


# CelebA's lists


def test_celebas_lists_are_read_as_published_and_as_on_kaggle(tmp_path):
    (tmp_path / "official.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    (tmp_path / "kaggle.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n")
    expected = {"000001": "train", "000002": "val", "000003": "test"}
    assert read_partition(tmp_path / "official.txt") == expected
    assert read_partition(tmp_path / "kaggle.csv") == expected
    (tmp_path / "people.txt").write_text("000001.jpg 2880\n")
    assert read_identities(tmp_path / "people.txt") == {"000001": "celeba-2880"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"000001.jpg 0\n000002.jpg\n", "line 2 is '000002.jpg', expected a picture's name and 0, 1 or 2"),
        (b"000001.jpg 3\n", "000001 has part '3', expected 0, 1 or 2"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_list_of_another_kind_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_partition(path)
    assert str(error.value).startswith(str(path))
    with pytest.raises(DataError, match="no such file"):
        read_partition(tmp_path / "nothing.txt")


# The folder made


def test_a_prepared_folder_can_be_trained_on_as_it_is(photos, tmp_path):
    done, summary = prepare(photos, tmp_path / "out")
    assert done == ["1.png", "2.png", "10.png", "more/1.png", "more/zoë.webp"]
    assert summary == Summary(photos=5, kept={"all": 5}, dropped={}, failed=[])
    names = [read.name for read in read_faces(tmp_path / "out")]
    assert names == ["1.png", "10.png", "2.png", "more/1.png", "more/zoë.png"]


def test_the_manifest_tells_what_became_of_each_photo(photos, tmp_path):
    write_image(photos / "3.png", noise(8, 8))
    (photos / "4.jpg").write_bytes(b"no picture")
    prepare(photos, tmp_path / "out")
    by_source = {record.source: record for record in records(tmp_path / "out")}
    kept = by_source["more/zoë.webp"]
    assert (kept.outcome, kept.file, kept.width_px, kept.height_px) == ("kept", "more/zoë.png", 32, 32)
    encoded = (tmp_path / "out" / "more/zoë.png").read_bytes()
    assert kept.size_bytes == len(encoded)
    assert kept.sha256 == hashlib.sha256(encoded).hexdigest()
    assert (by_source["3.png"].outcome, by_source["3.png"].reason) == ("dropped", "too small")
    failed = by_source["4.jpg"]
    assert (failed.outcome, failed.reason) == ("failed", "cannot be read")
    assert str(failed.detail).startswith("not a picture that can be read")


def test_a_photo_with_several_faces_has_a_line_for_each(tmp_path, monkeypatch):
    write_image(tmp_path / "photos" / "crowd.png", noise(200, 200))
    write_image(tmp_path / "photos" / "empty.png", noise(100, 100))
    faces = [face(0, 0, 100, 100), face(110, 110, 140, 140), face(150, 150, 190, 190)]
    seen = {200: Sees(*faces), 100: Sees()}

    class BySize:
        def detect(self, image: Image) -> list[Face]:
            return seen[image.shape[0]].detect(image)

    monkeypatch.setattr(module, "open_detector", lambda *_, **__: BySize())
    _, summary = prepare(tmp_path / "photos", tmp_path / "out", NaturalConfig(size_px=32))
    assert summary == Summary(2, {"all": 2}, {"too large": 1, "no face": 1}, [])
    assert [
        (record.source, record.face, record.faces, record.file) for record in records(tmp_path / "out")
    ] == [
        ("crowd.png", 0, 3, None),
        ("crowd.png", 1, 3, "crowd_01.png"),
        ("crowd.png", 2, 3, "crowd_02.png"),
        ("empty.png", 0, 1, None),
    ]
    # a run that ended between two lines of one photo does the photo again
    whole = tree(tmp_path / "out")
    lines = whole[MANIFEST].splitlines(keepends=True)
    (tmp_path / "out" / MANIFEST).write_bytes(b"".join(lines[:2]))
    done, _ = prepare(tmp_path / "photos", tmp_path / "out", NaturalConfig(size_px=32))
    assert done == ["crowd.png", "empty.png"]
    assert tree(tmp_path / "out") == whole


def test_photos_that_differ_in_suffix_alone_are_kept_apart(tmp_path):
    for name in ("a.png", "a.webp", "b.png"):
        write_image(tmp_path / "photos" / name, noise(32, 32))
    prepare(tmp_path / "photos", tmp_path / "out")
    assert {record.file for record in records(tmp_path / "out")} == {"a.png.png", "a.webp.png", "b.png"}


def test_the_official_partition_is_respected(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("1.jpg 0\n2.jpg 1\n10.jpg 2\nelsewhere.jpg 0\n")
    _, summary = prepare(photos, tmp_path / "out", partition=tmp_path / "parts.txt")
    assert {record.source: record.file for record in records(tmp_path / "out")} == {
        "1.png": "train/1.png",
        "2.png": "val/2.png",
        "10.png": "test/10.png",
        "more/1.png": "train/more/1.png",
        "more/zoë.webp": None,
    }
    assert summary.kept == {"train": 2, "val": 1, "test": 1}
    assert summary.dropped == {"in no split": 1}
    assert [read.name for read in read_faces(tmp_path / "out" / "val")] == ["2.png"]


def test_a_partition_of_other_photos_is_refused(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("000001.jpg 0\n")
    with pytest.raises(DataError, match="none of its pictures is in the partition file"):
        prepare(photos, tmp_path / "out", partition=tmp_path / "parts.txt")


# Stopping and going on


def test_several_processes_make_what_one_makes(tmp_path):
    photo = PillowImage.fromarray(skimage.data.astronaut())
    for number, size in enumerate((512, 700, 300)):
        resized = np.asarray(photo.resize((size, size), PillowImage.Resampling.BICUBIC))
        write_image(tmp_path / "photos" / f"{number}.png", resized)
    write_image(tmp_path / "photos" / "noise.png", noise(100, 100))
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    _, summary = prepare(tmp_path / "photos", tmp_path / "one", CelebaConfig())
    assert summary.kept == {"all": 2}
    assert summary.dropped == {"too small": 1, "no face": 1}
    assert len(summary.failed) == 1
    prepare(tmp_path / "photos", tmp_path / "two", CelebaConfig(), workers=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_a_run_that_was_stopped_goes_on_where_it_was(photos, tmp_path):
    prepare(photos, tmp_path / "whole")
    first, _ = prepare(photos, tmp_path / "out", stop_after=2)
    second, _ = prepare(photos, tmp_path / "out")
    third, _ = prepare(photos, tmp_path / "out")
    assert (first, third) == (["1.png", "2.png"], [])
    assert second == ["10.png", "more/1.png", "more/zoë.webp"]
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("cut", [2, 40, 150])
def test_a_line_that_was_cut_short_is_done_again(photos, tmp_path, cut):
    prepare(photos, tmp_path / "out")
    whole = tree(tmp_path / "out")
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-cut])
    assert prepare(photos, tmp_path / "out")[0] == ["more/zoë.webp"]
    assert tree(tmp_path / "out") == whole


def test_a_line_that_lacks_its_end_alone_counts(photos, tmp_path):
    prepare(photos, tmp_path / "whole")
    prepare(photos, tmp_path / "out", stop_after=2)
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert prepare(photos, tmp_path / "out")[0] == ["10.png", "more/1.png", "more/zoë.webp"]
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_manifest_that_is_damaged_anywhere_is_put_right(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    whole = tree(tmp_path / "out")
    lines = (tmp_path / "out" / MANIFEST).read_bytes().splitlines(keepends=True)
    damaged = [b'{"source": 3}\n', *reversed(lines[:3]), b"\xff\x00\n", b"[]\n", b'"\n', *lines[4:], lines[4]]
    (tmp_path / "out" / MANIFEST).write_bytes(b"".join(damaged))
    assert prepare(photos, tmp_path / "out")[0] == ["more/1.png"]
    assert tree(tmp_path / "out") == whole


def test_a_picture_that_is_gone_or_cut_short_is_made_again(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    whole = tree(tmp_path / "out")
    (tmp_path / "out" / "2.png").unlink()
    (tmp_path / "out" / "more" / "1.png").write_bytes(b"")
    assert prepare(photos, tmp_path / "out")[0] == ["2.png", "more/1.png"]
    assert tree(tmp_path / "out") == whole


def test_a_photo_that_failed_is_tried_again(photos, tmp_path):
    prepare(photos, tmp_path / "whole")
    sound = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(sound[:100])
    _, summary = prepare(photos, tmp_path / "out")
    assert summary.failed == ["2.png: the file is truncated"]
    assert len(prepare(photos, tmp_path / "out")[1].failed) == 1
    (photos / "2.png").write_bytes(sound)
    done, summary = prepare(photos, tmp_path / "out")
    assert (done, summary.failed) == (["2.png"], [])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_photos_that_are_added_later_are_done_later(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    write_image(photos / "3.png", noise(32, 32, seed=9))
    assert prepare(photos, tmp_path / "out")[0] == ["3.png"]
    prepare(photos, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_what_a_killed_run_left_behind_is_removed(photos, tmp_path):
    prepare(photos, tmp_path / "out", stop_after=1)
    (tmp_path / "out" / ".sparnet-0123456789abcdef.tmp").write_bytes(b"half a pict")
    prepare(photos, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tmp"))
    assert not list((tmp_path / "out").glob(".*.tmp"))


def test_a_picture_never_replaces_that_of_a_photo_no_longer_there(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    before = (tmp_path / "out" / "1.png").read_bytes()
    (photos / "1.png").unlink()
    write_image(photos / "1.bmp", noise(32, 32, seed=7))
    _, summary = prepare(photos, tmp_path / "out")
    assert summary.failed == ["1.bmp: 1.png was made of 1.png, which is no longer there; rename this one"]
    assert (tmp_path / "out" / "1.png").read_bytes() == before


def test_two_runs_do_not_write_to_one_folder(photos, tmp_path):
    with (
        open_preparation(photos, tmp_path / "out", SMALL),
        pytest.raises(DataError, match="another sparnet prepare is writing to it"),
        open_preparation(photos, tmp_path / "out", SMALL),
    ):
        pass
    prepare(photos, tmp_path / "out")


def test_a_folder_made_with_other_settings_is_refused(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    whole = tree(tmp_path / "out")
    with pytest.raises(DataError, match="was prepared with size_px = 16, not 8; name another folder"):
        prepare(photos, tmp_path / "out", FfhqConfig.model_construct(size_px=8))
    with pytest.raises(DataError, match="was prepared with kind = 'ffhq', not 'celeba'"):
        prepare(photos, tmp_path / "out", CelebaConfig())
    (tmp_path / "parts.txt").write_text("1.jpg 0\n")
    with pytest.raises(DataError, match="partition_sha256"):
        prepare(photos, tmp_path / "out", partition=tmp_path / "parts.txt")
    assert tree(tmp_path / "out") == whole


def test_photos_of_another_folder_are_not_mixed_in(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    write_image(tmp_path / "others" / "1.png", noise(32, 32, seed=5))
    with pytest.raises(DataError, match=r"was prepared with source = .*photos', not .*others'"):
        prepare(tmp_path / "others", tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("nothing", "out", "nothing: cannot be read"),
        ("photos/1.png", "out", "a file, not a folder of photos"),
        ("hollow", "out", "hollow: no pictures in this folder"),
        ("photos", "photos", "neither folder may lie in the other"),
        ("photos", "photos/out", "neither folder may lie in the other"),
        ("photos/more", "photos", "neither folder may lie in the other"),
        ("photos", "full", "not empty, and not made by sparnet prepare"),
        ("photos", "full/a.txt", "a.txt: a file is in the way"),
        ("photos", "full/a.txt/b", "b: a file is in the way"),
        ("photos", "damaged", "prepare.json: damaged"),
    ],
)
def test_wrong_folders_are_told_in_one_line(photos, tmp_path, source, output, message):
    (tmp_path / "hollow").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / SETTINGS).write_text("[")
    with pytest.raises(DataError, match=message) as error:
        prepare(tmp_path / source, tmp_path / output)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_detector_that_is_not_there_is_told_in_one_line(photos, tmp_path, workers):
    config = CelebaConfig(detector=str(tmp_path / "yunet.onnx"))
    with pytest.raises(WeightsError, match=r"yunet.onnx: no such file"):
        prepare(photos, tmp_path / "out", config, workers=workers)


# Packs


def index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decoded(folder: Path) -> list[np.ndarray]:
    return [np.asarray(PillowImage.open(io.BytesIO(read.encoded))) for read in read_faces(folder)]


def test_a_pack_holds_the_pictures_that_the_folder_held(photos, tmp_path):
    prepare(photos, tmp_path / "loose")
    assert pack(photos, tmp_path / "packed", terms="mine") == 1
    assert sorted(tree(tmp_path / "packed")) == ["ffhq-00000.tar", "index.csv", MANIFEST]
    packed = read_faces(tmp_path / "packed", terms=frozenset({"mine"}))
    loose = {read.name: read.encoded for read in read_faces(tmp_path / "loose")}
    assert [read.name for read in packed] == ["1.png", "2.png", "10.png", "more-1.png", "more-zoë.png"]
    rows = index(tmp_path / "packed")
    assert {row["path"]: read.encoded for row, read in zip(rows, packed, strict=True)} == loose


def test_each_part_of_the_partition_is_a_pack_and_knows_who_is_who(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("1.jpg 0\n2.jpg 0\n10.jpg 2\n")
    (tmp_path / "people.txt").write_text("1.jpg 7\n2.jpg 7\n")
    files = {"partition": tmp_path / "parts.txt", "identities": tmp_path / "people.txt"}
    assert pack(photos, tmp_path / "out", **files) == 2
    train, test = read_faces(tmp_path / "out" / "train"), read_faces(tmp_path / "out" / "test")
    assert [read.identity for read in train] == ["celeba-7"] * 3
    assert [read.identity for read in test] == ["10.png"]
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir()) == [
        "index.csv",
        "train-00000.tar",
    ]


def test_a_tar_is_never_larger_than_a_pack_allows(tmp_path, monkeypatch):
    for number in range(30):
        write_image(tmp_path / "photos" / f"{'long name ' * 15}{number}.png", noise(32, 32, seed=number))
    monkeypatch.setattr(module, "PACK_BYTES", 40 * 1024)
    tars = pack(tmp_path / "photos", tmp_path / "out")
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("*.tar")]
    assert len(sizes) == tars > 1
    assert max(sizes) <= 40 * 1024
    assert len(decoded(tmp_path / "out")) == 30


def test_names_in_a_tar_have_no_folder_and_no_dot_but_the_last(tmp_path):
    """WebDataset takes what follows the first dot for the suffix; folders are not read by us."""
    for name in ("a.b.png", "a/b.png", "a-b.png", "a_b.png"):
        write_image(tmp_path / "photos" / name, noise(32, 32))
    pack(tmp_path / "photos", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "ffhq-00000.tar") as tar:
        names = tar.getnames()
    assert sorted(names) == ["a-b-2.png", "a-b.png", "a_b-2.png", "a_b.png"]


def test_packs_do_not_depend_on_when_they_are_made(photos, tmp_path):
    pack(photos, tmp_path / "at once")
    prepare(photos, tmp_path / "later", stop_after=3)
    prepare(photos, tmp_path / "later")
    pack(photos, tmp_path / "later")
    assert tree(tmp_path / "later") == tree(tmp_path / "at once")
    pack(photos, tmp_path / "later")
    assert tree(tmp_path / "later") == tree(tmp_path / "at once")


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_packing_that_was_killed_goes_on(photos, tmp_path, monkeypatch, writes):
    monkeypatch.setattr(module, "PACK_BYTES", 24 * 1024)  # two tars
    pack(photos, tmp_path / "whole")
    prepare(photos, tmp_path / "out")

    class Killed(BaseException):
        pass

    write_file, unlink = module._write_file, Path.unlink
    left = writes + 1  # the settings are written first

    def write_and_die(output: Path, name: str, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        write_file(output, name, content)

    def die(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".png":
            raise Killed
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_file", write_and_die)
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            pack(photos, tmp_path / "out")
    assert len(read_faces(tmp_path / "out")) == 5
    pack(photos, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_pack_gets_further_tars_for_what_is_new(photos, tmp_path):
    pack(photos, tmp_path / "out", terms="mine")
    first = tree(tmp_path / "out")["ffhq-00000.tar"]
    write_image(photos / "0.png", noise(32, 32, seed=8))
    assert pack(photos, tmp_path / "out") == 2
    assert tree(tmp_path / "out")["ffhq-00000.tar"] == first
    assert [row["shard"] for row in index(tmp_path / "out")] == ["0"] * 5 + ["1"]
    assert {row["terms"] for row in index(tmp_path / "out")} == {"mine"}
    assert len(read_faces(tmp_path / "out")) == 6


def test_a_picture_that_was_changed_is_not_packed(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    path = tmp_path / "out" / "2.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not as it was made; delete it and run again"):
        pack(photos, tmp_path / "out")
    assert path.exists()


def test_a_foreign_index_is_refused(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    (tmp_path / "out" / "index.csv").write_text("file,shard\na.png,0\n")
    with pytest.raises(DataError, match="damaged, expected the columns file, shard"):
        pack(photos, tmp_path / "out")


def test_a_record_comes_back_from_its_line():
    record = Record(
        source="zoë \u2028\n.png", outcome="kept", box=(0, 1.5, 2, 3), square=(0, 0, 1, 1), score=1
    )
    (line,) = module._format([record]).splitlines()
    assert Record.model_validate_json(line) == record
    assert json.loads(line)["source"] == record.source


def test_the_summary_counts_over_all_runs(photos, tmp_path):
    write_image(photos / "3.png", noise(8, 8))
    prepare(photos, tmp_path / "out", stop_after=2)
    _, summary = prepare(photos, tmp_path / "out")
    assert summary == Summary(photos=6, kept={"all": 5}, dropped={"too small": 1}, failed=[])


def test_pending_counts_what_is_left(photos, tmp_path):
    def pending() -> Sequence[int]:
        with open_preparation(photos, tmp_path / "out", SMALL) as preparation:
            assert isinstance(preparation, Preparation)
            before = preparation.pending
            list(preparation.run())
            return before, preparation.pending

    prepare(photos, tmp_path / "out", stop_after=2)
    assert pending() == (3, 0)
    assert pending() == (0, 0)


def test_the_page_on_data_names_every_setting_with_its_default_and_every_reason():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for place, config in enumerate((CelebaConfig(), FfhqConfig(), NaturalConfig()), start=1):
        for key, value in config.model_dump(exclude={"kind"}).items():
            (row,) = [line.split("|")[1:] for line in page.splitlines() if line.startswith(f"| `{key}` |")]
            assert row[place].strip() == str(value)
    for reason in get_args(Reason):
        assert f"| `{reason}` |" in page
    for column in module._INDEX_COLUMNS:
        assert f"`{column}`" in page
