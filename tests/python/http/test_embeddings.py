from __future__ import annotations

import base64

import numpy as np
import pytest

from python.http.asgi import Asgi

PATH = "/v1/embeddings"


def ask(client: Asgi, given: object, **members: object):
    return client.post(PATH, {"model": "tiny", "input": given, **members})


def vectors(reply) -> np.ndarray:
    rows = [item["embedding"] for item in reply.json()["data"]]
    if isinstance(rows[0], str):
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    return np.array(rows, np.float32)


def test_an_answer_has_openais_shape(client: Asgi, toy_models) -> None:
    reply = ask(client, ["hello world", "a"])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    found = reply.json()
    assert (found["object"], found["model"]) == ("list", "tiny")
    assert found["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [(item["object"], item["index"]) for item in found["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    wanted = toy_models["tiny"].embed(["hello world", "a"])
    assert (vectors(reply) == wanted).all()


def test_base64_and_numbers_are_bitwise_the_same(client: Asgi) -> None:
    numbers = ask(client, ["hello", "world"], encoding_format="float")
    encoded = ask(client, ["hello", "world"], encoding_format="base64")
    assert (vectors(numbers) == vectors(encoded)).all()


def test_a_text_alone_and_token_ids(client: Asgi) -> None:
    wanted = vectors(ask(client, "hello world"))
    assert wanted.shape == (1, 24)
    assert (vectors(ask(client, [2, 4, 5, 3])) == wanted).all()
    reply = ask(client, [[2, 4, 5, 3], [2, 3]])
    assert (vectors(reply)[0] == wanted[0]).all()
    assert reply.json()["usage"]["prompt_tokens"] == 6


def test_many_texts_take_several_batches(client: Asgi) -> None:
    reply = ask(client, ["hello", "world", "a real sentence ."] * 200)
    found = vectors(reply)
    assert found.shape == (600, 24)
    assert (found == np.tile(found[:3], (200, 1))).all()


def test_long_texts_are_cut_on_request_and_the_answer_says_so(client: Asgi) -> None:
    reply = ask(client, "hello " * 30)
    assert reply.status == 400
    error = reply.json()["error"]
    assert "at most 20 tokens, got 32" in error["message"]
    reply = ask(client, ["hello " * 30, "a"], truncate=True)
    assert reply.status == 200
    assert reply.headers["pelton-truncated"] == "1"
    assert reply.json()["usage"]["prompt_tokens"] == 23


def test_dimensions_may_name_the_models_own(client: Asgi) -> None:
    assert ask(client, "a", dimensions=24).status == 200


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a", 7]}, "input"),
        ({"input": [7, "a"]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [[1, "a"]]}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [2**70]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [2, 40]}, "input_ids"),
        ({"input": [[2] * 21]}, "input_ids"),
        ({"input": "a\0b"}, "text"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": "plus_one"}, "model"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 12}, "dimensions"),
        ({"dimensions": 25}, "dimensions"),
        ({"dimensions": "24"}, "dimensions"),
        ({"truncate": "yes"}, "truncate"),
        ({"user": 7}, "user"),
    ],
)
def test_bad_requests_name_the_parameter(members, param: str, client: Asgi) -> None:
    reply = client.post(PATH, {"model": "tiny", "input": "a", **members})
    assert reply.status in (400, 413)
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert param in (error["param"], *error["message"].split("'"))


def test_an_unknown_model_is_404_in_openais_shape(client: Asgi) -> None:
    reply = client.post(PATH, {"model": "none", "input": "a"})
    assert reply.status == 404
    assert reply.json()["error"]["code"] == "model_not_found"


def test_a_text_over_the_byte_limit_is_413(client: Asgi) -> None:
    assert ask(client, ["a", "x" * 4097]).status == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b'{"input": "\xff"}'])
def test_malformed_bytes_are_400(body: bytes, client: Asgi) -> None:
    reply = client.ask("POST", PATH, body)
    assert (reply.status, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_failures_are_server_errors(told, client: Asgi) -> None:
    reply = client.ask("POST", PATH, b"{}", {"Accept": "text/html"})
    assert (reply.status, reply.json()["error"]["type"]) == (406, "invalid_request_error")


def test_unknown_members_are_ignored(client: Asgi) -> None:
    assert ask(client, "a", modality="text", user="me").status == 200
