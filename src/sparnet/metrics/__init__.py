"""Metrics, one protocol a file; names are imported on first use, so that PSNR needs no torch."""

import importlib
from typing import TYPE_CHECKING, Any

from sparnet.metrics.registry import METRICS, Metric

if TYPE_CHECKING:
    from sparnet.metrics.faces import FaceFinder, HrFace, template_face
    from sparnet.metrics.fid_inception2015 import (
        FeatureStatistics,
        InceptionFeatures,
        feature_statistics,
        fid,
        frechet_distance,
    )
    from sparnet.metrics.identity import IdentityCosine
    from sparnet.metrics.landmarks import LandmarkNme, landmark_auc, landmark_curve, landmark_nme
    from sparnet.metrics.lpips import Lpips
    from sparnet.metrics.rgb import psnr_rgb
    from sparnet.metrics.y_dic import psnr_y_dic, ssim_y_dic
    from sparnet.metrics.y_sparnet import psnr_y, squared_error_y_map, ssim_y, ssim_y_map

__all__ = [
    "METRICS",
    "FaceFinder",
    "FeatureStatistics",
    "HrFace",
    "IdentityCosine",
    "InceptionFeatures",
    "LandmarkNme",
    "Lpips",
    "Metric",
    "feature_statistics",
    "fid",
    "frechet_distance",
    "landmark_auc",
    "landmark_curve",
    "landmark_nme",
    "psnr_rgb",
    "psnr_y",
    "psnr_y_dic",
    "squared_error_y_map",
    "ssim_y",
    "ssim_y_dic",
    "ssim_y_map",
    "template_face",
]

_MODULES = {
    "FaceFinder": "faces",
    "HrFace": "faces",
    "template_face": "faces",
    "FeatureStatistics": "fid_inception2015",
    "InceptionFeatures": "fid_inception2015",
    "feature_statistics": "fid_inception2015",
    "fid": "fid_inception2015",
    "frechet_distance": "fid_inception2015",
    "IdentityCosine": "identity",
    "LandmarkNme": "landmarks",
    "landmark_auc": "landmarks",
    "landmark_curve": "landmarks",
    "landmark_nme": "landmarks",
    "Lpips": "lpips",
    "psnr_rgb": "rgb",
    "psnr_y_dic": "y_dic",
    "ssim_y_dic": "y_dic",
    "psnr_y": "y_sparnet",
    "squared_error_y_map": "y_sparnet",
    "ssim_y": "y_sparnet",
    "ssim_y_map": "y_sparnet",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparnet.metrics.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
