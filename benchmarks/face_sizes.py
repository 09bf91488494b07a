"""What `sparnet upscale` makes of faces of other sizes than the one its model was trained on.

    python benchmarks/face_sizes.py --hr ../shared/faces/faces128-test --framing 0.85 [--limit 100]

Originals are reduced to so many px (Pillow bicubic) and enlarged in three ways: bicubically, by the network
alone, which sees the face reduced to what it knows, and by `Upscaler`, which gives the face its own detail
back; without -m it may take another network, and the share of faces that it took it for is printed. With
--blurred they are first reduced to the size the network knows, then enlarged: their size promises
a detail they do not have. With --noise or --jpeg they are made worse in the end. Needs the lab half and the
metrics' files (docs/metrics.md).
"""

import argparse
from pathlib import Path
from statistics import fmean

from sparnet.degradation import Noise, add_noise, compress
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.image import AnyImage, resize_bicubic
from sparnet.metrics.registry import METRICS
from sparnet.upscaling import Upscaler, known_px

SIZES_PX = (12, 16, 20, 24, 32, 48, 64, 96)
NAMES = ("psnr_y", "lpips_alex")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hr", type=Path, required=True, help="folder or pack of faces")
    parser.add_argument("--framing", type=float, default=1.0)
    parser.add_argument("--limit", type=int, help="only the first so many faces")
    parser.add_argument("-m", "--model", help="name or file of a model that enlarges")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_PX)
    parser.add_argument("--blurred", action="store_true", help="sizes without the detail of that size")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of noise, of 255")
    parser.add_argument("--jpeg", type=int, help="quality of a compression after it")
    options = parser.parse_args()
    upscaler = Upscaler(options.model)
    info = upscaler.info
    chosen = TestSetOptions(
        upscale_factor=info.upscale_factor,
        framing=options.framing,
        size_px=info.image_size,
        limit=options.limit,
    )
    originals = [face.hr for face in read_test_set(options.hr, chosen)]
    metrics = {name: METRICS[name].load() for name in NAMES}
    known = known_px(info)
    kind = f"reduced to {known} px, then enlarged" if options.blurred else "reduced"
    print(f"{info.name}, {len(originals)} faces, {kind}: {' / '.join(NAMES)}")
    print(f"{'px':>4} {'bicubic':>18} {'network alone':>18} {'sparnet upscale':>18} {'by another':>11}")
    for px in options.sizes:
        made, others = {}, 0
        for number, hr in enumerate(originals):
            lr = resize_bicubic(hr, known, known) if options.blurred else hr
            worse = _worsened(resize_bicubic(lr, px, px), options.noise, options.jpeg, number)
            prepared = upscaler.prepare(worse)
            ended = upscaler.run([prepared])[0]
            others += ended.model != info.name
            alone = upscaler.engine.run(prepared.lr_up[None])[0]
            for way, picture in (("bicubic", ended.bicubic), ("network", alone), ("upscale", ended.sr)):
                for name, measure in metrics.items():
                    made.setdefault((way, name), []).append(float(measure(picture, hr)))
        cells = [
            " / ".join(
                f"{fmean(made[way, name]):.2f}" if name == "psnr_y" else f"{fmean(made[way, name]):.3f}"
                for name in NAMES
            )
            for way in ("bicubic", "network", "upscale")
        ]
        print(
            f"{px:>4} " + " ".join(f"{cell:>18}" for cell in cells) + f" {others / len(originals):>11.0%}",
            flush=True,
        )


def _worsened(face: AnyImage, noise: float, quality: int | None, seed: int) -> AnyImage:
    """Add noise, then compress."""
    if noise > 0:
        face = add_noise(face, Noise(std=noise, per_channel=True, seed=seed))
    return face if quality is None else compress(face, quality)


if __name__ == "__main__":
    main()
