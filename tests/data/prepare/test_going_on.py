"""Stopping and going on."""

from collections.abc import Sequence

import numpy as np
import pytest
import skimage.data
from PIL import Image as PillowImage

from sparnet.data.prepare import (
    MANIFEST,
    SETTINGS,
    CelebaConfig,
    FfhqConfig,
    Preparation,
    open_preparation,
)
from sparnet.errors import DataError, WeightsError
from sparnet.image import write_image
from tests.data.prepare.preparing import SMALL, noise, prepare, tree


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
