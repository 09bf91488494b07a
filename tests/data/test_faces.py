"""Reading faces from folders and packs."""

import csv
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from sparnet.data.faces import choose_faces, decode_faces, hold_out_people, load_face_set, read_faces
from sparnet.errors import DataError


def picture(side: int, value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((side, side, 3), value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def huge() -> bytes:
    """A PNG whose header claims more pixels than are decoded."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def write_pack(folder: Path, *, missing: str | None = None) -> Path:
    """Two shards; three people, one of them twice."""
    folder.mkdir()
    rows = [
        ("a.png", 0, "x", "free"),
        ("b.png", 0, "y", "free"),
        ("c.png", 1, "x", "research"),
        ("d.png", 1, "z", ""),
    ]
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "shard", "identity", "terms"])
        writer.writerows(rows)
    for shard in (0, 1):
        with tarfile.open(folder / f"pack-{shard:02d}.tar", "w") as tar:
            for value, (name, where, _, _) in enumerate(rows):
                if where == shard and name != missing:
                    content = picture(16 + 4 * value, value)
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def test_a_pack_is_read_in_the_order_of_its_index(tmp_path):
    faces = read_faces(write_pack(tmp_path / "pack"))
    assert [face.name for face in faces] == ["a.png", "b.png", "c.png", "d.png"]
    assert [face.identity for face in faces] == ["x", "y", "x", "z"]


def test_only_pictures_under_the_wanted_terms_are_read(tmp_path):
    faces = read_faces(write_pack(tmp_path / "pack"), terms=frozenset({"free"}))
    assert [face.name for face in faces] == ["a.png", "b.png"]
    with pytest.raises(DataError, match="no pictures under the terms cc0"):
        read_faces(tmp_path / "pack", terms=frozenset({"cc0"}))


def test_a_picture_missing_from_its_tar_is_told(tmp_path):
    with pytest.raises(DataError, match=r"c\.png of index\.csv is missing"):
        read_faces(write_pack(tmp_path / "pack", missing="c.png"))


def test_faces_of_several_sizes_keep_their_pixels(tmp_path):
    faces = load_face_set([write_pack(tmp_path / "pack")], smallest_px=16, largest_px=24)
    assert faces.sizes.tolist() == [16, 20, 24, 24]
    assert faces.pixels.shape == (4, 24, 24, 3)
    for index in range(4):
        assert (faces.picture(index) == index).all()


def test_sets_of_several_folders_are_one(tmp_path):
    write_pack(tmp_path / "pack")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "e.png").write_bytes(picture(40, 9))
    both = load_face_set([tmp_path / "pack", tmp_path / "folder"], smallest_px=16, largest_px=64)
    assert both.names == ("a.png", "b.png", "c.png", "d.png", "e.png")
    assert both.sizes.tolist() == [16, 20, 24, 28, 40]
    assert (both.picture(4) == 9).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture", r"bad\.png: not a picture that can be read"),
        (huge(), r"bad\.png: .*100,000 x 100,000"),
        (picture(8), "is 8 px, smaller than the crop of 16 px"),
    ],
)
def test_a_picture_that_cannot_be_trained_on_is_named(tmp_path, content, message):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        decode_faces(read_faces(tmp_path), smallest_px=16, largest_px=64, source=tmp_path)


def test_faces_are_decoded_as_photos_are(tmp_path):
    """Upright, and 16 bits reduced to 8, not cut off at white."""
    left = np.zeros((16, 16, 3), dtype=np.uint8)
    left[:, :8] = 200
    turned = PillowImage.fromarray(left)
    exif = turned.getexif()
    exif[0x0112] = 3  # by 180 degrees
    turned.save(tmp_path / "a.png", exif=exif)
    PillowImage.fromarray(np.full((16, 16), 30_000, dtype=np.uint16)).save(tmp_path / "b.png")
    faces = load_face_set([tmp_path], smallest_px=16, largest_px=16)
    assert np.array_equal(faces.picture(0), left[::-1, ::-1])
    assert (faces.picture(1) == round(30_000 / 257)).all()


def test_faces_can_be_kept_in_the_memory_of_their_set(tmp_path):
    faces = load_face_set([write_pack(tmp_path / "pack")], smallest_px=16, largest_px=64)
    expected = faces.subset([0, 2, 3])
    kept = faces.keep([0, 2, 3])
    assert np.shares_memory(kept.pixels, faces.pixels)
    assert np.array_equal(kept.pixels, expected.pixels)
    assert (kept.sizes.tolist(), kept.names, kept.identities) == (
        expected.sizes.tolist(),
        expected.names,
        expected.identities,
    )


def test_a_picture_that_is_not_square_is_refused(tmp_path):
    PillowImage.new("RGB", (20, 30)).save(tmp_path / "bad.png")
    with pytest.raises(DataError, match="20 x 30 px; training faces must be square"):
        load_face_set([tmp_path], smallest_px=16, largest_px=64)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        read_faces(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_faces(tmp_path / "nowhere")


def test_nobody_is_on_both_sides_of_a_split(tmp_path):
    faces = load_face_set([write_pack(tmp_path / "pack")], smallest_px=16, largest_px=64)
    for people in (1, 2):
        train, held = hold_out_people(faces, people=people)
        assert sorted([*train, *held]) == [0, 1, 2, 3]
        assert {faces.identities[i] for i in train}.isdisjoint(faces.identities[i] for i in held)
        assert len({faces.identities[i] for i in held}) == people
    with pytest.raises(DataError, match="cannot hold out 3 people of 3"):
        hold_out_people(faces, people=3)


def test_as_many_faces_are_chosen_as_wanted_whatever_else_is_there(tmp_path):
    """Table II's 18,000: by their names, so that more faces change no choice but who is left out."""
    faces = load_face_set([write_pack(tmp_path / "pack")], smallest_px=16, largest_px=64)
    three, two = choose_faces(faces, 3).names, choose_faces(faces, 2).names
    assert (len(three), len(two)) == (3, 2)
    assert set(two) < set(three) < set(faces.names)
    assert list(three) == [name for name in faces.names if name in set(three)]
    assert set(choose_faces(faces.subset([3, 2, 1, 0]), 2).names) == set(two)
    with pytest.raises(DataError, match="cannot train on 5 faces of 4"):
        choose_faces(faces, 5)
