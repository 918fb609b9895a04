"""Which format a body is in, and which format its answer goes out in.

`Content-Type` alone does not tell: the clients of Triton Inference Server send none, or
octet-stream even for JSON. So the header Inference-Header-Content-Length decides first.

A mapping of headers has lower-case names, or ignores case (as those of Starlette and httpx do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pelton.codec._oip import LENGTH_HEADER
from pelton.errors import NotAcceptable, UnsupportedMediaType

__all__ = [
    "JSON_TYPE",
    "MSGPACK_TYPES",
    "OCTET_TYPE",
    "PROBLEM_TYPE",
    "AnswerFormat",
    "RequestFormat",
    "answer_format",
    "check_json_type",
    "error_media_type",
    "header",
    "request_format",
]

JSON_TYPE: Final = "application/json"
OCTET_TYPE: Final = "application/octet-stream"
PROBLEM_TYPE: Final = "application/problem+json"
MSGPACK_TYPES: Final = ("application/msgpack", "application/vnd.msgpack")

RequestFormat = Literal["json", "binary", "msgpack"]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How an answer is written.

    - `oip`: JSON and raw outputs, each output in the form that the request asks for;
    - `json`: JSON even where raw was asked for, since the client accepts nothing else;
    - `binary`: every output raw, for the same reason;
    - `msgpack`: under `media_type`, one of the two names of that format.
    """

    kind: Literal["oip", "json", "binary", "msgpack"]
    media_type: str


def header(headers: Mapping[str, str], name: str) -> str | None:
    """The value of a header, by its canonical name."""
    value = headers.get(name.lower())
    return headers.get(name) if value is None else value


def request_format(headers: Mapping[str, str]) -> RequestFormat:
    """The format of the body of an inference request; raises UnsupportedMediaType."""
    if header(headers, LENGTH_HEADER) is not None:
        return "binary"
    media_type = _media_type(header(headers, "Content-Type"))
    if media_type in MSGPACK_TYPES:
        return "msgpack"
    _check_json(headers, f"{JSON_TYPE}, {OCTET_TYPE} or {MSGPACK_TYPES[0]}")
    return "json"


def check_json_type(headers: Mapping[str, str]) -> None:
    """Raises UnsupportedMediaType unless the body may be JSON by its headers."""
    _check_json(headers, JSON_TYPE)


def _check_json(headers: Mapping[str, str], expected: str) -> None:
    value = header(headers, "Content-Type")
    media_type = _media_type(value)
    is_json = media_type in ("", JSON_TYPE, OCTET_TYPE, "text/json") or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    charset = _parameters(value or "").get("charset", "utf-8").lower()
    if not is_json or charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(
            f"the body's type {(value or '')[:80]!r} is not read here, expected {expected}",
            expected=expected,
            got=(value or "")[:80],
        )


def _media_type(value: str | None) -> str:
    return "" if value is None else value.partition(";")[0].strip().lower()


def _parameters(value: str) -> dict[str, str]:
    parameters = {}
    for item in value.split(";")[1:]:
        name, _, text = item.partition("=")
        parameters[name.strip().lower()] = text.strip().strip('"')
    return parameters


@dataclass(frozen=True, slots=True)
class _Accept:
    """A parsed Accept header (RFC 9110, section 12.5.1): media ranges and their weights."""

    ranges: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, value: str | None) -> _Accept:
        if value is None or not value.strip():
            return cls((("*/*", 1.0),))
        ranges = []
        for item in value.split(","):
            media_range = _media_type(item)
            if media_range:
                ranges.append((media_range, _weight(_parameters(item).get("q", "1"))))
        return cls(tuple(ranges))

    def weight(self, media_type: str) -> float:
        """The weight of the most specific range that covers `media_type`; 0 where none does."""
        group = media_type.partition("/")[0] + "/*"
        for wanted in (media_type, group, "*/*"):
            weights = [weight for media_range, weight in self.ranges if media_range == wanted]
            if weights:
                return max(weights)
        return 0.0

    def names(self, media_type: str) -> bool:
        """Whether the client wrote this very type, and not with weight 0."""
        return any(name == media_type and weight > 0 for name, weight in self.ranges)


def _weight(text: str) -> float:
    """A weight from 0 to 1; what is not one counts as 0, so that a broken header excludes."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def answer_format(headers: Mapping[str, str], requested: RequestFormat) -> AnswerFormat:
    """Choose the format of the answer to a body of format `requested`.

    The request's own family wins ties, so a client that accepts anything is answered as it asked.
    Raises NotAcceptable where the client accepts nothing that we write.
    """
    value = header(headers, "Accept")
    accept = _Accept.parse(value)
    json, octets = accept.weight(JSON_TYPE), accept.weight(OCTET_TYPE)
    weights = [accept.weight(name) for name in MSGPACK_TYPES]
    packed = max(weights)
    packed_type = MSGPACK_TYPES[weights.index(packed)]
    if header(headers, "Content-Type") is not None and weights[0] == weights[1] > 0:
        sent = _media_type(header(headers, "Content-Type"))
        packed_type = sent if sent in MSGPACK_TYPES else packed_type
    open_inference = max(json, octets)
    if not max(open_inference, packed):
        raise NotAcceptable(
            f"no answer can be of type {(value or '')[:80]!r}, only {JSON_TYPE}, {OCTET_TYPE} "
            f"or {MSGPACK_TYPES[0]}",
            expected=f"{JSON_TYPE}, {OCTET_TYPE} or {MSGPACK_TYPES[0]}",
            got=(value or "")[:80],
        )
    if packed > open_inference or (packed == open_inference and requested == "msgpack"):
        return AnswerFormat("msgpack", packed_type)
    if json and octets:
        return AnswerFormat("oip", JSON_TYPE)
    return AnswerFormat("json", JSON_TYPE) if json else AnswerFormat("binary", OCTET_TYPE)


def error_media_type(headers: Mapping[str, str]) -> str:
    """The type of an error's body: problem+json only for clients that name it, msgpack for those
    that speak it, else plain JSON, which every client of the protocol reads. Never raises."""
    accept = _Accept.parse(header(headers, "Accept"))
    if accept.names(PROBLEM_TYPE):
        return PROBLEM_TYPE
    if accept.names(JSON_TYPE):
        return JSON_TYPE
    for media_type in MSGPACK_TYPES:
        if accept.names(media_type):
            return media_type
    sent = _media_type(header(headers, "Content-Type"))
    if header(headers, LENGTH_HEADER) is None and sent in MSGPACK_TYPES and accept.weight(sent):
        return sent
    return JSON_TYPE
