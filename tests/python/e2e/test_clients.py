"""Clients that others wrote, unchanged, against a server of the real model."""

from __future__ import annotations

import asyncio
import warnings

import httpx
import msgpack
import numpy as np
import openai
import pytest

import pelton

pytestmark = pytest.mark.e2e

TEXTS = ["hello world", "The quick brown fox jumps over the lazy dog.", "", "日本語"]


@pytest.fixture(scope="module")
def triton(served):
    with warnings.catch_warnings():  # of gevent and its like, at import
        warnings.simplefilter("ignore")
        import tritonclient.http as module
    client = module.InferenceServerClient(served.url.removeprefix("http://"))
    client.module = module
    yield client
    client.close()


def text_input(triton, texts, binary: bool):
    given = triton.module.InferInput("text", [len(texts)], "BYTES")
    given.set_data_from_numpy(np.array([t.encode() for t in texts], object), binary_data=binary)
    return given


def id_inputs(triton, binary: bool):
    ids = np.array([[101, 7592, 2088, 102, 0, 0], [101, 1037, 102, 0, 0, 0]], np.int64)
    inputs = []
    for name, values in (("input_ids", ids), ("attention_mask", (ids > 0).astype(np.int64))):
        inputs.append(triton.module.InferInput(name, list(values.shape), "INT64"))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return inputs


def test_triton_reads_health_and_metadata(triton) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("minilm")
    assert triton.is_model_ready("minilm", "1")
    assert not triton.is_model_ready("none")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    metadata = triton.get_model_metadata("minilm")
    assert metadata["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True, None])
def test_triton_infers_texts(binary_in, binary_out, triton, minilm_model) -> None:
    outputs = None
    if binary_out is not None:
        outputs = [triton.module.InferRequestedOutput("embedding", binary_data=binary_out)]
    inputs = [text_input(triton, TEXTS, binary_in)]
    result = triton.infer("minilm", inputs, outputs=outputs, request_id="r-1")
    assert result.get_response()["id"] == "r-1"
    assert (result.as_numpy("embedding") == minilm_model.embed(TEXTS)).all()


@pytest.mark.parametrize("binary", [False, True])
def test_triton_infers_token_ids(binary: bool, triton, minilm_model) -> None:
    result = triton.infer("minilm", id_inputs(triton, binary), model_version="1")
    assert (result.as_numpy("embedding") == minilm_model.embed(["hello world", "a"])).all()


def test_triton_shows_our_errors(triton) -> None:
    error = triton.module.InferenceServerException
    with pytest.raises(error, match="there is no model 'none'"):
        triton.infer("none", [text_input(triton, ["a"], True)])
    with pytest.raises(error, match="NUL"):
        triton.infer("minilm", [text_input(triton, ["a\0"], True)])
    with pytest.raises(error, match="at most 256 tokens, got 402"):
        triton.infer("minilm", [text_input(triton, ["a " * 400], False)])


def test_triton_options_reach_the_engine(triton) -> None:
    result = triton.infer(
        "minilm", [text_input(triton, ["a"], True)], priority=1, timeout=30_000_000
    )
    assert result.as_numpy("embedding").shape == (1, 384)


def test_triton_runs_many_at_once(served, triton, minilm_model) -> None:
    client = triton.module.InferenceServerClient(served.url.removeprefix("http://"), concurrency=8)
    wanted = minilm_model.embed(TEXTS)
    pending = [
        client.async_infer("minilm", [text_input(triton, TEXTS[n % 3 : n % 3 + 1], n % 2 == 0)])
        for n in range(24)
    ]
    for n, call in enumerate(pending):
        assert (call.get_result().as_numpy("embedding")[0] == wanted[n % 3]).all()
    client.close()


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("form", [None, "float", "base64"])
def test_openai_embeds(form, client, minilm_model) -> None:
    texts = [text for text in TEXTS if text]
    options = {} if form is None else {"encoding_format": form}
    reply = client.embeddings.create(model="minilm", input=texts, **options)
    assert (reply.object, reply.model) == ("list", "minilm")
    assert [item.index for item in reply.data] == [0, 1, 2]
    rows = [item.embedding for item in reply.data]
    if form == "base64":
        import base64

        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    assert (np.array(rows, np.float32) == minilm_model.embed(texts)).all()


def test_openai_counts_tokens(client) -> None:
    usage = client.embeddings.create(model="minilm", input="hello world").usage
    assert (usage.prompt_tokens, usage.total_tokens) == (4, 4)
    ids = client.embeddings.create(model="minilm", input=[[101, 7592, 2088, 102]]).usage
    assert ids.prompt_tokens == 4


@pytest.mark.parametrize("count", [255, 256])
def test_texts_up_to_the_limit_are_counted_whole(count: int, client) -> None:
    text = " ".join(["a"] * (count - 2))
    usage = client.embeddings.create(model="minilm", input=text).usage
    assert usage.prompt_tokens == count


def test_a_text_of_257_tokens_is_refused_or_cut(client) -> None:
    text = " ".join(["a"] * 255)
    with pytest.raises(openai.BadRequestError, match="at most 256 tokens, got 257"):
        client.embeddings.create(model="minilm", input=text)
    raw = client.embeddings.with_raw_response.create(
        model="minilm", input=[text, "short"], extra_body={"truncate": True}
    )
    assert raw.headers["pelton-truncated"] == "1"
    assert raw.parse().usage.prompt_tokens == 256 + 3


def test_openai_raises_its_own_errors(client) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="none", input="a")
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="minilm", input="a", dimensions=5)


def test_a_msgpack_body_by_httpx(served, minilm_model) -> None:
    body = msgpack.packb(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}]}
    )
    reply = httpx.post(
        f"{served.url}/v2/models/minilm/infer",
        content=body,
        headers={"Content-Type": "application/msgpack"},
        timeout=30,
    )
    assert reply.headers["content-type"] == "application/msgpack"
    output = msgpack.unpackb(reply.content)["outputs"][0]
    found = np.frombuffer(output["data"], "<f4").reshape(output["shape"])
    assert (found == minilm_model.embed(TEXTS)).all()


def test_our_own_client(served, minilm_model) -> None:
    wanted = minilm_model.embed(TEXTS)
    with pelton.Client(served.url) as client:
        assert client.live()
        assert client.ready("minilm")
        assert client.models() == ["minilm"]
        assert client.metadata("minilm").outputs[0].shape == (-1, 384)
        for form in ("json", "binary", "msgpack"):
            found = client.infer("minilm", {"text": TEXTS}, format=form)
            assert (found["embedding"] == wanted).all()
        with pytest.raises(pelton.ModelNotFound, match="there is no model 'none'"):
            client.infer("none", {"text": TEXTS})
        with pytest.raises(pelton.InvalidInput, match="at most 256 tokens, got 402") as caught:
            client.infer("minilm", {"text": ["a " * 400]})
        assert caught.value.tensor == "text"


def test_our_own_client_for_asyncio(served, minilm_model) -> None:
    async def main() -> list[object]:
        async with pelton.AsyncClient(served.url) as client:
            calls = (client.infer("minilm", {"text": [text]}) for text in TEXTS)
            return await asyncio.gather(*calls)

    found = [answer["embedding"][0] for answer in asyncio.run(main())]
    assert (np.array(found) == minilm_model.embed(TEXTS)).all()
