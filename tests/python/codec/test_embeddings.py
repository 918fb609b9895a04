"""The bodies of /v1/embeddings, rule by rule."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from pelton import errors
from pelton.codec import DecodeLimits
from pelton.codec.embeddings import (
    EmbeddingsLimits,
    EmbeddingsRequest,
    decode_embeddings,
    decode_embeddings_response,
    encode_embeddings,
    encode_embeddings_request,
    encode_openai_error,
    to_openai_body,
)

LIMITS = DecodeLimits()
JSON = {"content-type": "application/json"}
VECTORS = np.array([[0.1, -2, 1e-7], [3, 0, 1]], np.float32)


def decode(document: Any, headers: Any = None, bounds: Any = None) -> EmbeddingsRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode_embeddings(JSON if headers is None else headers, body, LIMITS, bounds)


@pytest.mark.parametrize(
    ("value", "texts", "token_ids"),
    [
        ("a text", ("a text",), None),
        (["a", "é\u0000"], ("a", "é\0"), None),
        ([101, 7592, 102], None, ((101, 7592, 102),)),
        ([[1], [2, 3]], None, ((1,), (2, 3))),
        (["a"] * 2048, ("a",) * 2048, None),
    ],
)
def test_inputs(value: Any, texts: Any, token_ids: Any) -> None:
    decoded = decode({"model": "m", "input": value})
    assert decoded == EmbeddingsRequest(model="m", texts=texts, token_ids=token_ids)


def test_the_other_members() -> None:
    document = {
        "model": "m",
        "input": "a",
        "encoding_format": "base64",
        "dimensions": 64,
        "truncate": True,
        "user": "u",
        "unknown": [1],
    }
    assert decode(document) == EmbeddingsRequest(
        model="m",
        texts=("a",),
        encoding_format="base64",
        dimensions=64,
        truncate=True,
        user="u",
    )


def test_null_is_absent() -> None:
    optional = ("encoding_format", "dimensions", "truncate", "user")
    decoded = decode({"model": "m", "input": "a", **dict.fromkeys(optional)})
    assert decoded == EmbeddingsRequest(model="m", texts=("a",))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"input": None}, "input", "expected a string, or an array of strings"),
        ({"input": 5}, "input", "got the number 5"),
        ({"input": {}}, "input", "got an object"),
        ({"input": []}, "input", "got an empty array"),
        ({"input": ""}, "input", "at least one character"),
        ({"input": ["a", ""]}, "input[1]", "at least one character, got an empty string"),
        ({"input": ["a", 1]}, "input[1]", "expected a string, as the first item is one"),
        ({"input": [1, "a"]}, "input[1]", "expected an integer from 0 to 2147483647"),
        ({"input": [True]}, "input[0]", "expected a string or token ids, got true"),
        ({"input": [None]}, "input[0]", "expected a string or token ids"),
        ({"input": [1.5]}, "input[0]", "expected a string or token ids"),
        ({"input": [-1]}, "input[0]", "expected an integer from 0"),
        ({"input": [1, 2**31]}, "input[1]", "expected an integer from 0"),
        ({"input": [[]]}, "input[0]", "at least one token id"),
        ({"input": [[1], []]}, "input[1]", "at least one token id"),
        ({"input": [[1], [True]]}, "input[1][0]", "expected an integer"),
        ({"input": [[1], 2]}, "input[1]", "expected an array"),
        ({"input": [[["a"]]]}, "input[0][0]", "expected an integer"),
        ({"input": ["a"] * 2049}, "input", "at most 2048 items, got 2049"),
        ({"model": None}, "model", "expected a string"),
        ({"model": ""}, "model", "expected a name"),
        ({"model": 1}, "model", "expected a string"),
        ({"encoding_format": "int8"}, "encoding_format", 'expected "float" or "base64"'),
        ({"encoding_format": 1}, "encoding_format", 'expected "float" or "base64"'),
        ({"dimensions": 0}, "dimensions", "expected an integer from 1"),
        ({"dimensions": 1.0}, "dimensions", "expected an integer from 1"),
        ({"dimensions": True}, "dimensions", "expected an integer from 1"),
        ({"truncate": 1}, "truncate", "true or false"),
        ({"user": 1}, "user", "expected a string"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        decode({"model": "m", "input": "a", **changes})
    assert caught.value.field == field
    assert message in str(caught.value)


def test_bounds() -> None:
    bounds = EmbeddingsLimits(items_max=1, tokens_max=2)
    with pytest.raises(errors.InvalidInput, match="at most 1 items"):
        decode({"model": "m", "input": ["a", "b"]}, bounds=bounds)
    with pytest.raises(errors.InvalidInput, match=r"input\[0\].*at most 2 items"):
        decode({"model": "m", "input": [[1, 2, 3]]}, bounds=bounds)
    with pytest.raises(errors.PayloadTooLarge):
        decode_embeddings(JSON, b" " * 11, DecodeLimits(body_bytes_max=10))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b'{"model":"m","input":"\xff"}'])
def test_bodies_that_are_no_request(body: bytes) -> None:
    with pytest.raises(errors.InvalidInput):
        decode(body)


@pytest.mark.parametrize(
    ("content_type", "is_read"),
    [
        (None, True),
        ("application/json; charset=utf-8", True),
        ("application/octet-stream", True),
        ("application/msgpack", False),
        ("application/x-www-form-urlencoded", False),
    ],
)
def test_content_types(content_type: str | None, is_read: bool) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    document = {"model": "m", "input": "a"}
    if is_read:
        assert decode(document, headers).model == "m"
    else:
        with pytest.raises(errors.UnsupportedMediaType):
            decode(document, headers)


def test_an_answer_in_floats_is_short() -> None:
    request = EmbeddingsRequest(model="m", texts=("a", "b"))
    body = encode_embeddings(VECTORS, request, prompt_tokens=7)
    assert body.content_type == "application/json"
    assert body.to_bytes() == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.1,-2.0,1e-07]},'
        b'{"object":"embedding","index":1,"embedding":[3.0,0.0,1.0]}],'
        b'"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}'
    )


@pytest.mark.parametrize("vectors", [VECTORS, np.asfortranarray(VECTORS), VECTORS.astype(">f4")])
def test_an_answer_in_base64_is_the_bytes_of_each_row(vectors: Any) -> None:
    request = EmbeddingsRequest(model="m", texts=("a", "b"), encoding_format="base64")
    document = json.loads(encode_embeddings(vectors, request, 7).to_bytes())
    rows = [base64.b64decode(item["embedding"]) for item in document["data"]]
    assert rows == [row.astype("<f4").tobytes() for row in VECTORS]
    assert [item["index"] for item in document["data"]] == [0, 1]


def test_vectors_that_are_no_matrix_are_a_defect() -> None:
    with pytest.raises(errors.Internal):
        encode_embeddings(VECTORS[0], EmbeddingsRequest(model="m", texts=("a",)), 1)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_a_client_reads_what_a_server_writes(form: Any) -> None:
    request = EmbeddingsRequest(
        model="m", texts=("a", "b"), encoding_format=form, dimensions=3, truncate=False, user="u"
    )
    assert decode(encode_embeddings_request(request).to_bytes()) == request
    answer = decode_embeddings_response(encode_embeddings(VECTORS, request, 7).to_bytes(), LIMITS)
    np.testing.assert_array_equal(answer.vectors, VECTORS)
    assert (answer.model, answer.prompt_tokens) == ("m", 7)


def answer_of(*items: Any, **changes: Any) -> bytes:
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return json.dumps({"data": [*items], "model": "m", "usage": usage, **changes}).encode()


def test_a_client_orders_by_index() -> None:
    body = answer_of({"index": 1, "embedding": [2, 3]}, {"index": 0, "embedding": [0.5, 1]})
    assert decode_embeddings_response(body, LIMITS).vectors.tolist() == [[0.5, 1], [2, 3]]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        answer_of(5),
        answer_of({"embedding": [1]}),
        answer_of({"index": 1, "embedding": [1]}),
        answer_of({"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}),
        answer_of({"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}),
        answer_of({"index": 0, "embedding": "not base64!"}),
        answer_of({"index": 0, "embedding": "AAA="}),
        answer_of({"index": 0, "embedding": ["1"]}),
        answer_of({"index": 0, "embedding": [10**400]}),
        answer_of({"index": 0}),
        answer_of(usage={}),
        answer_of(model=None),
    ],
)
def test_a_client_refuses_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(errors.InvalidInput):
        decode_embeddings_response(body, LIMITS)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (errors.InvalidInput("bad"), "invalid_request_error", "invalid_input"),
        (errors.ModelNotFound("bad"), "invalid_request_error", "model_not_found"),
        (errors.PayloadTooLarge("bad"), "invalid_request_error", "payload_too_large"),
        (errors.QueueFull("bad"), "server_error", "queue_full"),
        (errors.DeadlineExceeded("bad"), "server_error", "deadline_exceeded"),
    ],
)
def test_errors_have_the_shape_of_that_api(error: errors.Error, kind: str, code: str) -> None:
    document = {"error": {"message": "bad", "type": kind, "param": None, "code": code}}
    assert to_openai_body(error) == document
    assert json.loads(encode_openai_error(error).to_bytes()) == document


def test_an_error_names_the_member_at_fault() -> None:
    body = to_openai_body(errors.InvalidInput("bad", field="input[3]"))
    assert body["error"]["param"] == "input"


def test_a_defect_shows_no_internals() -> None:
    body = to_openai_body(errors.Internal("secret"))
    assert body["error"]["type"] == "server_error"
    assert "secret" not in str(body)
