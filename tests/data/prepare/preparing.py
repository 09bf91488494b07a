"""What the tests of the preparation share: pictures, a detector, and a run from end to end."""

from contextlib import closing
from pathlib import Path

import numpy as np

from sparnet.data.prepare import (
    MANIFEST,
    SETTINGS,
    FfhqConfig,
    PrepareConfig,
    Record,
    Summary,
    open_preparation,
)
from sparnet.faces.align import template
from sparnet.faces.detect import Face
from sparnet.image import Image

SMALL = FfhqConfig(size_px=16)


def noise(height: int, width: int, *, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face(left: float, top: float, right: float, bottom: float) -> Face:
    points = template(512) / 512 * [right - left, bottom - top] + [left, top]
    return Face(box=(float(left), float(top), float(right), float(bottom)), score=0.99, points=points)


class Sees:
    """A detector that always sees the same faces."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: Image) -> list[Face]:
        del image
        return self.faces


def prepare(
    source: Path,
    output: Path,
    config: PrepareConfig = SMALL,
    *,
    workers: int = 1,
    stop_after: int | None = None,
    **files: Path,
) -> tuple[list[str], Summary]:
    """Run a preparation; return the photos that were done, and the summary."""
    done: list[str] = []
    with open_preparation(source, output, config, **files) as preparation:
        with closing(preparation.run(workers=workers)) as photos:
            for records in photos:
                done.append(records[0].source)
                if len(done) == stop_after:
                    break
        return done, preparation.summary()


def pack(source: Path, output: Path, *, terms: str | None = None, **files: Path) -> int:
    with open_preparation(source, output, SMALL, **files) as preparation:
        list(preparation.run())
        return preparation.pack(terms=terms)


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder; hidden ones, and the settings, which name the folder of photos, aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".sparnet-prepare") and path.name != SETTINGS
    }


def records(folder: Path) -> list[Record]:
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [Record.model_validate_json(line) for line in lines]
