"""A folder in the making: begun, gone on with, packed."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from sparnet.data.prepare.celeba import read_identities, read_partition
from sparnet.data.prepare.cutters import PrepareConfig
from sparnet.data.prepare.making import Made, failure, make_all
from sparnet.data.prepare.manifest import MANIFEST, Manifest
from sparnet.data.prepare.output import write_file, writing
from sparnet.data.prepare.packs import Pack
from sparnet.data.prepare.records import Record, Summary, explain
from sparnet.data.prepare.tasks import Task, list_tasks
from sparnet.errors import DataError
from sparnet.image import show_path

SETTINGS = "prepare.json"
"""Name of the file in the output folder that says how it was made."""
_LOCK = ".sparnet-prepare.lock"


@contextmanager
def open_preparation(
    source: Path,
    output: Path,
    config: PrepareConfig,
    *,
    partition: Path | None = None,
    identities: Path | None = None,
) -> Iterator["Preparation"]:
    """Begin or continue to prepare a folder of photos; no other run may write there meanwhile.

    Args:
        source: Folder of photos; those in folders below it too.
        output: Folder to write to: new, empty, or one that a run with the same settings has made.
        config: How photos become faces.
        partition: CelebA's `list_eval_partition.txt`: its parts go to folders of their own.
        identities: CelebA's `identity_CelebA.txt`.

    Raises:
        DataError: If there are no photos, a file cannot be read, or `output` is something else.
    """
    problems: list[str] = []
    splits = None if partition is None else read_partition(partition)
    people = {} if identities is None else read_identities(identities)
    tasks = list_tasks(source, config, splits, people, problems)
    settings = {
        "source": str(source.resolve()),
        **config.model_dump(mode="json"),
        "partition_sha256": _file_hash(partition),
        "identities_sha256": _file_hash(identities),
    }
    _check_output(source, output, settings)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / _LOCK).open("ab")
    with lock:
        with writing(output):
            _take(lock, output)
            for leftover in output.glob(".sparnet-*.tmp"):
                leftover.unlink(missing_ok=True)
        write_file(output, SETTINGS, json.dumps(settings, indent=2).encode() + b"\n")
        yield Preparation(output, config, tasks, problems)


class Preparation:
    """A folder in the making; `open_preparation` makes it.

    Attributes:
        problems: A line for each photo or folder that could not even be listed.
    """

    def __init__(
        self, output: Path, config: PrepareConfig, tasks: Sequence[Task], problems: Sequence[str]
    ) -> None:
        self.output = output
        self.config = config
        self.problems = list(problems)
        self._tasks = tasks
        self._manifest = Manifest(output / MANIFEST)
        self._packed = self._all_packed()
        self._taken = self._files_of_others()
        self._pending = self._still_to_do()

    @property
    def pending(self) -> int:
        """Number of photos still to be done, those that failed before among them."""
        return len(self._pending)

    @property
    def is_packed(self) -> bool:
        """Whether pictures were packed before; later ones have to be as well, or are not read."""
        return bool(self._packed)

    def run(self, *, workers: int = 1) -> Generator[list[Record], None, None]:
        """Do what is to be done, in order, and yield what became of each photo.

        The files made do not depend on `workers`. With more than one, the calling program must be
        importable without side effects, as always with `multiprocessing`.

        Raises:
            DataError: If a file cannot be written or a worker process dies.
            WeightsError: If the detector cannot be opened.
        """
        self._manifest.tidy(task.source for task in self._tasks)
        if self._pending:
            workers = max(1, min(workers, len(self._pending)))
            with closing(make_all(self._pending, self.config, workers)) as photos:
                for made in photos:
                    yield self._save(made)
        self._manifest.tidy(task.source for task in self._tasks)
        self._pending = self._still_to_do()

    def records(self) -> Iterator[Record]:
        """Yield the lines of the manifest."""
        return self._manifest.records()

    def summary(self) -> Summary:
        """Count what the folder came to, over all runs."""
        photos, kept, dropped = 0, Counter[str](), Counter[str]()
        failed = list(self.problems)
        for record in self.records():
            photos += record.face == 0
            if record.outcome == "kept":
                kept[record.split or "all"] += 1
            elif record.outcome == "dropped":
                dropped[str(record.reason)] += 1
            else:
                failed.append(f"{show_path(record.source)}: {explain(record)}")
        return Summary(photos, dict(kept), dict(dropped), failed)

    def pack(self, *, terms: str | None = None) -> int:
        """Move the pictures into tars with an `index.csv`, which `read_faces` reads.

        Each part of a partition becomes a pack of its own. A folder that is a pack already gets
        further tars for what is new.

        Args:
            terms: Terms of use, for the index; None for those that the pack has, or none.

        Returns:
            Number of tars in all packs.

        Raises:
            DataError: If a picture is not what the manifest says, or a file cannot be written.
        """
        tars = 0
        for split in self._splits():
            pack = Pack(self.output, split)
            fresh = [
                record
                for record in self.records()
                if record.file is not None and record.split == split and record.file not in self._packed
            ]
            pack.add(fresh, self.config, terms)
            tars += pack.tars
        self._packed = self._all_packed()
        return tars

    def _splits(self) -> list[str] | list[None]:
        """Name the parts, each of which may become a pack; None alone where there is no partition."""
        return sorted({task.split for task in self._tasks if task.split is not None}) or [None]

    def _all_packed(self) -> set[str]:
        return {row["path"] for split in self._splits() for row in Pack(self.output, split).rows}

    def _files_of_others(self) -> dict[str, str]:
        """Name the photo of each picture whose photo is no longer there."""
        here = {task.source for task in self._tasks}
        gone = [source for source in self._manifest.sources() if source not in here]
        return {record.file: source for source in gone for record in self._manifest.of(source) if record.file}

    def _still_to_do(self) -> list[Task]:
        return [task for task in self._tasks if not self._is_done(task)]

    def _is_done(self, task: Task) -> bool:
        records = self._manifest.of(task.source)
        return bool(records) and all(map(self._is_there, records))

    def _is_there(self, record: Record) -> bool:
        if record.file is None or record.file in self._packed:
            return record.outcome != "failed"
        try:
            return (self.output / record.file).stat().st_size == record.size_bytes
        except FileNotFoundError:
            return False

    def _save(self, made: Sequence[Made]) -> list[Record]:
        """Write the pictures of a photo, then their lines."""
        taken = [item.record for item in made if item.record.file in self._taken]
        if taken:
            made = [self._refuse(taken[0])]
        for item in made:
            if item.record.file is not None and item.encoded is not None:
                write_file(self.output, item.record.file, item.encoded)
        records = [item.record for item in made]
        self._manifest.append(records)
        return records

    def _refuse(self, record: Record) -> Made:
        other = self._taken[str(record.file)]
        detail = f"{record.file} was made of {other}, which is no longer there; rename this one"
        return failure(record.source, "name taken", detail)


def _check_output(source: Path, output: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that this preparation would spoil."""
    here, there = source.resolve(), output.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise DataError(f"{show_path(output)}: neither folder may lie in the other; name another by -o")
    try:
        children = [child for child in output.iterdir() if not child.name.startswith(".")]
        if not children:
            return
        before = json.loads((output / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if output.exists():
            raise DataError(
                f"{show_path(output)}: not empty, and not made by sparnet prepare; name another by -o"
            ) from None
        return
    except NotADirectoryError:
        raise DataError(f"{show_path(output)}: a file is in the way; name another folder by -o") from None
    except OSError as error:
        raise DataError(f"{show_path(output)}: cannot be read ({error.strerror})") from None
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise DataError(f"{show_path(output / SETTINGS)}: damaged; name another folder by -o")
    for key in {**settings, **before}:
        if before.get(key) != settings.get(key):
            raise DataError(
                f"{show_path(output)}: was prepared with {key} = {before.get(key)!r}, "
                f"not {settings.get(key)!r}; name another folder by -o"
            )


def _file_hash(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _take(lock: IO[bytes], output: Path) -> None:
    """Lock the output folder for this process; the system lifts it when the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise DataError(f"{show_path(output)}: another sparnet prepare is writing to it") from None
