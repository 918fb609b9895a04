"""Native errors against those of pelton.errors: one table, and the same bodies and headers."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pelton import _native, errors
from pelton.bridge._problems import native_problems, problem_error
from pelton.codec import encode_error
from pelton.codec.embeddings import encode_openai_error
from pelton.codec.tei import encode_tei_error
from pelton.errors import STATUSES

KINDS = {code: kind for kind, _, code, _ in _native.problem_statuses()}
LEAVES = sorted(
    (leaf for leaf, status in STATUSES.items() if status.code in KINDS),
    key=lambda leaf: leaf.__name__,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "tensor": TEXT,
        "field": TEXT | st.just("inputs[0].shape"),
        "expected": TEXT,
        "got": TEXT,
        "offset": st.integers(-(2**63), 2**63 - 1),
        "model": TEXT,
        "version": TEXT,
        "retry_after_ms": st.integers(0, 10**9),
    },
)


def test_every_native_kind_is_a_leaf_with_the_same_status() -> None:
    rows = _native.problem_statuses()
    assert [kind for kind, *_ in rows] == list(range(1, len(rows) + 1))
    for _, http, code, title in rows:
        leaf = errors.leaf_for_code(code)
        assert leaf is not None, code
        assert (STATUSES[leaf].http, STATUSES[leaf].title) == (http, title)


def error_of(leaf: type[errors.Error], message: str, details: Any) -> errors.Error:
    return leaf(message, **details)


def path_text(path: bytes) -> str:
    """A path as uvicorn gives it to Python code; bytes that are not UTF-8 would be refused there,
    and are surrogates here."""
    return unquote(path.decode("utf-8", "surrogateescape"))


MEDIA_TYPES = st.sampled_from(
    [
        "application/json",
        "application/problem+json",
        "application/msgpack",
        "application/vnd.msgpack",
        "Application/MsgPack",
        "application/*",
        "*/*",
        "text/html",
        "",
    ]
)
WEIGHTS = st.sampled_from(
    [
        "",
        ";q=0",
        ";q=1",
        "; Q = 0.5",
        ';q="0.3"',
        ";q=-1",
        ";q=1_0",
        ";q=0.1_0",
        ";q=_0",
        ";q=+0.5",
        ";q=+-0",
        ";q=nan",
        ";q=inf",
        ";q=1e-400",
        ";q=1e400",
        ";q=.5",
        ";q=5e",
        ";q=",
        ";q=x;q=0.2",
        ";charset=utf-8",
        ";q=\xa00.5\x85",
        ";q=0x1",
    ]
)
ACCEPTS = st.lists(st.tuples(MEDIA_TYPES, WEIGHTS).map("".join), max_size=4).map(", ".join)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "accept": ACCEPTS | st.text(st.characters(max_codepoint=255), max_size=20),
        "content-type": st.tuples(MEDIA_TYPES, WEIGHTS).map("".join),
        "inference-header-content-length": st.just("10"),
    },
)
PATHS = (
    st.binary(max_size=20)
    | st.lists(
        st.sampled_from(
            [b"/", b"v1", b"v2", b"%2F", b"%ff", b"%c3", b"%a9", b"\xc3", b"\xa9", b"%"]
        )
    ).map(b"".join)
    | st.lists(st.sampled_from([b"%e2", b"%82", b"%ac", b"%f0", b"%9f", b"%ed", b"%a0", b"a"])).map(
        b"".join
    )
)


@settings(max_examples=500)
@given(st.sampled_from(LEAVES), TEXT, DETAILS, PATHS, FIELDS)
@example(errors.QueueFull, "m", {"retry_after_ms": 20}, b"/embed", {})
@example(errors.InvalidInput, "m", {"got": "x"}, b"/%65mbed", {})
@example(errors.InvalidInput, "m", {"field": "input[0]"}, b"/v1/embeddings", {})
@example(errors.Internal, "secret", {"field": "input[0]"}, b"/v1/embeddings", {})
def test_bodies(
    leaf: type[errors.Error],
    message: str,
    details: dict[str, Any],
    path: bytes,
    fields: dict[str, str],
) -> None:
    error = error_of(leaf, message, details)
    sent = {name: value.encode("latin-1") for name, value in fields.items()}
    native = _native.encode_problem(KINDS[error.code], message, details, path, "id-1", sent)
    instance = path_text(path)
    if instance.startswith("/v1/"):
        body = encode_openai_error(error)
    elif instance == "/embed":
        body = encode_tei_error(error, instance, "id-1")
    else:
        body = encode_error(error, fields, instance, "id-1")
    assert native == (body.content_type, body.to_bytes())


@settings(max_examples=200)
@given(
    st.sampled_from(LEAVES),
    st.none() | st.integers(-5, 10**7),
    st.floats(0, 1, exclude_max=True),
)
def test_retry_headers(leaf: type[errors.Error], wait_ms: int | None, jitter: float) -> None:
    error = leaf("m", retry_after_ms=wait_ms)
    lines = _native.retry_headers(KINDS[error.code], wait_ms, jitter).decode().split("\r\n")
    native = dict(line.split(": ") for line in lines if line)
    oracle = errors.retry_headers(error, jitter)
    assert native == {name.lower(): value for name, value in oracle.items()}


def test_native_problems_are_raised_as_leaves_with_their_details() -> None:
    with pytest.raises(errors.InvalidInput) as caught, native_problems():
        _native.decode_msgpack(b"\xc1", {}, [])
    assert caught.value.details == {"offset": 0}
    assert caught.value.message == "the body is not msgpack: the byte 0xC1 is never used, at byte 0"


def test_a_problem_of_an_unknown_code_is_a_defect() -> None:
    problem = _native.NativeProblem("text")
    problem.code, problem.details = "of_a_newer_engine", {}
    error = problem_error(problem)
    assert type(error) is errors.Internal
    assert "of_a_newer_engine" in error.message
