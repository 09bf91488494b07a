"""How much reading, finding faces and writing beside the network saves: `sparnet restore` of a folder.

    python benchmarks/overlap.py photos/ [--rounds 3]

Restores the folder twice a round in this process: one photo after the other, and as the command does, where
the next photo is opened and the last one written while the network works. Prints medians and their ratio.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from sparnet.image import find_pictures
from sparnet.restoration import RestoredFile, Restorer
from sparnet.results import write_behind, write_result


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sources = [picture.path for picture in find_pictures(options.photos)[0]]
    restorer = Restorer()
    with tempfile.TemporaryDirectory() as folder:

        def write(made: RestoredFile) -> None:
            if made.result is not None:
                write_result(
                    made.source, Path(folder) / made.source.name, made.result, upscale_factor=1, quality=95
                )

        def in_turn() -> None:
            for made in restorer.restore_many(sources, ahead=False):
                write(made)

        def overlapped() -> None:
            write_behind(restorer.restore_many(sources), write)

        in_turn()  # warms up
        times: dict[str, list[float]] = {"in turn": [], "overlapped": []}
        for _ in range(options.rounds):
            for name, restore in (("in turn", in_turn), ("overlapped", overlapped)):
                started = time.perf_counter()
                restore()
                times[name].append(time.perf_counter() - started)
    first = median(times["in turn"])
    for name, seconds in times.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        ratio = first / median(seconds)
        print(f"{len(sources)} photos {name}: {median(seconds):.2f} s ({spread}), {ratio:.2f} x")


if __name__ == "__main__":
    main()
