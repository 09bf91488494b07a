"""How many pictures of 512 px equation 14 degrades a second on one core, and what its steps cost.

    python benchmarks/degradation.py [--pictures 300] [--contact-sheet docs/images/degradation.webp]

Times are those of the processor, so that other programs on the machine count as little as can be.
The picture is scikit-image's astronaut (NASA, public domain).
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import skimage

from sparnet.degradation import (
    DEGRADATIONS,
    AverageBlur,
    Blur,
    DegradationParameters,
    GaussianBlur,
    MedianBlur,
    MotionBlur,
    Noise,
    add_noise,
    apply_blur,
    apply_degradation,
    compress,
    degrade,
    degrade_pair,
    draw_parameters,
)
from sparnet.image import Image, resize_bicubic

PROMISED_PICTURES_PER_SECOND = 60
TILE_PX = 160
STEPS: dict[str, Blur] = {
    "gaussian sigma 5": GaussianBlur(sigma_px=5.0),
    "gaussian sigma 15": GaussianBlur(sigma_px=15.0),
    "average 15": AverageBlur(size_px=15.0),
    "median 15": MedianBlur(size_px=15),
    "motion 25": MotionBlur(length_px=25.0, angle_degrees=30.0),
}


def main() -> None:
    """Measure, print, and draw the contact sheet if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300, help="pictures degraded for each preset")
    parser.add_argument("--contact-sheet", type=Path, help="draw examples into this picture")
    arguments = parser.parse_args()
    if arguments.contact_sheet is not None:
        draw_contact_sheet(arguments.contact_sheet)
        return
    cv2.setNumThreads(1)
    hr = skimage.data.astronaut()
    print(
        f"{cpu_name()}, one core; Python {platform.python_version()}, OpenCV {cv2.__version__}, "
        f"Pillow {PIL.__version__}, NumPy {np.__version__}"
    )
    for name, config in DEGRADATIONS.items():
        rng = np.random.default_rng(0)
        degrade(hr, rng, config)
        started = time.process_time()
        for _ in range(arguments.pictures):
            degrade(hr, rng, config)
        speed = arguments.pictures / (time.process_time() - started)
        print(
            f"{name:8} {speed:6.1f} pictures/s, {speed / PROMISED_PICTURES_PER_SECOND:.2f} x what is promised"
        )
    lr = hr[:127, :127]
    noise = Noise(std=10.0, per_channel=True, seed=0)
    rng = np.random.default_rng(0)
    for name, blur in STEPS.items():
        print(f"{name:18} {milliseconds(partial(apply_blur, hr, blur)):6.2f} ms")
    print(f"{'noise 127 px':18} {milliseconds(lambda: add_noise(lr, noise)):6.2f} ms")
    print(f"{'JPEG 127 px':18} {milliseconds(lambda: compress(lr, 60)):6.2f} ms")
    print(f"{'enlarge to 512 px':18} {milliseconds(lambda: resize_bicubic(lr, 512, 512)):6.2f} ms")
    print(f"{'draw parameters':18} {milliseconds(lambda: draw_parameters(512, 512, rng)):6.2f} ms")
    direct = milliseconds(lambda: cv2.GaussianBlur(hr, (0, 0), 15.0))
    ours = milliseconds(lambda: apply_blur(hr, STEPS["gaussian sigma 15"]))
    print(f"gaussian sigma 15: {direct / ours:.1f} x as fast as OpenCV's of 8 bits")


def milliseconds(action: Callable[[], object]) -> float:
    """Time an action; the median of 20."""
    action()
    times = []
    for _ in range(20):
        started = time.process_time()
        action()
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def cpu_name() -> str:
    """Name the processor, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def draw_contact_sheet(path: Path) -> None:
    """Show each step by itself, then draws of both presets."""
    face = skimage.data.astronaut()[15:205, 130:320]
    hr = np.array(PIL.Image.fromarray(face).resize((512, 512), PIL.Image.Resampling.LANCZOS))
    tiles = [("original", hr), *single_steps(hr)]
    for name in ("release", "paper"):
        rng = np.random.default_rng(6)
        for _ in range(8):
            parameters = draw_parameters(512, 512, rng, DEGRADATIONS[name])
            tiles.append((f"{name}, {parameters.lr_width_px} px", apply_degradation(hr, parameters)))
    always_gray = DEGRADATIONS["release"].model_copy(update={"grayscale_probability": 1.0})
    tiles[-1] = ("a gray pair's lr_up", degrade_pair(hr, np.random.default_rng(1), always_gray)[1])
    columns = 8
    rows = -(-len(tiles) // columns)
    caption_px = 18
    sheet = PIL.Image.new("RGB", (columns * TILE_PX, rows * (TILE_PX + caption_px)), "white")
    canvas = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(size=11)
    for index, (caption, tile) in enumerate(tiles):
        x, y = index % columns * TILE_PX, index // columns * (TILE_PX + caption_px)
        small = PIL.Image.fromarray(tile).resize((TILE_PX - 4, TILE_PX - 4), PIL.Image.Resampling.LANCZOS)
        sheet.paste(small, (x + 2, y + 2))
        canvas.text((x + 3, y + TILE_PX), caption, fill="black", font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=80, method=6)


def single_steps(hr: Image) -> list[tuple[str, Image]]:
    """Apply each kind of each step, the others left out."""
    plain = DegradationParameters(
        blur=None, lr_height_px=127, lr_width_px=127, interpolation="area", noise=None, jpeg_quality=None
    )
    tiny: dict[str, object] = {"lr_height_px": 40, "lr_width_px": 40}
    changes: list[tuple[str, dict[str, object]]] = [
        *[(name, dict[str, object](blur=blur)) for name, blur in STEPS.items() if name != "gaussian sigma 5"],
        *(
            (f"{way}, 40 px", {"interpolation": way, **tiny})
            for way in ("nearest", "linear", "area", "cubic")
        ),
        ("noise 20, gray", {"noise": Noise(std=20.0, per_channel=False, seed=0)}),
        ("noise 20, coloured", {"noise": Noise(std=20.0, per_channel=True, seed=0)}),
        ("JPEG, quality 90", {"jpeg_quality": 90}),
        ("JPEG, quality 35", {"jpeg_quality": 35}),
        ("JPEG 35, 40 px", {"jpeg_quality": 35, **tiny}),
        ("noise 20, JPEG 35", {"jpeg_quality": 35, "noise": Noise(std=20.0, per_channel=True, seed=0)}),
        (
            "all of it",
            {
                "blur": STEPS["motion 25"],
                "jpeg_quality": 35,
                "noise": Noise(std=10.0, per_channel=True, seed=0),
            },
        ),
    ]
    return [(name, apply_degradation(hr, plain.model_copy(update=change))) for name, change in changes]


if __name__ == "__main__":
    main()
