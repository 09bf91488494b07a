"""Work out what restoring many photos a day takes: machines, money, storage, waiting.

    python benchmarks/scale.py --measure sparnet-hd-light --price 0.04
    python benchmarks/scale.py --core-seconds 3.0 --price 0.04

Photos arrive at random, more of them at noon than at night (a sine of the day, highest at `--peak` times
its mean), and differ in size: the time each takes is drawn from a lognormal distribution around
`--core-seconds`. One queue feeds all cores. A day is simulated for several numbers of cores, and for a
batch that has all photos at once. With `--measure` a core restores photos of 1024 x 768 px with three faces
first, from file to file, and its processor time (which other programs lengthen less than the clock) is the
core seconds of a photo. Time the photos of your own with `sparnet restore PHOTOS -o OUT --json`, whose
`seconds` are those of each photo.

To simulate ten million arrivals at full size would add nothing: arrivals and cores are both divided by
`--shrink`, which makes waiting longer than it would be (a larger pool waits less), never shorter. Cores
are rounded up to a multiple of it.
"""

import argparse
import heapq
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

DAY_SECONDS = 86_400
FACES = sorted((Path(__file__).parent.parent / "examples" / "faces").glob("*.webp"))
MEASURED_PX = (1024, 768)
MEASURED_FACES_PX = (340, 260, 180)


@dataclass
class Waiting:
    """How long photos waited before a core took them, seconds."""

    median: float
    """Half of them waited no longer."""
    late: float
    """99 of 100 waited no longer."""
    longest: float
    """None waited longer."""
    busy: float
    """Share of the cores' time that was used while photos arrived."""


def arrivals(count: int, peak: float, chance: np.random.Generator) -> np.ndarray:
    """Draw the moments of a day at which photos arrive, in order; at noon `peak` times as many."""
    moments = np.empty(0)
    while len(moments) < count:
        tried = chance.random(2 * count) * DAY_SECONDS
        rate = 1 - (peak - 1) * np.cos(2 * math.pi * tried / DAY_SECONDS)
        moments = np.concatenate([moments, tried[chance.random(len(tried)) * peak < rate]])
    return np.sort(moments[:count])


def simulate(moments: np.ndarray, service: np.ndarray, cores: int) -> Waiting:
    """Serve photos in order of arrival by the core that is free first."""
    free = [0.0] * cores
    waits = np.empty(len(moments))
    for index, (moment, seconds) in enumerate(zip(moments.tolist(), service.tolist(), strict=True)):
        start = max(moment, free[0])
        heapq.heapreplace(free, start + seconds)
        waits[index] = start - moment
    median, late = np.quantile(waits, [0.5, 0.99])
    busy = float(service.sum()) / (cores * max(DAY_SECONDS, max(free)))
    return Waiting(float(median), float(late), float(waits.max()), busy)


def service_times(count: int, mean: float, spread: float, chance: np.random.Generator) -> np.ndarray:
    """Draw how long photos take: lognormal, of a mean and a coefficient of variation."""
    sigma = math.sqrt(math.log(1 + spread**2))
    return chance.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)


def draw_photo(path: Path, seed: int) -> None:
    """Write a JPEG of three faces on a smooth background."""
    chance = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(chance.integers(40, 200, (6, 8, 3), dtype=np.uint8))
    photo = coarse.resize(MEASURED_PX, PIL.Image.Resampling.BICUBIC)
    left = 20
    for index, side in enumerate(MEASURED_FACES_PX):
        face = PIL.Image.open(FACES[(seed + index) % len(FACES)]).convert("RGB")
        top = int(chance.integers(20, MEASURED_PX[1] - side - 20))
        photo.paste(face.resize((side, side), PIL.Image.Resampling.BICUBIC), (left, top))
        left += side + 60
    photo.save(path, quality=90)


def measure(model: str, photos: int) -> float:
    """Restore photos from file to file on one core; return the median of their core seconds, and print it."""
    from sparnet.restoration import Restorer
    from sparnet.results import write_result

    taken, faces = [], []
    with tempfile.TemporaryDirectory() as folder:
        restorer = Restorer(model, threads=1)
        for index in range(photos + 1):
            source, target = (Path(folder) / f"{kind}-{index}.jpg" for kind in ("photo", "result"))
            draw_photo(source, index)
            started = time.process_time()
            for made in restorer.restore_many([source]):
                if made.result is None:
                    raise SystemExit(str(made.error))
                written = write_result(made.source, target, made.result)
                faces.append(sum(face["skipped"] is None for face in written["faces"]))
            taken.append(time.process_time() - started)
    taken, faces = taken[1:], faces[1:]  # the first one also makes what is kept for the others
    width, height = MEASURED_PX
    print(
        f"{restorer.info.name}: {photos} photos of {width} x {height} px, {min(faces)} to {max(faces)} faces "
        f"restored in each; core seconds of a photo: median {statistics.median(taken):.2f}, "
        f"{min(taken):.2f} to {max(taken):.2f}"
    )
    return round(statistics.median(taken), 2)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos-a-day", type=float, default=10e6)
    cost = parser.add_mutually_exclusive_group(required=True)
    cost.add_argument("--core-seconds", type=float, help="mean of a photo on one core")
    cost.add_argument(
        "--measure", metavar="MODEL", help="measure them: name or file of a model that restores"
    )
    parser.add_argument("--measured-photos", type=int, default=5, help="how many are restored for that")
    parser.add_argument("--spread", type=float, default=1.0, help="standard deviation over mean of that")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour, any currency")
    parser.add_argument("--cores-a-machine", type=int, default=32)
    parser.add_argument("--peak", type=float, default=1.6, help="rate at noon over the day's mean, 1 to 2")
    parser.add_argument("--megabytes-in", type=float, default=2.0, help="of a photo")
    parser.add_argument("--megabytes-out", type=float, default=3.0, help="of a result")
    parser.add_argument("--manifest-bytes", type=float, default=60.0, help="of a photo's row, compressed")
    parser.add_argument("--shrink", type=int, default=20, help="arrivals and cores are divided by it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = np.random.default_rng(options.seed)
    if options.measure is not None:
        options.core_seconds = measure(options.measure, options.measured_photos)
    rate = options.photos_a_day / DAY_SECONDS
    needed = rate * options.core_seconds
    print(
        f"{options.photos_a_day:,.0f} photos a day are {rate:.1f} a second, {rate * options.peak:.1f} at noon"
    )
    print(f"{options.core_seconds:g} core seconds each keep {needed:,.0f} cores busy all day")
    million = 1e6 * options.core_seconds / 3600
    print(
        f"a million takes {million:,.0f} core hours, {million * options.price:,.2f} at {options.price:g} each"
    )
    print()
    print("| cores | machines | busy | wait: median | 99 % | longest | cost of a million |")
    print("|---|---|---|---|---|---|---|")
    count = round(options.photos_a_day / options.shrink)
    moments = arrivals(count, options.peak, chance)
    service = service_times(count, options.core_seconds, options.spread, chance)
    for share in (1.05, 1.2, 1.4, options.peak, 1.15 * options.peak, 1.5 * options.peak):
        cores = math.ceil(needed * share / options.shrink) * options.shrink
        machines = math.ceil(cores / options.cores_a_machine)
        waiting = simulate(moments, service, cores // options.shrink)
        cost = cores * 24 * options.price / options.photos_a_day * 1e6
        waits = " | ".join(_time(value) for value in (waiting.median, waiting.late, waiting.longest))
        print(f"| {cores:,} | {machines} | {waiting.busy:.0%} | {waits} | {cost:,.2f} |")
    print()
    terabytes_in = options.photos_a_day * options.megabytes_in / 1e6
    terabytes_out = options.photos_a_day * options.megabytes_out / 1e6
    gigabits = (options.megabytes_in + options.megabytes_out) * rate * options.peak * 8 / 1000
    print(f"storage: {terabytes_in:,.0f} TB in and {terabytes_out:,.0f} TB out a day, {gigabits:.1f} Gbit/s")
    print(f"requests to the store: {2 * rate * options.peak:,.0f} a second at noon")
    print(f"manifest: {options.photos_a_day * options.manifest_bytes / 1e9:.2f} GB a day")


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
