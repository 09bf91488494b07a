"""Restore many small photos on a local Ray cluster, kill it halfway, and run the same command again.

    python benchmarks/fleet.py --photos 2000 --workers 2

1. `sparnet restore photos -o out --ray local --engine-workers 2`, killed (SIGKILL, its whole group of
   processes) when half of the results are there: each of them must be whole.
2. The same command again: it must end, leave what the manifest tells of untouched, name the photos that
   are damaged on purpose (one in 200) and exit with 1 for them; the manifest must tell of every photo.
3. The same photos by `--engine-workers 2` without Ray into another folder: every result must be equal,
   to the byte.

Exit code 1 if anything is not so.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

ROOT = Path(__file__).parent.parent
FACES = sorted((ROOT / "examples" / "faces").glob("*.webp"))
SIDE_PX = 112
DAMAGED_EVERY = 200


def main() -> int:
    """Do it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", type=Path, help="default: a small random one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = options.model or make_model(folder)
        damaged = make_photos(folder / "photos", options.photos)
        problems = check(folder, model, options.photos, damaged, options.workers)
    for problem in problems:
        print(f"WRONG: {problem}")
    print("failed" if problems else "all as it should be")
    return 1 if problems else 0


def make_model(folder: Path) -> Path:
    """Write a model file of a small network with random weights, in a process of its own."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.chaos import write_models

    return write_models(folder)[1]


def make_photos(folder: Path, count: int) -> set[str]:
    """Write photos of one face, and some that are cut short; return the names of these."""
    folder.mkdir(parents=True)
    portraits = [PIL.Image.open(path).convert("RGB").resize((88, 88)) for path in FACES]
    damaged = set()
    for index in range(count):
        chance = np.random.default_rng(index)
        color = tuple(chance.integers(60, 190, 3).tolist())
        photo = PIL.Image.new("RGB", (SIDE_PX, SIDE_PX), color)
        photo.paste(portraits[index % len(portraits)], tuple(chance.integers(4, 20, 2).tolist()))
        path = folder / f"{index:05d}.jpg"
        photo.save(path, quality=90)
        if index % DAMAGED_EVERY == DAMAGED_EVERY // 2 or index == count - 1:
            path.write_bytes(path.read_bytes()[:500])
            damaged.add(path.name)
    return damaged


def command(folder: Path, model: Path, out: str, *words: object) -> list[str]:
    """Return the program's words."""
    common = ["--small-faces", "off", "--json", "-m", str(model)]
    return [
        sys.executable, "-m", "sparnet", "restore", str(folder / "photos"), "-o", str(folder / out), *common,
        *map(str, words),
    ]  # fmt: skip


def results(out: Path) -> dict[str, bytes]:
    """Read all results there are."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jpg"))}


def check(folder: Path, model: Path, count: int, damaged: set[str], workers: int) -> list[str]:
    """Run, kill, run again, compare."""
    problems: list[str] = []
    words = command(folder, model, "ray", "--ray", "local", "--engine-workers", workers)
    out = folder / "ray"
    started = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and len(list(out.glob("*.jpg"))) < count // 2:
        time.sleep(0.05)
    if process.poll() is not None:
        problems.append(f"it ended by itself, with {process.returncode}")
    kill_group(process)
    time.sleep(1)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.jpg")}
    parts = [row for path in out.glob("_manifest/*.parquet") for row in _rows(path)]
    print(
        f"killed after {time.perf_counter() - started:.0f} s: {len(before)} of {count} results, the manifest "
        f"tells of {len(parts)}",
        flush=True,
    )
    for name, content in results(out).items():
        if not content.endswith(b"\xff\xd9"):
            problems.append(f"{name} is half-written")
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    if again.returncode != 1 or not again.stdout:
        return [*problems, f"the second run ended with {again.returncode}: {again.stderr[-500:]}"]
    report = json.loads(again.stdout)
    print(
        f"again: {report['existing']} left alone, {report['done']} restored, "
        f"{len(report['failures'])} failed, "
        f"{report['seconds']:.0f} s",
        flush=True,
    )
    done = {Path(row["source"]).name for row in parts if row["error"] is None}
    touched = [name for name in done if (out / name).stat().st_mtime_ns != before.get(name)]
    if touched:
        problems.append(f"{len(touched)} results were made twice, such as {touched[0]}")
    named = {Path(line.split(": ", 1)[0]).name for line in report["failures"]}
    if named != damaged:
        problems.append(f"failures are {sorted(named)}, expected {sorted(damaged)}")
    rows = {Path(row["source"]).name: row for row in _rows(Path(report["manifest"]))}
    if len(rows) != count or {name for name, row in rows.items() if row["error"]} != damaged:
        problems.append(f"the manifest tells of {len(rows)} photos of {count}")
    if (out / "_manifest").exists() or list(out.rglob(".sparnet-*")):
        problems.append("something is left over")
    plain = subprocess.run(
        command(folder, model, "plain", "--engine-workers", workers),
        capture_output=True,
        text=True,
        check=False,
    )
    if plain.returncode != 1:
        return [*problems, f"without Ray it ended with {plain.returncode}: {plain.stderr[-500:]}"]
    here, there = results(folder / "plain"), results(out)
    if here != there:
        wrong = [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)]
        problems.append(f"{len(wrong)} results differ from those without Ray, such as {wrong[0]}")
    lines = [json.loads(line) for line in (folder / "plain" / "manifest.jsonl").read_text().splitlines()]
    if len(lines) != count:
        problems.append(f"manifest.jsonl has {len(lines)} lines for {count} photos")
    print(f"{len(here)} results equal those of {workers} processes without Ray", flush=True)
    return problems


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process, what it started, and what those started in sessions of their own."""
    family = descendants(process.pid)
    for each in [process.pid, *family]:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def descendants(process: int) -> list[int]:
    """List all processes that a process is an ancestor of, on Linux."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def _rows(path: Path) -> list[dict]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


if __name__ == "__main__":
    sys.exit(main())
