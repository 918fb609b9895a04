"""Sizes of files and functions, and words that have no place in the code."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

from structure.sources import ROOT, files, name_of

FUNCTION_LINES_MAX = 70
FILE_LINES_P90 = 400
FILE_LINES_MAX = 700
NO_FUNCTION = r"namespace|struct|class|enum|union|extern"
CODE = ("kernels", "csrc", "pyserver", "tests", "bench", "examples")
# Spelled in parts, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|place" r"holder|for" r" now)\b")


def code_files() -> list[Path]:
    suffixes = (".h", ".cc", ".inl", ".inc", ".py", ".pyi", ".sh")
    return [
        path for folder in CODE if (ROOT / folder).is_dir() for path in files(folder, *suffixes)
    ]


def native_functions(text: str) -> Iterator[tuple[str, int]]:
    """Functions at the left margin, as (signature, lines): clang-format puts their ends there."""
    begin: int | None = None
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("}"):
            is_table = begin is not None and lines[begin].endswith("= {")
            if begin is not None and not is_table and not re.match(NO_FUNCTION, lines[begin]):
                yield lines[begin], number - begin + 1
            begin = None
        elif re.match(r"[A-Za-z_]", line) and not re.match(r"[A-Za-z_]+:", line):
            begin = number


def long_functions(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{name_of(path)}: {node.name}: {lines} lines"
    elif path.suffix in {".cc", ".h", ".inl"}:
        for signature, lines in native_functions(text):
            if lines > FUNCTION_LINES_MAX:
                yield f"{name_of(path)}: {signature}: {lines} lines"


def test_functions_are_short() -> None:
    assert [line for path in code_files() for line in long_functions(path)] == []


def test_long_functions_are_found() -> None:
    body = "  x();\n" * FUNCTION_LINES_MAX
    function = f"void f(int x,\n       int y) {{\n#pragma y\n{body}}}\n"
    text = f"namespace a {{\n\n{function}}}  // namespace a\n"
    assert list(native_functions(text)) == [("void f(int x,", FUNCTION_LINES_MAX + 4)]


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in code_files()}
    longest = sorted(lengths, key=lengths.__getitem__, reverse=True)[:5]
    print("longest files:", ", ".join(f"{name} {lengths[name]}" for name in longest))
    assert {name: n for name, n in lengths.items() if n > FILE_LINES_MAX} == {}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= FILE_LINES_P90


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in [*code_files(), *files("docs", ".md"), *ROOT.glob("*.md")]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []
