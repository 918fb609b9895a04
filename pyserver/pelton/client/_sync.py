"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pelton.client import _core
from pelton.client._arrays import Array
from pelton.client._core import Call, Format, IndexEntry, InferOptions, ModelMetadata, Reply
from pelton.client._http import response_too_large, timed_out, translated
from pelton.codec.types import ParameterValue
from pelton.errors import Unavailable

if TYPE_CHECKING:
    import httpx

__all__ = ["Client"]


class Client:
    """A client of one server. Thread-safe; connections are pooled and kept until `close`.

    - `url`: of the server, such as "http://127.0.0.1:8080";
    - `timeout`: seconds that any call may take in all;
    - `headers`: sent with every call, for example `Authorization`;
    - `response_bytes_max`: a larger answer raises BadResponse;
    - `transport`: of httpx, instead of the network; `clock` gives seconds that never go back.

    Every method raises the tree under `pelton.Error`: what the server answered, Unavailable where
    it cannot be reached, DeadlineExceeded where the time is over, BadResponse where its answer
    cannot be read. Nothing is tried twice.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        response_bytes_max: int = _core.RESPONSE_BYTES_MAX,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import httpx  # here, since it takes longer than the rest of the package

        self._http = httpx.Client(
            base_url=_core.check_url(url),
            headers={"Accept-Encoding": "identity", **(headers or {})},
            transport=transport,
        )
        self._timeout = timeout
        self._response_bytes_max = response_bytes_max
        self._clock = clock

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] | None = None,
        version: str | None = None,
        priority: int = 0,
        deadline: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        format: Format = "binary",  # noqa: A002 - the word for it
    ) -> dict[str, Array]:
        """Run a model on `inputs`, arrays or lists of strings by name, and return its outputs.

        - `outputs`: names of those wanted, None for all; `version`: None for the server's choice;
        - `priority`: 1 (first) to 4, 0 for the default; `deadline`: seconds from now;
        - `parameters`: of the caller's own, for models that read them;
        - `format`: how tensors travel; "binary" is the fastest, "json" the most readable.

        Shapes include the batch dimension. BF16 outputs come as float32, BYTES as arrays of bytes.
        """
        options = InferOptions(
            outputs=outputs,
            version=version,
            priority=priority,
            deadline=deadline,
            parameters=parameters,
            format=format,
        )
        return _core.read_infer(self._send(_core.infer_call(model, inputs, options)))

    def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        truncate: bool | None = None,
        deadline: float | None = None,
    ) -> Array:
        """The embeddings of `texts` by a text encoder, float32 [len(texts), hidden].

        `truncate` says whether a text over the model's limit is cut or refused; None leaves it to
        the model.
        """
        call = _core.embed_call(model, texts, truncate=truncate, deadline=deadline)
        return _core.read_embeddings(self._send(call))

    def live(self) -> bool:
        """Whether the server answers at all."""
        return self._health("/v2/health/live")

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, or one model of it, takes requests; ModelNotFound if it has none."""
        path = "/v2/health/ready" if model is None else _core.model_path(model, version) + "/ready"
        return self._health(path)

    def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """What the model takes and gives."""
        return _core.read_metadata(self._get(_core.model_path(model, version)))

    def models(self) -> list[str]:
        """The names of the models that the server has."""
        return _core.read_models(self._get("/v2/models"))

    def index(self) -> list[IndexEntry]:
        """Every version of every model in the server's repository, served or not."""
        return _core.read_index(self._send(_core.index_call()))

    def load(self, model: str) -> None:
        """Serve a model of the repository as it lies there now; returns when that is so."""
        _core.read_done(self._send(_core.load_call(model)))

    def unload(self, model: str) -> None:
        """Serve no version of a model of the repository; what is under way is answered."""
        _core.read_done(self._send(_core.load_call(model, unloads=True)))

    def close(self) -> None:
        """Close the pooled connections. Idempotent."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _get(self, path: str) -> Reply:
        return self._send(_core.get_call(path))

    def _health(self, path: str) -> bool:
        try:
            reply = self._get(path)
        except Unavailable:
            return False
        return _core.read_health(reply)

    def _send(self, call: Call) -> Reply:
        seconds = self._timeout if call.seconds is None else min(call.seconds, self._timeout)
        give_up = self._clock() + seconds
        with (
            translated(seconds),
            self._http.stream(
                call.method,
                call.path,
                headers=dict(call.headers),
                content=call.content,
                timeout=seconds,
            ) as response,
        ):
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > self._response_bytes_max:
                    raise response_too_large(self._response_bytes_max)
                # The timeout of httpx is one of each read; this one is of all of them.
                if self._clock() > give_up:
                    raise timed_out(seconds)
            return Reply(response.status_code, response.headers, bytes(body))
