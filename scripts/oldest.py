"""Print the oldest versions that pyproject.toml allows, one a line, for pip.

    python scripts/oldest.py            the runtime half
    python scripts/oldest.py ort heic   and these extras

A bound `>=2.10` becomes `==2.10.*`: its newest correction.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def oldest(requirement: str) -> str:
    """Turn a lower bound into the versions that begin with it."""
    match = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)>=([\d.]+)", requirement)
    if match is None:
        raise SystemExit(f"pyproject.toml: {requirement} has no lower bound")
    return f"{match[1]}=={match[2]}.*"


def main() -> None:
    """Print them."""
    wanted = list(PROJECT["dependencies"])
    for extra in sys.argv[1:]:
        wanted += PROJECT["optional-dependencies"][extra]
    for requirement in wanted:
        print(oldest(requirement))


if __name__ == "__main__":
    main()
