"""Tiny faces enlarged from Python: sizes, shapes, batches, models."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import sparnet
from sparnet import upscaling
from sparnet.degradation import Noise, add_noise, compress
from sparnet.errors import ImageError, WeightsError
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.image import resize_bicubic
from sparnet.metrics.registry import METRICS
from sparnet.upscaling import (
    Upscaler,
    back_project,
    blockiness,
    keep_detail,
    prepare_face,
    side_by_side,
    white_noise_variance,
    without_repeats,
)
from sparnet.weights.catalog import known_models
from sparnet.weights.info import ModelInfo

EXAMPLES = Path(__file__).parent.parent / "examples"


def random_face(rows: int, columns: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def smooth_face(side: int) -> np.ndarray:
    return resize_bicubic(random_face(8, 8), side, side)


def fine_energy(face: np.ndarray) -> float:
    """Mean square of what a face loses if it is reduced to 16 px."""
    coarse = resize_bicubic(resize_bicubic(face, 16, 16), *face.shape[:2])
    return float(np.square(face.astype(float) - coarse).mean())


@pytest.fixture(scope="module")
def upscaler(small_model) -> Upscaler:
    return Upscaler(small_model, threads=1)


@pytest.fixture(scope="module")
def chooser() -> Upscaler:
    return Upscaler(threads=1)


@pytest.fixture(scope="module")
def info(upscaler: Upscaler) -> ModelInfo:
    return upscaler.info


@pytest.mark.parametrize("side", [4, 8, 15, 16, 17, 20, 32, 64, 127, 128])
def test_a_square_face_of_any_size_fills_the_result(upscaler, side):
    made = upscaler.upscale(random_face(side, side))
    assert made.shape == (128, 128, 3)
    assert made.dtype == np.uint8


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [(24, 16, (128, 85)), (16, 24, (85, 128)), (16, 17, (120, 128)), (4, 128, (4, 128)), (128, 5, (128, 5))],
)
def test_the_proportions_of_a_face_are_kept(upscaler, rows, columns, expected):
    assert upscaler.upscale(random_face(rows, columns)).shape == (*expected, 3)


def test_a_face_is_enlarged_bicubically_before_the_network_sees_it(info):
    face = random_face(16, 16)
    prepared = prepare_face(face, info)
    assert np.array_equal(prepared.lr_up, resize_bicubic(face, 128, 128))
    assert prepared.notes == ()


def test_padding_repeats_the_border_and_leaves_the_middle_as_it_was(info):
    face = random_face(128, 64)
    lr = prepare_face(face, info).lr
    assert np.array_equal(lr[:, 32:96], face)
    assert np.array_equal(lr[:, :32], np.repeat(face[:, :1], 32, axis=1))
    assert np.array_equal(lr[:, 96:], np.repeat(face[:, -1:], 32, axis=1))


def test_padding_is_cut_off_the_result_and_the_bicubic_one_alike(upscaler):
    face = random_face(128, 63)
    (made,) = upscaler.run([upscaler.prepare(face)])
    assert made.sr.shape == made.bicubic.shape == (128, 63, 3)
    assert np.array_equal(made.bicubic, face)  # it is as large as the result


@pytest.mark.parametrize(
    ("rows", "columns", "edge"), [(16, 15, (0, 0)), (15, 16, (0, 0)), (16, 13, (0, 8)), (11, 16, (16, 0))]
)
def test_a_face_is_cut_out_where_it_was_padded(upscaler, rows, columns, edge):
    face = random_face(rows, columns)
    prepared = upscaler.prepare(face)
    (made,) = upscaler.run([prepared])
    top, left = edge
    whole = resize_bicubic(prepared.lr, 128, 128)
    assert made.sr.shape == (8 * rows, 8 * columns, 3)
    assert np.array_equal(made.bicubic, whole[top : top + 8 * rows, left : left + 8 * columns])


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (1, 1, "1 x 1 px is too small: expected a face of about 16 x 16 px, at least 4 px a side"),
        (3, 100, "100 x 3 px is too small"),
        (129, 129, "129 x 129 px is larger than the 128 x 128 px this model makes"),
        (20, 200, "200 x 20 px is larger than the 128 x 128 px"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(info, rows, columns, message):
    with pytest.raises(ImageError) as refused:
        prepare_face(random_face(rows, columns), info)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "columns", "notes"),
    [
        (16, 16, 0),
        (20, 20, 1),
        (24, 16, 1),
        (33, 33, 2),
    ],
)
def test_notes_say_what_is_unusual(info, rows, columns, notes):
    assert len(prepare_face(random_face(rows, columns), info).notes) == notes


def test_a_face_does_not_depend_on_those_beside_it(upscaler):
    faces = [random_face(16, 16, seed=seed) for seed in range(3)]
    together = upscaler.run([upscaler.prepare(face) for face in faces])
    alone = [upscaler.upscale(face) for face in faces]
    # One grey level: on one face and on several the sums may run in another order.
    assert all(np.abs(a.sr.astype(int) - b).max() <= 1 for a, b in zip(together, alone, strict=True))


def test_no_faces_give_no_faces(upscaler):
    assert upscaler.run([]) == []


def test_a_view_of_a_picture_is_a_picture(upscaler):
    face = random_face(16, 16)
    flipped = face[:, ::-1]
    assert np.array_equal(upscaler.upscale(flipped), upscaler.upscale(flipped.copy()))
    face.flags.writeable = False
    upscaler.upscale(face)


def test_the_result_is_the_caller_s_own(upscaler):
    first = upscaler.upscale(random_face(16, 16))
    before = first.copy()
    upscaler.upscale(random_face(16, 16, seed=1))
    assert np.array_equal(first, before)
    assert first.flags.writeable
    assert first.flags.c_contiguous


@pytest.mark.parametrize("px", [20, 24, 40, 96])
def test_a_larger_face_keeps_what_it_shows(upscaler, px):
    face = random_face(px, px)
    network, made = upscaler.engine.run(upscaler.prepare(face).lr_up[None])[0], upscaler.upscale(face)
    apart = [np.abs(resize_bicubic(one, px, px).astype(int) - face).mean() for one in (network, made)]
    assert apart[1] < apart[0] / 2


def test_a_face_as_small_as_the_network_knows_is_what_the_network_makes(upscaler):
    prepared = upscaler.prepare(random_face(16, 16))
    assert np.array_equal(upscaler.run([prepared])[0].sr, upscaler.engine.run(prepared.lr_up[None])[0])


def test_the_network_sees_a_larger_face_with_the_detail_it_knows(upscaler):
    face = random_face(40, 40)
    seen = upscaler.prepare(face).lr_up
    assert np.array_equal(seen, resize_bicubic(resize_bicubic(face, 16, 16), 128, 128))
    assert np.array_equal(upscaler.run([upscaler.prepare(face)])[0].bicubic, resize_bicubic(face, 128, 128))


def test_back_projection_leaves_a_right_enlargement_alone():
    sr = smooth_face(64)
    lr = resize_bicubic(sr, 32, 32)
    assert np.abs(back_project(sr, lr).astype(int) - sr).max() <= 4  # what 8 bits round off
    assert np.array_equal(back_project(sr, lr, times=0), sr)


def test_a_blurred_face_stays_as_sharp_as_the_network_made_it():
    """It has been enlarged already: its size says nothing of its detail."""
    blurred = smooth_face(64)
    fine = random_face(64, 64, seed=1).astype(int) - 128
    sr = np.clip(resize_bicubic(blurred, 64, 64) + fine // 2, 0, 255).astype(np.uint8)
    sr = resize_bicubic(sr, 128, 128)
    kept, projected = keep_detail(sr, blurred, known_px=16), back_project(sr, blurred)
    detail = [fine_energy(resize_bicubic(one, 64, 64)) for one in (sr, kept, projected)]
    assert detail[1] == pytest.approx(detail[0], rel=0.05)
    assert detail[2] < 0.3 * detail[0]
    # What is coarse and there to be seen is the face's own all the same.
    apart = [
        np.abs(resize_bicubic(one, 6, 6).astype(int) - resize_bicubic(blurred, 6, 6)) for one in (sr, kept)
    ]
    assert apart[1].mean() < 0.7 * apart[0].mean()


@pytest.mark.parametrize("blurred_to", [12, 24, 40])
def test_a_face_gets_back_the_waves_it_has_and_no_others(blurred_to):
    """White noise blurred to so many px, and enlarged to 64: half cycles up to there are its own."""
    full = random_face(64, 64).astype(np.uint8)
    lr = resize_bicubic(resize_bicubic(full, blurred_to, blurred_to), 64, 64)
    sr = resize_bicubic(random_face(64, 64, seed=1), 128, 128)
    kept = resize_bicubic(keep_detail(sr, lr, known_px=8), 64, 64).astype(float).mean(axis=2)
    spectra = [np.fft.rfft2(plane) for plane in (kept, lr.astype(float).mean(axis=2))]
    cycles = np.hypot.outer(np.abs(np.fft.fftfreq(64)) * 64, np.arange(33))
    coarse = (cycles > 0) & (cycles < 0.25 * blurred_to)
    fine = (cycles > 0.75 * blurred_to) & (cycles < 32)
    alike = [
        np.abs(np.vdot(*(one[band] for one in spectra)))
        / np.prod([np.linalg.norm(one[band]) for one in spectra])
        for band in (coarse, fine)
    ]
    assert alike[0] > 0.9
    assert alike[1] < 0.4


def test_back_projection_gets_nearer_each_time():
    sr, lr = np.full((64, 64, 3), 128, dtype=np.uint8), smooth_face(32)
    apart = [
        np.abs(resize_bicubic(back_project(sr, lr, times=n), 32, 32).astype(int) - lr).mean()
        for n in range(4)
    ]
    assert apart[0] > apart[1] > apart[2] >= apart[3]
    assert apart[3] < 1.5


def noise_taken_in(kept: np.ndarray, sr: np.ndarray, noise: np.ndarray) -> float:
    """How much of the noise of a face came into its enlargement, in shares."""
    change = kept.astype(float) - sr
    laid = resize_bicubic(np.clip(noise + 128, 0, 255).astype(np.uint8), len(sr), len(sr)).astype(float) - 128
    return float((change * laid).sum() / np.square(laid).sum())


@pytest.mark.parametrize("side", [32, 48, 64, 96, 111])
def test_noise_does_not_come_back_where_the_network_took_it_out(side):
    """What a network that knows bad faces left of one at the size it knows is noise, and white."""
    sr = smooth_face(128)
    clean = resize_bicubic(sr, side, side)
    noisy = worse(clean)
    noise = noisy.astype(int) - clean
    naive, kept = (keep_detail(sr, noisy, known_px=31, blind=blind) for blind in (False, True))
    assert noise_taken_in(naive, sr, noise) > 1
    assert noise_taken_in(kept, sr, noise) < 0.45


@pytest.mark.parametrize("std", [3, 10, 20])
@pytest.mark.parametrize("shape", [(64, 64, 3), (33, 96, 3)])
def test_white_noise_is_measured_beside_edges_and_texture(std, shape):
    noise = np.random.default_rng(0).normal(0, std, shape).astype(np.float32)
    drawn = np.zeros(shape, dtype=np.float32)
    drawn[:, 20:30] = 200
    drawn[:8, 40:64] = random_face(8, 24)
    assert white_noise_variance(drawn + noise) == pytest.approx(std**2, rel=0.3)
    assert white_noise_variance(drawn) == 0


@pytest.mark.parametrize("first", [(0, 0), (3, 5)])
def test_jpeg_blocks_are_seen_wherever_their_grid_begins(first):
    clean = resize_bicubic(random_face(20, 20, seed=3), 97, 97)
    cut = (slice(first[0], None), slice(first[1], None))
    shown = [blockiness(face[cut].astype(np.float32)) for face in (clean, worse(clean), compress(clean, 40))]
    assert max(shown[:2]) < 8
    assert shown[2] > 16
    assert blockiness(compress(clean, 5)[:96, :23].astype(np.float32)) == 0


def test_detail_beyond_what_the_network_knows_comes_back_to_a_clean_face():
    """Freckles, that is; what is as fine everywhere is noise."""
    sr = (resize_bicubic(random_face(9, 9), 128, 128) * 0.5 + 64).astype(np.uint8)
    drawn = np.full((64, 64, 3), 128, dtype=np.uint8)
    chance = np.random.default_rng(0)
    for row, column in chance.integers(0, 63, (80, 2)):
        drawn[row, column] = drawn[row + 1, column + 1] = chance.choice([28, 228])
    fine = drawn.astype(float) - resize_bicubic(resize_bicubic(drawn, 23, 23), 64, 64)
    lr = np.clip(resize_bicubic(sr, 64, 64) + fine, 0, 255).astype(np.uint8)
    plain, kept = (keep_detail(sr, lr, known_px=16, blind=blind) for blind in (False, True))
    assert fine_energy(kept) > 0.8 * fine_energy(plain) > 20


def test_a_float_picture_is_refused(small_model):
    """Only the checker refuses this; without it Pillow would, in its own words."""
    with pytest.raises(TypeCheckError):
        sparnet.upscale(np.zeros((16, 16, 3), dtype=np.float32), small_model)


def test_a_model_for_another_factor_is_refused(small_model):
    with pytest.raises(WeightsError, match="small enlarges x8, not x4; name another model, or leave"):
        Upscaler(small_model, upscale_factor=4)


def test_a_model_that_restores_photos_is_refused(make_variant, tmp_path):
    path = make_variant(tmp_path / "hd.onnx", name="hd", task="restore", upscale_factor=None)
    with pytest.raises(WeightsError, match="hd restores photos"):
        Upscaler(path)


@pytest.mark.parametrize(("factor", "name"), [(4, "sparnet-x4"), (16, "mine")])
def test_a_factor_takes_the_model_that_has_it(factor, name, user_cache, make_variant, add_to_catalog):
    path = make_variant(user_cache / "mine.onnx", name="mine", upscale_factor=16)
    add_to_catalog(path, "mine", upscale_factor=16)
    upscaler = Upscaler(upscale_factor=factor, threads=1)
    assert upscaler.info.name == name
    side = 128 // factor
    assert upscaler.upscale(random_face(side, side)).shape == (128, 128, 3)
    assert upscaler.prepare(random_face(side, side)).notes == ()
    assert f"where {side} x {side} is expected" in upscaler.prepare(random_face(20, 20)).notes[0]


@pytest.mark.parametrize("times", [2, 3, 8, 20])
def test_an_enlargement_by_whole_pixels_is_undone(upscaler, times):
    face = random_face(16, 12)
    blocks = face.repeat(times, axis=0).repeat(times, axis=1)
    once, found = without_repeats(blocks)
    assert found == times
    assert np.array_equal(once, face)
    assert np.array_equal(upscaler.upscale(blocks), upscaler.upscale(face))
    assert upscaler.prepare(blocks).notes[0] == (
        f"each pixel is there {times} x {times} times: reduced to 12 x 16 px"
    )


def test_a_picture_of_blocks_is_refused_by_its_own_size(info):
    blocks = random_face(40, 1300).repeat(10, axis=0).repeat(10, axis=1)[:400, :13000]
    with pytest.raises(
        ImageError, match=r"^13000 x 400 px \(1300 x 40 px, each there 10 x 10 times\) is larger"
    ):
        prepare_face(blocks, info)


def test_what_only_looks_like_blocks_is_left_alone():
    blocks = random_face(16, 16).repeat(4, axis=0).repeat(4, axis=1)
    blocks[5, 5, 0] ^= 1
    assert without_repeats(blocks)[1] == 1
    assert without_repeats(blocks[1:])[1] == 1
    assert without_repeats(smooth_face(64))[1] == 1
    flat = np.full((64, 64, 3), 7, dtype=np.uint8)
    assert without_repeats(flat)[0].shape == (4, 4, 3)
    flat[-1, -1] = 8
    assert without_repeats(flat)[1] == 1
    halves = np.repeat(random_face(2, 60), 30, axis=0)
    assert without_repeats(halves)[1] == 1, "high blocks, but narrow ones"


FACE = sparnet.read_image(EXAMPLES / "face16.png")
"""A real face, clean, of 16 px."""


def worse(face: np.ndarray) -> np.ndarray:
    return add_noise(face, Noise(std=15, per_channel=False, seed=0))


class TestTwoNetworks:
    """Clean faces of 16 to 31 px are made by one network, all others by the one that knows bad faces."""

    @pytest.fixture(scope="class")
    @classmethod
    def large(cls, chooser) -> np.ndarray:
        return chooser.upscale(FACE)

    @pytest.mark.parametrize(
        ("side", "bad", "model"),
        [
            (12, False, "sparnet-x4"),
            (16, False, "sparnet-x8"),
            (16, True, "sparnet-x4"),
            (31, False, "sparnet-x8"),
            (31, True, "sparnet-x4"),
            (32, False, "sparnet-x4"),
            (96, True, "sparnet-x4"),
        ],
    )
    def test_size_and_what_is_wrong_with_a_face_decide(self, chooser, large, side, bad, model):
        face = resize_bicubic(large, side, side)
        face = worse(face) if bad else face
        (made,) = chooser.run([chooser.prepare(face)])
        assert made.model == model
        assert np.array_equal(made.sr, Upscaler(model, threads=1).upscale(face))
        told = any("made by sparnet-x4, which knows such faces" in note for note in made.notes)
        assert told == (bad and side < 32)

    def test_in_one_batch_each_face_gets_its_own(self, chooser, large):
        faces = [FACE, worse(FACE), resize_bicubic(large, 40, 40), FACE[:, ::-1].copy()]
        made = chooser.run([chooser.prepare(face) for face in faces])
        assert [one.model[-2:] for one in made] == ["x8", "x4", "x4", "x8"]
        alone = [chooser.upscale(face) for face in faces]
        assert all(np.abs(a.sr.astype(int) - b).max() <= 1 for a, b in zip(made, alone, strict=True))

    def test_a_network_that_knows_no_bad_faces_does_not_take_over(self, monkeypatch):
        """One of that name that somebody fetched earlier, say."""
        known = known_models()
        one = known["sparnet-x4"]
        plain = one.model_copy(update={"info": one.info.model_copy(update={"blind": False})})
        monkeypatch.setattr(upscaling, "known_models", lambda: {**known, "sparnet-x4": plain})
        alone = Upscaler(threads=1)
        assert alone.finer is None
        assert alone.run([alone.prepare(worse(FACE))])[0].model == "sparnet-x8"

    @pytest.mark.parametrize("named", [{"model": "sparnet-x8"}, {"upscale_factor": 8}])
    def test_a_model_or_factor_that_was_named_makes_all(self, named):
        pinned = Upscaler(**named, threads=1)
        assert pinned.finer is None
        (made,) = pinned.run([pinned.prepare(random_face(48, 48))])
        assert made.model == "sparnet-x8"
        assert "where 16 x 16 is expected" in made.notes[0]

    @pytest.mark.parametrize(
        ("side", "notes"),
        [
            (20, ["20 x 20 px, where 16 x 16 is expected: enlarged to 128 x 128 px"]),
            (32, []),
            (48, ["48 x 48 px, where 32 x 32 is expected: enlarged to 128 x 128 px"]),
        ],
    )
    def test_notes_name_the_size_that_is_nearest(self, chooser, side, notes):
        assert list(chooser.prepare(random_face(side, side)).notes) == notes

    @pytest.mark.parametrize(
        ("side", "spoil", "better"),
        [
            pytest.param(16, lambda face: face, "sparnet-x8", id="16"),
            pytest.param(24, lambda face: face, "sparnet-x8", id="24"),
            pytest.param(12, lambda face: face, "sparnet-x4", id="12"),
            pytest.param(16, worse, "sparnet-x4", id="16 noise"),
            pytest.param(20, lambda face: compress(face, 40), "sparnet-x4", id="20 jpeg"),
            pytest.param(32, lambda face: face, "sparnet-x4", id="32"),
            pytest.param(48, worse, "sparnet-x4", id="48 noise"),
            pytest.param(64, lambda face: compress(face, 30), "sparnet-x4", id="64 jpeg"),
            pytest.param(
                64,
                lambda face: resize_bicubic(resize_bicubic(face, 16, 16), 64, 64),
                "sparnet-x4",
                id="64 blurred",
            ),
            pytest.param(96, worse, "sparnet-x4", id="96 noise"),
            pytest.param(96, lambda face: compress(face, 50), "sparnet-x4", id="96 jpeg"),
        ],
    )
    def test_the_choice_is_right_for_faces(self, shared, chooser, side, spoil, better):
        """Mean psnr_y is better than by the other network, and than bicubic enlargement."""
        options = TestSetOptions(upscale_factor=8, framing=0.85, size_px=128, limit=12)
        originals = [face.hr for face in read_test_set(shared / "faces" / "faces128-test", options)]
        faces = [spoil(resize_bicubic(hr, side, side)) for hr in originals]
        made = chooser.run([chooser.prepare(face) for face in faces])
        assert sum(one.model == better for one in made) >= 10
        (worse_one,) = {"sparnet-x8", "sparnet-x4"} - {better}
        other = Upscaler(worse_one, threads=1)
        psnr = METRICS["psnr_y"].load()
        ours, others, bicubic = (
            np.mean([float(psnr(picture, hr)) for picture, hr in zip(pictures, originals, strict=True)])
            for pictures in (
                [one.sr for one in made],
                [other.upscale(face) for face in faces],
                [one.bicubic for one in made],
            )
        )
        assert ours > others + 0.1
        assert ours > bicubic + 0.1


def test_pictures_stand_side_by_side_on_white():
    small = np.zeros((2, 2, 3), dtype=np.uint8)
    large = np.full((5, 3, 3), 7, dtype=np.uint8)
    beside = side_by_side([small, large], gap_px=1)
    assert beside.shape == (5, 4 + 1 + 3, 3)
    assert (beside[:4, :4] == 0).all()  # twice as large, without smoothing
    assert (beside[4, :4] == 255).all()
    assert (beside[:, 4] == 255).all()
    assert (beside[:, 5:] == 7).all()
