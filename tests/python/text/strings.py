"""Texts that tokenizers are compared on: real sentences, and strings made to break them."""

from __future__ import annotations

import importlib
import itertools
import random
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

__all__ = ["alphabet", "hostile", "sentences"]

SPECIAL = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"]
SPACES = [*" \t\n\r\v\f", *map(chr, (0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029))]
SPACES += map(chr, (0x202F, 0x205F, 0x2060, 0x3000, 0x180E, 0xFEFF, 0x200D))
CONTROLS = [*map(chr, [*range(1, 9), *range(14, 32), *range(127, 160)]), "\xad", "\ufffd", "\ue000"]
ODD = [
    *"İıſßẞςΣσǅǄǆﬁﬃŉΐΰᾳᾼﾞﾟ゙゚ⅷⅧⓐⒶℵKÅΩ;`´≠≮≯·‼⁉−…「」。、！？＃［］ａＡ１٣५",
    "e\u0301",
    "\u0344",
    "\u0f73",
    "\u1f82",
    "\U0001d15e",
    "\U0001d160",
    "\u302e",
    "\u302f",
    "\u3099",
    "\U0001d165",
    "\U0001d16e",
    "\u1b44",
    "\ua953",
    "\U00016ff0",
    "\u0345",
    "\u0334",
    "\u05b0",
    "\u1734",
    "\u0653\u0654",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "👍🏽",
    "1️⃣",
    "🇩🇪",
    "שָׁלוֹם",
    "العَرَبِيَّة",
    "नमस्ते",
    "ไทย",
    "Tiếng Việt",
    "ﾊﾝｶｸ",
    "한국어",
    "\u1100\u1161\u11a8",
    "日本語",
    "漢字",
    "\ufa0e\uf900\U0002f800",
    "ÀÉÎõü",
    "МОСКВА",
    "ЁЙ",
]
# Whose docstrings are sentences.
MODULES = ["argparse", "asyncio", "collections", "csv", "datetime", "decimal", "difflib", "email"]
MODULES += ["functools", "http", "inspect", "itertools", "json", "logging", "pathlib", "pickle"]
MODULES += ["random", "shutil", "socket", "statistics", "string", "struct", "tarfile", "textwrap"]
# Code points of each kind by themselves: from first to last.
BLOCKS = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x250, 0x36F),
    (0x370, 0x5FF),
    (0x600, 0x8FF),
    (0x900, 0x109F),
    (0x10A0, 0x1CFF),
    (0x1D00, 0x20FF),
    (0x2100, 0x2DFF),
    (0x2E00, 0x33FF),
    (0x4E00, 0x4FFF),
    (0xA600, 0xABFF),
    (0xAC00, 0xAEFF),
    (0xF900, 0xFFFD),
    (0x10000, 0x1057F),
    (0x11000, 0x114FF),
    (0x16F80, 0x16FFF),
    (0x1D100, 0x1D1FF),
    (0x1E800, 0x1E95F),
    (0x1F300, 0x1F6FF),
    (0x20000, 0x200FF),
    (0x2B800, 0x2B940),
    (0x2F800, 0x2FA1F),
    (0xE0000, 0xE01EF),
]


@cache
def sentences() -> list[str]:
    """Real ones: the language's manual, docstrings of the standard library, licenses."""
    texts = list(topics.values())
    for module in map(importlib.import_module, MODULES):
        members = [module, *(value for _, value in sorted(vars(module).items()) if callable(value))]
        texts += [doc for value in members if isinstance(doc := getattr(value, "__doc__", 0), str)]
    licenses = sorted(Path("/usr/share/common-licenses").glob("*"))
    texts += [path.read_text(errors="ignore") for path in licenses if path.is_file()]
    return list(
        itertools.chain.from_iterable(re.split(r"(?<=[.!?])\s+|\n\n", text) for text in texts)
    )


@cache
def alphabet() -> list[str]:
    """Characters that a vocabulary of the tests has, so that what a character becomes is seen."""
    code_points = itertools.chain.from_iterable(range(a, b + 1) for a, b in BLOCKS)
    found = {chr(c) for c in code_points if not 0xD800 <= c < 0xE000}
    found |= set("".join(map(unicodedata.normalize, itertools.repeat("NFD"), found)))
    found |= {lower for c in found for lower in c.lower()}
    return sorted(found)


def _any_plane(dice: random.Random) -> str:
    c = dice.randrange(1, 0x110000 - 0x800)
    return chr(c if c < 0xD800 else c + 0x800)


def _of_block(dice: random.Random) -> str:
    first, last = dice.choice(BLOCKS)
    return "".join(
        chr(c)
        for c in (dice.randint(first, last) for _ in range(dice.randint(1, 8)))
        if not 0xD800 <= c < 0xE000
    )


def _special(dice: random.Random) -> str:
    token = dice.choice(SPECIAL)
    shape = dice.randrange(8)
    if shape == 0:
        return token[: dice.randint(1, 5)]
    if shape == 1:
        return token.lower()
    if shape == 2:
        return token[0] + dice.choice(SPACES + CONTROLS) + token[1:]
    return token


def _long(dice: random.Random) -> str:
    unit = dice.choice(["a", "ab", "É", "é", "e\u0301", "\u0301", "한", "\U0001d15e", "the", "#"])
    return unit * (dice.choice([11, 12, 13, 49, 50, 99, 100, 101, 300]) // len(unit) + 1)


def _marks(dice: random.Random) -> str:
    pool = "\u0334\u0300\u0301\u0327\u0323\u0345\u302e\u302f\u3099\U0001d165\U0001d16d\u1b44\u05b0"
    pool += "\u0f71\u0f74\u0653\u094d\ua9c0\U00016ff0\U00016ff1\xad\u200d\u0903a \U0001d15e"
    return "".join(dice.choice(pool) for _ in range(dice.randint(1, 10)))


def _part(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.25:
        return _of_block(dice)
    if kind < 0.40:
        return dice.choice(ODD)
    if kind < 0.52:
        return _any_plane(dice)
    if kind < 0.64:
        return _special(dice)
    if kind < 0.74:
        return dice.choice(SPACES)
    if kind < 0.80:
        return dice.choice(CONTROLS)
    if kind < 0.88:
        return _marks(dice)
    if kind < 0.98:
        return dice.choice(
            ["the", "Token", "un", "##ing", "playing", "e-mail", "x.y", "don't", "1"]
        )
    return _long(dice)


def hostile(count: int, seed: int) -> Iterator[str]:
    """Strings of such parts, and sentences with such parts in them."""
    dice = random.Random(seed)
    real = sentences()
    for _ in range(count):
        shape = dice.random()
        if shape < 0.3:
            sentence = dice.choice(real)[:300]
            at = dice.randint(0, len(sentence))
            yield sentence[:at] + _part(dice) + sentence[at:]
        else:
            yield "".join(_part(dice) for _ in range(dice.randint(1, 6 if shape < 0.9 else 24)))
