"""Which format a body is in, and which its answer goes out in."""

from __future__ import annotations

from typing import Any

import pytest

from pelton.codec.negotiate import (
    AnswerFormat,
    answer_format,
    error_media_type,
    header,
    request_format,
)
from pelton.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
OCTETS = "application/octet-stream"
MSGPACK = "application/msgpack"
VND = "application/vnd.msgpack"
PROBLEM = "application/problem+json"


def headers(content_type: str | None = None, accept: str | None = None, length: Any = None) -> Any:
    given = {
        "content-type": content_type,
        "accept": accept,
        "inference-header-content-length": length,
    }
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("content_type", "length", "expected"),
    [
        (None, None, "json"),  # tritonclient sends no type
        (OCTETS, None, "json"),  # tritonclient.http.aio sends this for JSON too
        (JSON, None, "json"),
        ("Application/JSON; charset=UTF-8", None, "json"),
        ('application/json;charset="utf-8"', None, "json"),
        ("application/vnd.api+json", None, "json"),
        ("", None, "json"),
        (None, "12", "binary"),
        (None, "0", "binary"),
        (OCTETS, "12", "binary"),
        (JSON, "12", "binary"),
        (MSGPACK, "12", "binary"),
        ("text/html", "12", "binary"),
        (None, "", "binary"),
        (MSGPACK, None, "msgpack"),
        (VND, None, "msgpack"),
        ("application/MsgPack ; x=y", None, "msgpack"),
    ],
)
def test_request_formats(content_type: str | None, length: str | None, expected: str) -> None:
    assert request_format(headers(content_type, length=length)) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-msgpack2",
        "application/json; charset=latin-1",
        "image/svg+json",
        "json",
        "*/*",
        "application",
        "x" * 10_000,
    ],
)
def test_other_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"expected {JSON}") as caught:
        request_format(headers(content_type))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("accept", "requested", "kind", "media_type"),
    [
        (None, "json", "oip", JSON),
        (None, "binary", "oip", JSON),
        (None, "msgpack", "msgpack", MSGPACK),
        ("", "json", "oip", JSON),
        ("*/*", "json", "oip", JSON),
        ("*/*", "binary", "oip", JSON),
        ("*/*", "msgpack", "msgpack", MSGPACK),
        ("application/*", "binary", "oip", JSON),
        (f"{OCTETS}, {JSON}", "binary", "oip", JSON),
        (JSON, "json", "json", JSON),
        (JSON, "binary", "json", JSON),
        (JSON, "msgpack", "json", JSON),
        (OCTETS, "json", "binary", OCTETS),
        (OCTETS, "msgpack", "binary", OCTETS),
        (MSGPACK, "json", "msgpack", MSGPACK),
        (VND, "binary", "msgpack", VND),
        (f"{MSGPACK}, {JSON};q=0.5", "json", "msgpack", MSGPACK),
        (f"{MSGPACK};q=0.5, {JSON}", "msgpack", "json", JSON),
        (f"{MSGPACK}, {JSON}", "json", "json", JSON),
        (f"{MSGPACK}, {JSON}", "msgpack", "msgpack", MSGPACK),
        (f"*/*;q=0.1, {VND}", "json", "msgpack", VND),
        (f"{JSON};q=0, */*", "json", "binary", OCTETS),
        (f"{OCTETS};q=0, */*", "binary", "json", JSON),
        (f"{PROBLEM}, {JSON}", "json", "json", JSON),
        ("text/html, */*;q=0.8", "json", "oip", JSON),
        (f"{JSON}; charset=utf-8; q=1.0", "json", "json", JSON),
        ("APPLICATION/JSON", "json", "json", JSON),
        (f"{JSON};q=nonsense, {MSGPACK}", "json", "msgpack", MSGPACK),
        (f"{JSON};q=7, {MSGPACK}", "json", "msgpack", MSGPACK),
        (f"{JSON};q=nan, {MSGPACK}", "json", "msgpack", MSGPACK),
        (f",,{JSON},", "json", "json", JSON),
    ],
)
def test_answer_formats(accept: str | None, requested: Any, kind: Any, media_type: str) -> None:
    chosen = answer_format(headers(accept=accept), requested)
    assert chosen == AnswerFormat(kind, media_type)


@pytest.mark.parametrize("sent", [MSGPACK, VND])
def test_a_msgpack_answer_has_the_name_that_the_request_used(sent: str) -> None:
    for accept in (None, "*/*", f"{MSGPACK}, {VND}"):
        assert answer_format(headers(sent, accept), "msgpack").media_type == sent


@pytest.mark.parametrize(
    "accept",
    ["text/html", "image/*", PROBLEM, f"{JSON};q=0", "*/*;q=0", "nonsense", f"{JSON};q=x"],
)
@pytest.mark.parametrize("requested", ["json", "binary", "msgpack"])
def test_not_acceptable(accept: str, requested: Any) -> None:
    with pytest.raises(NotAcceptable, match=JSON):
        answer_format(headers(accept=accept), requested)


@pytest.mark.parametrize(
    ("content_type", "accept", "length", "expected"),
    [
        (None, None, None, JSON),
        (JSON, "*/*", None, JSON),
        (JSON, "text/html", None, JSON),
        (OCTETS, OCTETS, "5", JSON),
        (None, PROBLEM, None, PROBLEM),
        (None, f"{JSON}, {PROBLEM}", None, PROBLEM),
        (None, f"{PROBLEM};q=0, {JSON}", None, JSON),
        (MSGPACK, None, None, MSGPACK),
        (VND, "*/*", None, VND),
        (MSGPACK, JSON, None, JSON),
        (MSGPACK, None, "5", JSON),
        (JSON, VND, None, VND),
        (MSGPACK, "text/html", None, JSON),
    ],
)
def test_the_type_of_errors(
    content_type: str | None, accept: str | None, length: str | None, expected: str
) -> None:
    assert error_media_type(headers(content_type, accept, length)) == expected


def test_names_of_headers_are_lower_case_or_as_written() -> None:
    assert header({"content-type": "a"}, "Content-Type") == "a"
    assert header({"Content-Type": "a"}, "Content-Type") == "a"
    assert header({}, "Content-Type") is None
