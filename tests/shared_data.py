"""Real faces and photos, which are not in the repository: where they lie, and how a pack is read."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def find_shared(part: str) -> Path:
    """Return a file or folder of the shared data, or skip the test."""
    root = Path(os.environ.get("SPARNET_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / part).exists():
        pytest.skip(f"{root / part} is not there; name the folder of shared data in SPARNET_SHARED")
    return root / part


def read_test_faces() -> Iterator[np.ndarray]:
    """Yield the 440 pictures of the test pack: the central 85 % of each, at 128 px by Pillow."""
    for path in sorted(find_shared("faces/faces128-test").glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in sorted(shard.getmembers(), key=lambda member: member.name):
                file = shard.extractfile(member)
                if file is None or not member.name.endswith(".webp"):
                    continue
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                inner = round(0.85 * picture.width)
                start = (picture.width - inner) // 2
                crop = picture.crop((start, start, start + inner, start + inner))
                yield np.array(crop.resize((128, 128), Image.Resampling.BICUBIC))
