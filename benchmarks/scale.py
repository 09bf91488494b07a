"""Work out what restoring many photos a day takes: machines, money, storage, waiting.

    python benchmarks/scale.py --core-seconds 3.0 --price 0.04

Photos arrive at random, more of them at noon than at night (a sine of the day, highest at `--peak` times
its mean), and differ in size: the time each takes is drawn from a lognormal distribution around
`--core-seconds`. One queue feeds all cores. A day is simulated for several numbers of cores, and for a
batch that has all photos at once; nothing is measured here but the arithmetic. Time the photos of your own
with `sparnet restore PHOTOS -o OUT --json`, whose `seconds` are those of each photo.

To simulate ten million arrivals at full size would add nothing: arrivals and cores are both divided by
`--shrink`, which makes waiting longer than it would be (a larger pool waits less), never shorter.
"""

import argparse
import heapq
import math
from dataclasses import dataclass

import numpy as np

DAY_SECONDS = 86_400


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos-a-day", type=float, default=10e6)
    parser.add_argument("--core-seconds", type=float, required=True, help="mean of a photo on one core")
    parser.add_argument("--spread", type=float, default=1.0, help="standard deviation over mean of that")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour, any currency")
    parser.add_argument("--cores-a-machine", type=int, default=32)
    parser.add_argument("--peak", type=float, default=1.6, help="rate at noon over the day's mean, 1 to 2")
    parser.add_argument("--megabytes-in", type=float, default=2.0, help="of a photo")
    parser.add_argument("--megabytes-out", type=float, default=3.0, help="of a result")
    parser.add_argument("--manifest-bytes", type=float, default=60.0, help="of a photo's row, compressed")
    parser.add_argument("--shrink", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = np.random.default_rng(options.seed)
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
        cores = math.ceil(needed * share)
        machines = math.ceil(cores / options.cores_a_machine)
        waiting = simulate(moments, service, max(1, round(cores / options.shrink)))
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
