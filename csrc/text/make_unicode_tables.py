"""Writes unicode_tables.inc: what the `tokenizers` package does to each code point.

Asked of the package itself, code point by code point, because no version of Unicode gives its
answers: its categories are those of an old one, its decompositions and case mappings those of newer
ones. Usage: `python make_unicode_tables.py > unicode_tables.inc`; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from itertools import groupby
from typing import Final

from tokenizers import normalizers, pre_tokenizers

__all__ = ["tables"]

_CODE_POINTS: Final = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
_HANGUL: Final = range(0xAC00, 0xAC00 + 11172)
# Stands between the code points of one question; a starter that nothing changes or joins.
_BAR: Final = ord("|")
_CHUNK: Final = 1 << 14
_COLUMNS: Final = 120

Mapping = dict[int, str]


def _chunks() -> Iterator[list[int]]:
    for begin in range(0, len(_CODE_POINTS), _CHUNK):
        yield _CODE_POINTS[begin : begin + _CHUNK]


def _changes(normalize: Callable[[str], str]) -> Mapping:
    """The code points that a normalizer changes, with what it makes of them."""
    changed: Mapping = {}
    for chunk in _chunks():
        results = normalize("|".join("a" if c == _BAR else chr(c) for c in chunk)).split("|")
        for c, result in zip(chunk, results, strict=True):
            if c != _BAR and result != chr(c):
                changed[c] = result
    return changed


def _bert(**switch: bool) -> Mapping:
    off = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), False)
    return _changes(normalizers.BertNormalizer(**{**off, **switch}).normalize_str)


def _splits() -> tuple[set[int], set[int]]:
    """The code points that the pre-tokenizer removes, and those that it isolates."""
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    spaces, isolated = set(), set()
    for chunk in _chunks():
        pieces = split("a" + "a".join(map(chr, chunk)) + "a")
        end = 0
        for text, (begin, stop) in pieces:
            if begin != end:
                spaces.add(chunk[end // 2])
            if begin % 2 and len(text) == 1:
                isolated.add(chunk[begin // 2])
            end = stop
    return spaces, isolated


def _ranks(decompositions: Mapping) -> dict[int, int]:
    """Canonical combining classes, numbered 1, 2, … in their order; 0 is left out.

    A class above 0 shows in that its characters change places with one of another class.
    """
    nfd = normalizers.NFD().normalize_str
    whole = [c for c in _CODE_POINTS if c not in decompositions and c not in _HANGUL]
    found = {ord(side) for side in "\u0334\u0345"}  # of the first class and of the last one
    for c in whole:
        if nfd(f"\u0345{chr(c)}")[0] != "\u0345" or nfd(f"{chr(c)}\u0334")[0] == "\u0334":
            found.add(c)

    def compare(a: int, b: int) -> int:
        if nfd(chr(a) + chr(b))[0] != chr(a):
            return 1
        return -1 if nfd(chr(b) + chr(a))[0] != chr(b) else 0

    ranks: dict[int, int] = {}
    rank, previous = 0, -1
    for c in sorted(found, key=cmp_to_key(compare)):
        rank += previous < 0 or compare(previous, c) != 0
        ranks[c] = rank
        previous = c
    return ranks


def _ranges(values: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(first, last, value) of each run of code points with one value."""
    numbered = enumerate(sorted(values))
    for (_, value), group in groupby(numbered, lambda item: (item[1][0] - item[0], item[1][1])):
        members = [c for _, (c, _) in group]
        yield members[0], members[-1], value


def _case_runs(deltas: list[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """(first, last, step, delta): every step-th code point from first to last is moved by delta."""
    run: list[int] = []
    run_delta = 0
    for c, delta in deltas:
        step = c - run[-1] if run else 0
        same_step = len(run) < 2 or step == run[1] - run[0]
        if run and not (delta == run_delta and step <= 2 and same_step):
            yield run[0], run[-1], max(1, run[1] - run[0]) if len(run) > 1 else 1, run_delta
            run = []
        run.append(c)
        run_delta = delta
    if run:
        yield run[0], run[-1], max(1, run[1] - run[0]) if len(run) > 1 else 1, run_delta


def _array(kind: str, name: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"inline constexpr {kind} {name}[] = {{"
    line = ""
    for row in rows:
        if len(line) + len(row) >= _COLUMNS:
            yield line
            line = ""
        line += row + ","
    yield line
    yield "};"


def _range_array(name: str, members: Iterable[int]) -> Iterator[str]:
    ranges = _ranges((c, 0) for c in members)
    return _array("Range", name, (f"{{{first:#x},{last:#x}}}" for first, last, _ in ranges))


def tables() -> str:
    """The text of unicode_tables.inc. Raises `AssertionError` where the package does what the
    tables cannot say."""
    clean = _bert(clean_text=True)
    chinese = _bert(handle_chinese_chars=True)
    stripped = _bert(strip_accents=True)
    lower = _bert(lowercase=True)
    decompositions = _changes(normalizers.NFD().normalize_str)
    spaces, isolated = _splits()
    ranks = _ranks(decompositions)
    marks = {c for c in _CODE_POINTS if c not in decompositions and stripped.get(c) == ""}

    assert set(clean.values()) == {"", " "}
    assert all(result == f" {chr(c)} " for c, result in chinese.items())
    for c in _HANGUL:
        syllable = c - _HANGUL[0]
        jamo = [0x1100 + syllable // 588, 0x1161 + syllable % 588 // 28, 0x11A7 + syllable % 28]
        assert decompositions.pop(c) == "".join(map(chr, jamo[: 3 if jamo[2] > 0x11A7 else 2]))
        assert stripped.pop(c)
        assert not any(c in changed for changed in (lower, spaces, isolated))
    for c, parts in decompositions.items():
        assert stripped.get(c, chr(c)) == "".join(p for p in parts if ord(p) not in marks)
        starters = [ranks.get(ord(p), 0) == 0 for p in parts]
        assert starters == sorted(starters, reverse=True), "starters come before the rest"
    assert set(stripped) <= set(decompositions) | marks
    long_lower = {c: result for c, result in lower.items() if len(result) > 1}
    deltas = [(c, ord(result) - c) for c, result in lower.items() if c not in long_lower]

    lines = ["// Made by make_unicode_tables.py; not edited by hand. For unicode.cc only."]
    lines += _range_array("kRemovedByCleaning", (c for c in clean if not clean[c]))
    lines += _range_array("kSpacedByCleaning", (c for c in clean if clean[c]))
    lines += _range_array("kChinese", chinese)
    lines += _range_array("kSpaces", spaces)
    lines += _range_array("kIsolated", isolated)
    lines += _range_array("kMarks", marks)
    lines += _array(
        "RankedRange",
        "kRanks",
        (f"{{{first:#x},{last:#x},{rank}}}" for first, last, rank in _ranges(ranks.items())),
    )
    lines += _array(
        "CaseRun",
        "kLower",
        (f"{{{a:#x},{b:#x},{step},{delta}}}" for a, b, step, delta in _case_runs(deltas)),
    )
    for name, mapping in (("kLongLower", long_lower), ("kDecompositions", decompositions)):
        rows = (
            f"{{{c:#x},{{{','.join(f'{ord(p):#x}' for p in parts)}}}}}"
            for c, parts in mapping.items()
        )
        lines += _array("Expansion", name, rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tables())
