"""Are small faces restored better when the network for tiny faces sees them first?

Aligned faces are reduced to squares in which the face's box has a longer side of 12 to 48 px, degraded a
little (noise and JPEG, as in a photo), and restored by `Restorer(aligned=True)` in two ways: by the
restoring network alone, and with the network for tiny faces first. Each result is scored against the
original. The rule of `sparnet.small_faces` follows from the table: its threshold is the largest size up
to which the faces seen twice are better by identity and by LPIPS.

    python benchmarks/small_faces.py --hr faces512-test -m sparnet-hd-light

Needs the lab half and the metrics' files (see docs/metrics.md). Without -m, only what needs no restoring
network is shown: plain enlargement, and what the network for tiny faces makes of it.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import PIL.Image

from sparnet.data.faces import read_faces
from sparnet.image import Image, resize_bicubic
from sparnet.metrics.faces import FaceFinder, HrFace
from sparnet.metrics.registry import METRICS
from sparnet.restoration import Restorer
from sparnet.small_faces import SHARE_OF_SQUARE
from sparnet.weights.catalog import DEFAULT_SMALL_FACES
from sparnet.weights.info import ModelInfo

SIZES_PX = (12, 16, 20, 24, 32, 48)
NAMES = ("lpips_alex", "identity_cosine", "psnr_y")
ALWAYS = 1e9


class Nothing:
    """A restoring network that changes nothing."""

    info = ModelInfo(
        name="nothing", task="restore", image_size=512, input_size=512, network={}, parameters=0, license=""
    )

    def run(self, faces: np.ndarray) -> np.ndarray:
        """Return the faces."""
        return faces


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hr", type=Path, required=True, help="folder or pack of aligned faces")
    parser.add_argument("-m", "--model", help="name or file of a model that restores")
    parser.add_argument("--first", default=DEFAULT_SMALL_FACES, help="name or file of a model that enlarges")
    parser.add_argument("--limit", type=int, help="only the first so many faces")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_PX, help="px of the face's box")
    parser.add_argument("--clean", action="store_true", help="reduce only: no noise, no JPEG")
    options = parser.parse_args()
    originals = [decode(face.encoded) for face in read_faces(options.hr)][: options.limit]
    find = FaceFinder()
    places = [find(hr) for hr in originals]
    engines = {"bicubic": (Nothing(), "off"), f"{options.first} alone": (Nothing(), options.first)}
    if options.model:
        engines |= {
            options.model: (options.model, "off"),
            f"{options.first}, {options.model}": (options.model, options.first),
        }
    restorers = {
        name: Restorer(model, aligned=True, small_faces=first, small_face_px=ALWAYS)
        for name, (model, first) in engines.items()
    }
    metrics = {name: METRICS[name].load() for name in NAMES}
    kind = "reduced" if options.clean else "reduced, noise 3, JPEG 80"
    print(f"{len(originals)} faces, {kind}; in brackets the difference to the line before the first")
    print(f"{'face':>5}  {'restored by':<40}" + "".join(f"{name:>28}" for name in NAMES))
    for size in options.sizes:
        bad = [degrade(hr, size, seed, clean=options.clean) for seed, hr in enumerate(originals)]
        before: list[list[float]] = []
        for index, (name, restorer) in enumerate(restorers.items()):
            scores = score(restorer, bad, originals, places, metrics)
            cells = [f"{fmean(values):>28.4f}" for values in scores]
            if index % 2:
                cells = [cell(values, base) for values, base in zip(scores, before, strict=True)]
            print(f"{size:>5}  {name:<40}" + "".join(cells), flush=True)
            before = scores


def cell(values: Sequence[float], base: Sequence[float]) -> str:
    """Show a mean and its difference to another, with twice the standard error of that difference."""
    differences = [value - other for value, other in zip(values, base, strict=True)]
    error = 2 * stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{f'{fmean(values):.4f} ({fmean(differences):+.4f} ± {error:.4f})':>28}"


def decode(content: bytes) -> Image:
    """Read an encoded face."""
    return np.array(PIL.Image.open(io.BytesIO(content)).convert("RGB"))


def degrade(hr: Image, size_px: int, seed: int, *, clean: bool) -> Image:
    """Reduce an aligned face until its box has this size; make it a little noisy, then a JPEG."""
    side = max(4, round(size_px / SHARE_OF_SQUARE))
    small = resize_bicubic(hr, side, side)
    if clean:
        return small
    noise = np.random.default_rng(seed).normal(0, 3, small.shape)
    file = io.BytesIO()
    noisy = np.rint(np.clip(small + noise, 0, 255)).astype(np.uint8)
    PIL.Image.fromarray(noisy).save(file, "JPEG", quality=80)
    return decode(file.getvalue())


def score(
    restorer: Restorer,
    bad: Sequence[Image],
    originals: Sequence[Image],
    places: Sequence[HrFace],
    metrics: dict,
) -> list[list[float]]:
    """Restore faces and measure them; return each metric's values."""
    scores: list[list[float]] = [[] for _ in NAMES]
    for made, hr, place in zip(restorer.restore_stream(bad), originals, places, strict=True):
        sr = made.photo.pixels
        sr = sr if sr.shape == hr.shape else resize_bicubic(sr, *hr.shape[:2])
        for values, name in zip(scores, NAMES, strict=True):
            takes_face = METRICS[name].takes == "face"
            measure = metrics[name]
            values.append(measure(sr, hr, place) if takes_face else measure(sr, hr))
    return scores


if __name__ == "__main__":
    main()
