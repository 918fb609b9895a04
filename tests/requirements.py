"""Prints the requirements of one extra of pyproject.toml, or of `build`, for a pip command line."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main() -> int:
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    name = sys.argv[1]
    if name == "build":
        requirements = project["build-system"]["requires"]
    else:
        requirements = project["project"]["optional-dependencies"][name]
    print(" ".join(requirements))
    return 0


if __name__ == "__main__":
    sys.exit(main())
