"""Images a second of training: a plain float32 eager loop beside ours, interleaved in one run.

    python benchmarks/training.py [--preset sparnet-light] [--batch-size 8] [--rounds 5]

The plain loop is what one writes first: float32, contiguous tensors, torch's own reflect padding,
Adam, and pictures decoded, cropped and reduced by Pillow in the loop. Ours is the trainer's: bf16,
channels_last, our reflect padding's gradient, fused Adam, the set in memory as uint8, batches made
ahead. Also prints the share of our step that is not the network: data, averaging, the optimiser.
"""

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import nn

from sparnet.data.batches import AugmentConfig, FaceBatches
from sparnet.data.faces import FaceSet
from sparnet.network.bytes import to_signed
from sparnet.network.generator import SPARNet
from sparnet.network.presets import preset
from sparnet.training.ema import WeightAverage

BICUBIC = PillowImage.Resampling.BICUBIC


class PlainPad(nn.Module):
    """Reflect padding by torch alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad by one pixel."""
        return nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")


def make_faces(count: int = 64, side: int = 160) -> tuple[FaceSet, list[bytes]]:
    """Make smooth random pictures, decoded and as WebP."""
    chance = np.random.default_rng(0)
    pixels, encoded = [], []
    for _ in range(count):
        coarse = PillowImage.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        picture = coarse.resize((side, side), BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=90)
        pixels.append(np.asarray(picture))
        encoded.append(buffer.getvalue())
    names = tuple(str(index) for index in range(count))
    return FaceSet(np.stack(pixels), np.full(count, side), names, names), encoded


def plain_step(name: str, encoded: list[bytes], size: int, device: torch.device) -> Callable[[int], None]:
    """Return the step of a plain loop."""
    from sparnet.network import layers

    network = SPARNet(preset(name)).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.99))
    chance = np.random.default_rng(0)
    side = network.config.image_size

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        picture = PillowImage.open(io.BytesIO(encoded[index % len(encoded)])).convert("RGB")
        cut = int(chance.integers(128, 161))
        left, top = (int(chance.integers(0, 161 - cut)) for _ in range(2))
        hr = picture.crop((left, top, left + cut, top + cut)).resize((side, side), BICUBIC)
        return np.asarray(hr), np.asarray(hr.resize((side // 8,) * 2, BICUBIC).resize((side,) * 2, BICUBIC))

    def step(index: int) -> None:
        pairs = [load(index * size + i) for i in range(size)]
        hr, lr_up = (
            torch.from_numpy(np.stack([pair[k] for pair in pairs])).permute(0, 3, 1, 2).to(device)
            for k in (0, 1)
        )
        own = layers.reflect_pad
        layers.reflect_pad = PlainPad()
        try:
            loss = (network(to_signed(lr_up.contiguous())) - to_signed(hr)).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finally:
            layers.reflect_pad = own

    return step


def our_step(
    name: str, faces: FaceSet, size: int, device: torch.device, spent: dict[str, float]
) -> Callable[[int], None]:
    """Return the trainer's step; `spent` gathers seconds in the network and out of it."""
    network = SPARNet(preset(name)).to(memory_format=torch.channels_last).to(device).train()
    average = WeightAverage(network, halflife_images=2000, rampup=0.05)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.99), fused=True)
    batches = FaceBatches(
        faces,
        image_size=network.config.image_size,
        input_size=network.config.reads_px,
        upscale_factor=8,
        augment=AugmentConfig(),
        seed=0,
        device=device,
    )

    def clock(part: str, since: float) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent[part] = spent.get(part, 0.0) + now - since
        return now

    def step(index: int) -> None:
        mark = time.perf_counter()
        pair = batches.pairs(range(index * size, (index + 1) * size))
        lr_up = to_signed(pair.lr_up).contiguous(memory_format=torch.channels_last)
        mark = clock("data", mark)
        with torch.autocast(device.type, torch.bfloat16):
            sr = network(lr_up)
        loss = (sr.float() - to_signed(pair.hr)).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mark = clock("network", mark)
        optimizer.step()
        mark = clock("optimiser", mark)
        average.update(network, images_seen=(index + 1) * size, batch_size=size)
        clock("average", mark)

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="sparnet-light")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = torch.cuda.get_device_name() if device.type == "cuda" else _processor()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.preset}")
    faces, encoded = make_faces()
    spent: dict[str, float] = {}
    steps = {
        "plain fp32": plain_step(options.preset, encoded, options.batch_size, device),
        "ours": our_step(options.preset, faces, options.batch_size, device, spent),
    }
    for step in steps.values():
        step(0)
    spent.clear()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(1, options.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step(index)
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, seconds in medians.items():
        print(f"{name}: {options.batch_size / seconds:.2f} images/s (median of {options.rounds})")
    print(f"ratio: {medians['plain fp32'] / medians['ours']:.2f}")
    total = sum(spent.values())
    shares = ", ".join(f"{part} {100 * seconds / total:.1f} %" for part, seconds in spent.items())
    print(f"of our step: {shares} (the trainer makes its data while the network works)")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
