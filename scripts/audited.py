"""Read what pip-audit found, and fail if anything is unsafe, or if nothing could be said of it.

    python scripts/audited.py dist/audit.json

pip-audit itself ends with 0 where its service knows none of the packages. sparnet may be unknown.
"""

import json
import sys
from pathlib import Path


def main() -> int:
    """Print the findings; return 1 if there are any, or packages that were not looked at."""
    try:
        packages = json.loads(Path(sys.argv[1]).read_text())["dependencies"]
    except FileNotFoundError:
        print(f"{sys.argv[1]}: pip-audit wrote nothing")
        return 1
    unsafe = [
        f"{each['name']} {each['version']}: {found['id']}"
        for each in packages
        for found in each.get("vulns", ())
    ]
    unknown = [each["name"] for each in packages if "skip_reason" in each and each["name"] != "sparnet"]
    for line in unsafe:
        print(line)
    if unknown:
        print(f"nothing is known of {len(unknown)} of {len(packages)} packages: {', '.join(unknown)}")
    if unsafe or unknown:
        return 1
    print(f"{len(packages) - 1} packages, none known to be unsafe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
