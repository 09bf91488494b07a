"""The folder made."""

import hashlib
import json
from pathlib import Path
from typing import get_args

import pytest

from sparnet.data.faces import read_faces
from sparnet.data.prepare import (
    MANIFEST,
    CelebaConfig,
    FfhqConfig,
    NaturalConfig,
    Reason,
    Record,
    Summary,
    cutters,
)
from sparnet.data.prepare.manifest import format_records
from sparnet.data.prepare.packs import INDEX_COLUMNS
from sparnet.errors import DataError
from sparnet.faces.detect import Face
from sparnet.image import Image, write_image
from tests.data.prepare.preparing import Sees, face, noise, prepare, records, tree


def test_a_prepared_folder_can_be_trained_on_as_it_is(photos, tmp_path):
    done, summary = prepare(photos, tmp_path / "out")
    assert done == ["1.png", "2.png", "10.png", "more/1.png", "more/zoë.webp"]
    assert summary == Summary(photos=5, kept={"all": 5}, dropped={}, failed=[])
    names = [read.name for read in read_faces(tmp_path / "out")]
    assert names == ["1.png", "10.png", "2.png", "more/1.png", "more/zoë.png"]


def test_the_manifest_tells_what_became_of_each_photo(photos, tmp_path):
    write_image(photos / "3.png", noise(8, 8))
    (photos / "4.jpg").write_bytes(b"no picture")
    prepare(photos, tmp_path / "out")
    by_source = {record.source: record for record in records(tmp_path / "out")}
    kept = by_source["more/zoë.webp"]
    assert (kept.outcome, kept.file, kept.width_px, kept.height_px) == ("kept", "more/zoë.png", 32, 32)
    encoded = (tmp_path / "out" / "more/zoë.png").read_bytes()
    assert kept.size_bytes == len(encoded)
    assert kept.sha256 == hashlib.sha256(encoded).hexdigest()
    assert (by_source["3.png"].outcome, by_source["3.png"].reason) == ("dropped", "too small")
    failed = by_source["4.jpg"]
    assert (failed.outcome, failed.reason) == ("failed", "cannot be read")
    assert str(failed.detail).startswith("not a picture that can be read")


def test_a_photo_with_several_faces_has_a_line_for_each(tmp_path, monkeypatch):
    write_image(tmp_path / "photos" / "crowd.png", noise(200, 200))
    write_image(tmp_path / "photos" / "empty.png", noise(100, 100))
    faces = [face(0, 0, 100, 100), face(110, 110, 140, 140), face(150, 150, 190, 190)]
    seen = {200: Sees(*faces), 100: Sees()}

    class BySize:
        def detect(self, image: Image) -> list[Face]:
            return seen[image.shape[0]].detect(image)

    monkeypatch.setattr(cutters, "open_detector", lambda *_, **__: BySize())
    _, summary = prepare(tmp_path / "photos", tmp_path / "out", NaturalConfig(size_px=32))
    assert summary == Summary(2, {"all": 2}, {"too large": 1, "no face": 1}, [])
    assert [
        (record.source, record.face, record.faces, record.file) for record in records(tmp_path / "out")
    ] == [
        ("crowd.png", 0, 3, None),
        ("crowd.png", 1, 3, "crowd_01.png"),
        ("crowd.png", 2, 3, "crowd_02.png"),
        ("empty.png", 0, 1, None),
    ]
    # a run that ended between two lines of one photo does the photo again
    whole = tree(tmp_path / "out")
    lines = whole[MANIFEST].splitlines(keepends=True)
    (tmp_path / "out" / MANIFEST).write_bytes(b"".join(lines[:2]))
    done, _ = prepare(tmp_path / "photos", tmp_path / "out", NaturalConfig(size_px=32))
    assert done == ["crowd.png", "empty.png"]
    assert tree(tmp_path / "out") == whole


def test_photos_that_differ_in_suffix_alone_are_kept_apart(tmp_path):
    for name in ("a.png", "a.webp", "b.png"):
        write_image(tmp_path / "photos" / name, noise(32, 32))
    prepare(tmp_path / "photos", tmp_path / "out")
    assert {record.file for record in records(tmp_path / "out")} == {"a.png.png", "a.webp.png", "b.png"}


def test_the_official_partition_is_respected(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("1.jpg 0\n2.jpg 1\n10.jpg 2\nelsewhere.jpg 0\n")
    _, summary = prepare(photos, tmp_path / "out", partition=tmp_path / "parts.txt")
    assert {record.source: record.file for record in records(tmp_path / "out")} == {
        "1.png": "train/1.png",
        "2.png": "val/2.png",
        "10.png": "test/10.png",
        "more/1.png": "train/more/1.png",
        "more/zoë.webp": None,
    }
    assert summary.kept == {"train": 2, "val": 1, "test": 1}
    assert summary.dropped == {"in no split": 1}
    assert [read.name for read in read_faces(tmp_path / "out" / "val")] == ["2.png"]


def test_a_partition_of_other_photos_is_refused(photos, tmp_path):
    (tmp_path / "parts.txt").write_text("000001.jpg 0\n")
    with pytest.raises(DataError, match="none of its pictures is in the partition file"):
        prepare(photos, tmp_path / "out", partition=tmp_path / "parts.txt")


def test_a_record_comes_back_from_its_line():
    record = Record(
        source="zoë \u2028\n.png", outcome="kept", box=(0, 1.5, 2, 3), square=(0, 0, 1, 1), score=1
    )
    (line,) = format_records([record]).splitlines()
    assert Record.model_validate_json(line) == record
    assert json.loads(line)["source"] == record.source


def test_the_summary_counts_over_all_runs(photos, tmp_path):
    write_image(photos / "3.png", noise(8, 8))
    prepare(photos, tmp_path / "out", stop_after=2)
    _, summary = prepare(photos, tmp_path / "out")
    assert summary == Summary(photos=6, kept={"all": 5}, dropped={"too small": 1}, failed=[])


def test_the_page_on_data_names_every_setting_with_its_default_and_every_reason():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for place, config in enumerate((CelebaConfig(), FfhqConfig(), NaturalConfig()), start=1):
        for key, value in config.model_dump(exclude={"kind"}).items():
            (row,) = [line.split("|")[1:] for line in page.splitlines() if line.startswith(f"| `{key}` |")]
            assert row[place].strip() == str(value)
    for reason in get_args(Reason):
        assert f"| `{reason}` |" in page
    for column in INDEX_COLUMNS:
        assert f"`{column}`" in page
