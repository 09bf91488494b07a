"""Kill a training at random moments, many times in a row, and compare its end with an unbroken one.

    python benchmarks/kill_resume.py [--kills 20]

Prints one line a kill and, at the end, whether all weights, averages and optimiser states are equal
to the bit. Exit code 1 if they are not.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from sparnet.training.state import load_newest, saved_states

ROOT = Path(__file__).parent.parent
COMMON = ("train.total_images=2400", "train.save_every_images=8", "train.log_every_images=80")


def command(run: Path, *, resume: bool) -> list[str]:
    """Return the command line of the training."""
    changes = [word for change in COMMON for word in ("--set", change)]
    place = ["--resume", str(run)] if resume else ["-o", str(run)]
    return [sys.executable, "-m", "sparnet", "train", str(ROOT / "recipes" / "smoke.toml"), *changes, *place]


def newest(run: Path) -> int:
    """Return the images seen by the newest saved state."""
    return max((int(path.stem.split("-")[1]) for path in saved_states(run)), default=0)


def equal(first: object, second: object) -> bool:
    """Compare nested states to the bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def main() -> int:
    """Run the experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - moments to kill, not secrets
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": ROOT}
    with tempfile.TemporaryDirectory() as folder:
        unbroken, killed = Path(folder) / "unbroken", Path(folder) / "killed"
        subprocess.run(command(unbroken, resume=False), check=True, **quiet)
        for kill in range(1, options.kills + 1):
            before = newest(killed)
            process = subprocess.Popen(command(killed, resume=before > 0), **quiet)
            while newest(killed) == before and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.random())
            process.kill()
            process.wait()
            print(f"kill {kill}: at {newest(killed)} images", flush=True)
        subprocess.run(command(killed, resume=newest(killed) > 0), check=True, **quiet)
        first, second = load_newest(unbroken)[0], load_newest(killed)[0]
    same = first.images_seen == second.images_seen and equal(first.modules, second.modules)
    print(f"{options.kills} kills: the final state is {'equal to the bit' if same else 'DIFFERENT'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
