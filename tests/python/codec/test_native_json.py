"""The native JSON reader against the Python one: the same values, the same refusals, for texts that
are right, wrong in a place, or made of tokens in any order."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton import _native
from pelton.codec._json import parse_json
from pelton.codec.types import DecodeLimits
from python.codec.outcomes import outcome

LIMITS: tuple[dict[str, int], ...] = (
    {},
    {"nodes_max": 3},
    {"containers_max": 2},
    {"rank_max": 0},
    {"rank_max": 1, "digits_max": 3},
    {"digits_max": 20},
)
TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\t", b"\x0b", b"\x00", b"\\"),
    *(b'"a"', b'"b"', b'"a":1', b'"it\'s"', b'"\\u00e9"', b'"\xc3\xa9"', b'"\xff"', b"\xff"),
    *(b"1", b"-0", b"-1.5", b"1e5", b"1E-5", b"01", b"1.", b"1e", b"1e+", b"-", b".5"),
    *(b"1e400", b"-1e400", b"1" * 30, b"12345678901234567890"),
    *(b"NaN", b"-NaN", b"Inf", b"-Inf", b"Infinity", b"-Infinity", b"Infin", b"I", b"nf"),
    *(b"true", b"false", b"null", b"tru", b"\xc3\xa9", b"\xef\xbb\xbf", b'"I"'),
    *(b'"\\ud83d\\ude00"', b'"\\ud83d"', b"\\ud83d", b'"\\udc00\\ud800"', b'"\\\\ud800"'),
    *(b'"\\x"', b'"\\u12"', b'"a\x01"', b'"open', b'"\\"', b'"\\', b'"\\u', b'"\\ud83d\\ude00'),
)


def agree(text: bytes, limits: dict[str, int]) -> Any:
    """Asserts that both readers make the same of `text`; returns what."""

    def by_oracle() -> Any:
        document = parse_json(text, DecodeLimits(**limits))
        return (document.value, document.has_infinity)

    native = outcome(lambda: _native.parse_json(text, limits))
    oracle = outcome(by_oracle)
    if oracle[0] == "refused" and "Illegal trailing comma" in oracle[2]:
        # Python 3.13 names this mistake for itself; the native reader words it as 3.11 does.
        assert native[0] == "refused"
        return native
    # By repr: equality takes True for 1, and no NaN for another.
    assert repr(native) == repr(oracle), (text, limits)
    return native


class Maker:
    def __init__(self, source: random.Random) -> None:
        self.source = source

    def space(self) -> bytes:
        return self.source.choice([b"", b"", b"", b" ", b"\r\n\t"])

    def scalar(self) -> bytes:
        source = self.source
        plain = [b"1", b"-2", b"0.5", b"1e3", b"true", b"null", b'"x"', b"0", b"-0", b'"\xc3\xa9"']
        odd = [b'"\\n\\u00e9\\ud83d\\ude00\\/"', b"NaN", b"Inf", b"-Infinity", b"1e400", b'""']
        return source.choice(plain if source.random() < 0.6 else [*odd, b"1" * 21])

    def value(self, depth: int = 0) -> bytes:
        kind = self.source.random()
        if depth > 6 or kind < 0.4:
            return self.scalar()
        if kind < 0.6:
            return self.joined(b"[", [self.value(depth + 1) for _ in self.some()], b"]")
        if kind < 0.75:
            numbers = [b"1", b"2.5", b"-3e-2", b"NaN", b"Inf", b"-0.0", b"123456789.123456789"]
            return self.joined(b"[", [self.source.choice(numbers) for _ in self.some(8)], b"]")
        return self.joined(b"{", [self.member(depth) for _ in self.some()], b"}")

    def some(self, count_max: int = 4) -> range:
        return range(self.source.randrange(count_max))

    def member(self, depth: int) -> bytes:
        key = self.source.choice([b"a", b"b", b"c", b"d", b"\\u0061", b"\xc3\xa9", b"", b"e" * 70])
        return b'"' + key + b'"' + self.space() + b":" + self.space() + self.value(depth + 1)

    def joined(self, begin: bytes, items: list[bytes], end: bytes) -> bytes:
        comma = self.space() + b"," + self.space()
        return begin + self.space() + comma.join(items) + self.space() + end

    def mutated(self, text: bytes) -> bytes:
        source, changed = self.source, bytearray(text)
        for _ in range(source.choice([1, 1, 2, 3])):
            at = source.randrange(len(changed) + 1)
            kind = source.random()
            if kind < 0.3:
                changed[at:at] = source.choice(TOKENS)
            elif kind < 0.5:
                del changed[at : at + source.randrange(1, 4)]
            elif kind < 0.7:
                changed[at : at + 1] = source.randbytes(1)
            elif kind < 0.8:
                del changed[at:]
            else:
                changed[at : at + 1] = source.choice(TOKENS)
        return bytes(changed)


def compare_many(seed: int, count: int) -> None:
    maker = Maker(random.Random(seed))
    taken = 0
    for _ in range(count):
        limits = LIMITS[0] if maker.source.random() < 0.7 else maker.source.choice(LIMITS)
        text = maker.value()
        taken += agree(text, limits)[0] != "refused"
        agree(maker.mutated(text), limits)
        agree(b"".join(maker.source.choices(TOKENS, k=maker.source.randrange(12))), limits)
    assert count // 4 < taken < count


def test_texts_drawn_at_random(seed: int) -> None:
    compare_many(seed, 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
def test_many_texts_drawn_at_random(seed: int, share: int) -> None:
    compare_many(1000 * seed + share, 150_000)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(TOKENS), max_size=12), st.sampled_from(LIMITS))
def test_tokens_in_any_order(tokens: list[bytes], limits: dict[str, int]) -> None:
    agree(b"".join(tokens), limits)


@settings(max_examples=200)
@given(st.binary(max_size=40))
def test_any_bytes(text: bytes) -> None:
    agree(text, {})


@settings(max_examples=200)
@given(st.text(max_size=40), st.booleans())
def test_any_string(text: str, ascii_only: bool) -> None:
    try:
        body = json.dumps([text, {text: text}], ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # a lone surrogate that is not escaped
        body = json.dumps([text, {text: text}]).encode()
    agree(body, {})


@settings(max_examples=300)
@given(st.floats(), st.integers(), st.integers(-400, 400))
def test_any_number(real: float, whole: int, exponent: int) -> None:
    for text in (repr(real), str(whole), f"{whole}e{exponent}", f"{whole}.{abs(whole)}E{exponent}"):
        agree(text.replace("nan", "NaN").replace("inf", "Inf").encode(), {})


LARGE: dict[str, Callable[[], bytes]] = {
    "nested arrays": lambda: b"[" * 100_000,
    "nested arrays, closed": lambda: b"[" * 100_000 + b"]" * 100_000,
    "nested objects": lambda: b'{"a":' * 100_000,
    "many closings": lambda: b"]" * 100_000 + b"[" * 100_000,
    "digits": lambda: b"[1" + b"0" * 1_000_000 + b"]",
    "digits behind the point": lambda: b"[1." + b"0" * 1_000_000 + b"]",
    "digits of an exponent": lambda: b"[1e" + b"9" * 1_000_000 + b"]",
    "quotation marks": lambda: b'"' + b'\\"' * (9 << 20) + b'"',
    "empty strings": lambda: b"[" + b'"",' * (4 << 20) + b'""]',
    "empty arrays": lambda: b"[" + b"[]," * (1 << 20) + b"[]]",
    "numbers": lambda: b"[" + b"1," * (4 << 20) + b"1]",
    "one key twice": lambda: b"{" + b'"a":1,' * 100_000 + b'"a":1}',
    "the last key twice": lambda: (
        json.dumps({str(i): i for i in range(50_000)}).encode()[:-1] + b',"49999":0}'
    ),
    "an open string": lambda: b'["' + b"a" * (10 << 20),
    "an Inf too much": lambda: b"[" + b"Inf" * 1000 + b"]",
    "a bad byte at the end": lambda: b'["' + b"a" * (1 << 20) + b'\xff"]',
}


@pytest.mark.parametrize("name", LARGE)
def test_large_texts_are_refused_alike_and_fast(name: str) -> None:
    text = LARGE[name]()
    started = time.process_time()
    assert outcome(lambda: _native.parse_json(text, {}))[0] == "refused"
    assert time.process_time() - started < 1
    assert agree(text, {})[0] == "refused"


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * 70_000 + b"-2.5]",
        b"[" + b'"a",' * 70_000 + b"1]",
        b"[" + b"1," * 70_000 + b'"a"]',
        json.dumps({f"k{i}": [i, [i]] for i in range(20_000)}).encode(),
        b"[" + b"9" * 1024 + b"]",
        b'{"a": 1e308, "b": Inf}',
        b'{"a": [1e309], "b": [Inf]}',
        b'{"a": [1e309], "b": "Inf"}',
        b"[" + b"9" * 400 + b", Inf]",
    ],
    ids=range(9),
)
def test_texts_of_note(text: bytes) -> None:
    agree(text, {})


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 words this mistake anew")
@pytest.mark.parametrize("text", [b"[1,]", b'{"a":1,}', b"[,]", b"{,}"])
def test_trailing_commas(text: bytes) -> None:
    assert agree(text, {})[0] == "refused"
