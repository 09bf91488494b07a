"""The photos of a folder, each with the name that its pictures get."""

import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparnet.data.prepare.cutters import PrepareConfig
from sparnet.data.prepare.natural import NaturalConfig
from sparnet.errors import DataError
from sparnet.image import find_pictures, show_path


@dataclass(frozen=True)
class Task:
    """A photo to be done."""

    source: str
    path: Path
    stem: str
    """Path of its picture in the output folder, without suffix and split."""
    is_numbered: bool
    """Whether there may be several pictures of it."""
    split: str | None = None
    identity: str | None = None
    is_excluded: bool = False
    """Whether there is a partition and it is in no part of it."""


def list_tasks(
    folder: Path,
    config: PrepareConfig,
    partition: dict[str, str] | None,
    identities: dict[str, str],
    problems: list[str],
) -> list[Task]:
    """List the photos of a folder and those below it; what cannot be listed goes to `problems`."""
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except OSError as error:
        raise DataError(f"{show_path(folder)}: cannot be read ({error.strerror})") from None
    if not is_folder:
        raise DataError(f"{show_path(folder)}: a file, not a folder of photos")
    pictures, errors = find_pictures([folder], recursive=True)
    if not pictures:
        raise DataError(
            str(errors[0]) if errors else f"{show_path(folder)}: no pictures in this folder or below it"
        )
    problems += map(str, errors)
    sources = []
    for picture in pictures:
        name = (picture.folder / picture.path.name).as_posix()
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            problems.append(f"{show_path(picture.path)}: its name is not text; rename it")
        else:
            sources.append(Path(name))
    tasks = [
        Task(
            source=source.as_posix(),
            path=folder / source,
            stem=stem,
            is_numbered=isinstance(config, NaturalConfig),
            split=None if partition is None else partition.get(source.stem),
            identity=identities.get(source.stem),
            is_excluded=partition is not None and source.stem not in partition,
        )
        for source, stem in zip(sources, _stems(sources), strict=True)
    ]
    if tasks and all(task.is_excluded for task in tasks):
        raise DataError(f"{show_path(folder)}: none of its pictures is in the partition file")
    return tasks


def _stems(sources: Sequence[Path]) -> list[str]:
    """Name pictures after their photos; `a.jpg` and `a.png` of one folder keep their suffixes."""
    stems = [source.with_suffix("").as_posix() for source in sources]
    while len(set(stems)) < len(stems):
        counts = Counter(stems)
        stems = [
            stem if counts[stem] == 1 else source.as_posix()
            for stem, source in zip(stems, sources, strict=True)
        ]
    return stems
