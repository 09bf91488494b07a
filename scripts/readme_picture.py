"""Draw the README's picture of a restored photo.

    python scripts/readme_picture.py

A part of NASA's portrait of Eileen Collins (public domain, in scikit-image), reduced to 128 x 100 px, with
noise and JPEG blocks, beside what `sparnet restore -s 3` makes of it.
"""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data

from sparnet.image import resize_bicubic
from sparnet.restoration import Restorer, enlarge

TARGET = Path(__file__).parent.parent / "docs" / "images" / "restored.webp"
FACTOR = 3


def main() -> None:
    """Write the picture."""
    small = resize_bicubic(skimage.data.astronaut()[:226, 82:372], 100, 128)
    noisy = small + np.random.default_rng(0).normal(0, 5, small.shape)
    file = io.BytesIO()
    PIL.Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=60)
    photo = np.asarray(PIL.Image.open(file).convert("RGB"))
    made = Restorer(upscale_factor=FACTOR).restore(photo).image
    gap = np.full((len(made), 8, 3), 255, dtype=np.uint8)
    beside = np.concatenate([enlarge(photo, FACTOR), gap, made], axis=1)
    PIL.Image.fromarray(beside).save(TARGET, quality=90)


if __name__ == "__main__":
    main()
