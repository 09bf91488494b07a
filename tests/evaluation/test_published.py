"""The paper's numbers are those of its text."""

import re
from pathlib import Path

import pytest

from sparnet.evaluation.reproduce import published


@pytest.fixture(scope="module")
def paper(shared: Path) -> str:
    path = shared / "paper" / "paper.txt"
    if not path.is_file():
        pytest.skip(f"needs the paper's text in {path}")
    return path.read_text(encoding="utf-8")


def lines_after(paper: str, begin: str, *, skip: int = 0) -> list[list[str]]:
    """Return the cells of a table's rows, from the line after the `skip`-th that begins so."""
    lines = paper.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith(begin)]
    rows = []
    for line in lines[starts[skip] + 1 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not set("".join(cells)) <= set("-: "):
            rows.append(cells)
    return rows


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.rstrip("%")) for cell in cells if re.fullmatch(r"[\d.]+%?", cell)]


def columns(table: published.Rows) -> list[list[float]]:
    """Return a table a metric a line, as the paper prints it."""
    return [list(values) for values in zip(*(row.values() for row in table.values()), strict=True)]


def test_table_1_is_the_papers(paper):
    rows = lines_after(paper, "| Method | Bicubic | RCAN | CBAM | URDGN")
    assert [numbers(row[1:]) for row in rows] == columns(published.TABLE1)
    header = next(line for line in paper.splitlines() if line.startswith("| Method | Bicubic"))
    short = {"Wavelet-SRNet": "Wavelet", "Attention-FH": "Att-FH", "FSRNet": "FSRNet\u2217"}
    assert [cell.strip() for cell in header.strip("| ").split("|")][1:] == [
        short.get(name, name) for name in published.TABLE1
    ]


def test_table_2_is_the_papers(paper):
    (row,) = lines_after(paper, "| Method | FSRNet | SPARNet |")
    pairs = [tuple(float(part) for part in cell.split("/")) for cell in row[1:]]
    assert pairs == [tuple(values.values()) for values in published.TABLE2.values()]


def test_table_3_is_the_papers(paper):
    rows = lines_after(paper, "| Methods | PFSRNet")
    assert [numbers(row[1:]) for row in rows] == columns(published.TABLE3)


def test_table_4_is_the_papers(paper):
    rows = [numbers(row[1:]) for row in lines_after(paper, "| Scale | Bicubic")]
    assert rows == columns(published.TABLE4[4]) + columns(published.TABLE4[16])


def test_table_5_is_the_papers(paper):
    (row,) = lines_after(paper, "| Method | SICNN")
    assert [numbers(row[1:])] == columns(published.TABLE5)


def test_table_6_is_the_papers(paper):
    rows = lines_after(paper, "| Methods | CelebAHQ-Test (LPIPS)")
    assert [numbers(row[1:]) for row in rows] == [list(row.values()) for row in published.TABLE6.values()]
