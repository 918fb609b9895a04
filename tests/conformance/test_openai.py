"""The openai client: embeddings as numbers and base64, models, and the errors that it raises."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pelton
from pelton import TensorSpec
from pelton.backends import Inference, InferOptions
from pelton.errors import QueueFull
from pelton.model import Model
from pelton.settings import Settings
from python import toys

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.e2e

TEXTS = ["w1 w2", "w3", "日本語"]


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("form", [None, "float", "base64"])
@pytest.mark.parametrize("count", [1, 3, 300])
def test_embeddings(form: str | None, count: int, client: Any, tiny: Any) -> None:
    texts = [TEXTS[n % 3] for n in range(count)]
    options = {} if form is None else {"encoding_format": form}
    reply = client.embeddings.create(model="tiny", input=texts, **options)
    assert [item.index for item in reply.data] == list(range(count))
    rows = [item.embedding for item in reply.data]
    if form == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    assert (np.array(rows, np.float32) == tiny.embed(texts)).all()
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def test_a_text_alone_and_token_ids(client: Any, tiny: Any) -> None:
    reply = client.embeddings.create(model="tiny", input="w1 w2")
    assert (np.array(reply.data[0].embedding, np.float32) == tiny.embed(["w1 w2"])[0]).all()
    reply = client.embeddings.create(model="tiny", input=[[2, 5, 3], [2, 3]])
    assert (len(reply.data), reply.usage.prompt_tokens) == (2, 5)


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "plus_one", "two", "labelled"]
    assert client.models.retrieve("tiny").owned_by == "pelton"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


def test_errors(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="none", input="w1")
    assert (caught.value.code, caught.value.status_code) == ("model_not_found", 404)
    assert caught.value.request_id
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="tiny", input="w1", dimensions=5)
    assert caught.value.param == "dimensions"
    with pytest.raises(openai.BadRequestError, match="makes no embeddings"):
        client.embeddings.create(model="two", input="w1")


class BusyEncoder(toys.ToldBackend):
    """A text encoder that is full for the first `refusals` requests."""

    inputs = (TensorSpec("text", "BYTES", (-1,)),)
    outputs = (TensorSpec("embedding", "FP32", (-1, 2)),)

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals

    async def infer(self, inputs: Any, options: InferOptions) -> Inference:
        self.begun += 1
        if self.begun <= self._refusals:
            raise QueueFull("the queue of the model has no room", retry_after_ms=20)
        return Inference({"embedding": np.ones((len(inputs["text"]), 2), np.float32)})


@contextlib.contextmanager
def busy(refusals: int, retries: int) -> Iterator[tuple[BusyEncoder, Any]]:
    """A server of such a model, and a client that comes again so many times."""
    backend = BusyEncoder(refusals)
    models = {"busy": Model(backend, name="busy")}
    with (
        pelton.Server(models, port=0, settings=Settings(threads=1)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=retries) as client,
    ):
        yield backend, client


def test_503_says_when_to_come_again() -> None:
    with (
        busy(refusals=1, retries=0) as (backend, client),
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.embeddings.create(model="busy", input="w1")
    assert caught.value.status_code == 503
    headers = caught.value.response.headers
    assert int(headers["retry-after"]) >= 1
    assert 20 <= int(headers["retry-after-ms"]) < 1000
    assert caught.value.code == "queue_full"
    assert backend.begun == 1


def test_the_client_comes_again_then() -> None:
    with busy(refusals=2, retries=2) as (backend, client):
        reply = client.embeddings.create(model="busy", input=["w1", "w2"])
    assert len(reply.data) == 2
    assert backend.begun == 3
