import numpy as np
import pytest

from sparnet.errors import WeightsError
from sparnet.metrics import Lpips
from sparnet.metrics.lpips import LpipsVariant

VARIANTS: list[LpipsVariant] = ["alex", "vgg16"]


@pytest.fixture(scope="session")
def lpips(auxiliary_weights) -> dict[LpipsVariant, Lpips]:
    return {variant: Lpips(variant) for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_pictures_are_at_distance_0(lpips, variant, face):
    assert lpips[variant](face, face) == 0


def test_the_two_pictures_may_be_exchanged(lpips, face, face_sr):
    assert lpips["alex"](face, face_sr) == pytest.approx(lpips["alex"](face_sr, face), abs=1e-6)


@pytest.mark.parametrize(
    ("variant", "whole", "crop"), [("vgg16", 0.43951, 0.51854), ("alex", 0.49807, 0.69240)]
)
def test_the_astronaut_scores_as_known(lpips, variant, whole, crop, astronaut, astronaut_sr, face, face_sr):
    """Numbers of the released LPIPS; the tolerance is for trunks stored in fp16."""
    assert lpips[variant](astronaut_sr, astronaut) == pytest.approx(whole, abs=5e-4)
    assert lpips[variant](face_sr, face) == pytest.approx(crop, abs=5e-4)


def test_a_batch_scores_as_its_pictures_do(lpips, face, face_sr):
    sr = np.stack([face_sr, face, face[::-1]])
    hr = np.stack([face, face, face])
    expected = [lpips["alex"](first, second) for first, second in zip(sr, hr, strict=True)]
    assert lpips["alex"].distances(sr, hr) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("variant", "smallest"), [("alex", 31), ("vgg16", 16)])
def test_pictures_too_small_for_the_network_are_refused(lpips, variant, smallest):
    just_large_enough = np.zeros((smallest, smallest, 3), dtype=np.uint8)
    assert lpips[variant](just_large_enough, just_large_enough) == 0
    with pytest.raises(ValueError, match=f"lpips_{variant} needs {smallest} px, got {smallest - 1} x"):
        lpips[variant](just_large_enough[1:, 1:], just_large_enough[1:, 1:])


def test_different_sizes_are_refused(lpips, face):
    with pytest.raises(ValueError, match="one size"):
        lpips["alex"](face, face[1:])
    with pytest.raises(ValueError, match="one shape"):
        lpips["alex"].distances(face[None], np.stack([face, face]))


def test_missing_weights_are_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARNET_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        WeightsError, match=r"^alexnet_features_fp16.safetensors: not found in .*SPARNET_WEIGHTS$"
    ):
        Lpips("alex")
