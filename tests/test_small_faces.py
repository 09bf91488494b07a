"""Small faces, which a network for tiny faces sees first."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sparnet.errors import WeightsError
from sparnet.faces.align import AlignedFace, align, invert, template
from sparnet.faces.detect import Face
from sparnet.image import read_image, resize_bicubic
from sparnet.restoration import Restorer
from sparnet.small_faces import SmallFaceEnlarger
from sparnet.weights.info import ModelInfo

EXAMPLE = Path(__file__).parents[1] / "examples" / "faces" / "0.webp"


class StubEngine:
    """Makes of faces what a function says and keeps what it was given."""

    def __init__(self, make=lambda faces: faces, *, task="restore", size=64, name="stub"):
        self.make, self.given = make, []
        self.info = ModelInfo(
            name=name, task=task, image_size=size, input_size=size, network={}, parameters=1, license="none"
        )

    def run(self, faces):
        self.given.append(faces.copy())
        return self.make(faces)


class StubDetector:
    def __init__(self, *faces):
        self.faces = list(faces)

    def detect(self, image):
        return self.faces


def face_at(x, y, square_px):
    """A face whose aligned square has its middle at (x, y) and this side; its box is half as wide."""
    scale = 512 / square_px
    transform = np.array([[scale, 0.0, 255.5 - scale * x], [0.0, scale, 255.5 - scale * y]])
    back = invert(transform)
    half = square_px / 4
    return Face((x - half, y - half, x + half, y + half), 1.0, template(512) @ back[:, :2].T + back[:, 2])


def smooth(height=120, width=160):
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return resize_bicubic(coarse, height, width)


def inverted(faces):
    return 255 - faces


def test_a_network_that_changes_nothing_gives_the_aligned_square_back():
    photo = smooth()
    aligned = align(photo, face_at(80, 60, 60), 512)
    (made,) = SmallFaceEnlarger(StubEngine(task="upscale", size=128)).run([(photo, aligned)])
    assert made is not None
    assert np.abs(made.astype(int) - aligned.image).max() <= 6  # it was cut out again at 128 px


def test_what_the_network_makes_fills_the_square_without_an_edge():
    photo = np.full((120, 160, 3), 100, dtype=np.uint8)
    aligned = align(photo, face_at(80, 60, 12), 512)
    engine = StubEngine(lambda faces: np.full_like(faces, 200), task="upscale", size=128)
    (made,) = SmallFaceEnlarger(engine).run([(photo, aligned)])
    assert made is not None
    assert (made[150:420, 110:400] == 200).all(), "eyes, mouth, cheeks and chin"
    assert (made[0] == 100).all()
    steps = np.abs(np.diff(made[..., 0].astype(int), axis=1))
    assert steps.max() <= 100 / (0.08 * 445) * 1.5 + 2  # a fade of 8 % of the crop, steepest in its middle


def test_the_network_for_tiny_faces_reads_faces_framed_as_it_knows_them():
    """MTCNN's points lie in its crops where they lay, on average, in the crops it was trained on."""
    photo = np.zeros((120, 160, 3), dtype=np.uint8)
    face = face_at(80, 60, 60)
    for x, y in face.points:
        photo[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    engine = StubEngine(task="upscale", size=128)
    SmallFaceEnlarger(engine).run([(photo, align(photo, face, 512))])
    crop = engine.given[0][0, ..., 0].astype(float)
    for x, y in ((45, 59), (82, 59), (47, 98), (80, 98)):
        part = crop[y - 8 : y + 9, x - 8 : x + 9]
        rows, columns = np.indices(part.shape)
        middle = (part * rows).sum() / part.sum() - 8, (part * columns).sum() / part.sum() - 8
        assert np.hypot(*middle) < 4, "within 4 of 128 px"


@pytest.mark.parametrize(("size_px", "first"), [(12, "tiny"), (20, "tiny"), (21, None), (60, None)])
def test_faces_of_up_to_20_px_are_enlarged_first(size_px, first):
    photo = smooth()
    tiny = StubEngine(inverted, task="upscale", size=256, name="tiny")
    engine = StubEngine()
    restorer = Restorer(
        engine, detector=StubDetector(face_at(80, 60, 2 * size_px)), small_faces=tiny, color_match=0
    )
    made = restorer.restore(photo, keep_faces=True)
    face = made.faces[0]
    assert face.enlarged_by == first
    assert face.aligned is not None
    seen = engine.given[0][0]
    if first is None:
        np.testing.assert_array_equal(made.image, photo)
        np.testing.assert_array_equal(seen, face.aligned)
        assert not tiny.given
    else:
        middle = np.s_[24:48, 20:44]
        assert np.abs(seen[middle].astype(int) - (255 - face.aligned[middle])).mean() < 8
        assert (made.image != photo).any(), "what is put back is the difference to the photo as it was"


def test_a_sharp_face_larger_than_the_network_knows_keeps_its_detail():
    photo = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    blurring = StubEngine(lambda faces: np.full_like(faces, 128), task="upscale", size=128)
    for side, kept in ((60, True), (20, False)):
        aligned = align(photo, face_at(80, 60, side), 512)
        (made,) = SmallFaceEnlarger(blurring).run([(photo, aligned)])
        assert made is not None
        middle = np.s_[150:420, 110:400]
        apart = np.abs(made[middle].astype(int) - aligned.image[middle]).mean()
        assert (apart < 25) == kept
        assert (made[middle] == 128).all() != kept


def test_only_the_small_faces_of_a_batch_are_enlarged():
    tiny = StubEngine(inverted, task="upscale", size=32, name="tiny")
    faces = [face_at(110, 60, 80), face_at(40, 60, 28), face_at(20, 100, 32)]
    restorer = Restorer(StubEngine(), detector=StubDetector(*faces), small_faces=tiny)
    assert [face.enlarged_by for face in restorer.restore(smooth()).faces] == [None, "tiny", "tiny"]
    assert [len(batch) for batch in tiny.given] == [2]


def test_which_faces_are_small_can_be_said():
    tiny = StubEngine(inverted, task="upscale", size=32, name="tiny")
    detector = StubDetector(face_at(80, 60, 80))
    for px, first in ((39, None), (40, "tiny")):
        restorer = Restorer(StubEngine(), detector=detector, small_faces=tiny, small_face_px=px)
        assert restorer.restore(smooth()).faces[0].enlarged_by == first


def test_it_can_be_switched_off():
    restorer = Restorer(StubEngine(), detector=StubDetector(face_at(80, 60, 30)), small_faces="off")
    photo = smooth()
    made = restorer.restore(photo)
    np.testing.assert_array_equal(made.image, photo)
    assert made.faces[0].enlarged_by is None


def test_the_shipped_model_enlarges_small_faces_unless_told_otherwise():
    face = PIL.Image.fromarray(read_image(EXAMPLE)).resize((20, 20), PIL.Image.Resampling.BICUBIC)
    photo = np.full((80, 80, 3), 90, dtype=np.uint8)
    photo[30:50, 30:50] = np.array(face)
    engine = StubEngine(size=128)
    made = Restorer(engine, detector=StubDetector(face_at(39.5, 39, 22))).restore(photo, keep_faces=True)
    assert made.faces[0].enlarged_by == "sparnet-x4"
    read = made.faces[0].aligned
    assert read is not None
    assert sharpness(engine.given[0][0]) > 1.2 * sharpness(read)


def sharpness(picture):
    gray = picture.mean(axis=2)
    return np.abs(np.diff(gray, n=2, axis=0)).mean() + np.abs(np.diff(gray, n=2, axis=1)).mean()


@pytest.mark.parametrize(("side", "first"), [(27, "tiny"), (28, None)])
def test_an_aligned_picture_of_a_small_face_is_enlarged_first(side, first):
    tiny = StubEngine(inverted, task="upscale", size=32, name="tiny")
    restorer = Restorer(StubEngine(), aligned=True, small_faces=tiny)
    assert restorer.restore(smooth(side, side)).faces[0].enlarged_by == first


def test_a_face_almost_whole_outside_the_photo_is_left_to_the_restoring_network():
    photo = smooth()
    aligned = AlignedFace(smooth(64, 64), np.array([[1.0, 0.0, -2000.0], [0.0, 1.0, -2000.0]]))
    engine = StubEngine(task="upscale", size=32)
    assert SmallFaceEnlarger(engine).run([(photo, aligned)]) == [None]


def test_a_model_that_restores_does_not_enlarge_small_faces():
    with pytest.raises(WeightsError, match="stub restores faces"):
        Restorer(StubEngine(), aligned=True, small_faces=StubEngine())


def test_a_named_model_that_is_not_there_is_refused_at_once():
    with pytest.raises(WeightsError, match="no model 'nix'"):
        Restorer(StubEngine(), aligned=True, small_faces="nix")
