"""Commands that the documents show exist, and so do the files that they link to."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from structure.sources import ROOT, files, name_of

FENCE = re.compile(r"^```(?:bash|sh|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
TARGET = re.compile(r"^([a-z][a-z-]*(?: [a-z-]+)*):", re.MULTILINE)


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *files("docs", ".md")]


def commands(path: Path) -> Iterator[list[str]]:
    """The command lines of a document's shell blocks, continuation lines joined, as words."""
    for block in FENCE.findall(path.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.removeprefix("$ ").strip()
            if text and not text.startswith("#"):
                yield shlex.split(text, comments=True)


@functools.cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pelton", *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"pelton {' '.join(words)} --help: {done.stderr}"
    return done.stdout


def check_make(words: list[str]) -> None:
    targets = {t for line in TARGET.findall((ROOT / "Makefile").read_text()) for t in line.split()}
    for word in words[1:]:
        assert "=" in word or word in targets, f"make has no target {word}"


def check_pelton(words: list[str]) -> None:
    shown = help_of(words[1]) if len(words) > 1 and not words[1].startswith("-") else help_of()
    for word in words[2:]:
        option = word.split("=")[0]
        assert not option.startswith("--") or option in shown, f"pelton {words[1]} has no {option}"


def check_python(words: list[str]) -> None:
    script = words[1] if len(words) > 1 else ""
    if script == "-m":
        module = ROOT / words[2].replace(".", "/")
        known = words[2] in {"pelton", "pip", "pytest", "venv"}
        assert known or module.is_dir() or module.with_suffix(".py").is_file(), words[2]
    elif script.endswith(".py"):
        assert (ROOT / script).is_file(), f"{script} does not exist"


def check(words: list[str]) -> None:
    if words[0] == "make":
        check_make(words)
    elif words[0].endswith("pelton"):
        check_pelton(words)
    elif words[0].rpartition("/")[2] in {"python", "python3"}:
        check_python(words)
    elif "/" in words[0]:
        assert (ROOT / words[0]).is_file(), f"{words[0]} does not exist"


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_commands_exist(path: Path) -> None:
    for words in commands(path):
        check(words)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    missing = [
        link
        for link in LINK.findall(path.read_text())
        if "://" not in link and not (path.parent / link).exists()
    ]
    assert missing == []


def test_the_readme_shows_the_first_steps() -> None:
    shown = [" ".join(words) for words in commands(ROOT / "README.md")]
    assert any(line.startswith("make serve") for line in shown)
    assert any(line.startswith("curl ") for line in shown)


def test_unknown_commands_are_found() -> None:
    with pytest.raises(AssertionError, match="no target"):
        check(["make", "coffee"])
    with pytest.raises(AssertionError, match="does not exist"):
        check(["python", "examples/none.py"])
