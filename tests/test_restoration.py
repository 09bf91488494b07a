"""Restoring photos, with a detector and engines that do what a test says."""

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import skimage.data
from PIL import ImageCms

import sparnet
from sparnet import background, restoration
from sparnet.errors import ImageError, NoFaceFound, WeightsError
from sparnet.faces.align import align, invert, template
from sparnet.faces.detect import Face, MtcnnDetector
from sparnet.faces.paste import paste_all
from sparnet.image import Photo, read_photo, write_image, write_photo
from sparnet.restoration import RestoredFile, Restorer, draw_boxes, enlarge, mix
from sparnet.weights.info import ModelInfo
from tests.shared_data import find_shared


class StubEngine:
    """An engine that makes of faces what a function says, and remembers how many it was given."""

    def __init__(self, make: Callable = lambda faces: faces, *, size: int = 64, made: int | None = None):
        self.make = make
        self.batches: list[int] = []
        self.info = ModelInfo(
            name="stub", task="restore", image_size=made or size, input_size=size, network={}, parameters=1,
            license="none",
        )  # fmt: skip

    def run(self, faces):
        self.batches.append(len(faces))
        assert faces.shape[1:] == (self.info.input_size, self.info.input_size, 3)
        return self.make(faces)


def face_at(x, y, square_px, *, degrees=0.0, score=1.0):
    """A face whose aligned square has its middle at (x, y) and this side in px of the photo."""
    scale = 512 / square_px
    turn = np.radians(degrees)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    transform = np.array([[cos, -sin, 0], [sin, cos, 0]])
    transform[:, 2] = 255.5 - transform[:, :2] @ [x, y]
    back = invert(transform)
    points = template(512) @ back[:, :2].T + back[:, 2]
    half = square_px / 4
    return Face((x - half, y - half, x + half, y + half), score, points)


class StubDetector:
    """Finds the faces it is told of; without any, as many as the first value of the picture says."""

    def __init__(self, *faces: Face):
        self.faces = list(faces)

    def detect(self, image):
        return self.faces or [face_at(60.0 + 70 * n, 100.0, 80 - n) for n in range(image[0, 0, 0])]


def noise(height=200, width=300, *, faces=0, seed=0):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture[0, 0, 0] = faces
    return picture


def lighter(faces):
    return np.minimum(faces, 205) + np.uint8(50)


def restorer(engine=None, *faces, **options):
    options = {"small_faces": "off", **options}  # tests/test_small_faces.py is about them
    return Restorer(engine or StubEngine(), detector=StubDetector(*faces), **options)


def test_a_network_that_changes_nothing_gives_the_photo_back():
    photo = noise(faces=3)
    made = restorer().restore(photo)
    np.testing.assert_array_equal(made.image, photo)
    assert [face.number for face in made.faces] == [1, 2, 3]
    assert made.image is not photo


def test_only_faces_change():
    photo = noise()
    face = face_at(150, 100, 90)
    made = restorer(StubEngine(lighter), face, color_match=0).restore(photo)
    changed = (made.image != photo).any(axis=2)
    assert changed[60:140, 110:190].mean() > 0.7
    outside = np.ones_like(changed)
    outside[55:146, 105:196] = False
    assert not changed[outside].any()


def test_the_photo_given_is_not_touched():
    photo = noise(faces=2)
    before = photo.copy()
    made = restorer(StubEngine(lighter)).restore(photo)
    assert (made.image != photo).any()
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("upscale_factor", [1, 2])
def test_faces_put_in_one_by_one_are_faces_put_in_at_once(upscale_factor):
    photo = skimage.data.astronaut()
    faces = [face_at(x, y, 150, degrees=d) for x, y, d in ((200, 120, 0), (260, 150, 20), (330, 160, -30))]
    faces.append(face_at(5, 505, 120))  # cut by the border
    engine = StubEngine(lambda faces: 255 - faces)
    made = restorer(engine, *faces, batch_size=1, upscale_factor=upscale_factor).restore(photo)
    aligned = [align(photo, face, 64) for face in faces]
    canvas = enlarge(photo, upscale_factor) if upscale_factor > 1 else photo
    at_once = paste_all(canvas, [(255 - a.image, a) for a in aligned], upscale_factor=upscale_factor)
    assert (at_once != canvas).any()
    # OpenCV rounds positions to 1/32 px from the corner of the part, and each face to whole levels.
    assert np.abs(at_once.astype(int) - made.image).max() <= 2


@pytest.mark.parametrize(("size", "made"), [(64, 64), (32, 32), (96, 96), (48, 96)])
def test_a_model_of_any_size_restores_the_same_place(size, made):
    photo = np.full((200, 300, 3), 100, dtype=np.uint8)
    engine = StubEngine(
        lambda faces: np.full((len(faces), made, made, 3), 160, dtype=np.uint8), size=size, made=made
    )
    result = restorer(engine, face_at(150, 100, 120), color_match=0).restore(photo).image
    assert (result[75:125, 125:175] == 160).all()
    assert (result[:, :88] == 100).all()
    centre = np.argwhere((result != 100).any(axis=2)).mean(axis=0)
    # the mask's middle lies 16 of 512 px below the square's
    np.testing.assert_allclose(centre, [99.5 + 16.5 * 120 / 512, 149.5], atol=1)


def test_fidelity_mixes_the_face_as_it_was_into_the_restored_one():
    read = np.full((4, 4, 3), 100, dtype=np.uint8)
    sr = np.full((4, 4, 3), 200, dtype=np.uint8)
    assert (mix(read, sr, 0) == 200).all()
    assert (mix(read, sr, 0.25) == 175).all()
    assert (mix(read, sr, 1) == 100).all()
    assert mix(read, np.zeros((8, 8, 3), dtype=np.uint8), 0.5).shape == (8, 8, 3)


def test_full_fidelity_gives_the_photo_back_whatever_the_network_makes():
    photo = noise(faces=2)
    for engine in (
        StubEngine(lighter),
        StubEngine(lambda faces: np.repeat(np.repeat(255 - faces, 2, axis=1), 2, axis=2), size=32, made=64),
    ):
        made = restorer(engine, fidelity=1).restore(photo, keep_faces=True)
        np.testing.assert_array_equal(made.image, photo)
        for face in made.faces:
            assert face.aligned is not None
            assert face.restored is not None
            if engine.info.input_size == engine.info.image_size:
                np.testing.assert_array_equal(face.aligned, face.restored)


# What is kept


def gray(faces=2):
    return np.repeat(noise(faces=faces)[:, :, :1], 3, axis=2)


def pinker(faces):
    return lighter(faces) - np.array([0, 50, 40], dtype=np.uint8)


@pytest.mark.parametrize("color_match", [0, 0.7])
@pytest.mark.parametrize("upscale_factor", [1, 2])
def test_gray_stays_gray(color_match, upscale_factor):
    pixels = gray()
    photo = Photo(pixels, is_gray=True)
    options = {"color_match": color_match, "upscale_factor": upscale_factor}
    made = restorer(StubEngine(pinker), **options).restore_photo(photo).photo
    assert made.is_gray
    assert (made.pixels == made.pixels[:, :, :1]).all()
    assert (made.pixels != (enlarge(pixels, 2) if upscale_factor == 2 else pixels)).any()


def test_sixteen_bits_stay_sixteen_bits_outside_the_faces():
    deep = np.random.default_rng(0).integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    pixels = (deep // 257 + (deep % 257 > 128)).astype(np.uint8)
    face = face_at(150, 100, 90)
    made = restorer(StubEngine(lighter), face).restore_photo(Photo(pixels, deep=deep)).photo
    assert made.deep is not None
    changed = (made.pixels != pixels).any(axis=2)
    assert changed.any()
    np.testing.assert_array_equal(made.deep[~changed], deep[~changed])
    np.testing.assert_array_equal(made.deep[changed], made.pixels[changed].astype(np.uint16) * 257)


def test_transparency_profile_exif_and_resolution_are_kept(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010E] = "grandmother"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.random.default_rng(1).integers(0, 256, (200, 300), dtype=np.uint8)
    photo = Photo(
        noise(faces=2),
        alpha=alpha,
        icc_profile=profile,
        exif=b"Exif\x00\x00" + exif.tobytes()[6:],
        dpi=(300.0, 300.0),
    )
    write_photo(tmp_path / "in.png", photo)
    (outcome,) = restorer(StubEngine(lighter)).restore_many([tmp_path / "in.png"])
    assert outcome.result is not None
    write_photo(tmp_path / "out.png", outcome.result.photo)
    before, after = read_photo(tmp_path / "in.png"), read_photo(tmp_path / "out.png")
    assert (after.pixels != before.pixels).any()
    assert after.alpha is not None
    np.testing.assert_array_equal(after.alpha, alpha)
    assert after.icc_profile == profile
    assert after.exif == before.exif
    assert after.exif is not None
    assert b"grandmother" in after.exif
    assert after.dpi == before.dpi


# Enlarging


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_a_picture_enlarged_in_bands_is_one_enlarged_whole(factor, monkeypatch):
    photo = noise(37, 23)
    whole = enlarge(photo, factor)
    for rows in (1, 5, 7):
        monkeypatch.setattr(restoration, "_BAND_PIXELS", 23 * factor**2 * rows)
        np.testing.assert_array_equal(enlarge(photo, factor), whole)


def test_enlarging_is_by_pillows_lanczos():
    photo = noise(37, 23) // 4 + np.uint8(96)  # nothing is clipped between rows and columns
    plain = PIL.Image.fromarray(photo).resize((69, 111), PIL.Image.Resampling.LANCZOS)
    assert np.abs(enlarge(photo, 3).astype(int) - np.array(plain)).max() <= 2  # each direction is rounded


def test_an_enlarged_photo_is_plain_lanczos_outside_the_faces():
    photo = noise()
    made = restorer(StubEngine(lighter), face_at(150, 100, 90), upscale_factor=2, color_match=0)
    result = made.restore(photo).image
    plain = enlarge(photo, 2)
    changed = np.argwhere((result != plain).any(axis=2))
    assert result.shape == (400, 600, 3)
    assert changed.min(axis=0).tolist() > [105, 205]
    assert changed.max(axis=0).tolist() < [295, 395]
    difference = result[180:220, 280:320].astype(float) - plain[180:220, 280:320]
    assert 30 < difference.mean() < 55  # what 50 levels of an 8-bit picture leave where it is clipped


def test_a_photo_too_large_to_be_enlarged_is_refused(monkeypatch):
    monkeypatch.setattr(background, "MAX_PIXELS", 200_000)
    with pytest.raises(ImageError, match=r"enlarged 2 times it has 600 x 400 pixels, more than 200,000"):
        restorer(upscale_factor=2).restore(noise())


# Faces


def test_every_face_is_reported_and_its_pictures_on_request():
    faces = (face_at(80, 100, 90, score=0.97), face_at(220, 100, 60, score=0.95))
    made = restorer(StubEngine(lighter), *faces, min_face_px=40).restore(noise(), keep_faces=True)
    first, second = made.faces
    assert (first.number, first.box, first.score, first.size_px) == (1, faces[0].box, 0.97, 45)
    np.testing.assert_array_equal(first.points, faces[0].points)
    assert first.skipped is None
    assert first.seconds > 0
    assert first.aligned is not None
    assert first.restored is not None
    np.testing.assert_array_equal(first.restored, lighter(first.aligned))
    assert second.skipped == "30 px, smaller than 40 px"
    assert second.restored is None
    assert all(face.restored is None for face in restorer(None, *faces).restore(noise()).faces)


@pytest.mark.parametrize(
    ("options", "restored"),
    [
        ({}, [1, 2, 3]),
        ({"numbers": (1, 3)}, [1, 3]),
        ({"max_faces": 2}, [1, 2]),
        ({"only_center_face": True}, [2]),
        ({"min_face_px": 39.75}, [1]),
    ],
)
def test_faces_are_chosen(options, restored):
    engine = StubEngine(lighter)
    made = restorer(engine, **options).restore(noise(faces=3))
    assert [face.number for face in made.faces if face.skipped is None] == restored
    assert [face.number for face in made.faces] == [1, 2, 3]
    assert sum(engine.batches) == len(restored)


@pytest.mark.parametrize(("given", "wanted"), [(None, 20), (0, 12), (11.5, 12), (15, 15), (60, 20)])
def test_smaller_faces_are_looked_for_where_they_are_asked_for(monkeypatch, given, wanted):
    """The less `min_face_px` is, the more faces are found."""
    looked_for = []

    def remember(_, *, min_face_px, threads):
        looked_for.append(min_face_px)
        return StubDetector()

    monkeypatch.setattr(restoration, "open_detector", remember)
    Restorer(StubEngine(lighter), min_face_px=given)
    assert looked_for == [wanted]


def test_a_picture_in_which_nothing_can_be_is_no_aligned_face():
    with pytest.raises(ImageError, match="3 x 3 px is too small: expected an aligned face of at least 4 px"):
        Restorer(StubEngine(lighter), aligned=True).restore(noise()[:3, :3].copy())


@pytest.mark.parametrize("numbers", [iter([1, 3]), range(1, 4, 2)], ids=["iterator", "range"])
def test_numbers_may_be_whatever_gives_them(numbers):
    with_numbers = restorer(numbers=numbers)
    for _ in range(2):
        made = with_numbers.restore(noise(faces=3))
        assert [face.number for face in made.faces if face.skipped is None] == [1, 3]


def test_a_face_that_cannot_be_aligned_is_left_with_a_reason():
    broken = Face((10.0, 10.0, 40.0, 40.0), 1.0, np.full((5, 2), 25.0))
    made = restorer(StubEngine(lighter), face_at(150, 100, 90), broken).restore(noise())
    assert [face.skipped is None for face in made.faces] == [True, False]
    assert "points coincide" in str(made.faces[1].skipped)


def test_a_number_that_the_photo_does_not_have_is_refused():
    with pytest.raises(NoFaceFound, match="face 4 was asked for, the photo shows 3 faces"):
        restorer(numbers=(4,)).restore(noise(faces=3))


def test_a_photo_without_a_face_is_an_answer():
    photo = noise()
    made = restorer().restore_photo(Photo(photo))
    assert made.faces == ()
    assert not made.is_changed
    np.testing.assert_array_equal(made.photo.pixels, photo)


def test_a_picture_without_a_face_comes_back_as_the_caller_s_own():
    picture = noise()
    made = restorer().restore(picture)
    np.testing.assert_array_equal(made.image, picture)
    assert not np.shares_memory(made.image, picture)


def test_identity_is_measured_between_both_faces():
    def likeness(restored, aligned):
        return float((restored.astype(int) - aligned).mean())

    faces = (
        restorer(StubEngine(lighter), face_at(150, 100, 90), identity=likeness).restore(noise() // 2).faces
    )
    assert faces[0].identity == pytest.approx(50)


def test_boxes_are_drawn_on_a_copy_and_scaled_with_the_photo():
    photo = np.zeros((200, 300, 3), dtype=np.uint8)
    made = restorer(None, face_at(80, 100, 90), face_at(220, 100, 60), min_face_px=40).restore(photo)
    drawn = draw_boxes(photo, made.faces)
    assert not photo.any()
    restored, left = drawn[100, 58], drawn[100, 205]
    assert restored.any()
    assert left.any()
    assert (restored != left).any()
    twice = draw_boxes(enlarge(photo, 2), made.faces, upscale_factor=2)
    assert twice[200, 115:117].any()


# Aligned faces


def test_an_aligned_face_is_resized_restored_and_made_at_the_models_size():
    made = Restorer(StubEngine(lighter, size=64), aligned=True).restore(np.full((100, 100, 3), 80, np.uint8))
    assert made.image.shape == (64, 64, 3)
    assert (made.image == 130).all()
    assert made.faces[0].box == (0, 0, 100, 100)


def test_an_aligned_face_keeps_its_transparency_at_the_new_size():
    photo = Photo(noise(100, 100), alpha=np.full((100, 100), 77, dtype=np.uint8))
    made = Restorer(StubEngine(lighter), aligned=True).restore_photo(photo).photo
    assert made.alpha is not None
    assert made.alpha.shape == (64, 64)
    assert (made.alpha == 77).all()


def test_an_aligned_face_that_is_not_square_is_refused():
    with pytest.raises(ImageError, match="300 x 200 px is not square"):
        Restorer(StubEngine(), aligned=True).restore(noise())


# Many photos


def write_photos(folder: Path, counts) -> list[Path]:
    paths = []
    for index, count in enumerate(counts):
        paths.append(folder / f"{index:02d}.png")
        write_image(paths[-1], noise(150, 400, faces=count, seed=index))
    return paths


def test_faces_of_several_photos_share_batches(tmp_path):
    paths = write_photos(tmp_path, [1, 1, 1, 0, 1, 5, 2])
    engine = StubEngine(lighter)
    outcomes = list(restorer(engine, batch_size=4).restore_many(paths))
    assert engine.batches == [4, 4, 3]
    assert [outcome.source for outcome in outcomes] == paths
    for path, outcome in zip(paths, outcomes, strict=True):
        alone = restorer(StubEngine(lighter)).restore_photo(read_photo(path))
        assert outcome.result is not None
        np.testing.assert_array_equal(outcome.result.photo.pixels, alone.photo.pixels)
        assert len(outcome.result.faces) == len(alone.faces)


def test_photos_are_read_only_when_their_turn_comes(tmp_path):
    paths = write_photos(tmp_path, [1] * 12)
    asked = []

    def sources():
        for path in paths:
            asked.append(path)
            yield path

    most = 0
    for number, _ in enumerate(restorer(batch_size=3).restore_many(sources()), start=1):
        most = max(most, len(asked) - number)
    assert len(asked) == 12
    assert most <= 3


class TestAhead:
    """A photo is read, and its faces found, while the network works on the one before."""

    @pytest.fixture
    def opened(self, monkeypatch) -> list[threading.Event]:
        events = [threading.Event() for _ in range(3)]

        def tells(path):
            photo = read_photo(path)
            events[int(path.stem)].set()
            return photo

        monkeypatch.setattr(restoration, "read_photo", tells)
        return events

    @pytest.mark.parametrize(
        ("largest_px", "ahead", "is_next_opened"),
        [(10**9, True, True), (0, True, False), (10**9, False, False)],
    )
    def test_only_where_there_is_room_for_two(
        self, tmp_path, monkeypatch, opened, largest_px, ahead, is_next_opened
    ):
        monkeypatch.setattr(restoration, "LARGE_PIXELS", largest_px)
        seen: list[bool | None] = []

        def make(faces):
            number = len(seen)
            # Where it is opened ahead, it comes; where not, it has not come and will not.
            seen.append(opened[number + 1].wait(20 if is_next_opened else 0.2) if number < 2 else None)
            return lighter(faces)

        engine = StubEngine(make)
        paths = write_photos(tmp_path, [1, 1, 1])
        outcomes = list(restorer(engine, batch_size=1).restore_many(paths, ahead=ahead))
        assert seen == [is_next_opened, is_next_opened, None]
        assert [outcome.source for outcome in outcomes] == paths

    def test_a_photo_is_the_same_either_way(self, tmp_path):
        paths = [*write_photos(tmp_path, [1, 2, 0, 5, 3]), tmp_path / "missing.png"]
        first, second = (
            list(restorer(StubEngine(lighter), batch_size=4).restore_many(paths, ahead=ahead))
            for ahead in (False, True)
        )
        for one, other in zip(first, second, strict=True):
            assert one.source == other.source
            assert str(one.error) == str(other.error)
            if one.result is not None:
                np.testing.assert_array_equal(one.result.photo.pixels, other.result.photo.pixels)

    def test_who_stops_listening_leaves_no_thread(self, tmp_path):
        paths = write_photos(tmp_path, [1] * 4)
        made = restorer(batch_size=1).restore_many(paths)
        next(made)
        made.close()
        assert [one.name for one in threading.enumerate() if one.name.startswith("sparnet-ahead")] == []


def test_many_faces_do_not_fill_the_memory():
    engine = StubEngine(lighter)
    faces = [face_at(20 + n % 13 * 20, 20 + n // 13 * 20, 40) for n in range(50)]
    made = restorer(engine, *faces, batch_size=8).restore(noise())
    assert len(made.faces) == 50
    assert max(engine.batches) == 8
    assert all(face.aligned is None for face in made.faces)


def test_large_photos_do_not_wait_for_a_full_batch(tmp_path, monkeypatch):
    paths = write_photos(tmp_path, [1, 0, 0, 0, 1, 1])
    monkeypatch.setattr(restoration, "HELD_PIXELS", 3 * 150 * 400)
    engine = StubEngine()
    assert len(list(restorer(engine, batch_size=8).restore_many(paths))) == 6
    assert engine.batches == [1, 2]


def test_bad_files_are_errors_in_their_place_and_the_others_go_on(tmp_path):
    good = write_photos(tmp_path, [1, 2])
    broken, cut, missing = tmp_path / "broken.jpg", tmp_path / "cut.png", tmp_path / "missing.png"
    broken.write_bytes(b"no picture")
    cut.write_bytes(good[0].read_bytes()[:300])
    outcomes = list(restorer(StubEngine(lighter)).restore_many([broken, good[0], cut, missing, good[1]]))
    assert [outcome.error is None for outcome in outcomes] == [False, True, False, False, True]
    for outcome in (outcomes[0], outcomes[2], outcomes[3]):
        assert isinstance(outcome.error, ImageError)
        assert str(outcome.error).startswith(f"{outcome.source}: ")
        assert outcome.result is None


def test_a_photo_that_memory_does_not_suffice_to_finish_is_an_error_of_its_own(tmp_path, monkeypatch):
    paths = write_photos(tmp_path, [1, 1, 1])
    with_pixels, calls = Photo.with_pixels, []

    def fails_once(photo, pixels):
        calls.append(pixels)
        if len(calls) == 2:
            raise MemoryError
        return with_pixels(photo, pixels)

    monkeypatch.setattr(Photo, "with_pixels", fails_once)
    outcomes = list(restorer().restore_many(paths))
    assert [outcome.result is None for outcome in outcomes] == [False, True, False]
    assert str(outcomes[1].error) == f"{paths[1]}: not enough memory"


def too_many_at_once(faces):
    if len(faces) > 1:
        raise MemoryError
    return lighter(faces)


def test_faces_that_do_not_fit_into_the_memory_together_are_restored_one_by_one(tmp_path):
    paths = write_photos(tmp_path, [2, 1, 3])
    engine = StubEngine(too_many_at_once)
    outcomes = list(restorer(engine, batch_size=4).restore_many(paths))
    assert engine.batches == [4, 1, 1, 1, 1, 2, 1, 1]
    for outcome, wanted in zip(outcomes, restorer(StubEngine(lighter)).restore_many(paths), strict=True):
        assert outcome.result is not None
        assert wanted.result is not None
        np.testing.assert_array_equal(outcome.result.photo.pixels, wanted.result.photo.pixels)


@pytest.mark.parametrize(
    "error", [MemoryError, lambda: cv2_error(cv2.Error.StsNoMem)], ids=["of Python", "of OpenCV"]
)
def test_a_photo_with_a_face_that_does_not_fit_into_the_memory_is_an_error_of_its_own(
    tmp_path, monkeypatch, error
):
    paths = write_photos(tmp_path, [2, 3, 2])
    many = restorer(StubEngine(lighter))
    begun = [many._open_one(path) for path in paths]
    monkeypatch.setattr(many, "_open_one", lambda source: begun[paths.index(source)])
    too_large = begun[1][1].photo.pixels

    def fails(pixels, face, side):
        if pixels is too_large:
            raise error()
        return align(pixels, face, side)

    monkeypatch.setattr(restoration, "align", fails)
    outcomes = list(many.restore_many(paths))
    assert [outcome.result is None for outcome in outcomes] == [False, True, False]
    assert str(outcomes[1].error) == f"{paths[1]}: not enough memory"
    for outcome in (outcomes[0], outcomes[2]):
        assert all(face.skipped is None for face in outcome.result.faces)


def test_a_photo_whose_faces_cannot_be_put_in_for_want_of_memory_is_an_error_of_its_own(
    tmp_path, monkeypatch
):
    paths = write_photos(tmp_path, [2, 2])
    calls = []

    def fails_first(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError
        return paste_all(*arguments, **options)

    monkeypatch.setattr(restoration, "paste_all", fails_first)
    first, second = restorer(StubEngine(lighter)).restore_many(paths)
    assert str(first.error) == f"{paths[0]}: not enough memory"
    assert second.error is None
    assert len(calls) == 3, "nothing more is done for the first"


def test_one_picture_whose_face_does_not_fit_into_the_memory_is_no_result():
    def fails(faces):
        raise MemoryError

    with pytest.raises(MemoryError, match="not enough memory to restore a face"):
        restorer(StubEngine(fails)).restore(noise(faces=2))


def test_other_errors_of_opencv_are_told(monkeypatch):
    def fails(*arguments):
        raise cv2_error(cv2.Error.StsBadArg)

    monkeypatch.setattr(restoration, "align", fails)
    with pytest.raises(cv2.error):
        restorer().restore(noise(faces=1))


def cv2_error(code: int) -> Exception:
    error = cv2.error("failed")
    error.code = code
    return error


def test_a_photo_that_lacks_the_face_asked_for_is_an_error_of_its_own(tmp_path):
    paths = write_photos(tmp_path, [1, 2])
    first, second = restorer(numbers=(2,)).restore_many(paths)
    assert isinstance(first.error, NoFaceFound)
    assert str(first.error) == f"{paths[0]}: face 2 was asked for, the photo shows 1 face"
    assert second.error is None


def test_each_face_is_handed_out_as_it_is_made(tmp_path):
    paths = write_photos(tmp_path, [2, 1])
    seen = []

    def on_face(source, photo, face):
        seen.append((source, face.number, photo.pixels.shape, face.restored.shape))

    outcomes: list[RestoredFile] = list(restorer().restore_many(paths, on_face=on_face))
    assert [(source, number) for source, number, *_ in seen] == [(paths[0], 1), (paths[0], 2), (paths[1], 1)]
    assert all(shape == (64, 64, 3) for *_, shape in seen)
    assert all(face.restored is None for o in outcomes if o.result for face in o.result.faces)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"upscale_factor": 9}, "upscale_factor must be a whole number from 1 to 8, got 9"),
        ({"min_face_px": math.inf}, "min_face_px must be a number from 0 on, got inf"),
        ({"small_face_px": math.nan}, "small_face_px must be a number from 0 on, got nan"),
        ({"fidelity": 1.5}, r"fidelity must be from 0 to 1, got 1\.5"),
        ({"color_match": -1}, "color_match must be from 0 to 1, got -1"),
        ({"max_faces": 0}, "max_faces must be 1 or more, got 0"),
        ({"numbers": (2, 0)}, "faces are numbered from 1, got 0"),
        ({"aligned": True, "upscale_factor": 2}, "upscale_factor must be 1"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        restorer(**options)


def test_the_detector_has_as_many_threads_as_were_asked_for():
    detector = Restorer(StubEngine(), threads=1, small_faces="off").detector
    assert isinstance(detector, MtcnnDetector)
    assert detector._scanner.get_property("INFERENCE_NUM_THREADS") == 1


_WRONG_USE = """
import numpy as np, sparnet
from sparnet.weights.info import ModelInfo

class Engine:
    info = ModelInfo(
        name="stub", task="restore", image_size=64, input_size=64, network={}, parameters=1, license="none"
    )
    run = None

class Detector:
    def detect(self, image):
        return []

restorer = sparnet.Restorer(Engine(), detector=Detector())
photo = np.zeros((40, 30, 3), dtype=np.uint8)
assert restorer.restore(photo).faces == ()
calls = {
    "float": lambda: restorer.restore(photo / 255),
    "deep": lambda: restorer.restore(photo.astype(np.uint16)),
    "gray": lambda: restorer.restore(photo[..., 0]),
    "batch": lambda: restorer.restore(photo[None]),
    "list": lambda: restorer.restore([1, 2]),
    "stream": lambda: list(restorer.restore_stream([photo, photo.astype(np.float32)])),
    "name": lambda: list(restorer.restore_many("photo.jpg")),
    "factor": lambda: sparnet.Restorer(Engine(), detector=Detector(), upscale_factor=1.5),
    "numbers": lambda: sparnet.Restorer(Engine(), detector=Detector(), numbers=[1.5]),
    "batch size": lambda: sparnet.Restorer(Engine(), detector=Detector(), batch_size=1.5),
    "most faces": lambda: sparnet.Restorer(Engine(), detector=Detector(), max_faces=1.5),
    "written": lambda: sparnet.write_image("picture.png", [1, 2]),
}
for name, call in calls.items():
    try:
        call()
    except (TypeError, ValueError) as error:
        print(name, type(error).__name__, error)
"""


def test_what_is_no_picture_is_refused_not_taken_for_one_without_faces(tmp_path):
    """As a user's program has it: without the checker of types that tests have."""
    ended = subprocess.run(
        [sys.executable, "-c", _WRONG_USE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "float TypeError image must be uint8, H x W x RGB, from 0 to 255; got float64",
        "deep TypeError image must be uint8, H x W x RGB, from 0 to 255; got uint16",
        "gray ValueError image must be H x W x 3; got 40 x 30",
        "batch ValueError image must be H x W x 3; got 1 x 40 x 30 x 3",
        "list TypeError image must be an array, uint8, H x W x RGB; got list",
        "stream TypeError image must be uint8, H x W x RGB, from 0 to 255; got float32",
        "name TypeError sources must be several files, got one name: 'photo.jpg'",
        "factor ValueError upscale_factor must be a whole number from 1 to 8, got 1.5",
        "numbers TypeError 'float' object cannot be interpreted as an integer",
        "batch size TypeError 'float' object cannot be interpreted as an integer",
        "most faces TypeError 'float' object cannot be interpreted as an integer",
        "written TypeError image must be an array, uint8, H x W x RGB; got list",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_picture_is_refused():
    with pytest.raises(ImageError, match="the picture is empty"):
        restorer().restore(np.zeros((0, 5, 3), dtype=np.uint8))


def test_a_model_that_enlarges_tiny_faces_is_refused():
    engine = StubEngine()
    engine.info = engine.info.model_copy(update={"task": "upscale"})
    with pytest.raises(WeightsError, match="stub enlarges tiny faces"):
        Restorer(engine)


def test_a_missing_default_model_is_told_with_what_there_is(monkeypatch):
    monkeypatch.setattr(restoration, "known_models", dict)
    with pytest.raises(WeightsError, match="sparnet-hd-light is not here; models that restore photos: none"):
        sparnet.restore(noise())


# A real model, the real detector


def test_a_model_file_restores_a_photo(make_variant, tmp_path):
    model = make_variant(tmp_path / "m.onnx", task="restore", upscale_factor=None, name="m")
    photo = skimage.data.astronaut()
    made = Restorer(model, detector=StubDetector(face_at(224, 120, 190)), threads=1).restore(photo)
    assert (made.image[80:160, 180:260] != photo[80:160, 180:260]).any()
    np.testing.assert_array_equal(made.image[300:], photo[300:])


@pytest.fixture(scope="module")
def photos() -> Path:
    return find_shared("photos")


def test_a_real_photo_comes_back_the_same_from_a_network_that_changes_nothing(photos):
    photo = read_photo(photos / "00.jpg")
    made = Restorer(StubEngine(size=512)).restore_photo(photo)
    assert made.faces
    np.testing.assert_array_equal(made.photo.pixels, photo.pixels)


def test_the_faces_of_a_real_group_are_found_and_all_of_them_restored(photos):
    engine = StubEngine(lighter, size=128)
    made = Restorer(engine, batch_size=8).restore_photo(read_photo(photos / "group-1927.jpg"))
    assert len(made.faces) == 29
    assert engine.batches == [8, 8, 8, 5]
