"""Files that appear whole or not at all."""

import os

import pytest

from sparnet.files import remove_leftovers, replacing, write_whole


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


def test_what_killed_programs_left_is_removed_and_what_is_being_written_stays(tmp_path):
    (tmp_path / "run").mkdir()
    old, young = tmp_path / "run" / ".sparnet-0.tmp", tmp_path / ".sparnet-1.tmp"
    for path in (old, young, tmp_path / "run" / "a.txt"):
        path.touch()
        os.utime(path, (0, 0) if path != young else None)
    remove_leftovers(tmp_path)
    assert not old.exists()
    assert young.exists()
    assert (tmp_path / "run" / "a.txt").exists()
    remove_leftovers(tmp_path / "nowhere")


def _fail_midway(path):
    with replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("midway")
