"""Strict JSON (RFC 8259) by the standard library, with its memory and recursion bounded first.

The parser of `json` recurses into nested arrays and builds whatever it is sent, so a flat scan with
`re` and `bytes.count` first bounds depth, the number of values and the length of numbers. The scan
runs at C speed: a large array of numbers costs a small share of the parse itself.

Beyond the RFC only the bare literals NaN, Infinity and Inf (with an optional minus) are read, since
the clients of Triton Inference Server write them.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from pelton.codec.types import DecodeLimits
from pelton.errors import InvalidInput, PayloadTooLarge

__all__ = ["Document", "dump_json", "parse_json"]

#: Levels of arrays and objects around a tensor's nested data: the root, `inputs`, the tensor. One
#: more is left for unknown members, which are ignored.
_OUTER_LEVELS: Final = 4

# All quantifiers are possessive and an unterminated string matches to the end: every scan is linear
# whatever the body holds.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_TO_SHORT_INFINITY: Final = re.compile(
    rb"(?:" + _STRING + rb'|[^"I]++|I(?!nf(?!inity)))*+Inf', re.DOTALL
)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIRED: Final = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+",
    re.DOTALL,
)
_BRACKETS_ONLY: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body. `has_infinity`: some number was written as an infinite literal; where none
    was, an infinite float can only come from a number too large for 64 bits."""

    value: Any
    has_infinity: bool


class _DuplicateKey(ValueError):
    pass


class _TooLarge(ValueError):
    pass


def parse_json(body: bytes, limits: DecodeLimits) -> Document:
    """The value in `body`.

    Raises InvalidInput with the byte offset where the body stops being JSON, and PayloadTooLarge
    where it holds more values than the limits allow.
    """
    if not body:
        raise InvalidInput("the body is empty, expected JSON", expected="JSON", got="0 bytes")
    if body.startswith(_BOM):
        raise InvalidInput("the body starts with a byte order mark, at byte 0", offset=0)
    bare = _without_strings(body, limits)
    nodes = _check_bounds(body, bare, limits)
    infinities = bare.count(b"Inf")
    has_infinity = 0 < infinities <= nodes + 1
    source, inserted = _spell_out_infinities(body) if has_infinity else (body, [])
    try:
        text = str(source, "utf-8")
    except UnicodeDecodeError as error:
        offset = error.start - _inserted_before(inserted, error.start)
        raise InvalidInput(f"the body is not UTF-8, at byte {offset}", offset=offset) from None
    _check_surrogates(body)
    return Document(_loads(text, inserted, has_infinity), has_infinity)


def _loads(text: str, inserted: list[int], has_infinity: bool) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_float=_finite_float if has_infinity else None,
        )
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        offset = position - _inserted_before(inserted, position)
        raise InvalidInput(
            f"the body is not JSON: {error.msg}, at byte {offset}", offset=offset
        ) from None
    except _DuplicateKey as error:
        raise InvalidInput(f"the key {error.args[0]!r} comes twice in one object") from None
    except _TooLarge as error:
        raise InvalidInput(
            f"the number {error.args[0]} does not fit 64 bits", got=error.args[0]
        ) from None
    except ValueError as error:  # a process may set a lower bound on digits than ours
        raise InvalidInput(f"the body is not JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key[:60])
            seen.add(key)
    return found


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _TooLarge(text[:40])
    return value


def _without_strings(body: bytes, limits: DecodeLimits) -> bytes:
    quotes = body.count(b'"')
    if quotes > 2 * limits.nodes_max:
        _refuse_size("quotation marks", quotes, 2 * limits.nodes_max)
    return _STRINGS.sub(b"", body)


def _check_bounds(body: bytes, bare: bytes, limits: DecodeLimits) -> int:
    """Bound what the parser will build and count it. `bare` is `body` without its strings."""
    containers = bare.count(b"[") + bare.count(b"{")
    if containers > limits.containers_max:
        _refuse_size("arrays and objects", containers, limits.containers_max)
    nodes = containers + bare.count(b",")
    if nodes > limits.nodes_max:
        _refuse_size("values", nodes, limits.nodes_max)
    depth_max = limits.rank_max + _OUTER_LEVELS
    if containers > depth_max:
        brackets = np.frombuffer(bare.translate(None, _BRACKETS_ONLY), dtype=np.uint8)
        # Of the four characters [ ] { } only the opening two have bit 1 set.
        depth = np.cumsum(np.where(brackets & 2, 1, -1), dtype=np.int32)
        if depth.max() > depth_max:
            _refuse_depth(body, int(np.argmax(depth > depth_max)), depth_max)
    zeros = b"0" * (limits.digits_max + 1)
    if zeros in bare.translate(_TO_ZERO):
        raise InvalidInput(
            f"a number has more than {limits.digits_max} digits",
            expected=f"at most {limits.digits_max} digits",
        )
    return nodes


def _refuse_size(what: str, count: int, count_max: int) -> NoReturn:
    raise PayloadTooLarge(
        f"the body holds {count} {what}, the limit is {count_max}",
        expected=f"at most {count_max} {what}",
        got=str(count),
    )


def _refuse_depth(body: bytes, index: int, depth_max: int) -> NoReturn:
    """Name the place of bracket number `index` (from 0), not counting those in strings."""
    bracket = rb"(?:(?:" + _STRING + rb'|[^"\[\]{}])*+[\[\]{}])'
    match = re.match(bracket + rb"{%d}" % (index + 1), body, re.DOTALL)
    offset = match.end() - 1 if match else None
    raise InvalidInput(
        f"arrays and objects are nested deeper than {depth_max}, at byte {offset}",
        expected=f"at most {depth_max} levels",
        offset=offset,
    )


def _spell_out_infinities(body: bytes) -> tuple[bytes, list[int]]:
    """Write the literal Inf as Infinity; also the offsets, in the result, behind each of them."""
    pieces: list[bytes] = []
    ends: list[int] = []
    start = size = 0
    while (match := _TO_SHORT_INFINITY.match(body, start)) is not None:
        pieces.append(match.group() + b"inity")
        size += len(pieces[-1])
        ends.append(size)
        start = match.end()
    pieces.append(body[start:])
    return b"".join(pieces), ends


def _inserted_before(ends: list[int], position: int) -> int:
    return len(b"inity") * bisect_right(ends, position)


def _check_surrogates(body: bytes) -> None:
    r"""Refuse `\uD800` without its other half: such a string has no UTF-8 form."""
    if _SURROGATE.search(body) is None:
        return
    match = _PAIRED.match(body)
    offset = match.end() if match else 0
    if offset != len(body):
        raise InvalidInput(
            f"a string holds half of a surrogate pair, at byte {offset}", offset=offset
        )


def dump_json(value: Any) -> bytes:
    """Compact UTF-8 JSON; numbers that are not finite are written as NaN, Infinity, -Infinity."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
