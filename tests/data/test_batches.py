"""Batches: a function of (seed, image index), and resizing as Pillow does it."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from sparnet.data.batches import (
    AugmentConfig,
    FaceBatches,
    Pair,
    Sampler,
    make_lr_up,
    resize_bicubic,
    resize_bicubic_by_floats,
)
from sparnet.data.faces import FaceSet
from sparnet.degradation import RELEASE, DegradationConfig
from sparnet.image import resize_bicubic as resize_by_pillow
from sparnet.network.bytes import to_bytes, to_signed


def random_faces(count: int = 5, side: int = 40) -> FaceSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    names = tuple(str(i) for i in range(count))
    return FaceSet(pixels, np.full(count, side, dtype=np.int64), names, names)


def batches(faces: FaceSet | None = None, *, seed: int = 0, **augment) -> FaceBatches:
    return FaceBatches(
        faces or random_faces(),
        image_size=32,
        input_size=32,
        upscale_factor=4,
        augment=AugmentConfig(**augment),
        seed=seed,
        device=torch.device("cpu"),
    )


def test_every_byte_survives_the_way_to_the_network_and_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_bytes(to_signed(every)), every)


def test_an_image_depends_on_seed_and_index_alone():
    whole = batches().batch(range(20))
    parts = [batches().batch(range(start, start + 5)) for start in (0, 5, 10, 15)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, batches(seed=1).batch(range(20)))


def test_each_epoch_sees_each_face_once_in_another_order():
    sampler = Sampler(7, seed=0)
    epochs = [sampler.draw(range(7 * epoch, 7 * epoch + 7)).rows.tolist() for epoch in range(3)]
    assert all(sorted(rows) == list(range(7)) for rows in epochs)
    assert epochs[0] != epochs[1]


def test_epochs_have_orders_that_do_not_resemble_each_other():
    """A stream of chance that is another one's, shifted, nearly repeats its permutation."""
    sampler, count = Sampler(3000, seed=0), 3000
    places = []
    for epoch in range(4):
        rows = sampler.draw(range(count * epoch, count * (epoch + 1))).rows
        places.append(np.argsort(rows))
    alike = np.asarray(np.corrcoef(places))[np.triu_indices(4, k=1)]
    assert np.abs(alike).max() < 0.1  # five standard errors of 1 / sqrt(3000)


def test_without_augmentation_a_face_is_only_resized():
    faces = random_faces(side=32)
    made = batches(faces, flip=False, zoom=(1.0, 1.0)).batch(range(5))
    rows = Sampler(5, seed=0).draw(range(5)).rows
    assert np.array_equal(made.permute(0, 2, 3, 1).numpy(), faces.pixels[rows])


def test_half_of_the_faces_are_mirrored():
    left = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    left[:, :, :16] = 255
    faces = FaceSet(left, np.array([32]), ("0",), ("0",))
    made = batches(faces, flip=True, zoom=(1.0, 1.0)).batch(range(400))
    mirrored = (made[:, 0, 0, 0] == 0).float().mean()
    assert 0.4 < mirrored < 0.6


def test_the_largest_zoom_leaves_pixels_of_the_smallest_face():
    made = batches(random_faces(side=32), zoom=(16.0, 16.0)).batch(range(5))
    assert made.shape == (5, 3, 32, 32)
    assert made.float().std() > 10


def test_quarter_turns_are_equally_likely():
    corner = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    corner[:, :16, :16] = 255
    faces = FaceSet(corner, np.array([32]), ("0",), ("0",))
    made = batches(faces, flip=False, zoom=(1.0, 1.0), quarter_turns=True).batch(range(400))
    where = torch.stack([made[:, 0, y, x] == 255 for y, x in ((0, 0), (0, 31), (31, 0), (31, 31))], dim=1)
    assert (where.sum(1) == 1).all()
    assert ((where.float().mean(0) - 0.25).abs() < 0.08).all()


def test_zooming_cuts_out_a_part_within_the_range():
    ramp = np.zeros((1, 160, 160, 3), dtype=np.uint8)
    ramp[:] = np.arange(160, dtype=np.uint8)[None, None, :, None]
    faces = FaceSet(ramp, np.array([160]), ("0",), ("0",))
    made = batches(faces, flip=False, zoom=(1.0, 1.25)).batch(range(100))
    span = made[:, 0, 0, -1].int() - made[:, 0, 0, 0].int()
    assert span.min() >= 128 - 8
    assert span.max() <= 160
    assert span.max() - span.min() > 20


@pytest.mark.parametrize(("source", "size"), [(128, 16), (16, 128), (150, 128), (136, 128), (64, 16)])
@pytest.mark.parametrize("resize", [resize_bicubic, resize_bicubic_by_floats])
def test_resizing_is_within_a_grey_level_of_pillows(source, size, resize):
    smooth = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    picture = PillowImage.fromarray(smooth).resize((source, source), PillowImage.Resampling.BICUBIC)
    wanted = np.asarray(picture.resize((size, size), PillowImage.Resampling.BICUBIC)).astype(int)
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    made = resize(tensor, size)
    difference = np.abs(made[0].permute(1, 2, 0).numpy().astype(int) - wanted)
    assert difference.mean() < 0.5
    assert difference.max() <= 2  # torch has fewer bits for the weights of its 8-bit kernel


def test_lr_up_is_the_face_reduced_and_enlarged():
    hr = batches().batch(range(2))
    assert torch.equal(make_lr_up(hr, upscale_factor=4, size=32), resize_bicubic(resize_bicubic(hr, 8), 32))
    assert batches().pairs(range(2)).lr_up.shape == (2, 3, 32, 32)


def degraded_pairs(indices: range, *, degradation: DegradationConfig, input_size: int) -> Pair:
    made = FaceBatches(
        random_faces(),
        image_size=32,
        input_size=input_size,
        upscale_factor=4,
        degradation=degradation,
        augment=AugmentConfig(),
        seed=0,
        device=torch.device("cpu"),
    )
    return made.pairs(indices)


def test_degraded_pairs_depend_on_seed_and_index_alone():
    whole, second = (
        degraded_pairs(indices, degradation=RELEASE, input_size=32) for indices in (range(8), range(4, 8))
    )
    assert torch.equal(whole.lr_up[4:], second.lr_up)
    assert torch.equal(whole.hr[4:], second.hr)
    assert not torch.equal(whole.hr, whole.lr_up)


def test_degraded_faces_come_at_the_size_that_the_network_reads():
    """Enlarged once, from what was made of the face, and not by way of the original's size."""
    config = DegradationConfig(clean_probability=1.0, lr_size_px=(64, 128), grayscale_probability=0.0)
    made = degraded_pairs(range(4), degradation=config, input_size=16)
    for hr, lr in zip(made.hr, made.lr_up, strict=True):
        small = resize_by_pillow(hr.permute(1, 2, 0).numpy(), 8, 8)
        assert np.array_equal(lr.permute(1, 2, 0).numpy(), resize_by_pillow(small, 16, 16))
