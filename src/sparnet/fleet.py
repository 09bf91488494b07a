"""Restore many photos by several processes: on one machine, or on the machines of a Ray cluster.

Each process loads the model once and writes its results itself, each of which appears whole or not at
all. One process alone, the one that was started, writes the manifest of a run on one machine; on a
cluster each worker writes a part of its own, and the parts become one file in the end. A photo that
fails is a line of the manifest, never the end of the run.

Ray, and the file systems of pyarrow and fsspec, are the extra `ray`.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import queue
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparnet.errors import DataError, ImageError, SparnetError
from sparnet.files import remove_leftovers, write_whole
from sparnet.image import PICTURE_SUFFIXES, WRITABLE_SUFFIXES, show_path
from sparnet.restoration import RestoredFile, Restorer
from sparnet.results import write_result
from sparnet.weights.folders import expand_user

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.fs

MANIFEST = "manifest.jsonl"
"""What a run on one machine says of each photo: a line of JSON each."""
PARQUET_MANIFEST = "manifest.parquet"
"""The same of a run on a cluster."""
_PARTS = "_manifest"
_PHOTOS_A_BATCH = 16
_STEP_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """What every worker is told; it travels between processes and machines."""

    options: Mapping[str, Any]
    """Arguments of `Restorer`: names and files, no loaded models."""
    quality: int = 95
    """Of photos written as JPEG, WebP, AVIF or HEIC."""

    def open(self) -> Restorer:
        """Load the model.

        Raises:
            WeightsError: If it is missing or damaged.
        """
        return Restorer(**self.options)

    def fingerprint(self) -> str:
        """Return a hash by which results of this plan are told from those of another."""
        text = json.dumps([dict(self.options), self.quality], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Report = dict[str, Any]
"""What became of a photo: `source`, `target`, `error` (None if it was done), and what `write_result` says."""


def _restore(restorer: Restorer, plan: Plan, target: Path, made: RestoredFile) -> Report:
    if made.result is None:
        return {"source": str(made.source), "target": str(target), "error": str(made.error)}
    try:
        written = write_result(
            made.source,
            target,
            made.result,
            upscale_factor=restorer.upscale_factor,
            quality=plan.quality,
        )
    except ImageError as error:
        return {"source": str(made.source), "target": str(target), "error": str(error)}
    return {**written, "error": None}


# One machine


def restore_by_processes(
    jobs: Mapping[Path, Path], plan: Plan, *, workers: int, manifest: Path | None = None
) -> Generator[Report, None, None]:
    """Restore photos by several processes, which take the next photo when they are done with one.

    Args:
        jobs: Where the result of each photo goes.
        plan: How they are restored; without `threads` among its options, the cores are shared out.
        workers: Processes.
        manifest: A file that gets a line for each photo, when it is done; lines are added.

    Yields:
        What became of each photo, in the order in which they are done.

    Raises:
        SparnetError: If a worker cannot load the model.
        DataError: If a worker dies, or the manifest cannot be written; what is done stays.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    workers = min(workers, max(1, len(jobs)))
    if plan.options.get("threads") is None:
        plan = Plan({**plan.options, "threads": max(1, _cores() // workers)}, plan.quality)
    context = multiprocessing.get_context("spawn")
    tasks: Any = context.Queue()
    reports: Any = context.Queue()
    for job in jobs.items():
        tasks.put(job)
    for _ in range(workers):
        tasks.put(None)
    processes = [
        context.Process(target=_serve, args=(plan, tasks, reports), daemon=True) for _ in range(workers)
    ]
    try:
        with _interrupt_blocked():
            for process in processes:
                process.start()
        with _manifest(manifest) as note:
            for _ in range(len(jobs)):
                report = _next(reports, processes)
                note(report)
                yield report
    finally:
        for process in processes:
            if process.pid is not None:  # it was started
                process.kill()
                process.join()
        remove_leftovers(target.parent for target in jobs.values())
        for each in (tasks, reports):
            each.cancel_join_thread()


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Block SIGINT in this thread: processes that it starts inherit that, and Ctrl-C never reaches them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next(reports: Any, processes: Sequence[Any]) -> Report:
    """Wait for a report; notice when there is nobody left to send one."""
    while True:
        alive = all(process.is_alive() or process.exitcode == 0 for process in processes)
        try:
            report = reports.get(timeout=_STEP_SECONDS)
        except queue.Empty:
            if not alive:
                raise DataError(
                    "a worker process died, perhaps for want of memory; what is done is kept: run again "
                    "with --skip-existing and fewer --engine-workers"
                ) from None
            continue
        if isinstance(report, SparnetError):
            raise report
        return report


def _serve(plan: Plan, tasks: Any, reports: Any) -> None:
    """Be a worker: load the model, then restore photos until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        restorer = plan.open()
    except SparnetError as error:
        reports.put(error)
        return
    targets: dict[Path, Path] = {}

    def sources() -> Iterator[Path]:
        while (job := tasks.get()) is not None:
            source, targets[source] = job[0], job[1]
            yield source

    for made in restorer.restore_many(sources(), ahead=False):
        reports.put(_restore(restorer, plan, targets.pop(made.source), made))


def _end_with_parent() -> None:
    """End this worker if the process that was started is killed; it would wait for photos forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _manifest(path: Path | None) -> Iterator[Any]:
    """Give what adds a line to the manifest; a line that a killed run left unfinished is taken away."""
    if path is None:
        yield lambda report: None
        return
    try:
        if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
            write_whole(path, content[: content.rfind(b"\n") + 1])
        with path.open("ab", buffering=0) as file:
            yield lambda report: file.write(json.dumps(report).encode() + b"\n")
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be written ({error.strerror})") from None


# A cluster


@dataclass
class FleetSummary:
    """What a run on a cluster came to."""

    done: int = 0
    """Photos restored by this run."""
    faces: int = 0
    """Faces restored by this run."""
    existing: int = 0
    """Photos that earlier runs had done."""
    failures: list[str] = field(default_factory=list)
    """A line for each photo that could not be done."""
    seconds: float = 0.0
    """Time taken, from the first photo to the manifest."""
    manifest: str = ""
    """Where the manifest is."""


def open_place(place: str | Path) -> "tuple[pyarrow.fs.FileSystem, str]":
    """Return the file system of a folder, and its path there.

    Args:
        place: A path, or a URI: `s3://`, `gs://`, `hdfs://` and `file://` by pyarrow, any other
            (`memory://`, `abfs://`, `sftp://`) by fsspec, with what that asks to be installed.

    Raises:
        SparnetError: If there is no such kind of place, or its library is not installed.
    """
    try:
        import pyarrow
        import pyarrow.fs
    except ModuleNotFoundError as error:
        raise SparnetError(f"a cluster needs the package {error.name}: pip install 'sparnet[ray]'") from None
    text = as_uri(place)
    if "://" not in text:
        return pyarrow.fs.LocalFileSystem(), str(expand_user(text).absolute())
    try:
        return pyarrow.fs.FileSystem.from_uri(text)
    except (pyarrow.ArrowInvalid, OSError):
        pass  # not a kind that pyarrow has
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise SparnetError(f"{text}: {error}") from None
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system)), path


def as_uri(place: str | Path) -> str:
    """Undo what `Path` does to a URI: `s3:/bucket` is `s3://bucket`."""
    text = re.sub(r"^([a-z][a-z0-9+.-]+):/+", r"\1://", str(place))
    return "/" + text.removeprefix("file://").lstrip("/") if text.startswith("file://") else text


def restore_on_ray(
    source: str | Path,
    output: str | Path,
    plan: Plan,
    *,
    address: str = "local",
    workers: int | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    progress: Any = None,
) -> FleetSummary:
    """Restore the photos of a folder on a Ray cluster; run again, it goes on where it was stopped.

    Args:
        source: Folder of photos: a path that all machines see, or a URI (see `open_place`).
        output: Folder to write to, likewise.
        plan: How they are restored.
        address: `local` starts Ray on this machine; `auto` takes the cluster this machine is in;
            else the address of one.
        workers: Workers, each with a model and a core; None is one a core of the cluster.
        recursive: Whether to look into folders inside folders.
        overwrite: Do again what the manifest says is done by the same plan.
        progress: Called with the reports of each batch of photos.

    Raises:
        SparnetError: If Ray is not installed or reached, or the model cannot be loaded.
        DataError: If there are no photos.
    """
    try:
        import pyarrow.fs
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise SparnetError(f"a cluster needs the package {error.name}: pip install 'sparnet[ray]'") from None
    started = time.perf_counter()
    place, folder = open_place(output)
    jobs, failures = _list_jobs(source, folder, recursive=recursive)
    plan.open()  # a model that is missing is told of here, in one line, not by every worker
    parts = f"{folder}/{_PARTS}"
    place.create_dir(parts, recursive=True)
    if isinstance(place, pyarrow.fs.LocalFileSystem):
        remove_leftovers([Path(folder)], recursive=True)
    mark = plan.fingerprint()
    rows = {} if overwrite else _read_manifest(place, folder)
    done = {
        name for name, row in rows.items() if row["error"] is None and row["plan"] == mark and name in jobs
    }
    waiting = [{"source": name, "target": target} for name, target in jobs.items() if name not in done]
    summary = FleetSummary(existing=len(done), failures=failures)
    mine = False
    try:
        if waiting:
            mine = not ray.is_initialized()
            _connect(ray, address, workers)
            workers = workers or max(1, int(_cluster_cores(ray)))
            blocks = max(1, min(len(waiting), max(2 * workers, len(waiting) // _PHOTOS_A_BATCH)))
            made = ray.data.from_items(waiting, override_num_blocks=blocks).map_batches(
                _RestoreBatch,
                batch_size=_PHOTOS_A_BATCH,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                fn_constructor_args=(plan, as_uri(output)),
            )
            for batch in made.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
                table: Any = batch
                reports = table.to_pylist()
                for report in reports:
                    if report["error"] is None:
                        summary.done += 1
                        summary.faces += report["faces"]
                    else:
                        summary.failures.append(report["error"])
                if progress is not None:
                    progress(reports)
    finally:
        if mine:
            ray.shutdown()
    summary.manifest = _join_manifest(place, folder, jobs)
    summary.seconds = time.perf_counter() - started
    return summary


def _cluster_cores(ray: Any) -> float:
    return float(ray.cluster_resources().get("CPU", 1))


def _connect(ray: Any, address: str, workers: int | None) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "include_dashboard": False, "configure_logging": False}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=workers, **quiet)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SparnetError(f"--ray {address}: no Ray cluster there ({reason})") from None


def _list_jobs(source: str | Path, folder: str, *, recursive: bool) -> tuple[dict[str, str], list[str]]:
    """List photos by their URI, and where the result of each goes; tell of names that clash."""
    import pyarrow.fs

    system, root = open_place(source)
    try:
        found = system.get_file_info(pyarrow.fs.FileSelector(root, recursive=recursive))
    except OSError as error:
        raise DataError(f"{show_path(source)}: cannot be listed ({error.strerror or error})") from None
    prefix = as_uri(source).rstrip("/") if "://" in as_uri(source) else root
    jobs: dict[str, str] = {}
    taken: set[str] = set()
    failures: list[str] = []
    results = folder.rstrip("/")
    is_inside = results.startswith(f"{root.rstrip('/')}/")
    for info in sorted(found, key=lambda info: info.path):
        inner = info.path[len(root.rstrip("/")) + 1 :]
        suffix = Path(inner).suffix.lower()
        hidden = any(part.startswith((".", "_")) for part in inner.split("/"))
        if info.type != pyarrow.fs.FileType.File or suffix not in PICTURE_SUFFIXES or hidden:
            continue
        if is_inside and info.path.startswith(f"{results}/"):  # what an earlier call has made
            continue
        kept = WRITABLE_SUFFIXES.get(suffix, "GIF") != "GIF"
        target = f"{folder.rstrip('/')}/{inner}" + ("" if kept else ".png")
        name = f"{prefix}/{inner}"
        if target in taken or (root, folder) == (folder, root):
            failures.append(f"{show_path(name)}: {show_path(target)} would be overwritten; change -o")
            continue
        taken.add(target)
        jobs[name] = target
    if not jobs and not failures:
        raise DataError(f"{show_path(source)}: no pictures in this folder")
    return jobs, failures


class _RestoreBatch:
    """A worker: loads the model once, then restores the photos of one batch after the other."""

    def __init__(self, plan: Plan, output: str) -> None:
        self.plan = Plan({**plan.options, "threads": plan.options.get("threads") or 1}, plan.quality)
        self.mark = plan.fingerprint()
        self.restorer = self.plan.open()
        self.system, self.folder = open_place(output)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Restore photos; write the results, then a part of the manifest that tells of them."""
        jobs = dict(zip(map(str, batch["source"]), map(str, batch["target"]), strict=True))
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as temporary:
            here: dict[Path, str] = {}
            for number, name in enumerate(jobs):
                path = Path(temporary) / f"{number}{Path(name).suffix.lower()}"
                try:
                    system, place = open_place(name)
                    with system.open_input_stream(place) as file:
                        path.write_bytes(file.read())
                except (OSError, SparnetError) as error:
                    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
                    rows.append(self._row(name, jobs[name], f"{show_path(name)}: cannot be read ({reason})"))
                else:
                    here[path] = name
            for made in self.restorer.restore_many(here, ahead=False):
                name = here[made.source]
                local = made.source.with_name(f"made-{made.source.stem}{Path(jobs[name]).suffix}")
                report = _restore(self.restorer, self.plan, local, made)
                failure = report["error"]
                if failure is None:
                    try:
                        put(self.system, jobs[name], local.read_bytes())
                    except OSError as problem:
                        failure = (
                            f"{show_path(jobs[name])}: cannot be written ({problem.strerror or problem})"
                        )
                else:
                    failure = f"{show_path(name)}: {failure.split(': ', 1)[-1]}"
                rows.append(self._row(name, jobs[name], failure, report))
        _write_rows(self.system, f"{self.folder}/{_PARTS}/{secrets.token_hex(12)}.parquet", rows)
        return {key: [row[key] for row in rows] for key in rows[0]}

    def _row(
        self, source: str, target: str, error: str | None, report: Report | None = None
    ) -> dict[str, Any]:
        made = report or {}
        return {
            "source": source,
            "target": target,
            "error": error,
            "plan": self.mark,
            "width": int(made.get("width", 0)),
            "height": int(made.get("height", 0)),
            "faces": sum(face["skipped"] is None for face in made.get("faces", ())),
            "seconds": float(made.get("seconds", 0.0)),
            "notes": "; ".join(made.get("notes", ())),
        }


def put(system: "pyarrow.fs.FileSystem", path: str, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    On a disk, by rename; an object store shows an object when all of it is there.

    Raises:
        OSError: If it cannot be written.
    """
    import pyarrow.fs

    if isinstance(system, pyarrow.fs.LocalFileSystem):
        write_whole(Path(path), content)
        return
    system.create_dir(path.rsplit("/", 1)[0], recursive=True)
    with system.open_output_stream(path) as file:
        file.write(content)


def _schema() -> "pyarrow.Schema":
    import pyarrow

    text, number = pyarrow.string(), pyarrow.int64()
    return pyarrow.schema(
        [("source", text), ("target", text), ("error", text), ("plan", text), ("width", number),
         ("height", number), ("faces", number), ("seconds", pyarrow.float64()), ("notes", text)]
    )  # fmt: skip


def _write_rows(system: "pyarrow.fs.FileSystem", path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=_schema()), buffer)
    put(system, path, buffer.getvalue().to_pybytes())


def _read_manifest(system: "pyarrow.fs.FileSystem", folder: str) -> dict[str, dict[str, Any]]:
    """Read the manifest of earlier runs and the parts of one that was killed, by the photo's name."""
    import pyarrow
    import pyarrow.fs
    import pyarrow.parquet

    parts = system.get_file_info(pyarrow.fs.FileSelector(f"{folder}/{_PARTS}", allow_not_found=True))
    paths = [f"{folder}/{PARQUET_MANIFEST}"]
    paths += [info.path for info in sorted(parts, key=lambda info: info.mtime_ns or 0)]
    rows: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not path.endswith(".parquet") or Path(path).name.startswith("."):
            continue
        if system.get_file_info(path).type != pyarrow.fs.FileType.File:
            continue
        try:
            with system.open_input_file(path) as file:
                table = pyarrow.parquet.read_table(file, schema=_schema())
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{show_path(path)}: damaged ({error}); remove it, its photos are done again"
            ) from None
        for row in table.to_pylist():
            if row["error"] is None or row["source"] not in rows:
                rows[row["source"]] = row
    return rows


def _join_manifest(system: "pyarrow.fs.FileSystem", folder: str, jobs: Mapping[str, str]) -> str:
    """Make one manifest of the parts, in the order of the photos, then remove them."""
    rows = _read_manifest(system, folder)
    order = {name: place for place, name in enumerate(jobs)}
    whole = sorted(rows.values(), key=lambda row: (order.get(row["source"], len(order)), row["source"]))
    path = f"{folder}/{PARQUET_MANIFEST}"
    _write_rows(system, path, whole)
    system.delete_dir(f"{folder}/{_PARTS}")
    return path
