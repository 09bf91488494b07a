"""Files that appear whole or not at all."""

import subprocess
import sys

import pytest

from sparnet import files
from sparnet.files import remove_leftovers, replacing, write_whole

no_locks = pytest.mark.skipif(sys.platform == "win32", reason="leftovers stay on Windows")


def test_a_file_is_written_with_its_folders_and_nothing_else(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "ü")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ü".encode()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with pytest.raises(RuntimeError, match="midway"):
        _fail_midway(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_is_not_there_before_the_content_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as file:
        file.write(b"part")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"part"


def _fail_midway(path):
    with replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("midway")


@no_locks
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    program = """
import sys, time
from pathlib import Path
from sparnet.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half of the n")
    file.flush()
    print("begun", flush=True)
    time.sleep(600)
"""
    words = [sys.executable, "-c", program, str(tmp_path / "a.bin")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        [written] = tmp_path.iterdir()
        assert remove_leftovers([tmp_path]) == 0
        assert written.read_bytes() == b"half of the n"
        process.kill()
    assert remove_leftovers([tmp_path / "not there", tmp_path]) == 1
    assert list(tmp_path.iterdir()) == []


@no_locks
def test_a_file_that_was_taken_for_a_leftover_before_it_was_locked_is_begun_anew(tmp_path, monkeypatch):
    """Another process comes between making the file and locking it."""
    lock = files._lock
    begun: list[str] = []

    def lock_late(file, *, wait):
        if wait and not begun:
            begun.append(file.name)
            assert remove_leftovers([tmp_path]) == 1
        return lock(file, wait=wait)

    monkeypatch.setattr(files, "_lock", lock_late)
    write_whole(tmp_path / "a.txt", "all")
    assert (tmp_path / "a.txt").read_text() == "all"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@no_locks
def test_leftovers_within_are_removed_only_when_that_is_asked_for(tmp_path):
    inner = tmp_path / "a" / ".sparnet-0123456789abcdef.tmp"
    inner.parent.mkdir()
    inner.write_bytes(b"half")
    (tmp_path / "sparnet-1.tmp").write_bytes(b"not one of ours")
    assert remove_leftovers([tmp_path]) == 0
    assert remove_leftovers([tmp_path], recursive=True) == 1
    assert not inner.exists()
    assert (tmp_path / "sparnet-1.tmp").exists()


def test_a_file_can_be_written_in_another_folder_first(tmp_path):
    with replacing(tmp_path / "sub" / "a.bin", by_way_of=tmp_path) as file:
        file.write(b"all")
        assert len(list(tmp_path.glob(".sparnet-*.tmp"))) == 1
    assert (tmp_path / "sub" / "a.bin").read_bytes() == b"all"
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]
