"""Batches that are a function of (seed, image index): which face, and how it is augmented.

The whole set lies on the device as uint8; crops, turns and resizing happen there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from sparnet.config import Config
from sparnet.data.faces import FaceSet

CROP_STEP_PX = 4
"""Crop sides are multiples of this, so that a batch is resized in few calls."""


class AugmentConfig(Config):
    """How a training face is varied."""

    flip: bool = True
    """Mirror half of the faces."""
    zoom: tuple[float, float] = (1.0, 1.25)
    """Range of enlargement: a square of 1/zoom of the picture's side, anywhere in it, is cut out."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees, as the paper does; the release does not."""


@dataclass(frozen=True)
class Draw:
    """What chance decides for each image of a batch."""

    rows: Int[np.ndarray, " n"]
    """Which face of the set."""
    uniforms: Float[np.ndarray, "n 5"]
    """Zoom, horizontal and vertical place, flip, turn: each in [0, 1)."""


class Sampler:
    """Says which face and which augmentation image number i of the training is.

    Each epoch is a permutation of the set; both it and the augmentation depend on nothing but the
    seed and i, so a resumed run, or one on several devices, sees what an unbroken one sees.

    Args:
        faces: Number of faces in the set.
        seed: Seed of the run.
    """

    def __init__(self, faces: int, *, seed: int) -> None:
        self.faces = faces
        self.seed = seed
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, dtype=np.int64)

    def draw(self, indices: range) -> Draw:
        """Decide images `indices`, counted from the start of training."""
        rows = np.array([self._row(index) for index in indices], dtype=np.int64)
        uniforms = np.stack([self._uniforms(index) for index in indices])
        return Draw(rows, uniforms)

    def _row(self, index: int) -> int:
        epoch, place = divmod(index, self.faces)
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 0], counter=[epoch, 0, 0, 1]))
            self._epoch, self._order = epoch, generator.permutation(self.faces)
        return int(self._order[place])

    def _uniforms(self, index: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, 0], counter=[0, index, 0, 0]))
        return generator.random(5)


class FaceBatches:
    """Makes training batches on a device.

    Args:
        faces: The set; copied to `device` once.
        image_size: Side of the faces made, in px.
        augment: How they are varied.
        seed: Seed of the run.
        device: Where the set lies and the batches are made.
    """

    def __init__(
        self, faces: FaceSet, *, image_size: int, augment: AugmentConfig, seed: int, device: torch.device
    ) -> None:
        self.image_size = image_size
        self.augment = augment
        self.sampler = Sampler(len(faces), seed=seed)
        self.sizes = faces.sizes
        self.pixels = torch.from_numpy(faces.pixels).permute(0, 3, 1, 2).to(device)

    def batch(self, indices: range) -> UInt8[Tensor, "n 3 s s"]:
        """Return the augmented faces of images `indices` as 8-bit pictures."""
        draw = self.sampler.draw(indices)
        low, high = self.augment.zoom
        zoom = low + (high - low) * draw.uniforms[:, 0]
        sizes = self.sizes[draw.rows]
        sides = np.minimum(sizes, np.round(sizes / zoom / CROP_STEP_PX).astype(np.int64) * CROP_STEP_PX)
        lefts = np.floor(draw.uniforms[:, 1] * (sizes - sides + 1)).astype(np.int64)
        tops = np.floor(draw.uniforms[:, 2] * (sizes - sides + 1)).astype(np.int64)
        made = torch.empty(
            (len(indices), 3, self.image_size, self.image_size), dtype=torch.uint8, device=self.pixels.device
        )
        for side in np.unique(sides):
            members = np.flatnonzero(sides == side)
            crops = torch.stack(
                [
                    self.pixels[draw.rows[i], :, tops[i] : tops[i] + side, lefts[i] : lefts[i] + side]
                    for i in members
                ]
            )
            made[torch.from_numpy(members).to(made.device)] = resize_bicubic(crops, self.image_size)
        return self._turn(made, draw.uniforms[:, 3], draw.uniforms[:, 4])

    def _turn(self, faces: Tensor, flip: np.ndarray, turn: np.ndarray) -> Tensor:
        if self.augment.flip:
            mirrored = torch.from_numpy(flip < 0.5).to(faces.device)
            faces = torch.where(mirrored[:, None, None, None], faces.flip(3), faces)
        if self.augment.quarter_turns:
            turns = torch.from_numpy(np.floor(turn * 4).astype(np.int64)).to(faces.device)
            turned = torch.stack([torch.rot90(faces, k, dims=(2, 3)) for k in range(4)])
            faces = turned[turns, torch.arange(len(faces), device=faces.device)]
        return faces


def resize_bicubic(pictures: UInt8[Tensor, "n 3 h w"], size: int) -> UInt8[Tensor, "n 3 size size"]:
    """Resize as Pillow's BICUBIC does, on any device: antialiased, rounded to 8 bits.

    On a CPU torch's 8-bit kernel is used; elsewhere floats, rounded. Both stay within one grey
    level of Pillow.
    """
    if pictures.shape[-2:] == (size, size):
        return pictures
    whole = pictures if pictures.device.type == "cpu" else pictures.float()
    resized = functional.interpolate(
        whole, size=(size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.round().clamp(0, 255).to(torch.uint8) if resized.is_floating_point() else resized


def make_lr_up(
    hr: UInt8[Tensor, "n 3 h h"], *, upscale_factor: int, size: int
) -> UInt8[Tensor, "n 3 size size"]:
    """Reduce faces by `upscale_factor` and enlarge them to `size`, both bicubically in 8 bits."""
    return resize_bicubic(resize_bicubic(hr, hr.shape[-1] // upscale_factor), size)
