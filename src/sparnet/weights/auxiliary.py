"""The networks that losses and metrics look through: their files, hashes and terms."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sparnet.errors import WeightsError
from sparnet.weights.folders import WEIGHTS_VARIABLE, find_weights_file


@dataclass(frozen=True)
class AuxiliaryFile:
    """A file of weights that no model of ours is made of."""

    name: str
    """Its file name, under which it is searched."""
    sha256: str
    """The SHA-256 hash in hexadecimal, or the beginning of it where only that is published."""
    licence: str
    """Its licence, as an SPDX identifier where there is one."""
    source: str
    """What it was made from."""
    address: str | None = None
    """Where it can be fetched, where it is published as it is."""


AUXILIARY_FILES = {
    "alexnet": AuxiliaryFile(
        name="alexnet_features_fp16.safetensors",
        sha256="efa32a484ceb3c7f103cf1c807560df0b02120dbfc7134b5736547c0c5c61915",
        licence="BSD-3-Clause",
        source="torchvision's alexnet for ImageNet, features only, fp16",
    ),
    "vgg16": AuxiliaryFile(
        name="vgg16_features_fp16.safetensors",
        sha256="35dcc976074e44f324280e49219a5c25571241737a15a21d08bbfed5ce4b8db8",
        licence="BSD-3-Clause",
        source="torchvision's vgg16-397923af for ImageNet, features only, fp16",
    ),
    "vgg19": AuxiliaryFile(
        name="vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9d",
        licence="BSD-3-Clause",
        source="torchvision's vgg19 for ImageNet",
        address="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    ),
    "lpips_alex": AuxiliaryFile(
        name="lpips_lin_alexnet.safetensors",
        sha256="1b7800eaefbdad56d37085b5769a278456612d0a5ae1530fb64f0683f579a921",
        licence="BSD-2-Clause",
        source="LPIPS v0.1 linear layers",
    ),
    "lpips_vgg16": AuxiliaryFile(
        name="lpips_lin_vgg16.safetensors",
        sha256="46ec3786e87e3a9e528ef7e8620573d771de729fd3b2f0bfcbfb0edbfc841b8a",
        licence="BSD-2-Clause",
        source="LPIPS v0.1 linear layers",
    ),
    "identity": AuxiliaryFile(
        name="identity_mobilefacenet.onnx",
        sha256="b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        licence="Apache-2.0",
        source="MobileFaceNet face embedding, 128 numbers",
    ),
    "landmarks68": AuxiliaryFile(
        name="landmarks68_mobilefacenet.onnx",
        sha256="26c70441b9322dfd7caf5ec62f2e8b45588ed46f89216b248c0c22fa96a9db88",
        licence="unstated: for measuring only",
        source="MobileFaceNet landmark regression, 68 points",
    ),
}
"""The files by the names that the code uses."""


def find_auxiliary(key: str) -> Path:
    """Return the path of an auxiliary file whose hash is right.

    Args:
        key: A name in `AUXILIARY_FILES`.

    Raises:
        ValueError: If there is no such name.
        WeightsError: If the file is missing, cannot be read, or is another one.
    """
    if key not in AUXILIARY_FILES:
        raise ValueError(f"no auxiliary file '{key}'; have: {', '.join(AUXILIARY_FILES)}")
    file = AUXILIARY_FILES[key]
    remedy = None
    if file.address is not None:
        remedy = f"fetch it from {file.address}, and name its folder in {WEIGHTS_VARIABLE}"
    path = find_weights_file(file.name, remedy=remedy)
    check_sha256(path, file.sha256)
    return path


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file whose SHA-256 hash does not begin with `expected`.

    Raises:
        WeightsError: If it does not, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not found.startswith(expected):
        raise WeightsError(
            f"{path}: expected a file whose SHA-256 begins with {expected[:8]}, got {found[:8]}; "
            "it is damaged or another version: replace it"
        )
