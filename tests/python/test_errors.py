from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from pelton import errors
from pelton.errors import STATUSES, Error

LEAVES = sorted(STATUSES, key=lambda leaf: leaf.__name__)

#: The canonical codes of gRPC (google.rpc.Code).
GRPC_CODES = {
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
}


def all_subclasses(kind: type[Error]) -> set[type[Error]]:
    found = set()
    for child in kind.__subclasses__():
        found |= {child} | all_subclasses(child)
    return {child for child in found if child.__module__ == "pelton.errors"}


def test_every_class_of_the_tree_has_one_row_and_every_row_a_class() -> None:
    assert all_subclasses(Error) == set(STATUSES)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_a_leaf_has_exactly_one_http_and_one_grpc_status(leaf: type[Error]) -> None:
    assert [base for base in leaf.__mro__ if base in STATUSES] == [leaf]
    status = errors.status_of(leaf)
    assert 400 <= status.http < 600
    assert status.grpc in GRPC_CODES
    assert status.title
    error = leaf("text")
    assert (error.http_status, error.grpc_status, error.code) == (
        status.http,
        status.grpc,
        status.code,
    )


def test_codes_are_slugs_and_differ() -> None:
    codes = [status.code for status in STATUSES.values()]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code == code.lower() for code in codes)
    assert all(errors.leaf_for_code(status.code) is leaf for leaf, status in STATUSES.items())
    assert errors.leaf_for_code("of_a_newer_server") is None


@pytest.mark.parametrize(
    ("leaf", "http", "grpc"),
    [
        (errors.InvalidInput, 400, "INVALID_ARGUMENT"),
        (errors.Forbidden, 403, "PERMISSION_DENIED"),
        (errors.ModelNotFound, 404, "NOT_FOUND"),
        (errors.RouteNotFound, 404, "NOT_FOUND"),
        (errors.MethodNotAllowed, 405, "UNIMPLEMENTED"),
        (errors.NotAcceptable, 406, "INVALID_ARGUMENT"),
        (errors.AlreadyExists, 409, "ALREADY_EXISTS"),
        (errors.PayloadTooLarge, 413, "INVALID_ARGUMENT"),
        (errors.UriTooLong, 414, "INVALID_ARGUMENT"),
        (errors.UnsupportedMediaType, 415, "UNIMPLEMENTED"),
        (errors.ExpectationFailed, 417, "INVALID_ARGUMENT"),
        (errors.HeadersTooLarge, 431, "INVALID_ARGUMENT"),
        (errors.Cancelled, 499, "CANCELLED"),
        (errors.Internal, 500, "INTERNAL"),
        (errors.Unimplemented, 501, "UNIMPLEMENTED"),
        (errors.UnsupportedModel, 501, "UNIMPLEMENTED"),
        (errors.QueueFull, 503, "RESOURCE_EXHAUSTED"),
        (errors.Unavailable, 503, "UNAVAILABLE"),
        (errors.DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_the_statuses_that_the_protocol_names(leaf: type[Error], http: int, grpc: str) -> None:
    status = STATUSES[leaf]
    assert (status.http, status.grpc) == (http, grpc)


def test_the_base_class_is_no_leaf() -> None:
    with pytest.raises(TypeError, match="not a leaf"):
        errors.status_of(Error("text"))


def test_a_subclass_of_a_leaf_answers_as_the_leaf() -> None:
    class Narrower(errors.InvalidInput):
        pass

    assert errors.status_of(Narrower("text")) is STATUSES[errors.InvalidInput]


def test_body_has_the_members_of_a_problem_document_and_the_details_given() -> None:
    error = errors.InvalidInput(
        "x is wrong",
        tensor="x",
        field="inputs[0].shape",
        expected="[2]",
        got="[3]",
        offset=0,
        model="m",
        version="1",
    )
    assert errors.to_body(error, "/v2/models/m/infer", "id-1") == {
        "error": "x is wrong",
        "type": "urn:pelton:error:invalid_input",
        "title": "Invalid input",
        "status": 400,
        "detail": "x is wrong",
        "instance": "/v2/models/m/infer",
        "code": "invalid_input",
        "request_id": "id-1",
        "tensor": "x",
        "field": "inputs[0].shape",
        "expected": "[2]",
        "got": "[3]",
        "offset": 0,
        "model": "m",
        "version": "1",
    }


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_body_has_a_string_error_and_no_null(leaf: type[Error]) -> None:
    body = errors.to_body(leaf("text"), "/v2", "id-1")
    assert isinstance(body["error"], str)
    assert body["error"]
    assert None not in body.values()


def test_a_defect_shows_no_internals() -> None:
    body = errors.to_body(errors.Internal("secret at 0x7f", got="secret"), "/v2", "id-1")
    assert "secret" not in str(body)
    assert body["request_id"] == "id-1"


@pytest.mark.parametrize(
    ("wait_ms", "jitter", "headers"),
    [
        (None, 0.0, {"Retry-After": "1", "retry-after-ms": "1000"}),
        (0, 0.0, {"Retry-After": "1", "retry-after-ms": "1"}),
        (1001, 0.0, {"Retry-After": "2", "retry-after-ms": "1001"}),
        (2000, 0.5, {"Retry-After": "3", "retry-after-ms": "3000"}),
    ],
)
def test_retry_headers(wait_ms: int | None, jitter: float, headers: dict[str, str]) -> None:
    error = errors.QueueFull("full", retry_after_ms=wait_ms)
    assert errors.retry_headers(error, jitter) == headers


def test_retry_headers_only_where_another_try_can_succeed() -> None:
    assert errors.retry_headers(errors.InvalidInput("bad", retry_after_ms=5)) == {}


@pytest.mark.parametrize("through", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_cross_process_borders_whole(through: Any) -> None:
    error = errors.InvalidInput("x is wrong", tensor="x", offset=3)
    other = through(error)
    assert type(other) is errors.InvalidInput
    assert str(other) == "x is wrong"
    assert other.details == {"tensor": "x", "offset": 3}


def test_all_names_are_there() -> None:
    assert errors.__all__ == sorted(errors.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(errors, name) for name in errors.__all__)
