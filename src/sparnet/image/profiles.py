"""Colour profiles: which fit, and the way to sRGB where one cannot stay."""

import io
from typing import Any

import PIL.Image


def colour_space(profile: bytes | None) -> bytes | None:
    """Read the colour space that an ICC profile is for (`b"RGB "`), if it is one."""
    return profile[16:20] if profile is not None and profile[36:40] == b"acsp" else None


def fitting_profile(profile: Any, mode: str, notes: list[str], *, is_gray: bool) -> bytes | None:
    """Keep a profile that is for such pixels; one that is not goes to `notes`, and gives None."""
    if not isinstance(profile, bytes) or not profile or mode in {"CMYK", "LAB"}:
        return None
    fitting = {None, b"RGB ", b"GRAY"} if is_gray else {None, b"RGB "}
    if colour_space(profile) in fitting:
        return profile
    notes.append("its colour profile does not fit its pixels and is left out")
    return None


def converted_to_rgb(picture: PIL.Image.Image, notes: list[str]) -> PIL.Image.Image:
    """Turn CMYK or Lab into sRGB, through the file's profile if it has a good one."""
    profile = picture.info.get("icc_profile") if picture.mode == "CMYK" else "LAB"
    converted = to_srgb(picture, profile)
    if converted is not None:
        return converted
    notes.append(f"{picture.mode} without a usable colour profile: colours are approximate")
    return picture.convert("RGB")


def to_srgb(picture: PIL.Image.Image, profile: Any) -> PIL.Image.Image | None:
    """Convert from the profile given (bytes, or `"LAB"`); None if there is none that fits."""
    from PIL import ImageCms

    if not profile:
        return None
    try:
        source = (
            ImageCms.createProfile("LAB")
            if profile == "LAB"
            else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        )
        return ImageCms.profileToProfile(
            picture,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
