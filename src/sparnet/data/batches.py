"""Batches that are a function of (seed, image index): which face, and how it is augmented.

The whole set lies on the device as uint8; crops, turns and resizing happen there.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import field_validator
from torch import Tensor
from torch.nn import functional

from sparnet.config import Config
from sparnet.data.faces import FaceSet
from sparnet.degradation import RELEASE, DegradationConfig, degrade_pair

CROP_STEP_PX = 4
"""Crop sides are multiples of this, so that a batch is resized in few calls."""


ZOOM_LIMIT = 16.0
"""More makes training faces of a handful of pixels."""


class AugmentConfig(Config):
    """How a training face is varied."""

    flip: bool = True
    """Mirror half of the faces."""
    zoom: tuple[float, float] = (1.0, 1.25)
    """Range of enlargement: a square of 1/zoom of the picture's side, anywhere in it, is cut out."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees, as the paper does; the release does not."""

    @field_validator("zoom")
    @classmethod
    def _check_zoom(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= zoom[0] <= zoom[1] <= ZOOM_LIMIT:
            raise ValueError(
                f"must be a range from 1 to at most {ZOOM_LIMIT:g}, got {zoom[0]:g} to {zoom[1]:g}"
            )
        return zoom


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
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 0], counter=[0, epoch, 0, 1]))
            self._epoch, self._order = epoch, generator.permutation(self.faces)
        return int(self._order[place])

    def _uniforms(self, index: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, 0], counter=[0, index, 0, 0]))
        return generator.random(5)


@dataclass(frozen=True)
class Pair:
    """A batch to train on, as 8-bit pictures."""

    hr: UInt8[Tensor, "n 3 s s"]
    """Originals."""
    lr_up: UInt8[Tensor, "n 3 t t"]
    """What the network reads in their place."""


class FaceBatches:
    """Makes training batches on a device.

    Args:
        faces: The set; copied to `device` once.
        image_size: Side of the faces made, in px.
        input_size: Side of what the network reads, in px.
        upscale_factor: How much smaller the low-resolution faces are.
        degradation: Equation 14 instead of plain bicubic reduction; None for the latter. It says how
            large they are, `upscale_factor` no more.
        augment: How they are varied.
        seed: Seed of the run.
        device: Where the set lies and the batches are made.
    """

    def __init__(
        self,
        faces: FaceSet,
        *,
        image_size: int,
        input_size: int,
        upscale_factor: int = 8,
        degradation: DegradationConfig | None = None,
        augment: AugmentConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.image_size = image_size
        self.input_size = input_size
        self.upscale_factor = upscale_factor
        self.degradation = degradation
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        self.augment = augment
        self.sampler = Sampler(len(faces), seed=seed)
        self.sizes = faces.sizes
        self.pixels = torch.from_numpy(faces.pixels).permute(0, 3, 1, 2).to(device)

    def pairs(self, indices: range) -> "Pair":
        """Return the faces of images `indices`, and what the network reads in their place."""
        hr = self.batch(indices)
        if self.degradation is None:
            return Pair(hr, make_lr_up(hr, upscale_factor=self.upscale_factor, size=self.input_size))
        originals = hr.permute(0, 2, 3, 1).cpu().numpy()
        made = list(self._pool.map(self._degrade, originals, indices))
        return Pair(*(self._to_device([pair[side] for pair in made]) for side in (0, 1)))

    def _degrade(self, hr: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        chance = np.random.Philox(key=[self.sampler.seed, 1], counter=[0, index, 0, 0])
        generator = np.random.Generator(chance)
        return degrade_pair(
            np.ascontiguousarray(hr), generator, self.degradation or RELEASE, size=self.input_size
        )

    def _to_device(self, pictures: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self.pixels.device)

    def batch(self, indices: range) -> UInt8[Tensor, "n 3 s s"]:
        """Return the augmented faces of images `indices` as 8-bit pictures."""
        draw = self.sampler.draw(indices)
        low, high = self.augment.zoom
        zoom = low + (high - low) * draw.uniforms[:, 0]
        sizes = self.sizes[draw.rows]
        steps = np.maximum(1, np.round(sizes / zoom / CROP_STEP_PX).astype(np.int64))
        sides = np.minimum(sizes, steps * CROP_STEP_PX)
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

    On a CPU torch's 8-bit kernel is used; elsewhere floats, rounded. Both stay within two grey
    levels of Pillow.
    """
    if pictures.shape[-2:] == (size, size):
        return pictures
    if pictures.device.type == "cpu":
        return functional.interpolate(pictures, (size, size), mode="bicubic", antialias=True)
    return resize_bicubic_by_floats(pictures, size)


def resize_bicubic_by_floats(pictures: UInt8[Tensor, "n 3 h w"], size: int) -> UInt8[Tensor, "n 3 size size"]:
    """Resize across, then down, each rounded to 8 bits: where there is no 8-bit kernel (GPUs)."""
    for shape in ((pictures.shape[-2], size), (size, size)):
        resized = functional.interpolate(pictures.float(), shape, mode="bicubic", antialias=True)
        pictures = resized.round().clamp(0, 255).to(torch.uint8)
    return pictures


def make_lr_up(
    hr: UInt8[Tensor, "n 3 h h"], *, upscale_factor: int, size: int
) -> UInt8[Tensor, "n 3 size size"]:
    """Reduce faces by `upscale_factor` and enlarge them to `size`, both bicubically in 8 bits."""
    return resize_bicubic(resize_bicubic(hr, hr.shape[-1] // upscale_factor), size)
