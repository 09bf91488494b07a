import numpy as np
import pytest

from sparnet.metrics import IdentityCosine, template_face


@pytest.fixture(scope="session")
def identity(auxiliary_weights) -> IdentityCosine:
    return IdentityCosine()


def test_equal_pictures_have_cosine_1(identity, face, hr_face):
    assert identity(face, face, hr_face) == pytest.approx(1, abs=1e-6)


def test_an_embedding_has_length_1_and_does_not_change_in_a_mirror(identity, face, hr_face):
    embedding = identity.embedding(face, hr_face.points)
    mirrored_points = (hr_face.points * (-1, 1) + (127, 0))[[1, 0, 2, 4, 3]]
    mirrored = identity.embedding(np.ascontiguousarray(face[:, ::-1]), mirrored_points)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
    # The ArcFace template itself is not quite symmetric.
    assert embedding @ mirrored > 0.95


def test_less_detail_is_less_alike(identity, face, face_sr, astronaut, hr_face):
    near = np.array(face)
    near[:64] = face_sr[:64]
    assert 1 > identity(near, face, hr_face) > identity(face_sr, face, hr_face)


def test_the_two_pictures_may_be_exchanged(identity, face, face_sr, hr_face):
    assert identity(face, face_sr, hr_face) == pytest.approx(identity(face_sr, face, hr_face), abs=1e-6)


def test_a_picture_without_a_face_still_gets_a_number(identity, face, face_sr):
    face_by_template = template_face(height=128, width=128)
    assert -1 <= identity(face_sr, face, face_by_template) <= 1


def test_different_sizes_are_refused(identity, face, hr_face):
    with pytest.raises(ValueError, match="one size"):
        identity(face, face[1:], hr_face)


def test_pictures_of_one_person_are_more_alike_than_of_two(identity, pack_faces, pack_identities):
    """Over the whole pack .60 and .02 (docs/metrics.md); here the first 40, all cropped alike."""
    median_points = np.array([(45.0, 60.5), (82, 59), (64, 83.5), (48.5, 100), (81.5, 98.5)])
    people = np.array(pack_identities[:40])
    embeddings = np.stack([identity.embedding(face, median_points) for face in pack_faces[:40]])
    one_person = (people[:, None] == people) & ~np.eye(40, dtype=bool)
    cosines = embeddings @ embeddings.T
    assert cosines[one_person].mean() > 0.45
    assert cosines[people[:, None] != people].mean() < 0.1
