"""POST /embed, in the shape of Text Embeddings Inference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pelton.errors import Internal, QueueFull, Unavailable
from pelton.http import Application, ServerState
from python.http.asgi import Asgi


@pytest.fixture
def one(toy_models, settings):
    """A client of a server of one encoder, whose name need not be said."""
    state = ServerState({"tiny": toy_models["tiny"], "two": toy_models["two"]}, settings)
    client = Asgi(Application(state))
    yield client
    client.close()
    state.close()


def vectors(reply: Any) -> np.ndarray:
    assert reply.status == 200
    return np.array(reply.json(), np.float32)


@pytest.mark.parametrize("inputs", ["w1 w2", ["w1 w2"], ["w1 w2", "w3"]])
def test_texts_become_a_list_of_vectors(inputs: Any, one: Asgi, toy_models) -> None:
    found = vectors(one.post("/embed", {"inputs": inputs}))
    texts = [inputs] if isinstance(inputs, str) else inputs
    assert (found == toy_models["tiny"].embed(texts)).all()


def test_token_ids(one: Asgi) -> None:
    row = vectors(one.post("/embed", {"inputs": [2, 5, 6, 3]}))
    rows = vectors(one.post("/embed", {"inputs": [[2, 5, 6, 3], [2, 3]]}))
    assert (row.shape, rows.shape) == ((1, 24), (2, 24))
    assert (row[0] == rows[0]).all()


def test_headers_say_what_it_took(one: Asgi) -> None:
    reply = one.post("/embed", {"inputs": ["w1 w2", "é"]})
    assert reply.headers["x-compute-type"] == "cpu"
    assert reply.headers["x-compute-characters"] == "6"
    assert int(reply.headers["x-compute-tokens"]) >= 6
    assert int(reply.headers["x-total-time"]) >= 0
    assert reply.headers["cache-control"] == "no-store"


def test_texts_may_be_cut(one: Asgi) -> None:
    long = " ".join(["w1"] * 100)
    assert one.post("/embed", {"inputs": long}).status == 400
    reply = one.post("/embed", {"inputs": long, "truncate": True, "truncation_direction": "Right"})
    assert (reply.status, reply.headers["pelton-truncated"]) == (200, "1")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": 5}, "inputs"),
        ({"inputs": ["a", 1]}, "inputs[1]"),
        ({"inputs": "a", "truncate": 1}, "truncate"),
        ({"inputs": "a", "normalize": "yes"}, "normalize"),
        ({"inputs": "a", "normalize": False}, "normalize"),
        ({"inputs": "a", "truncation_direction": "left"}, "truncation_direction"),
        ({"inputs": "a", "prompt_name": "query"}, "prompt_name"),
        ({"inputs": "a", "dimensions": 7}, "dimensions"),
        ({"inputs": "a", "dimensions": 0}, "dimensions"),
        ({"inputs": "a", "model": 1}, "model"),
        ({"inputs": "a", "model": "two"}, "model"),
    ],
)
def test_what_is_wrong_is_named(document: Any, field: str, one: Asgi) -> None:
    reply = one.post("/embed", document)
    assert (reply.status, reply.json()["field"]) == (400, field)
    assert reply.json()["error_type"] == "Validation"
    assert isinstance(reply.json()["error"], str)


def test_a_server_of_several_asks_which(toy_models, settings, told) -> None:
    models = {"a": toy_models["tiny"], "b": toy_models["tiny"]}
    for served, expected in ((models, "one of a, b"), ({"told": told[1]}, "there is none")):
        state = ServerState(served, settings)
        client = Asgi(Application(state))
        reply = client.post("/embed", {"inputs": "w1"})
        assert (reply.status, reply.json()["field"]) == (400, "model")
        assert expected in reply.json()["error"]
        if "b" in served:
            assert client.post("/embed", {"inputs": "w1", "model": "b"}).status == 200
            missing = client.post("/embed", {"inputs": "w1", "model": "c"})
            assert (missing.status, missing.json()["error_type"]) == (404, "Validation")
        client.close()
        state.close()


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (QueueFull("no room"), 503, "Overloaded"),
        (Unavailable("closed"), 503, "Unhealthy"),
        (Internal("secret"), 500, "Backend"),
    ],
)
def test_failures_have_the_clients_words(error, status: int, kind: str) -> None:
    from pelton.http._answers import error_answer

    answer = error_answer(error, path="/embed", request_id="r", headers={})
    body = json.loads(b"".join(answer.chunks))
    assert (answer.status, body["error_type"]) == (status, kind)
    assert "secret" not in body["error"]


def test_rows_are_brought_to_length_one_where_the_model_does_not(
    one: Asgi, toy_models, monkeypatch
) -> None:
    from pelton.http import _embeddings

    monkeypatch.setattr(_embeddings, "_is_normalized", lambda model: False)
    plain = vectors(one.post("/embed", {"inputs": ["w1 w2", "w3"], "normalize": False}))
    scaled = vectors(one.post("/embed", {"inputs": ["w1 w2", "w3"]}))
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    assert _embeddings._normalize(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]
