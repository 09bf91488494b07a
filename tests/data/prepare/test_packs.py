"""Packs of pictures."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from sparnet.data.faces import read_faces
from sparnet.data.prepare import (
    MANIFEST,
    folder,
    manifest,
    output,
    packs,
)
from sparnet.errors import DataError
from sparnet.image import write_image
from tests.data.prepare.preparing import noise, pack, prepare, tree


def index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decoded(folder: Path) -> list[np.ndarray]:
    return [np.asarray(PillowImage.open(io.BytesIO(read.encoded))) for read in read_faces(folder)]


def test_a_pack_holds_the_pictures_that_the_folder_held(photos, tmp_path):
    prepare(photos, tmp_path / "loose")
    assert pack(photos, tmp_path / "packed", terms="mine") == 1
    assert sorted(tree(tmp_path / "packed")) == ["ffhq-00000.tar", "index.csv", MANIFEST]
    packed = read_faces(tmp_path / "packed", terms=frozenset({"mine"}))
    loose = {read.name: read.encoded for read in read_faces(tmp_path / "loose")}
    assert [read.name for read in packed] == ["1.png", "2.png", "10.png", "more-1.png", "more-zoë.png"]
    rows = index(tmp_path / "packed")
    assert {row["path"]: read.encoded for row, read in zip(rows, packed, strict=True)} == loose


def test_each_part_of_the_partition_is_a_pack_and_knows_who_is_who(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("1.jpg 0\n2.jpg 0\n10.jpg 2\n")
    (tmp_path / "people.txt").write_text("1.jpg 7\n2.jpg 7\n")
    files = {"partition": tmp_path / "parts.txt", "identities": tmp_path / "people.txt"}
    assert pack(photos, tmp_path / "out", **files) == 2
    train, test = read_faces(tmp_path / "out" / "train"), read_faces(tmp_path / "out" / "test")
    assert [read.identity for read in train] == ["celeba-7"] * 3
    assert [read.identity for read in test] == ["10.png"]
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir()) == [
        "index.csv",
        "train-00000.tar",
    ]


def test_a_tar_is_never_larger_than_a_pack_allows(tmp_path, monkeypatch):
    for number in range(30):
        write_image(tmp_path / "photos" / f"{'long name ' * 15}{number}.png", noise(32, 32, seed=number))
    monkeypatch.setattr(packs, "PACK_BYTES", 40 * 1024)
    tars = pack(tmp_path / "photos", tmp_path / "out")
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("*.tar")]
    assert len(sizes) == tars > 1
    assert max(sizes) <= 40 * 1024
    assert len(decoded(tmp_path / "out")) == 30


def test_names_in_a_tar_have_no_folder_and_no_dot_but_the_last(tmp_path):
    """WebDataset takes what follows the first dot for the suffix; folders are not read by us."""
    for name in ("a.b.png", "a/b.png", "a-b.png", "a_b.png"):
        write_image(tmp_path / "photos" / name, noise(32, 32))
    pack(tmp_path / "photos", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "ffhq-00000.tar") as tar:
        names = tar.getnames()
    assert sorted(names) == ["a-b-2.png", "a-b.png", "a_b-2.png", "a_b.png"]


def test_packs_do_not_depend_on_when_they_are_made(photos, tmp_path):
    pack(photos, tmp_path / "at once")
    prepare(photos, tmp_path / "later", stop_after=3)
    prepare(photos, tmp_path / "later")
    pack(photos, tmp_path / "later")
    assert tree(tmp_path / "later") == tree(tmp_path / "at once")
    pack(photos, tmp_path / "later")
    assert tree(tmp_path / "later") == tree(tmp_path / "at once")


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_packing_that_was_killed_goes_on(photos, tmp_path, monkeypatch, writes):
    monkeypatch.setattr(packs, "PACK_BYTES", 24 * 1024)  # two tars
    pack(photos, tmp_path / "whole")
    prepare(photos, tmp_path / "out")

    class Killed(BaseException):
        pass

    write_file, unlink = output.write_file, Path.unlink
    left = writes + 1  # the settings are written first

    def write_and_die(output: Path, name: str, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        write_file(output, name, content)

    def die(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".png":
            raise Killed
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        for module in (folder, manifest, packs):
            patch.setattr(module, "write_file", write_and_die)
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            pack(photos, tmp_path / "out")
    assert len(read_faces(tmp_path / "out")) == 5
    pack(photos, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_pack_gets_further_tars_for_what_is_new(photos, tmp_path):
    pack(photos, tmp_path / "out", terms="mine")
    first = tree(tmp_path / "out")["ffhq-00000.tar"]
    write_image(photos / "0.png", noise(32, 32, seed=8))
    assert pack(photos, tmp_path / "out") == 2
    assert tree(tmp_path / "out")["ffhq-00000.tar"] == first
    assert [row["shard"] for row in index(tmp_path / "out")] == ["0"] * 5 + ["1"]
    assert {row["terms"] for row in index(tmp_path / "out")} == {"mine"}
    assert len(read_faces(tmp_path / "out")) == 6


def test_a_picture_that_was_changed_is_not_packed(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    path = tmp_path / "out" / "2.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not as it was made; delete it and run again"):
        pack(photos, tmp_path / "out")
    assert path.exists()


def test_a_foreign_index_is_refused(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    (tmp_path / "out" / "index.csv").write_text("file,shard\na.png,0\n")
    with pytest.raises(DataError, match="damaged, expected the columns file, shard"):
        pack(photos, tmp_path / "out")
