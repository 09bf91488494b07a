"""Many photos in one process: memory stays flat, and a run that was killed goes on where it was.

Makes photos of 0 to 30 faces (the public-domain ones of examples/faces, on drawn backgrounds), then

1. restores all of them by one `sparnet restore`, sampling its memory;
2. does so again into another folder, kills it by SIGKILL halfway, and runs the same command once
   more with `--skip-existing`: what was there must stay untouched, all else be made, all be whole.

Exits with 1 if any of that is not so. Without --model, a network of few channels and random weights
stands in (it needs the lab half, `pip install 'sparnet[train]'`), so that what is measured is all
else: finding, cutting out, pasting, reading and writing.

    python benchmarks/photos.py --photos 500
"""

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from sparnet.errors import ImageError
from sparnet.image import read_image

FACES = sorted((Path(__file__).parents[1] / "examples" / "faces").glob("*.webp"))
MOST_FACES = 30
GRID = (6, 5)
CELL_PX = 140
GROWTH = 1.05
"""By how much memory may have grown from the second quarter of the photos to the last."""


def main() -> None:
    """Do it all and end with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--model", help="name or file of a model that restores; default: a small random one")
    parser.add_argument("--folder", type=Path, help="keep the photos and results here")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        model = options.model or make_small_model(folder / "small.onnx")
        faces = make_photos(folder / "photos", options.photos, options.seed)
        mean = sum(faces) / len(faces)
        print(f"{options.photos} photos of {min(faces)} to {max(faces)} faces ({mean:.1f} on average)")
        print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
        problems = [
            *check_memory(folder, model, options.photos),
            *check_killing(folder, model, options.photos),
        ]
    for problem in problems:
        print(f"FAILED: {problem}")
    print("failed" if problems else "all as it should be")
    sys.exit(1 if problems else 0)


def make_small_model(path: Path) -> Path:
    """Write a model file of a small network with random weights."""
    import torch

    from sparnet.network.generator import SPARNet

    sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests lie there, and are not installed
    from tests.small_models import small_config, write_model

    torch.manual_seed(0)
    write_model(SPARNet(small_config()).eval(), path, task="restore", upscale_factor=None)
    return path


def make_photos(folder: Path, count: int, seed: int) -> list[int]:
    """Write photos; return how many faces were put on each."""
    folder.mkdir(parents=True, exist_ok=True)
    portraits = [PIL.Image.open(path).convert("RGB") for path in FACES]
    counts = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        counts.append(int(rng.integers(0, MOST_FACES + 1)))
        photo = draw_photo(rng, portraits, counts[-1])
        suffix = (".jpg", ".jpg", ".png", ".webp")[index % 4]
        photo.save(folder / f"{index:04d}{suffix}", quality=90)
    return counts


def draw_photo(rng: np.random.Generator, portraits: Sequence[PIL.Image.Image], faces: int) -> PIL.Image.Image:
    """Draw a background and put faces of 60 to 130 px, with soft edges, into cells of a grid."""
    columns, rows = GRID
    size = (columns * CELL_PX, rows * CELL_PX)
    coarse = PIL.Image.fromarray(rng.integers(30, 210, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, PIL.Image.Resampling.BICUBIC)).astype(np.float32)
    grain = rng.normal(0, 3, (size[1], size[0], 1))
    photo = PIL.Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    for cell in rng.permutation(columns * rows)[:faces].tolist():
        side = int(rng.integers(60, 131))
        face = portraits[int(rng.integers(len(portraits)))].resize((side, side), PIL.Image.Resampling.BICUBIC)
        mask = PIL.Image.new("L", (side, side))
        PIL.ImageDraw.Draw(mask).ellipse((side * 0.08, 0, side * 0.92, side - 1), fill=255)
        mask = mask.filter(PIL.ImageFilter.GaussianBlur(side / 20))
        x, y = cell % columns * CELL_PX, cell // columns * CELL_PX
        spare = CELL_PX - side
        photo.paste(face, (x + int(rng.integers(spare)), y + int(rng.integers(spare))), mask)
    return photo


@dataclass
class Run:
    """One run of the program."""

    seconds: float = 0.0
    """From its start to its end."""
    returncode: int = 0
    report: dict = field(default_factory=dict)
    """What it said in JSON; empty if it was killed."""
    samples: list[tuple[int, float]] = field(default_factory=list)
    """Results there were, and memory in MB, at each sample."""


def restore(folder: Path, model: str | Path, out: Path, *options: str, kill_at: int | None = None) -> Run:
    """Run `sparnet restore` on all photos; kill it once there are `kill_at` results."""
    words = ["restore", folder / "photos", "-o", out, "-m", model, "--json", *options]
    command = [sys.executable, "-m", "sparnet", *map(str, words)]
    run = Run()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        program = subprocess.Popen(command, stdout=said)
        while program.poll() is None:
            made = len(results(out))
            memory = resident_mb(program.pid)
            if memory:
                run.samples.append((made, memory))
            if kill_at is not None and made >= kill_at:
                program.send_signal(signal.SIGKILL)
                program.wait()
                break
            time.sleep(0.05)
        run.seconds = time.perf_counter() - started
        run.returncode = program.returncode
        said.seek(0)
        text = said.read()
        run.report = json.loads(text) if text and program.returncode >= 0 else {}
    return run


def results(out: Path) -> list[Path]:
    """List the results there are; a name that begins with a dot is none."""
    return [path for path in sorted(out.glob("*")) if not path.name.startswith(".")] if out.is_dir() else []


def resident_mb(process: int) -> float:
    """Return the memory that a process has now; 0 if it has ended."""
    status = Path(f"/proc/{process}/status")
    try:
        lines = status.read_text().splitlines()
    except OSError:  # no Linux, or it has ended
        ended = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=False)
        return float(ended.stdout or 0) / 1024
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def check_memory(folder: Path, model: str | Path, count: int) -> list[str]:
    """Restore all photos in one process; return what is wrong."""
    run = restore(folder, model, folder / "whole")
    if run.returncode != 0 or not run.report:
        return [f"the unbroken run ended with {run.returncode}"]
    done = run.report["done"]
    restored = sum(face["skipped"] is None for entry in done for face in entry["faces"])
    rate = f"{count / run.seconds:.2f} photos/s, {restored / run.seconds:.1f} faces/s"
    print(f"unbroken: {run.seconds:.0f} s, {rate} (start included), {restored} faces found and restored")
    problems = check_whole(folder, folder / "whole", count)
    medians = []
    for quarter in range(4):
        low, high = count * quarter / 4, count * (quarter + 1) / 4
        samples = [memory for made, memory in run.samples if low < made <= high]
        medians.append(statistics.median(samples) if samples else 0.0)
    highest = max(memory for _, memory in run.samples)
    quarters = ", ".join(f"{median:.0f}" for median in medians)
    print(f"memory by quarter of the photos: {quarters} MB; highest {highest:.0f} MB")
    _, second, _, last = medians
    if last > GROWTH * second:
        problems.append(f"memory grew from {second:.0f} MB to {last:.0f} MB")
    return problems


def check_killing(folder: Path, model: str | Path, count: int) -> list[str]:
    """Kill a run halfway and run it again; return what is wrong."""
    out = folder / "killed"
    killed = restore(folder, model, out, kill_at=count // 2)
    before = {path.name: path.stat().st_mtime_ns for path in results(out)}
    print(f"killed after {killed.seconds:.0f} s: {len(before)} results")
    problems = [] if count // 2 <= len(before) < count else ["it was not killed halfway"]
    problems += check_whole(folder, out, len(before))
    again = restore(folder, model, out, "--skip-existing")
    if again.returncode != 0:
        return [*problems, f"the second run ended with {again.returncode}"]
    existing, done = len(again.report["existing"]), len(again.report["done"])
    print(f"again with --skip-existing: {existing} left alone, {done} made, {again.seconds:.0f} s")
    if (existing, done) != (len(before), count - len(before)):
        problems.append(f"{existing} left alone and {done} made, of {len(before)} and {count - len(before)}")
    touched = [name for name, changed in before.items() if (out / name).stat().st_mtime_ns != changed]
    if touched:
        problems.append(f"{len(touched)} results were made twice, such as {touched[0]}")
    return [*problems, *check_whole(folder, out, count), *check_equal(folder / "whole", out)]


def check_whole(folder: Path, out: Path, count: int) -> list[str]:
    """Read all results; return what is wrong."""
    made = results(out)
    problems = [] if len(made) == count else [f"{out.name}: {len(made)} results instead of {count}"]
    for path in made:
        try:
            if read_image(path).shape != read_image(folder / "photos" / path.name).shape:
                problems.append(f"{path.name} is of another size")
        except ImageError as error:
            problems.append(f"half-written: {error}")
    return problems


def check_equal(whole: Path, out: Path) -> list[str]:
    """Compare what two runs have made; return what is wrong."""
    different = [path.name for path in results(whole) if path.read_bytes() != (out / path.name).read_bytes()]
    if not different:
        return []
    return [f"{len(different)} results differ from those of the unbroken run, such as {different[0]}"]


if __name__ == "__main__":
    main()
