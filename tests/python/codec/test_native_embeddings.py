"""The native codec of /v1/embeddings against the Python one."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pelton import _native
from pelton.codec import DecodeLimits
from pelton.codec.embeddings import (
    EmbeddingsLimits,
    EmbeddingsRequest,
    decode_embeddings,
    encode_embeddings,
)
from python.codec.outcomes import outcome

BOUNDS = {"items_max": 4, "tokens_max": 5}


def by_oracle(content_type: bytes | None, body: bytes, bounds: dict[str, int]) -> Any:
    headers = {} if content_type is None else {"content-type": content_type.decode("latin-1")}

    def read() -> dict[str, Any]:
        request = decode_embeddings(headers, body, DecodeLimits(), EmbeddingsLimits(**bounds))
        rows = request.token_ids or ()
        return {
            "model": request.model,
            "texts": list(request.texts or ()),
            "ids": [token for row in rows for token in row],
            "lengths": [len(row) for row in rows],
            "base64": request.encoding_format == "base64",
            "dimensions": request.dimensions,
            "truncate": request.truncate,
        }

    return outcome(read)


def agree(
    body: bytes, content_type: bytes | None = None, bounds: dict[str, int] | None = None
) -> Any:
    bounds = bounds or {}
    limits = {f"embedding_{name}": value for name, value in bounds.items()}
    native = outcome(lambda: _native.decode_embeddings(content_type, body, limits))
    assert native == by_oracle(content_type, body, bounds), body
    return native


def junk(source: random.Random) -> Any:
    return source.choice(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            2**31 - 1,
            2**31,
            10**50,
            1.0,
            1e400,
            float("nan"),
            "",
            "x",
            "base64",
            "float",
            "it's \"é😀\x00\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
            "a" * 300,
            [],
            [[]],
            {},
            ["a", 1],
            [1, "a"],
            [[1], 2],
            [1] * 5,
            [1] * 6,
            [[1]] * 5,
            ["a"] * 5,
            {"a": [1]},
        ]
    )


def request(source: random.Random) -> Any:
    def maybe(value: Any, share: float = 0.1) -> Any:
        return junk(source) if source.random() < share else value

    word = source.choice(["hello", "ünï", "x" * 200, "😀", "\n"])
    inputs = source.choice(
        [word, [word] * source.randint(1, 4), [5, 6], [[1, 2], [3]], [[7] * 5] * 4, [-0, 1]]
    )
    document = {"input": maybe(inputs), "model": maybe("m")}
    for name, value in (
        ("encoding_format", source.choice(["float", "base64"])),
        ("dimensions", 3),
        ("truncate", True),
        ("user", "u"),
        ("other", None),
    ):
        if source.random() < 0.4:
            document[name] = maybe(value, 0.2)
    for name in list(document):
        if source.random() < 0.03:
            del document[name]
    return maybe(document, 0.03)


def compare_many(seed: int, count: int) -> None:
    source = random.Random(seed)
    taken = refused = 0
    for _ in range(count):
        body = json.dumps(request(source), ensure_ascii=source.random() < 0.5).encode()
        bounds: dict[str, int] = BOUNDS if source.random() < 0.5 else {}
        found = agree(body, bounds=bounds)
        taken += isinstance(found, dict)
        refused += not isinstance(found, dict)
        changed = bytearray(body)
        changed[source.randrange(len(changed))] = source.choice(b'"[]{},:0123456789-.eE\\ntfx\xff')
        agree(bytes(changed), bounds=bounds)
    assert taken > count // 10
    assert refused > count // 10


def test_requests_drawn_at_random(pytestconfig: pytest.Config) -> None:
    compare_many(pytestconfig.getoption("--seed"), 1000)


@pytest.mark.slow
def test_many_requests_drawn_at_random(pytestconfig: pytest.Config) -> None:
    compare_many(7 + pytestconfig.getoption("--seed"), 100_000)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"application/json",
        b' Application/JSON ; Charset="UTF-8"',
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-8; charset=x",
        b"application/problem+json",
        b"application/octet-stream",
        b"text/json;charset",
        b"text/html",
        b"text/h\xe9 it's\xa0",
        b"\xa0text/json\x85",
        b"a" * 200,
    ],
)
def test_content_types(content_type: bytes | None) -> None:
    agree(b'{"input": "a", "model": "m"}', content_type)


@settings(max_examples=200)
@given(st.binary(max_size=30))
def test_any_content_type(content_type: bytes) -> None:
    agree(b'{"input": "a", "model": "m"}', content_type)


def test_a_body_over_the_limit() -> None:
    body = b'{"input": "a", "model": "m"}'
    native = outcome(lambda: _native.decode_embeddings(None, body, {"body_bytes_max": 9}))
    oracle = outcome(lambda: decode_embeddings({}, body, DecodeLimits(body_bytes_max=9)))
    assert native == oracle


# -- answers ---------------------------------------------------------------------------------------
def same_answer(vectors: Any, model: str, form: Any, tokens: int) -> None:
    asked = EmbeddingsRequest(model=model, texts=("a",), encoding_format=form)
    native = _native.encode_embeddings(vectors, model, tokens, form == "base64")
    assert native == encode_embeddings(vectors, asked, tokens).to_bytes()


@settings(max_examples=200)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(0, 300)),
        elements=st.floats(width=32),
        fill=st.nothing(),
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["float", "base64"]),
    st.integers(0, 2**40),
)
def test_answers(vectors: Any, model: str, form: str, tokens: int) -> None:
    same_answer(vectors, model, form, tokens)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_answers_of_the_usual_size(pytestconfig: pytest.Config, form: str) -> None:
    source = np.random.default_rng(pytestconfig.getoption("--seed"))
    same_answer(source.standard_normal((7, 384), np.float32), "minilm", form, 70)
    same_answer(np.empty((0, 0), np.float32), "minilm", form, 0)
