"""Both clients against the server's side of the codecs, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from pelton import errors
from pelton.client import AsyncClient, Client, IndexEntry, ModelMetadata
from pelton.codec import (
    DecodeLimits,
    InferRequest,
    InferResponse,
    Tensor,
    TensorSpec,
    answer_format,
    decode_infer,
    encode_error,
    encode_infer,
    request_format,
)
from pelton.codec.embeddings import decode_embeddings, encode_embeddings, encode_openai_error

URL = "http://server.test"
LIMITS = DecodeLimits()


class EchoServer:
    """Answers `infer` with its inputs as outputs, and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.decoded: list[InferRequest] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.raw_path.decode()
        if path.endswith("/infer"):
            return self._infer(request)
        if path == "/v1/embeddings":
            return self._embed(request)
        documents: dict[str, Any] = {
            "/v2/models": {"models": ["a", "b"]},
            "/v2/models/m%2Fx": {
                "name": "m/x",
                "versions": ["1"],
                "platform": "pelton_plan",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                "outputs": [{"name": "y", "datatype": "BYTES", "shape": ["-1"]}],
            },
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            "/v2/models/m/versions/2/ready": {"name": "m", "ready": True},
        }
        if path in documents:
            return httpx.Response(200, json=documents[path])
        return reply_error(request, errors.ModelNotFound("no such model", model="m"))

    def _infer(self, request: httpx.Request) -> httpx.Response:
        decoded = decode_infer(request.headers, request.content, LIMITS)
        self.decoded.append(decoded)
        outputs = tuple(
            Tensor(t.name.removeprefix("in_"), t.datatype, t.shape, t.data) for t in decoded.inputs
        )
        answer = answer_format(request.headers, request_format(request.headers))
        response = InferResponse(model_name="m", model_version="1", outputs=outputs)
        body = encode_infer(response, decoded, answer)
        headers = {"Content-Type": body.content_type, **body.headers}
        return httpx.Response(200, headers=headers, content=body.to_bytes())

    def _embed(self, request: httpx.Request) -> httpx.Response:
        decoded = decode_embeddings(request.headers, request.content, LIMITS)
        assert decoded.texts is not None
        vectors = np.array([[len(text), 0.1] for text in decoded.texts], np.float32)
        body = encode_embeddings(vectors, decoded, prompt_tokens=7)
        return httpx.Response(
            200, headers={"Content-Type": body.content_type}, content=body.to_bytes()
        )


def reply_error(request: httpx.Request, error: errors.Error) -> httpx.Response:
    body = encode_error(error, request.headers, request.url.path, "id-1")
    headers = {"Content-Type": body.content_type, **errors.retry_headers(error)}
    return httpx.Response(error.http_status, headers=headers, content=body.to_bytes())


class Blocking:
    """An AsyncClient that is called as a Client is, so that one test body does for both."""

    def __init__(self, handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> None:
        self._options = {**options, "transport": httpx.MockTransport(handler)}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            async with AsyncClient(URL, **self._options) as client:
                return await getattr(client, name)(*args, **kwargs)

        return lambda *args, **kwargs: asyncio.run(call(*args, **kwargs))


Connect = Callable[..., Any]


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client whose calls go to a handler."""
    made: list[Client] = []

    def make(handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> Any:
        if request.param == "AsyncClient":
            return Blocking(handler, **options)
        made.append(Client(URL, transport=httpx.MockTransport(handler), **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


FORMATS = ("binary", "json", "msgpack")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        np.arange(6, dtype=np.float64).reshape(2, 3).T,  # not contiguous
        np.array([[1, -2]], dtype=">i8"),
        np.array([2**64 - 1], dtype=np.uint64),
        np.array([True, False]),
        np.array([0.5, -0.25], dtype=np.float16),
        np.zeros((0, 4), dtype=np.int32),
        np.array(3.5, dtype=np.float32),
        [[1.5, 2.5], [3.5, 4.5]],
        [1, 2, 3],
        (True, False),
        range(3),
        np.arange(3, dtype=np.uint8).data,
    ],
)
def test_numbers_go_out_and_come_back(connect: Connect, form: str, value: Any) -> None:
    out = connect(EchoServer()).infer("m", {"x": value}, format=form)
    expected = np.asarray(value)
    assert [*out] == ["x"]
    assert out["x"].dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(out["x"], expected)
    assert out["x"].flags.writeable


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("value", "shape", "elements"),
    [
        (["a", "é", ""], (3,), [b"a", "é".encode(), b""]),
        ([b"a\0", "b"], (2,), [b"a\0", b"b"]),
        ([["a"], ["b"]], (2, 1), [b"a", b"b"]),
        (np.array(["a", "bcd"]), (2,), [b"a", b"bcd"]),
        (np.array([b"a", "b"], dtype=object), (2,), [b"a", b"b"]),
        ("alone", (), [b"alone"]),
    ],
)
def test_texts_go_out_and_come_back(
    connect: Connect, form: str, value: Any, shape: Any, elements: Any
) -> None:
    out = connect(EchoServer()).infer("m", {"text": value}, format=form)["text"]
    assert out.shape == shape
    assert out.dtype == object
    assert out.ravel().tolist() == elements


@pytest.mark.parametrize("form", ["binary", "msgpack"])
def test_bytes_that_are_no_text_go_out_raw(connect: Connect, form: str) -> None:
    out = connect(EchoServer()).infer("m", {"x": [b"\xff\0\xfe"]}, format=form)
    assert out["x"].tolist() == [b"\xff\0\xfe"]


def test_bytes_that_are_no_text_cannot_be_json(connect: Connect) -> None:
    with pytest.raises(errors.InvalidInput, match="UTF-8"):
        connect(EchoServer()).infer("m", {"x": [b"\xff"]}, format="json")


def test_bf16_comes_as_float32(connect: Connect) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        y = {"name": "y", "datatype": "BF16", "shape": [2], "data": [0.1, -2]}
        return httpx.Response(200, json={"model_name": "m", "outputs": [y]})

    out = connect(answer).infer("m", {"x": [1.0]})["y"]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [0.1, -2], rtol=2**-8)


@pytest.mark.parametrize("form", FORMATS)
def test_bfloat16_arrays_of_ml_dtypes_are_bf16(connect: Connect, form: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([[0.1, -2, 0]]).astype(ml_dtypes.bfloat16)
    server = EchoServer()
    out = connect(server).infer("m", {"x": values}, format=form)["x"]
    assert server.decoded[0].inputs[0].datatype == "BF16"
    np.testing.assert_array_equal(out, values.astype(np.float32))


def test_dlpack_arrays_are_inputs(connect: Connect) -> None:
    class OnlyDLPack:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, **kwargs: Any) -> Any:
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    out = connect(EchoServer()).infer("m", {"x": OnlyDLPack(np.arange(3, dtype=np.int16))})
    assert out["x"].tolist() == [0, 1, 2]


def test_the_options_of_a_request_travel(connect: Connect) -> None:
    server = EchoServer()
    out = connect(server).infer(
        "a model/é",
        {"in_x": [1.0], "in_y": ["t"]},
        outputs=["y", "x"],
        version="3",
        priority=1,
        deadline=0.0015,
        parameters={"mine": "yes"},
    )
    assert [*out] == ["y", "x"]
    (request,) = server.requests
    assert request.url.raw_path == b"/v2/models/a%20model%2F%C3%A9/versions/3/infer"
    (decoded,) = server.decoded
    assert (decoded.priority, decoded.timeout_us) == (1, 1500)
    assert decoded.parameters == {"mine": "yes"}


def test_without_options_nothing_is_sent_but_the_inputs(connect: Connect) -> None:
    server = EchoServer()
    connect(server).infer("m", {"x": [1.0]}, format="json")
    assert json.loads(server.requests[0].content) == {
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]
    }


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"x": [[1.0], [2.0, 3.0]]}, {}, "'x' is no array"),
        ({"x": np.zeros(1, np.complex64)}, {}, "'x' has dtype complex64"),
        ({"x": ["a", 1]}, {}, "'x' is no text: expected str or bytes, got int"),
        ({"x": ["\ud800"]}, {}, "surrogate"),
        ({"x": object()}, {}, "'x' is no text"),
        ({"x": [1.0]}, {"format": "xml"}, "no format 'xml'"),
        ({"x": [1.0]}, {"priority": -1}, "priority -1"),
        ({"x": [1.0]}, {"deadline": 0}, "deadline 0"),
        ({"x": [1.0]}, {"deadline": -1.5}, r"deadline -1\.5"),
        ({"x": [1.0]}, {"deadline": float("nan")}, "deadline nan"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_sent(
    connect: Connect, inputs: Any, options: Any, message: str
) -> None:
    server = EchoServer()
    with pytest.raises(errors.InvalidInput, match=message):
        connect(server).infer("m", inputs, **options)
    assert server.requests == []


def test_embed(connect: Connect) -> None:
    server = EchoServer()
    vectors = connect(server).embed("m", ["a", "bcd"], truncate=True, deadline=2)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.array([[1, 0.1], [3, 0.1]], np.float32))
    (request,) = server.requests
    assert request.headers["Pelton-Deadline-Ms"] == "2000"
    assert json.loads(request.content) == {
        "model": "m",
        "input": ["a", "bcd"],
        "encoding_format": "base64",
        "truncate": True,
    }


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], [1]])
def test_embed_takes_lists_of_strings(connect: Connect, texts: Any) -> None:
    with pytest.raises(errors.InvalidInput, match="list of strings"):
        connect(EchoServer()).embed("m", texts)


def test_metadata_models_and_health(connect: Connect) -> None:
    client = connect(EchoServer())
    assert client.metadata("m/x") == ModelMetadata(
        name="m/x",
        versions=("1",),
        platform="pelton_plan",
        inputs=(TensorSpec("x", "FP32", (-1, 3)),),
        outputs=(TensorSpec("y", "BYTES", (-1,)),),
    )
    assert client.models() == ["a", "b"]
    assert client.live() is True
    assert client.ready() is True
    assert client.ready("m", "2") is True
    with pytest.raises(errors.ModelNotFound):
        client.ready("other")


@pytest.mark.parametrize("status", [400, 503])
def test_not_ready_is_an_answer(connect: Connect, status: int) -> None:
    client = connect(lambda request: httpx.Response(status))
    assert client.ready() is False
    assert client.live() is False


def test_a_server_that_cannot_be_reached_is_not_ready(connect: Connect) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = connect(refuse)
    assert client.ready() is False
    with pytest.raises(errors.Unavailable, match="refused"):
        client.models()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("leaf", [*errors.STATUSES], ids=lambda leaf: leaf.__name__)
def test_every_error_comes_back_as_itself(
    connect: Connect, leaf: type[errors.Error], form: str
) -> None:
    sent = leaf("what went wrong", tensor="x", expected="a", got="b", offset=3, retry_after_ms=20)
    client = connect(lambda request: reply_error(request, sent))
    with pytest.raises(leaf) as caught:
        client.infer("m", {"x": [1.0]}, format=form)
    assert type(caught.value) is leaf
    if leaf is errors.Internal:
        assert str(caught.value).endswith("(request id id-1)")
    else:
        assert str(caught.value) == "what went wrong"
        assert caught.value.details == sent.details


@pytest.mark.parametrize("leaf", [*errors.STATUSES], ids=lambda leaf: leaf.__name__)
def test_every_error_of_the_embeddings_route_comes_back(
    connect: Connect, leaf: type[errors.Error]
) -> None:
    body = encode_openai_error(leaf("what went wrong"))
    status = errors.status_of(leaf).http
    client = connect(lambda request: httpx.Response(status, content=body.to_bytes()))
    with pytest.raises(leaf):
        client.embed("m", ["a"])


@pytest.mark.parametrize(
    ("status", "content", "leaf", "message"),
    [
        (400, b'{"error": "bad shape"}', errors.InvalidInput, "^bad shape$"),
        (404, b'{"error": "Not Found"}', errors.ModelNotFound, "^Not Found$"),
        (422, b'{"detail": [1]}', errors.InvalidInput, "^status 422$"),
        (429, b"", errors.QueueFull, "^status 429$"),
        (500, b"<html>", errors.Internal, "^status 500$"),
        (503, b'{"error": "busy", "code": "not_ours"}', errors.Unavailable, "^busy$"),
        (401, b'{"error": "no key"}', errors.BadResponse, "^the server answered 401: no key$"),
        (302, b"", errors.BadResponse, "302"),
        (418, b"[" * 100_000, errors.BadResponse, "418"),
    ],
)
def test_errors_of_other_servers(
    connect: Connect, status: int, content: bytes, leaf: type[errors.Error], message: str
) -> None:
    client = connect(lambda request: httpx.Response(status, content=content))
    with pytest.raises(leaf, match=message):
        client.infer("m", {"x": [1.0]})


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({"Retry-After": "3"}, 3000),
        ({"Retry-After": "3", "retry-after-ms": "20"}, 20),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_from_the_headers(
    connect: Connect, headers: dict[str, str], wait_ms: int | None
) -> None:
    client = connect(lambda request: httpx.Response(503, headers=headers, content=b"{}"))
    with pytest.raises(errors.Unavailable) as caught:
        client.models()
    assert caught.value.retry_after_ms == wait_ms


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b""),
        ({}, b"<html>"),
        ({}, b'{"model_name": "m"}'),
        ({}, b'{"model_name": "m", "outputs": [{"name": "y"}]}'),
        ({"Inference-Header-Content-Length": "9"}, b"{}"),
        ({"Content-Type": "application/msgpack"}, b"\xc1"),
        ({"Content-Type": "text/html"}, b"{}"),
    ],
)
def test_answers_that_cannot_be_read(
    connect: Connect, headers: dict[str, str], content: bytes
) -> None:
    client = connect(lambda request: httpx.Response(200, headers=headers, content=content))
    with pytest.raises(errors.BadResponse, match="not readable"):
        client.infer("m", {"x": [1.0]})
    with pytest.raises(errors.BadResponse):
        client.embed("m", ["a"])
    with pytest.raises(errors.BadResponse):
        client.metadata("m")
    with pytest.raises(errors.BadResponse):
        client.models()


@pytest.mark.parametrize(
    ("raised", "leaf"),
    [
        (httpx.ReadTimeout("slow"), errors.DeadlineExceeded),
        (httpx.ConnectTimeout("slow"), errors.DeadlineExceeded),
        (httpx.ConnectError("refused"), errors.Unavailable),
        (httpx.ReadError("reset"), errors.Unavailable),
        (httpx.RemoteProtocolError("not HTTP"), errors.BadResponse),
    ],
)
def test_failures_of_the_connection(
    connect: Connect, raised: Exception, leaf: type[errors.Error]
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(leaf):
        connect(fail).infer("m", {"x": [1.0]})


def test_an_answer_over_the_limit_is_not_read_on(connect: Connect) -> None:
    sent = []

    class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(1000):
                sent.append(1)
                yield b"x" * 1024

        async def __aiter__(self) -> Any:
            for chunk in self:
                yield chunk

    client = connect(lambda request: httpx.Response(200, stream=Endless()), response_bytes_max=4096)
    with pytest.raises(errors.BadResponse, match="more than 4096 bytes"):
        client.models()
    assert len(sent) == 5


def test_the_timeout_is_for_the_whole_answer() -> None:
    now = iter(range(100))

    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" "

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip()))
    with (
        Client(URL, transport=transport, timeout=5, clock=lambda: next(now)) as client,
        pytest.raises(errors.DeadlineExceeded, match="within 5 s"),
    ):
        client.models()
    assert next(now) == 7


def test_the_deadline_of_a_call_bounds_its_time() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def call() -> None:
        async with AsyncClient(URL, transport=httpx.MockTransport(hang)) as client:
            await client.infer("m", {"x": [1.0]}, deadline=0.01)

    with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.01 s"):
        asyncio.run(call())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["", "server:8080", "ftp://server", "http://", "http://a/?q=1"])
def test_what_is_no_url_of_a_server(kind: Any, url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="URL"):
        kind(url)


def test_a_url_may_have_a_path() -> None:
    server = EchoServer()
    with Client(f"{URL}/base/", transport=httpx.MockTransport(server)) as client:
        with pytest.raises(errors.ModelNotFound):
            client.models()
        assert server.requests[0].url == f"{URL}/base/v2/models"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 5},
        {"platform": None},
        {"versions": [1]},
        {"inputs": None},
        {"inputs": [{"name": "x", "datatype": "FP32"}]},
        {"outputs": [{"name": "x", "datatype": "FP31", "shape": []}]},
        {"outputs": [{"name": "x", "datatype": "FP32", "shape": ["a"]}]},
        {"outputs": [{"name": "x", "datatype": "FP32", "shape": [-5]}]},
        {"outputs": [5]},
    ],
)
def test_metadata_that_cannot_be_read(connect: Connect, wrong: dict[str, Any]) -> None:
    good = {"name": "m", "versions": [], "platform": "p", "inputs": [], "outputs": []}
    connect(lambda request: httpx.Response(200, json=good)).metadata("m")
    client = connect(lambda request: httpx.Response(200, json={**good, **wrong}))
    with pytest.raises(errors.BadResponse, match="not readable"):
        client.metadata("m")


def test_an_empty_model_name_is_refused(connect: Connect) -> None:
    with pytest.raises(errors.InvalidInput, match="name"):
        connect(EchoServer()).metadata("")


def test_the_repository(connect: Connect) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.raw_path.decode()))
        if request.url.path.endswith("/index"):
            rows = [{"name": "a"}, {"name": "b", "version": "2", "state": "READY"}]
            return httpx.Response(200, json=rows)
        if "gone" in request.url.path:
            return reply_error(request, errors.ModelNotFound("no such model", model="gone"))
        return httpx.Response(200)

    client = connect(answer)
    assert client.index() == [
        IndexEntry(name="a"),
        IndexEntry(name="b", version="2", state="READY"),
    ]
    assert client.load("m/x") is None
    assert client.unload("m/x") is None
    with pytest.raises(errors.ModelNotFound):
        client.load("gone")
    with pytest.raises(errors.InvalidInput, match="name"):
        client.load("")
    models = "/v2/repository/models"
    assert asked == [
        ("POST", "/v2/repository/index"),
        ("POST", f"{models}/m%2Fx/load"),
        ("POST", f"{models}/m%2Fx/unload"),
        ("POST", f"{models}/gone/load"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{}x", b"5", b"[5]", b'[{"version": "1"}]', b'[{"name": 1}]']
)
def test_an_index_that_cannot_be_read(body: bytes, connect: Connect) -> None:
    client = connect(lambda request: httpx.Response(200, content=body))
    with pytest.raises(errors.BadResponse, match="index"):
        client.index()


def test_the_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
