"""Face super-resolution and restoration with spatial attention.

The public names are imported on first use: `import sparnet` loads nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Restoration": "sparnet.restoration",
    "Restorer": "sparnet.restoration",
    "Upscaler": "sparnet.upscaling",
    "build_network": "sparnet.network.files",
    "degrade": "sparnet.degradation",
    "load_network": "sparnet.network.files",
    "load_official": "sparnet.network.official",
    "psnr_y": "sparnet.metrics.y_sparnet",
    "read_image": "sparnet.image",
    "restore": "sparnet.restoration",
    "restore_video": "sparnet.video",
    "ssim_y": "sparnet.metrics.y_sparnet",
    "upscale": "sparnet.upscaling",
    "write_image": "sparnet.image",
}

if TYPE_CHECKING:
    from sparnet.degradation import degrade as degrade
    from sparnet.image import read_image as read_image
    from sparnet.image import write_image as write_image
    from sparnet.metrics.y_sparnet import psnr_y as psnr_y
    from sparnet.metrics.y_sparnet import ssim_y as ssim_y
    from sparnet.network.files import build_network as build_network
    from sparnet.network.files import load_network as load_network
    from sparnet.network.official import load_official as load_official
    from sparnet.restoration import Restoration as Restoration
    from sparnet.restoration import Restorer as Restorer
    from sparnet.restoration import restore as restore
    from sparnet.upscaling import Upscaler as Upscaler
    from sparnet.upscaling import upscale as upscale
    from sparnet.video import restore_video as restore_video


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sparnet' has no attribute '{name}'")
    try:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sparnet"):
            raise
        from sparnet.errors import SparnetError

        raise SparnetError(
            f"sparnet.{name} needs the package {error.name}: pip install 'sparnet[train]'"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
