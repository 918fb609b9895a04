"""Answers, and errors as answers in the shape that the path's clients read."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pelton.codec import encode_error
from pelton.codec.embeddings import encode_openai_error
from pelton.codec.tei import encode_tei_error
from pelton.codec.types import EncodedBody
from pelton.errors import Error, retry_headers

__all__ = ["Answer", "encoded_answer", "error_answer", "json_answer"]

_RETRY_JITTER: Final = 0.25

Header = tuple[bytes, bytes]


class Answer(NamedTuple):
    """A whole answer. `chunks` in order make its body; `headers` have lower-case names and lack
    those that every answer gets."""

    status: int
    chunks: Sequence[bytes | memoryview]
    headers: list[Header]

    @property
    def content_length(self) -> int:
        return sum(map(len, self.chunks))


def json_answer(value: Any, status: int = 200) -> Answer:
    """A small document, as compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, (body,), [(b"content-type", b"application/json")])


def encoded_answer(body: EncodedBody, status: int = 200) -> Answer:
    """A body that a codec has written."""
    headers = [(b"content-type", body.content_type.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in body.headers.items()]
    return Answer(status, body.chunks, headers)


def error_answer(
    error: Error, *, path: str = "", request_id: str, headers: Mapping[str, str]
) -> Answer:
    """`error` as the clients of `path` read it: OpenAI's shape under /v1, TEI's for /embed, else
    the problem document with a string member `error`. `headers` are those of the request."""
    if path.startswith("/v1/"):
        body = encode_openai_error(error)
    elif path == "/embed":
        body = encode_tei_error(error, path, request_id)
    else:
        body = encode_error(error, headers, path, request_id)
    answer = encoded_answer(body, error.http_status)
    # Jitter, so that callers turned away together do not come back together.
    retry = retry_headers(error, random.random() * _RETRY_JITTER)
    answer.headers.extend((name.lower().encode(), text.encode()) for name, text in retry.items())
    return answer
