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
