"""What is given away is complete: the image's build context and the source distribution."""

import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = PROJECT["tool"]["hatch"]["build"]["targets"]
BUILD_NEEDS = [
    "pyproject.toml",
    PROJECT["project"]["readme"],
    *PROJECT["project"]["license-files"],
    PROJECT["tool"]["hatch"]["version"]["path"],
    *TARGETS["wheel"]["packages"],
    *TARGETS["wheel"]["force-include"],
]


def lies_in(path: str, places: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(place) for place in places)


def copied_by_the_dockerfile() -> list[str]:
    """What the stage that builds the wheel takes from the build context."""
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    return [source for line in re.findall(r"^COPY (.+) \S+$", stage, re.MULTILINE) for source in line.split()]


@pytest.mark.parametrize("path", BUILD_NEEDS)
def test_the_image_is_built_from_all_that_the_wheel_needs(path):
    ignored, *let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored == "*"
    assert (ROOT / path).exists()
    assert lies_in(path, copied_by_the_dockerfile())
    assert lies_in(path, [line[1:] for line in let_through if line.startswith("!")])


def named_by_pages() -> set[str]:
    """Files of the project that the pages link to."""
    found = set()
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                found.add((page.parent / link).resolve().relative_to(ROOT.resolve()).as_posix())
    return found


def named_by_tests() -> set[str]:
    """Files and folders of the project that the tests read."""
    place = re.compile(r"""(?:\bROOT|Path\(__file__\)\.parents\[\d\]\)?) / "([^"]+)\"""")
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    return {name for text in texts for name in place.findall(text)} - {"shared"}


def test_the_source_distribution_holds_what_its_pages_and_tests_name():
    named = named_by_pages() | named_by_tests()
    assert {"MODEL_CARD.md", "docs/photos.md", "benchmarks", "models", "Dockerfile"} <= named
    assert all((ROOT / name).exists() for name in named)
    held = ["pyproject.toml", *TARGETS["sdist"]["include"]]  # the former always is
    assert [name for name in sorted(named) if not lies_in(name, held)] == []
