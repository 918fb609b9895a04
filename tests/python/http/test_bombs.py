"""Bodies made to cost more than they are, over real sockets: deep, long, compressed, said to be
huge, with names twice. Each is refused by name or answered right, on both paths alike, and the
connection and everybody else go on."""

from __future__ import annotations

import gzip
import json
import random
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from pelton.http._coding import known_codings
from python.http.hostile import (
    NATIVE,
    PYTHON,
    Answer,
    Reader,
    Running,
    ask,
    body_of,
    head,
    infer,
    tensor,
    width_of,
)

DEEP = 100_000
MILLION = 1_000_000
#: Python's path for the same model as NATIVE: a query is not the native path's.
HANDED_OVER = f"{NATIVE}?a=b"
MSGPACK = "Content-Type: application/msgpack"
# Whatever a body of a few MiB says, it is judged in this time, on a busy machine too.
JUDGED_S_MAX = 10.0


def post(server: Running, path: str, body: bytes, *fields: str) -> Answer:
    """The answer; a request behind it on the same connection is answered too, where the first one
    leaves it open."""
    started = time.monotonic()
    with server.connect() as sock:
        sock.sendall(head(path, f"Content-Length: {len(body)}", *fields) + body)
        reader = Reader(sock)
        answer = reader.answer()
        assert time.monotonic() - started < JUDGED_S_MAX
        if not answer.closes:
            sock.sendall(infer(NATIVE))
            assert reader.answer().status == 200
    return answer


def with_tensor(path: str, **members: Any) -> dict[str, Any]:
    return {"inputs": [{**tensor(path), **members}]}


def json_with(path: str, place: str, value: bytes) -> bytes:
    """A good request, with `value` in a place of it."""
    mark = "0123456789"
    document: dict[str, Any] = {
        "top": {**with_tensor(path), "x": mark},
        "id": {**with_tensor(path), "id": mark},
        "parameter": {**with_tensor(path), "parameters": {"x": mark}},
        "inputs": {"inputs": mark},
        "input": {"inputs": [mark]},
        "shape": with_tensor(path, shape=[1, mark]),
        "data": with_tensor(path, data=mark),
        "element": with_tensor(path, data=[mark] + [1.0] * (width_of(path) - 1)),
        "tensor parameter": with_tensor(path, parameters={"x": mark}),
        "outputs": {**with_tensor(path), "outputs": mark},
        "whole": mark,
    }[place]
    return json.dumps(document).encode().replace(b'"%b"' % mark.encode(), value)


PLACES = (
    "top",
    "id",
    "parameter",
    "inputs",
    "input",
    "shape",
    "data",
    "element",
    "tensor parameter",
    "outputs",
    "whole",
)
NESTS = {
    "arrays": b"[" * DEEP + b"]" * DEEP,
    "open arrays": b"[" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "open objects": b'{"a":' * DEEP,
    "both": b'[{"a":' * DEEP + b"1" + b"}]" * DEEP,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nest", NESTS)
def test_json_a_hundred_thousand_deep_is_400(
    nest: str, place: str, path: str, server: Running
) -> None:
    rows = server.rows_run()
    answer = post(server, path, json_with(path, place, NESTS[nest]))
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")
    assert len(answer.body) < 2048
    assert server.rows_run() == rows + 1  # the one behind it


NUMBERS = {
    "a million ones": b"1" * MILLION,
    "a million ones, negative": b"-" + b"1" * MILLION,
    "a million zeros in front": b"0" * MILLION + b"1",
    "a million digits behind the point": b"0." + b"3" * MILLION,
    "a million zeros behind the point": b"0." + b"0" * MILLION + b"1",
    "a million digits and back": b"1" + b"0" * MILLION + b"e-1000000",
    "a million digits of an exponent": b"1e" + b"9" * MILLION,
    "a million digits of a negative exponent": b"1e-" + b"9" * MILLION,
    "a million zeros in an exponent": b"2e" + b"0" * MILLION + b"1",
}


@pytest.mark.parametrize("place", ["element", "data", "shape", "parameter", "id", "top", "whole"])
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_a_million_digits_are_400(
    number: str, place: str, path: str, server: Running
) -> None:
    answer = post(server, path, json_with(path, place, NUMBERS[number]))
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")
    assert len(answer.body) < 2048


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"0." + b"3" * 1024, 0.33333334),
        (b"1" + b"0" * 1000 + b"e-1000", 1.0),
        (b"2e" + b"0" * 1023 + b"1", 20.0),
        (b"1e-" + b"9" * 1024, 0.0),
        (b"1" * 1024, None),
        (b"1e" + b"9" * 1024, None),
    ],
)
def test_numbers_up_to_the_limit_are_numbers(
    number: bytes, value: float | None, path: str, server: Running
) -> None:
    answer = post(server, path, json_with(path, "element", number))
    if value is None:  # larger than any FP32
        assert answer.status == 400
        return
    plus = 0.0 if path == PYTHON else 1.0
    assert answer.json()["outputs"][0]["data"][0] == pytest.approx(value + plus, rel=1e-6)


JSON_TWICE = {
    "inputs": lambda body: body[:-1] + b', "inputs": []}',
    "a tensor's name": lambda body: body.replace(b'"name": "x"', b'"name": "x", "name": "x"'),
    "a tensor's data": lambda body: body.replace(b'"data"', b'"data": [], "data"'),
    "an unknown member": lambda body: body[:-1] + b', "a": 1, "a": 1}',
    "an escaped name": lambda body: body[:-1] + rb', "\u0069nputs": []}',
    "deep in a parameter": lambda body: body[:-1] + b', "parameters": {"a": 1, "a": 2}}',
    "a tensor": lambda body: body.replace(b'"inputs": [', b'"inputs": [%b, ' % body[12:-2]),
    "an output": lambda body: body[:-1] + b', "outputs": [{"name": "y"}, {"name": "y"}]}',
}


@pytest.mark.parametrize("target", [NATIVE, HANDED_OVER])
@pytest.mark.parametrize("case", JSON_TWICE)
def test_json_with_a_name_twice_is_400(case: str, target: str, server: Running) -> None:
    body = JSON_TWICE[case](body_of(target))
    answer = post(server, target, body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input"), answer.body


def test_thirty_thousand_names_cost_little(path: str, server: Running) -> None:
    names = {f"n{number}": number for number in range(30_000)}
    for members in ({"parameters": names}, names):
        body = body_of(path, **members)
        assert post(server, path, body).status in (200, 400)
        twice = body[:-2] + b', "n7": 1}}' if "parameters" in members else body[:-1] + b', "n7": 1}'
        assert post(server, path, twice).status == 400


def packed(path: str, **members: Any) -> bytes:
    raw = struct.pack("<f", 1.0) * width_of(path)
    row = {**tensor(path), "data": raw, **members}
    return msgpack.packb({"inputs": [row]})


def spliced(path: str, place: str, value: bytes) -> bytes:
    """A good msgpack request with `value` in a place of it."""
    mark = "0123456789"
    row = {**tensor(path), "data": struct.pack("<f", 1.0) * width_of(path)}
    document: Any = {
        "data": {"inputs": [{**row, "data": mark}]},
        "shape": {"inputs": [{**row, "shape": mark}]},
        "parameter": {"inputs": [row], "parameters": {"x": mark}},
        "top": {"inputs": [row], "x": mark},
        "inputs": {"inputs": mark},
        "whole": mark,
    }[place]
    return msgpack.packb(document).replace(msgpack.packb(mark), value)


MSGPACK_BOMBS = {
    "arrays in arrays": b"\x91" * DEEP + b"\x01",
    "maps in maps": b"\x81\xa1a" * DEEP + b"\x01",
    "open arrays": b"\x91" * DEEP,
    "32-bit arrays in arrays": b"\xdd\xff\xff\xff\xff" * 10_000,
    "an array said to have 2^32 - 1": b"\xdd\xff\xff\xff\xff",
    "a map said to have 2^32 - 1": b"\xdf\xff\xff\xff\xff",
    "a string said to have 2^32 - 1": b"\xdb\xff\xff\xff\xff",
    "bytes said to be 2^32 - 1": b"\xc6\xff\xff\xff\xff",
    "an ext said to have 2^32 - 1": b"\xc9\xff\xff\xff\xff\x01",
    "a million nils": b"\xdd" + struct.pack(">I", MILLION) + b"\xc0" * MILLION,
    "a million empty maps": b"\xdd" + struct.pack(">I", MILLION) + b"\x80" * MILLION,
    "a name twice": b"\x82\xa1a\x01\xa1a\x01",
    "a name of another type": b"\x81\x01\x01",
    "an array of NumPy said to be huge": msgpack.packb(
        {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2**62, 4], b"data": b"1234"}
    ),
    "a pickle": msgpack.packb(
        {b"nd": True, b"type": "O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n"}
    ),
}
# A model's own parameters may be what they like, as long as they are whole and not deep.
HARMLESS = {
    ("a million nils", "parameter"),
    ("a million nils", "top"),
    ("a name of another type", "top"),
    ("an array of NumPy said to be huge", "top"),
    ("a pickle", "top"),
}


@pytest.mark.parametrize("place", ["data", "shape", "parameter", "top", "inputs", "whole"])
@pytest.mark.parametrize("bomb", MSGPACK_BOMBS)
def test_msgpack_bombs(bomb: str, place: str, path: str, server: Running) -> None:
    answer = post(server, path, spliced(path, place, MSGPACK_BOMBS[bomb]), MSGPACK)
    if (bomb, place) in HARMLESS:
        assert answer.status in (200, 400)
    else:
        # Of arrays and maps a body may have 65,536 in all.
        assert answer.status == (413 if bomb == "a million empty maps" else 400), answer.body
    assert len(answer.body) < 2048


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(9, wbits=-15)
    return encoder.compress(data) + encoder.flush()


def zstd_bomb(data: bytes) -> bytes:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    compressed: bytes = zstd.compress(data)
    return compressed


SPACES = b" " * (80 << 20)
BOMBS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "gzip in members": ("gzip", lambda data: gzip.compress(data[: 1 << 20]) * (len(data) >> 20)),
    "gzip in empty members": ("gzip", lambda data: gzip.compress(b"") * 100_000),
}
if "zstd" in known_codings():
    BOMBS["zstd"] = ("zstd", zstd_bomb)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("target", [NATIVE, PYTHON, "/v1/embeddings", "/embed"])
def test_compressed_bombs(bomb: str, target: str, server: Running) -> None:
    coding, encode = BOMBS[bomb]
    if bomb not in _compressed:
        _compressed[bomb] = encode(SPACES)
    answer = post(server, target, _compressed[bomb], f"Content-Encoding: {coding}")
    assert answer.status == (400 if "empty" in bomb else 413), answer.body


_compressed: dict[str, bytes] = {}


def test_what_is_compressed_twice_or_cut_short(path: str, server: Running) -> None:
    body = body_of(path)
    for sent, coding, status in (
        (gzip.compress(gzip.compress(body)), "gzip, gzip", 415),
        (gzip.compress(gzip.compress(body)), "gzip", 400),
        (gzip.compress(body)[:-1], "gzip", 400),
        (gzip.compress(body) + b"x", "gzip", 400),
        (body, "gzip", 400),
        (body, "br", 415),
        (gzip.compress(body), "x-gzip", 200),
        (body, "identity", 200),
    ):
        assert post(server, path, sent, f"Content-Encoding: {coding}").status == status, coding


TEN_MB = 10_000_000
TEXT_ROUTES = {
    "infer": (
        "/v2/models/tiny/infer",
        lambda text: json.dumps(
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
        ),
    ),
    "infer, handed over": (
        "/v2/models/tiny/infer?a=b",
        lambda text: json.dumps(
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
        ),
    ),
    "embeddings": (
        "/v1/embeddings",
        lambda text: json.dumps({"model": "tiny", "input": text}, ensure_ascii=False),
    ),
    "embed": ("/embed", lambda text: json.dumps({"inputs": text, "truncate": True})),
}
TEXTS = {
    "one word": lambda rng: "a" * TEN_MB,
    "words": lambda rng: "river turbine " * (TEN_MB // 14),
    "spaces": lambda rng: " " * TEN_MB,
    "escapes": lambda rng: "\n" * TEN_MB,
    "signs": lambda rng: "!" * TEN_MB,
    "any script": lambda rng: (
        "".join(map(chr, rng.choices(range(0x800, 0xD800), k=TEN_MB // 300))) * 100
    ),
    "marks on one letter": lambda rng: "a" + "\u0301" * (TEN_MB // 2),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("route", TEXT_ROUTES)
def test_ten_megabytes_of_text_are_413(text: str, route: str, server: Running, seed: int) -> None:
    target, write = TEXT_ROUTES[route]
    body = write(TEXTS[text](random.Random(seed))).encode()
    answer = post(server, target, body, "Content-Type: application/json")
    assert answer.status == 413, answer.body[:300]
    assert len(answer.body) < 2048


@pytest.mark.parametrize("route", TEXT_ROUTES)
def test_text_up_to_the_limit_is_taken(route: str, server: Running) -> None:
    """256 KiB of text, more tokens than the model takes: refused for that, or cut where asked."""
    target, write = TEXT_ROUTES[route]
    answer = post(
        server, target, write("a " * (128 << 10)).encode(), "Content-Type: application/json"
    )
    assert answer.status in (200, 400)
    assert answer.status == (200 if route == "embed" else 400), answer.body[:300]


def test_both_paths_say_the_same_of_a_bomb(server: Running) -> None:
    bodies = [json_with(NATIVE, place, nest) for place in PLACES for nest in NESTS.values()]
    bodies += [json_with(NATIVE, "element", text) for text in NUMBERS.values()]
    bodies += [change(body_of(NATIVE)) for change in JSON_TWICE.values()]
    for body in bodies:
        native, python = (ask(server, with_length(path, body)) for path in (NATIVE, HANDED_OVER))
        assert native.status == python.status, body[:200]
        if native.status == 200:
            assert native.json()["outputs"] == python.json()["outputs"]
        else:
            for member in ("code", "error", "offset", "field", "tensor"):
                assert native.json().get(member) == python.json().get(member), body[:200]


def with_length(path: str, body: bytes) -> bytes:
    return head(path, f"Content-Length: {len(body)}") + body
