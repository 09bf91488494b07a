"""Equation 14: what is drawn fits the specification, and each step does what its name says."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

import cv2
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sparnet.config import parse_config
from sparnet.degradation import (
    DEGRADATIONS,
    PAPER,
    AverageBlur,
    Blur,
    DegradationConfig,
    DegradationParameters,
    GaussianBlur,
    Interpolation,
    MedianBlur,
    MotionBlur,
    Noise,
    add_noise,
    apply_blur,
    apply_degradation,
    average_kernel,
    compress,
    degradation_preset,
    degrade,
    degrade_pair,
    degrade_with_parameters,
    draw_parameters,
    motion_kernel,
    to_gray,
)
from sparnet.errors import ImageError, RecipeError
from sparnet.image import resize_bicubic

BlurT = TypeVar("BlurT", GaussianBlur, AverageBlur, MedianBlur, MotionBlur)
DRAWS = 2000
CRITICAL_CHI_SQUARE = {1: 10.83, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32, 11: 31.26}
"""By degrees of freedom: what one in a thousand sets of draws exceeds. Seeds are fixed."""
CRITICAL_KOLMOGOROV = 1.95
"""The same for sqrt(n) times the largest distance between two cumulative distributions."""
BLURS: tuple[Blur, ...] = (
    GaussianBlur(sigma_px=3.3),
    GaussianBlur(sigma_px=11.0),
    AverageBlur(size_px=7.0),
    AverageBlur(size_px=10.6),
    MedianBlur(size_px=9),
    MotionBlur(length_px=9.0, angle_degrees=30.0),
    MotionBlur(length_px=21.5, angle_degrees=110.0),
)
INTERPOLATIONS = get_args(Interpolation)


@pytest.fixture(scope="module")
def release() -> list[DegradationParameters]:
    rng = np.random.default_rng(0)
    return [draw_parameters(512, 512, rng) for _ in range(DRAWS)]


@pytest.fixture(scope="module")
def paper() -> list[DegradationParameters]:
    rng = np.random.default_rng(1)
    return [draw_parameters(512, 512, rng, PAPER) for _ in range(DRAWS)]


def textured(height: int = 128, width: int = 128, *, seed: int = 0) -> np.ndarray:
    """Smooth coloured blobs of all sizes: like a photo in what blurs and resizing do to it."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.uniform(0, 255, (height >> level, width >> level, 3)),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for level in (2, 3, 4, 5)
    ]
    return np.clip(np.mean(layers, axis=0), 0, 255).astype(np.uint8)


def grey(value: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


def edge(side: int = 128) -> np.ndarray:
    """Black left half, white right half."""
    picture = grey(0, side)
    picture[:, side // 2 :] = 255
    return picture


def parameters(
    *,
    blur: Blur | None = None,
    lr_size: int = 32,
    interpolation: Interpolation = "area",
    noise: Noise | None = None,
    jpeg_quality: int | None = None,
) -> DegradationParameters:
    return DegradationParameters(
        blur=blur,
        lr_height_px=lr_size,
        lr_width_px=lr_size,
        interpolation=interpolation,
        noise=noise,
        jpeg_quality=jpeg_quality,
    )


def require_counts(counts: Sequence[float], shares: Sequence[float]) -> None:
    """Pearson's chi-square test."""
    expected = np.array(shares) / sum(shares) * sum(counts)
    statistic = float(((np.array(counts) - expected) ** 2 / expected).sum())
    assert statistic < CRITICAL_CHI_SQUARE[len(counts) - 1], (counts, expected)


def require_even(values: Sequence[float], low: float, high: float) -> None:
    """Test that values come evenly from a range, by Kolmogorov and Smirnov."""
    ranked = (np.sort(values) - low) / (high - low)
    assert ranked[0] >= 0
    assert ranked[-1] <= 1
    steps = np.arange(len(ranked) + 1) / len(ranked)
    distance = max(np.max(steps[1:] - ranked), np.max(ranked - steps[:-1]))
    assert distance * math.sqrt(len(ranked)) < CRITICAL_KOLMOGOROV


def blurs_of(drawn: list[DegradationParameters], kind: type[BlurT]) -> list[BlurT]:
    return [each.blur for each in drawn if isinstance(each.blur, kind)]


# What is drawn


def test_half_of_the_release_is_blurred_by_one_of_four_kinds(release):
    kinds = [None if each.blur is None else each.blur.kind for each in release]
    counts = [kinds.count(kind) for kind in (None, "gaussian", "average", "median", "motion")]
    require_counts(counts, (4, 1, 1, 1, 1))


def test_the_paper_always_blurs_adds_noise_and_compresses(paper):
    assert all(each.blur and each.noise and each.jpeg_quality for each in paper)
    kinds = [each.blur.kind for each in paper]
    require_counts([kinds.count(kind) for kind in ("gaussian", "average", "median", "motion")], (1, 1, 1, 1))


def test_the_sizes_of_blurs_are_drawn_evenly_from_their_ranges(paper):
    require_even([each.sigma_px for each in blurs_of(paper, GaussianBlur)], 3, 15)
    require_even([each.size_px for each in blurs_of(paper, AverageBlur)], 3, 15)
    require_even([each.length_px for each in blurs_of(paper, MotionBlur)], 5, 25)
    require_even([each.angle_degrees for each in blurs_of(paper, MotionBlur)], 0, 180)


def test_the_size_of_a_median_is_one_of_the_odd_numbers_alike(paper):
    sizes = [each.size_px for each in blurs_of(paper, MedianBlur)]
    require_counts([sizes.count(size) for size in (3, 5, 7, 9, 11, 13, 15)], (1,) * 7)


def test_the_release_draws_the_low_resolution_size_evenly_from_32_to_127_px(release):
    sizes = np.array([each.lr_height_px for each in release])
    assert (sizes.min(), sizes.max()) == (32, 127)
    require_counts(np.histogram(sizes, bins=np.arange(32, 129, 8))[0].tolist(), (1,) * 12)
    assert all(each.lr_width_px == each.lr_height_px for each in release)


def test_the_paper_draws_the_factor_evenly_from_4_to_16(paper):
    sizes = [each.lr_height_px for each in paper]
    assert (min(sizes), max(sizes)) == (32, 128)
    # Edges between whole sizes, so that rounding to those moves nothing across.
    edges = (32.0, 36.5, 42.5, 51.5, 64.5, 85.5, 128.0)
    counts = np.histogram(sizes, bins=edges)[0].tolist()
    require_counts(counts, [512 / low - 512 / high for low, high in itertools.pairwise(edges)])


def test_each_interpolation_is_as_likely_as_another(release):
    ways = [each.interpolation for each in release]
    require_counts([ways.count(way) for way in ("nearest", "linear", "area", "cubic")], (1, 1, 1, 1))


def test_a_fifth_of_the_release_has_noise_half_of_it_coloured(release, paper):
    noises = [each.noise for each in release if each.noise is not None]
    require_counts([len(noises), DRAWS - len(noises)], (2, 8))
    coloured = sum(noise.per_channel for noise in noises)
    require_counts([coloured, len(noises) - coloured], (1, 1))
    require_even([noise.std for noise in noises], 0, 25.5)
    require_even([each.noise.std for each in paper], 0, 25.5)


def test_no_two_pictures_share_their_noise(paper):
    assert len({each.noise.seed for each in paper}) == DRAWS


def test_seven_tenths_of_the_release_are_jpegs_of_quality_35_to_90(release):
    qualities = [each.jpeg_quality for each in release if each.jpeg_quality is not None]
    require_counts([len(qualities), DRAWS - len(qualities)], (7, 3))
    assert (min(qualities), max(qualities)) == (35, 90)
    require_counts(np.histogram(qualities, bins=np.arange(35, 92, 7))[0].tolist(), (1,) * 8)


def test_what_is_drawn_does_not_depend_on_what_else_is_drawn(release):
    """A change of one probability leaves the rest of each picture as it was."""
    rng = np.random.default_rng(0)
    noiseless = DegradationConfig(noise_probability=0.0)
    for before in release[:50]:
        assert draw_parameters(512, 512, rng, noiseless) == before.model_copy(update={"noise": None})


def test_some_pictures_are_only_made_smaller():
    """To the largest size, by Pillow, as the paper's tiny faces are; the others are drawn as before."""
    config = PAPER.model_copy(update={"clean_probability": 0.3})
    clean = parameters(lr_size=128, interpolation="antialiased")
    drawn = [draw_parameters(512, 512, np.random.default_rng(seed), config) for seed in range(1_000)]
    before = [draw_parameters(512, 512, np.random.default_rng(seed), PAPER) for seed in range(1_000)]
    assert all(new in (clean, old) for new, old in zip(drawn, before, strict=True))
    require_counts([drawn.count(clean), 1_000 - drawn.count(clean)], (3, 7))


def test_antialiased_is_pillows_bicubic_reduction():
    hr = textured(128, 128)
    done = apply_degradation(hr, parameters(interpolation="antialiased", lr_size=16))
    np.testing.assert_array_equal(done, resize_bicubic(resize_bicubic(hr, 16, 16), 128, 128))


def test_lengths_follow_the_size_of_the_face():
    for seed in range(50):
        large = draw_parameters(512, 512, np.random.default_rng(seed), PAPER)
        small = draw_parameters(256, 256, np.random.default_rng(seed), PAPER)
        assert small.lr_height_px == pytest.approx(large.lr_height_px / 2, abs=0.51)
        assert (small.noise, small.jpeg_quality) == (large.noise, large.jpeg_quality)
        match large.blur, small.blur:
            case GaussianBlur(), GaussianBlur():
                assert small.blur.sigma_px == large.blur.sigma_px / 2
            case AverageBlur(), AverageBlur():
                assert small.blur.size_px == large.blur.size_px / 2
            case MotionBlur(), MotionBlur():
                assert small.blur.length_px == large.blur.length_px / 2
            case MedianBlur(), MedianBlur():
                assert abs(small.blur.size_px - large.blur.size_px / 2) <= 1
            case _:
                pytest.fail("another kind of blur")


# Repeating


def test_the_same_generator_gives_the_same_picture_and_another_gives_another():
    hr = textured()
    first, same, other = (degrade(hr, np.random.default_rng(seed), PAPER) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("preset", DEGRADATIONS)
def test_recorded_parameters_give_the_same_bytes(preset):
    hr = textured()
    rng = np.random.default_rng(5)
    for _ in range(40):
        lr_up, drawn = degrade_with_parameters(hr, rng, DEGRADATIONS[preset])
        recorded = DegradationParameters.model_validate_json(drawn.model_dump_json())
        assert recorded == drawn
        np.testing.assert_array_equal(apply_degradation(hr, recorded), lr_up)


@pytest.mark.parametrize("blur", BLURS, ids=str)
def test_the_number_of_threads_changes_nothing(blur):
    hr = textured(300, 260)
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 2, 5):
            cv2.setNumThreads(count)
            results.append(apply_degradation(hr, parameters(blur=blur)))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_original_is_left_alone_and_the_result_is_ones_own():
    hr = textured()
    before = hr.copy()
    hr.flags.writeable = False
    lr_up = degrade(hr, np.random.default_rng(0), PAPER)
    np.testing.assert_array_equal(hr, before)
    assert lr_up.flags.writeable
    assert not np.shares_memory(hr, lr_up)


def test_a_picture_that_is_a_view_of_another_is_degraded_like_its_copy():
    flipped = textured()[:, ::-1]
    for blur in (None, *BLURS):
        np.testing.assert_array_equal(
            apply_degradation(flipped, parameters(blur=blur)),
            apply_degradation(flipped.copy(), parameters(blur=blur)),
        )


@pytest.mark.parametrize(("height", "width"), [(96, 160), (131, 67), (16, 16), (1, 1)])
def test_any_size_comes_back_at_its_size(height, width):
    rng = np.random.default_rng(0)
    hr = np.ascontiguousarray(textured()[:1].repeat(height, axis=0)[:, :1].repeat(width, axis=1))
    for _ in range(20):
        assert degrade(hr, rng, PAPER).shape == (height, width, 3)


# The steps


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
@pytest.mark.parametrize("blur", BLURS, ids=str)
def test_a_blur_leaves_a_constant_picture_as_it_is(blur, value):
    np.testing.assert_array_equal(apply_blur(grey(value), blur), grey(value))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_constant_picture_stays_as_it_is_without_noise(interpolation):
    done = apply_degradation(grey(77), parameters(interpolation=interpolation, lr_size=9, jpeg_quality=90))
    np.testing.assert_array_equal(done, grey(77))


@pytest.mark.parametrize("side", [128, 127])
@pytest.mark.parametrize("sigma_px", [3.0, 5.9, 6.0, 8.0, 15.0])
def test_a_gaussian_turns_an_edge_into_the_error_function(sigma_px, side):
    blurred = apply_blur(edge(side), GaussianBlur(sigma_px=sigma_px))[:, :, 1].astype(float)
    distance = np.arange(side) + 0.5 - side // 2
    expected = np.array([127.5 * (1 + math.erf(each / (sigma_px * math.sqrt(2)))) for each in distance])
    inside = np.abs(distance) < side / 2 - 4 * sigma_px if sigma_px < 15 else np.abs(distance) < 4
    # Half a grey level is rounding, the other half what OpenCV and the detour over half the size may do.
    assert np.abs(blurred - expected)[:, inside].max() <= 1


@pytest.mark.parametrize("sigma_px", [3.0, 6.0, 10.0])
def test_a_gaussian_turns_a_line_into_its_bell(sigma_px):
    picture = grey(0, 128)
    picture[:, 63:65] = 255
    blurred = apply_blur(picture, GaussianBlur(sigma_px=sigma_px))[:, :, 0].astype(float)
    distance = np.arange(128) - 63.5
    density = np.exp(-0.5 * (distance / sigma_px) ** 2) / (sigma_px * math.sqrt(2 * math.pi))
    assert np.abs(blurred - 2 * 255 * density).max() <= 1


@pytest.mark.parametrize("sigma_px", [6.0, 9.0, 15.0])
def test_a_wide_gaussian_is_within_a_grey_level_of_the_direct_one(sigma_px):
    picture = textured(256, 256)
    direct = cv2.GaussianBlur(picture.astype(np.float64), (201, 201), sigma_px, borderType=cv2.BORDER_REFLECT)
    assert np.abs(apply_blur(picture, GaussianBlur(sigma_px=sigma_px)) - direct).max() <= 1


@pytest.mark.parametrize(
    ("size_px", "expected"),
    [(1.0, [1]), (3.0, [1 / 3] * 3), (4.0, [0.125, 0.25, 0.25, 0.25, 0.125]), (1.5, [1 / 6, 4 / 6, 1 / 6])],
)
def test_an_average_counts_pixels_for_what_of_them_lies_inside(size_px, expected):
    np.testing.assert_allclose(average_kernel(size_px), expected, rtol=1e-6)


def test_an_average_turns_an_edge_into_a_ramp():
    blurred = apply_blur(edge(), AverageBlur(size_px=9.0))[0, :, 0].astype(float)
    ramp = np.clip((np.arange(128) - 63.5) / 9 + 0.5, 0, 1) * 255
    assert np.abs(blurred - ramp).max() <= 0.51


def test_a_median_removes_specks_and_keeps_edges():
    specked = edge()
    specked[20:22, 20:22] = 255
    specked[90, 100] = 0
    np.testing.assert_array_equal(apply_blur(specked, MedianBlur(size_px=5)), edge())


def test_a_median_is_no_larger_than_opencv_counts():
    halves = np.zeros((64, 64, 3), dtype=np.uint8)
    halves[:, 32:] = 200
    np.testing.assert_array_equal(apply_blur(halves, MedianBlur(size_px=255)), halves)
    with pytest.raises(ValueError, match="255"):
        MedianBlur(size_px=257)
    config, rng = DegradationConfig(blurs=("median",), blur_probability=1.0), np.random.default_rng(0)
    drawn = [draw_parameters(13_000, 13_000, rng, config).blur for _ in range(40)]
    sizes = {blur.size_px for blur in drawn if isinstance(blur, MedianBlur)}
    assert max(sizes) == 255
    assert min(sizes) < 100, "smaller ones are as they were"


def test_a_picture_too_long_for_a_jpeg_is_refused():
    with pytest.raises(ImageError, match=r"a JPEG of 70,000 x 1 px, which has at most 65,500 a side"):
        compress(np.zeros((1, 70_000, 3), dtype=np.uint8), 50)


def test_a_median_of_one_pixel_changes_nothing_and_an_even_one_is_refused():
    np.testing.assert_array_equal(apply_blur(textured(), MedianBlur(size_px=1)), textured())
    with pytest.raises(ValueError, match="size_px must be odd, got 4"):
        MedianBlur(size_px=4)


@pytest.mark.parametrize("angle_degrees", [0.0, 17.0, 45.0, 90.0, 133.0])
@pytest.mark.parametrize("length_px", [0.4, 1.0, 5.0, 6.3, 25.0])
def test_a_motion_kernel_is_a_line_through_the_middle(length_px, angle_degrees):
    kernel = motion_kernel(length_px, angle_degrees).astype(float)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    rows, columns = np.indices(kernel.shape) - len(kernel) // 2
    angle = math.radians(angle_degrees)
    along = columns * math.cos(angle) - rows * math.sin(angle)
    across = columns * math.sin(angle) + rows * math.cos(angle)
    # A line's variance is length^2 / 12; sharing points among four pixels adds 1/4 at most.
    assert -0.001 <= (kernel * along**2).sum() - length_px**2 / 12 <= 0.2501
    assert (kernel * across**2).sum() <= 0.2501


def test_a_motion_to_the_right_leaves_columns_alone_and_blurs_rows():
    kernel = motion_kernel(5.0, 0.0)
    assert np.count_nonzero(kernel.sum(axis=1) > 1e-9) == 1
    np.testing.assert_array_equal(
        apply_blur(
            np.ascontiguousarray(edge().transpose(1, 0, 2)), MotionBlur(length_px=9.0, angle_degrees=0.0)
        ),
        edge().transpose(1, 0, 2),
    )


def test_motion_runs_counterclockwise():
    picture = grey(0, 65)
    picture[32, 32] = 255
    blurred = apply_blur(picture, MotionBlur(length_px=15.0, angle_degrees=45.0))
    assert blurred[28, 36].min() > 0
    assert blurred[36, 36].max() == 0


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("lr_size", [16, 21, 32])
def test_no_way_to_make_it_smaller_moves_the_face(interpolation, lr_size):
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None] * 2, (128, 128, 3)).copy()
    done = apply_degradation(ramp, parameters(interpolation=interpolation, lr_size=lr_size))
    moved = (done.astype(float) - ramp)[:, 16:-16].mean() / 2
    # In px. Nearest takes whole pixels: half a pixel to one side where a cell has an even number.
    assert abs(moved) < 0.6


def test_noise_has_the_deviation_asked_for():
    noise = add_noise(grey(128, 128), Noise(std=20.0, per_channel=True, seed=1)).astype(float) - 128
    # 49,152 samples: the standard error of a deviation of 20 is 0.064.
    assert noise.std() == pytest.approx(20, abs=0.25)
    assert abs(noise.mean()) < 0.36


def test_noise_for_all_channels_is_gray_and_noise_for_each_is_not():
    same = add_noise(grey(128), Noise(std=20.0, per_channel=False, seed=1))
    np.testing.assert_array_equal(same[..., 0], same[..., 2])
    own = add_noise(grey(128), Noise(std=20.0, per_channel=True, seed=1)).astype(float)
    assert abs(np.corrcoef(own[..., 0].ravel(), own[..., 1].ravel())[0, 1]) < 0.06


def test_noise_stays_within_8_bits():
    assert add_noise(grey(255), Noise(std=25.0, per_channel=True, seed=0)).min() > 100
    assert add_noise(grey(0), Noise(std=25.0, per_channel=True, seed=0)).max() < 150


def test_noise_comes_after_the_picture_is_made_smaller():
    noise = Noise(std=20.0, per_channel=False, seed=0)
    done = apply_degradation(grey(128, 128), parameters(lr_size=16, noise=noise))
    small = add_noise(grey(128, 16), noise)
    # Enlarged eight times, the middle of each block is nearly the noisy pixel it came from.
    assert np.corrcoef(done[4::8, 4::8, 0].ravel(), small[..., 0].ravel())[0, 1] > 0.97


def test_a_jpeg_of_lower_quality_is_further_from_the_picture():
    picture = textured()
    errors = [np.abs(compress(picture, quality).astype(int) - picture).mean() for quality in (90, 60, 35)]
    assert 0 < errors[0] < errors[1] < errors[2] < 12


def test_a_jpeg_keeps_red_red():
    red = grey(0)
    red[..., 0] = 200
    # JPEG rounds colours by a few grey levels.
    assert np.abs(compress(red, 90).astype(int) - red).max() <= 4


# Pairs


def test_three_tenths_of_the_pairs_are_gray_on_both_sides():
    hr = textured(32, 32)
    rng = np.random.default_rng(0)
    gray = 0
    for _ in range(500):
        clear, lr_up = degrade_pair(hr, rng)
        if (clear[..., :1] == clear).all():
            gray += 1
            assert (lr_up[..., :1] == lr_up).all()
            np.testing.assert_array_equal(clear, to_gray(hr))
        else:
            np.testing.assert_array_equal(clear, hr)
    require_counts([gray, 500 - gray], (3, 7))


def test_the_bad_photo_of_a_pair_can_be_asked_for_smaller():
    hr = textured(128, 128)
    config = DegradationConfig(
        clean_probability=1.0, lr_size_px=(64, 128), grayscale_probability=0.0, jpeg_probability=1.0
    )
    clear, lr = degrade_pair(hr, np.random.default_rng(0), config, size=40)
    np.testing.assert_array_equal(clear, hr)
    np.testing.assert_array_equal(lr, resize_bicubic(resize_bicubic(hr, 32, 32), 40, 40))


def test_gray_is_the_luma():
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    assert to_gray(picture)[0].tolist() == [[76] * 3, [150] * 3, [29] * 3, [9] * 3]


# Configuration


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_preset_survives_json_and_is_found_by_name(name):
    config = degradation_preset(name)
    assert DegradationConfig.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_preset_is_refused():
    with pytest.raises(RecipeError, match="no degradation 'papper'; have: paper, release"):
        degradation_preset("papper")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blur_probability": 1.5}, "blur_probability: input should be less than or equal to 1, got 1.5"),
        ({"noise_std": [5.0, 1.0]}, "noise_std must be a range from 0 up, low end first, got [5.0, 1.0]"),
        ({"median_size_px": [4, 4]}, "median_size_px must hold an odd number, got [4, 4]"),
        ({"jpeg_compression": [10, 100]}, "jpeg_compression must be at most 99, got 100"),
        ({"blur": 0.5}, "unknown key 'blur'; did you mean 'blurs'?"),
    ],
)
def test_a_wrong_configuration_is_explained_in_one_line(values, message):
    with pytest.raises(RecipeError) as caught:
        parse_config(DegradationConfig, values, source="r.toml")
    assert str(caught.value) == f"r.toml: {message}"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64), dtype=np.uint8),
        np.zeros((64, 64, 4), dtype=np.uint8),
        np.zeros((64, 64, 3), dtype=np.float32),
        np.zeros((3, 64, 64), dtype=np.uint8),
    ],
    ids=["gray", "with alpha", "float", "channels first"],
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(TypeCheckError):
        degrade(picture, np.random.default_rng(0))


def test_the_contact_sheet_of_the_docs_is_small():
    sheet = Path(__file__).parents[1] / "docs" / "images" / "degradation.webp"
    assert sheet.stat().st_size < 150_000
