"""What a cluster restores: the listing of a folder, which needs no cluster."""

import multiprocessing
import queue
import signal
import sys
from types import SimpleNamespace

import pytest

from sparnet import fleet


class Queue(queue.Queue):
    def cancel_join_thread(self):
        pass


class Context:
    """Stands in for processes; one that is killed leaves what it had begun to write."""

    def __init__(self, folder):
        self.folder = folder
        self.blocked: list[bool] = []
        self.reports: Queue = Queue()

    def Queue(self):  # noqa: N802
        self.reports = Queue()  # the last one is that of reports
        return self.reports

    def Process(self, **_):  # noqa: N802
        def start():
            self.blocked.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
            self.reports.put({"source": "a.jpg", "error": None})

        def kill():
            self.folder.mkdir(exist_ok=True)
            (self.folder / ".sparnet-0123.tmp").write_bytes(b"half")

        return SimpleNamespace(
            start=start, kill=kill, join=lambda: None, is_alive=lambda: True, exitcode=None, pid=1
        )


@pytest.mark.skipif(sys.platform == "win32", reason="no signal is blocked there, and leftovers stay")
def test_workers_that_are_stopped_leave_nothing_half_written_and_are_started_deaf_to_ctrl_c(
    tmp_path, monkeypatch
):
    context = Context(tmp_path / "out")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    jobs = {tmp_path / name: tmp_path / "out" / name for name in ("a.jpg", "b.jpg")}
    made = fleet.restore_by_processes(jobs, fleet.Plan({}), workers=2)
    next(made)
    assert context.blocked == [True, True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    made.close()  # as Ctrl-C does
    assert list((tmp_path / "out").iterdir()) == []


def test_results_inside_the_folder_of_photos_are_no_photos(tmp_path):
    """An earlier call's, below the folder or below one of another name that begins alike."""
    pytest.importorskip("pyarrow")
    for name in ("a.jpg", "b/c.png", "out/a.jpg", "outside/d.jpg", "_parts/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    _, folder = fleet.open_place(tmp_path / "out")
    jobs, failures = fleet._list_jobs(tmp_path, folder, recursive=True)
    assert failures == []
    expected = {name: f"{folder}/{name}" for name in ("a.jpg", "b/c.png", "outside/d.jpg")}
    assert {name.removeprefix(f"{tmp_path}/"): target for name, target in jobs.items()} == expected
