"""The strict JSON reader under the protocol: syntax, literals and bounds."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
import tracemalloc
from typing import Any

import pytest

from pelton.codec._json import dump_json, parse_json
from pelton.codec.types import DecodeLimits
from pelton.errors import Error, InvalidInput, PayloadTooLarge

LIMITS = DecodeLimits()


def parse(body: bytes, limits: DecodeLimits = LIMITS) -> Any:
    return parse_json(body, limits).value


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '"a"',
        "0",
        "-1.5e-3",
        " \t\r\n[1, 2] \n",
        '{"a": {"b": [true, false, null]}}',
        '"\\u00e9\\ud83d\\ude00\\"\\\\/"',
        '"é😀"',
        '"[[[[{{{{,,,,Inf"',
        '{"a\\"[": "]\\\\"}',
        str(2**64 - 1),
        str(-(2**63)),
        str(10**400),
    ],
)
def test_reads_what_the_standard_library_reads(text: str) -> None:
    assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[NaN]", math.nan),
        ("[Infinity]", math.inf),
        ("[-Infinity]", -math.inf),
        ("[Inf]", math.inf),
        ("[-Inf]", -math.inf),
    ],
)
def test_reads_literals_that_are_not_finite(text: str, expected: float) -> None:
    (value,) = parse(text.encode())
    assert repr(value) == repr(expected)


def test_literals_in_strings_stay_what_they_are() -> None:
    body = b'{"Inf": "Inf NaN", "a": [Inf, "\\"Inf", -Inf], "b": "-Inf"}'
    assert parse(body) == {"Inf": "Inf NaN", "a": [math.inf, '"Inf', -math.inf], "b": "-Inf"}


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"[1 2]", 3),
        (b"{} {}", 3),
        (b"{}\0", 2),
        (b"[01]", 2),
        (b"[1.]", 2),
        (b"[.5]", 1),
        (b"[+1]", 1),
        (b"[0x10]", 2),
        (b"['a']", 1),
        (b'["a]', 1),
        (b'["\\x"]', 2),
        (b'["a\nb"]', 3),
        (b'["a\0b"]', 3),
        (b"{1: 2}", 1),
        (b"[1", 2),
        (b"]", 0),
        (b"nul", 0),
        (b"[-NaN]", 1),
        (b"// c\n1", 0),
        ('["é" 1]'.encode(), 6),
        (b"[Inf, Inf, x]", 11),
        (b"[Inf, 1 2]", 8),
        (b"[Infx]", 4),
    ],
)
def test_says_at_which_byte_a_body_stops_being_json(body: bytes, offset: int) -> None:
    with pytest.raises(InvalidInput, match=rf"at byte {offset}$") as caught:
        parse(body)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"\xef\xbb\xbf{}", 0),
        (b'{"a": "\xff"}', 7),
        (b'"\xed\xa0\x80"', 1),  # a surrogate in UTF-8
        (b'"\xc0\x80"', 1),  # NUL in two bytes
        (b'[Inf, "\xff"]', 7),
    ],
)
def test_refuses_a_byte_order_mark_and_what_is_not_utf8(body: bytes, offset: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(body)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ('"\\ud83d"', 1),
        ('"\\ude00"', 1),
        ('["a\\n\\uD83D\\ude00\\ude00"]', 17),
        ('"\\ud83dx\\ude00"', 1),
        ('{"\\ud83d": 1}', 2),
        ('{"ignored": ["\\udc00"]}', 14),
    ],
)
def test_refuses_half_of_a_surrogate_pair(text: str, offset: int) -> None:
    with pytest.raises(InvalidInput, match="surrogate") as caught:
        parse(text.encode())
    assert caught.value.offset == offset


def test_an_escaped_backslash_before_u_is_no_surrogate() -> None:
    assert parse(b'"\\\\ud83d"') == "\\ud83d"


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b'{"x":{"a":1,"b":2,"\\u0061":3}}'])
def test_refuses_a_key_that_comes_twice(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="'a' comes twice"):
        parse(body)


@pytest.mark.parametrize("body", [b"", b" ", b"\n\n"])
def test_refuses_an_empty_body(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse(body)


def test_a_number_too_large_for_64_bits_is_no_infinity_beside_a_literal() -> None:
    with pytest.raises(InvalidInput, match="1e999"):
        parse(b"[Infinity, 1e999]")


def test_counts_depth_outside_of_strings_and_names_the_byte() -> None:
    limits = DecodeLimits(rank_max=2)  # six levels in all
    assert parse(b"[" * 6 + b"]" * 6, limits) == [[[[[[]]]]]]
    body = b'["[[[[[[[[", [], {"a": {"]": [' + b"[" * 5
    with pytest.raises(InvalidInput, match="deeper than 6") as caught:
        parse(body, limits)
    assert caught.value.offset == body.rindex(b"[") - 2


def test_hostile_nesting_never_reaches_the_recursive_parser() -> None:
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000):
        with pytest.raises(InvalidInput, match="deeper"):
            parse(body)


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"[[],[],[]]", DecodeLimits(containers_max=3)),
        (b"[{},{},{}]", DecodeLimits(containers_max=3)),
        (b"[1,2,3,4]", DecodeLimits(nodes_max=3)),
        (b'"' * 10, DecodeLimits(nodes_max=4)),
    ],
)
def test_bounds_how_many_values_are_built(body: bytes, limits: DecodeLimits) -> None:
    with pytest.raises(PayloadTooLarge):
        parse(body, limits)


def test_bounds_the_digits_of_a_number() -> None:
    assert parse(b"1" * 1024) == int("1" * 1024)
    assert parse(b'"' + b"1" * 2000 + b'"') == "1" * 2000
    for body in (b"1" * 1025, b"[0." + b"1" * 1_000_000 + b"]", b"1e" + b"9" * 1025):
        with pytest.raises(InvalidInput, match="1024 digits"):
            parse(body)


def test_a_process_may_set_a_lower_bound_on_digits() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(InvalidInput, match="not JSON"):
            parse(b"1" * 700)
    finally:
        sys.set_int_max_str_digits(before)


SIZE = 1 << 18
HOSTILE = {
    "open brackets": b"[" * SIZE,
    "open objects": b'{"":' * (SIZE // 4),
    "unterminated string of escaped quotes": b'"' + b'\\"' * (SIZE // 2),
    "empty strings": b'""' * (SIZE // 2),
    "backslashes": b"\\" * SIZE,
    "broken surrogates": b'"\\ud8' + b"\\" * SIZE,
    "literals": b"Inf" * (SIZE // 3),
    "a literal, then quotes": b"[Inf," + b'"' * SIZE,
    "a literal, then its first letter": b"[Inf," + b"I" * SIZE,
    "digits": b"1" * SIZE,
    "empty arrays": b"[" + b",".join([b"[]"] * (SIZE // 3)) + b"]",
    "two letters": b"[" + b",".join([b'"ab"'] * (SIZE // 5)) + b"]",
    "commas": b"," * SIZE,
}


@pytest.mark.parametrize("name", [*HOSTILE])
def test_a_hostile_body_takes_bounded_time_and_memory(name: str) -> None:
    body = HOSTILE[name]
    tracemalloc.start()
    started = time.thread_time()
    with contextlib.suppress(Error):
        parse(body)
    seconds = time.thread_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5  # a quadratic scan takes minutes
    assert peak < 64 * len(body)


def test_large_flat_arrays_cost_little_more_than_the_parse() -> None:
    body = json.dumps({"data": [index * 0.37 for index in range(200_000)]}).encode()

    def best(run: Any) -> float:
        times = []
        for _ in range(5):
            started = time.thread_time()
            run()
            times.append(time.thread_time() - started)
        return min(times)

    assert best(lambda: parse(body)) < 4 * best(lambda: json.loads(body))


def test_writes_utf8_without_spaces() -> None:
    assert dump_json({"a": [1, "é", math.nan, -math.inf]}) == '{"a":[1,"é",NaN,-Infinity]}'.encode()
