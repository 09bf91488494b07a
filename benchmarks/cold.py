"""Whole commands from a cold process: their time, their memory, and what the time goes to.

    python benchmarks/cold.py [--photo ../shared/photos/group-1927.jpg ...] [--rounds 5] [--megapixels 12]

Each command runs as its own process, in turn, round after round, after one round that fills the cache of
compiled models; medians of clock and processor time, and the largest resident memory of the process, are
printed. `restore` is run on each --photo and on one enlarged to --megapixels. With --eager the first photo
is compared with the paper's HD network in eager torch (`pip install 'sparnet[train]'`): so many faces, one
after the other, at the time of one.

Where the time of a `restore` goes is measured in one more process by the profiler: the time inside the
engine's run is the network's, what remains is everything else.
"""

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "face16.png"
SPARNET = (sys.executable, "-m", "sparnet")
PARTS = {
    "reading the photo": ("sparnet/image", "read_photo"),
    "finding faces": ("sparnet/faces/detect", "detect"),
    "cutting faces out": ("sparnet/faces/align", "align"),
    "compiling the network": ("sparnet/engine/openvino", "_get_compiled"),
    "the network": ("sparnet/engine/openvino", "run"),
    "pasting": ("sparnet/faces/paste", "paste_all"),
    "writing the photo": ("sparnet/image", "write_photo"),
}
"""Cumulative time of these functions, by the beginning of their module's path."""


@dataclass
class Row:
    """What one command took."""

    command: str
    seconds: float
    """Median by the clock."""
    processor_seconds: float
    peak_mb: float
    """Largest resident memory of the process, the most of all rounds."""
    faces: int | None


def run(words: Sequence[str]) -> tuple[float, float, float, str]:
    """Run a command; return clock and processor seconds, peak memory in MB, and standard output."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
        out.seek(0)
        told = out.read().decode()
    scale = 1e-6 if sys.platform == "darwin" else 1024e-6
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale, told


def enlarge(photo: Path, megapixels: float, target: Path) -> None:
    """Write a photo of so many megapixels, JPEG."""
    import PIL.Image

    picture = PIL.Image.open(photo).convert("RGB")
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = (round(picture.width * factor), round(picture.height * factor))
    picture.resize(size, PIL.Image.Resampling.BICUBIC).save(target, quality=92)


def count_faces(told: str) -> int:
    """Count the faces that a `restore --json` restored."""
    return sum(face["skipped"] is None for entry in json.loads(told)["done"] for face in entry["faces"])


def profile_restore(photo: Path, target: Path) -> None:
    """Restore a photo in this process under the profiler; print the parts as JSON."""
    profiler = cProfile.Profile()
    profiler.enable()
    from sparnet.cli import main

    sys.argv = ["sparnet", "restore", str(photo), "-o", str(target)]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    profiler.disable()
    stats = pstats.Stats(profiler)
    calls: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    parts = {}
    for part, (module, name) in PARTS.items():
        found = [
            call[3] for (file, _, function), call in calls.items() if function == name and module in file
        ]
        if not found:
            raise SystemExit(f"{part}: no {name} in {module} was called")
        parts[part] = sum(found)
    parts["the network"] -= parts["compiling the network"]
    print(json.dumps({"parts": parts, "total": stats.total_tt}))  # type: ignore[attr-defined]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--enlarge", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.profile:
        profile_restore(*options.profile)
        return
    if options.enlarge:
        photo, target, megapixels = options.enlarge
        enlarge(Path(photo), float(megapixels), Path(target))
        return
    print(f"cores: {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = list(options.photo)
        if photos:
            photos.append(folder / f"{options.megapixels:g}mpx.jpg")
            # In its own process: a child's peak is at least what its parent had when it started it.
            run(
                (
                    sys.executable,
                    __file__,
                    "--enlarge",
                    *map(str, (photos[0], photos[-1], options.megapixels)),
                )
            )
        out = str(folder / "out")
        commands = {
            "sparnet --help": (*SPARNET, "--help"),
            "import sparnet": (sys.executable, "-c", "import sparnet"),
            "sparnet upscale": (*SPARNET, "upscale", str(EXAMPLE), "-o", out),
        }
        for photo in photos:
            commands[f"sparnet restore {photo.name}"] = (*SPARNET, "restore", str(photo), "-o", out, "--json")
        taken: dict[str, list[tuple[float, float, float, str]]] = {name: [] for name in commands}
        for turn in range(options.rounds + 1):
            for name, words in commands.items():
                measured = run(words)
                if turn:  # the first fills caches
                    taken[name].append(measured)
        rows = [summarise(name, found) for name, found in taken.items()]
        print_rows(rows)
        for photo in photos:
            told = run((sys.executable, __file__, "--profile", str(photo), out))[3]
            print_parts(photo, **json.loads(told.splitlines()[-1]))
        if options.eager and photos:
            compare(next(row for row in rows if row.faces), options.rounds)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


def summarise(name: str, found: Sequence[tuple[float, float, float, str]]) -> Row:
    """Take the medians of a command's rounds."""
    faces = count_faces(found[-1][3]) if " restore " in name else None
    return Row(
        name,
        statistics.median(one[0] for one in found),
        statistics.median(one[1] for one in found),
        max(one[2] for one in found),
        faces,
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print a table of commands."""
    print(f"{'':44s} {'s':>7s} {'core s':>7s} {'peak MB':>8s} faces")
    for row in rows:
        faces = "" if row.faces is None else str(row.faces)
        times = f"{row.seconds:7.2f} {row.processor_seconds:7.2f}"
        print(f"{row.command:44s} {times} {row.peak_mb:8.0f} {faces:>5s}", flush=True)


def print_parts(photo: Path, parts: dict[str, float], total: float) -> None:
    """Print where the time of one photo went."""
    print(f"\n{photo.name}: {total:.2f} s under the profiler")
    for part, seconds in (parts | {"all else, imports first": total - sum(parts.values())}).items():
        print(f"  {part:24s} {seconds:6.2f} s {100 * seconds / total:3.0f} %")


def compare(row: Row, rounds: int) -> None:
    """Compare a photo with its faces by the paper's network in eager torch."""
    import torch

    from sparnet import build_network

    network = build_network("sparnet-hd").eval()
    x = torch.rand(1, 3, 512, 512) * 2 - 1
    times = []
    with torch.inference_mode():
        for _ in range(min(3, rounds)):
            started = time.perf_counter()
            network(x)
            times.append(time.perf_counter() - started)
    eager, faces = statistics.median(times), row.faces or 0
    print(
        f"\nsparnet-hd in eager torch: {eager:.2f} s a face; {faces} of them take "
        f"{faces * eager / row.seconds:.1f} times as long as all of {row.command}"
    )


if __name__ == "__main__":
    if not hasattr(resource, "RUSAGE_CHILDREN"):
        raise SystemExit("needs a system that tells what its processes used")
    main()
