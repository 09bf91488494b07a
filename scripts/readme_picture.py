"""Draw the README's picture of a restored photo.

    python scripts/readme_picture.py

A part of NASA's portrait of Eileen Collins (public domain, in scikit-image), reduced to 128 x 100 px, with
noise and JPEG blocks, beside what `sparnet restore -s 3` makes of it.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data

from sparnet.degradation import Noise, add_noise, compress
from sparnet.image import resize_bicubic
from sparnet.restoration import Restorer, enlarge

TARGET = Path(__file__).parent.parent / "docs" / "images" / "restored.webp"
FACTOR = 3


def main() -> None:
    """Write the picture."""
    small = resize_bicubic(skimage.data.astronaut()[:226, 82:372], 100, 128)
    photo = compress(add_noise(small, Noise(std=5, per_channel=True, seed=0)), 60)
    made = Restorer(upscale_factor=FACTOR).restore(photo).image
    gap = np.full((len(made), 8, 3), 255, dtype=np.uint8)
    beside = np.concatenate([enlarge(photo, FACTOR), gap, made], axis=1)
    PIL.Image.fromarray(beside).save(TARGET, quality=90)


if __name__ == "__main__":
    main()
