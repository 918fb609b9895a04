"""Answers, and errors as answers in the shape that the path's clients read."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pelton.codec.types import EncodedBody
from pelton.errors import Error, Internal, retry_headers, status_of, to_body

__all__ = ["JSON", "Answer", "dump_json", "error_answer", "json_answer"]

JSON: Final = "application/json"
_PROBLEM_JSON: Final = b"application/problem+json"
_MSGPACK: Final = (b"application/msgpack", b"application/vnd.msgpack")
_RETRY_JITTER: Final = 0.25

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A whole answer. `chunks` in order make its body; `headers` have lower-case names and lack
    those that every answer gets."""

    status: int
    chunks: Sequence[bytes | memoryview] = ()
    headers: list[Header] = field(default_factory=list)

    @property
    def content_length(self) -> int:
        return sum(map(len, self.chunks))


def dump_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_answer(value: Any, status: int = 200, content_type: str = JSON) -> Answer:
    return Answer(status, (dump_json(value),), [(b"content-type", content_type.encode())])


def encoded_answer(body: EncodedBody) -> Answer:
    """An answer of inference; never to be cached."""
    headers = [(b"content-type", body.content_type.encode()), (b"cache-control", b"no-store")]
    headers += [(name.lower().encode(), value.encode()) for name, value in body.headers.items()]
    return Answer(200, body.chunks, headers)


def error_answer(error: Error, *, path: str, request_id: str, accept: bytes) -> Answer:
    """`error` as the clients of `path` read it: OpenAI's shape under /v1, else the problem document
    with a string member `error`, in msgpack where that alone is accepted."""
    headers = [(name.lower().encode(), value.encode()) for name, value in _extra_headers(error)]
    if path.startswith("/v1/"):
        answer = json_answer(_openai_body(error, path, request_id), error.http_status)
    else:
        body = to_body(error, path, request_id)
        if any(kind in accept for kind in _MSGPACK) and b"json" not in accept:
            # An error is rare; msgpack is not imported for it before it is used.
            from pelton.codec.msgpack import CONTENT_TYPE, encode_map

            answer = Answer(
                error.http_status,
                (encode_map(body),),
                [(b"content-type", CONTENT_TYPE.encode())],
            )
        else:
            kind = "application/problem+json" if _PROBLEM_JSON in accept else JSON
            answer = json_answer(body, error.http_status, kind)
    answer.headers.extend(headers)
    return answer


def _extra_headers(error: Error) -> list[tuple[str, str]]:
    jitter = random.random() * _RETRY_JITTER
    return list(retry_headers(error, jitter).items())


def _openai_body(error: Error, path: str, request_id: str) -> dict[str, Any]:
    """OpenAI's error object; its clients show `message` and branch on `code`."""
    status = status_of(error)
    kind = "server_error" if status.http >= 500 else "invalid_request_error"
    hidden = isinstance(error, Internal)
    return {
        "error": {
            "message": to_body(error, path, request_id)["error"],
            "type": kind,
            "param": None if hidden else error.field or error.tensor,
            "code": status.code,
        }
    }
