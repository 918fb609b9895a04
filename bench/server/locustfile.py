"""Locust scenarios: what users of a server of models do, in every format, closed and open loop.

`locust -f bench/server/locustfile.py -H http://127.0.0.1:8080 OipBinary` runs one user class;
`make load` runs them all against a server of its own and writes an HTML report. Python is the limit
of a Locust process at a few thousand requests a second: rates above that are measured by the native
load generator.

- `OipBinary`, `OipJson`, `OipMsgpack`: the tensor model (`--tensor-model`, x FP32 [-1, 16]).
- `Embeddings`: sentences of mixed length to the text model (`--text-model`).
- `OpenLoop`: constant arrivals (`--arrivals` per second of all users together), whatever the server
  does; latencies count from the moment at which a request was due.
- `PELTON_LOAD_SHAPE=ramp|spike` makes the number of users rise in steps, or jump and fall.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import pydoc_data.topics
import random
import time
from typing import Any, Final

import gevent
import msgpack  # type: ignore[import-untyped]
import numpy as np
from gevent.pool import Pool
from locust import FastHttpUser, LoadTestShape, constant, events, task

_WIDTH: Final = 16
_SEED: Final = 1
_SENTENCES: Final = 256
_IN_FLIGHT_MAX: Final = 512
_STEP_S: Final = 5
_ROW: Final = np.random.default_rng(_SEED).standard_normal((1, _WIDTH), np.float32)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _arguments(parser: Any) -> None:
    parser.add_argument("--tensor-model", default="add", help="name of the tensor model")
    parser.add_argument("--text-model", default="minilm", help="name of the text encoder")
    parser.add_argument("--arrivals", type=float, default=100.0, help="of OpenLoop, per second")


def _sentences() -> list[str]:
    """Real ones, of Python's documentation topics; seeded."""
    text = " ".join(" ".join(topic.split()) for topic in pydoc_data.topics.topics.values())
    found = sorted({part for part in text.split(". ") if 20 <= len(part) <= 600})
    return random.Random(_SEED).sample(found, min(_SENTENCES, len(found)))


class _Tensor(FastHttpUser):  # type: ignore[misc]
    """A user of the tensor model."""

    abstract = True
    wait_time = constant(0)

    def on_start(self) -> None:
        self.path = f"/v2/models/{self.environment.parsed_options.tensor_model}/infer"
        self.body, self.sent_headers = self.encode()

    def encode(self) -> tuple[bytes, dict[str, str]]:
        raise NotImplementedError

    def check(self, content: bytes) -> bool:
        """Whether the answer is x + 1."""
        raise NotImplementedError


class _ClosedLoop(_Tensor):
    """The next request follows the answer."""

    abstract = True

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        with self.client.post(
            self.path,
            data=self.body,
            headers=self.sent_headers,
            name=type(self).__name__,
            catch_response=True,
        ) as response:
            if response.status_code == 200 and not self.check(response.content):
                response.failure("the answer is not x + 1")


class _Binary(_Tensor):
    """A tensor as raw bytes behind a JSON head."""

    abstract = True

    def encode(self) -> tuple[bytes, dict[str, str]]:
        raw = _ROW.tobytes()
        tensor = {
            "name": "x",
            "shape": [1, _WIDTH],
            "datatype": "FP32",
            "parameters": {"binary_data_size": len(raw)},
        }
        document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
        head = json.dumps(document).encode()
        return head + raw, {"Inference-Header-Content-Length": str(len(head))}

    def check(self, content: bytes) -> bool:
        return content.endswith((_ROW + np.float32(1)).tobytes())


class OipBinary(_Binary, _ClosedLoop):
    """OIP binary in a closed loop."""


class OipJson(_ClosedLoop):
    """A tensor as numbers."""

    def encode(self) -> tuple[bytes, dict[str, str]]:
        tensor = {
            "name": "x",
            "shape": [1, _WIDTH],
            "datatype": "FP32",
            "data": _ROW[0].tolist(),
        }
        return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}

    def check(self, content: bytes) -> bool:
        data = json.loads(content)["outputs"][0]["data"]
        return bool((np.array(data, np.float32) == _ROW[0] + np.float32(1)).all())


class OipMsgpack(_ClosedLoop):
    """A tensor as a blob."""

    def encode(self) -> tuple[bytes, dict[str, str]]:
        tensor = {
            "name": "x",
            "shape": [1, _WIDTH],
            "datatype": "FP32",
            "data": _ROW.tobytes(),
        }
        return msgpack.packb({"inputs": [tensor]}), {"Content-Type": "application/msgpack"}

    def check(self, content: bytes) -> bool:
        data = msgpack.unpackb(content)["outputs"][0]["data"]
        return bool(data == (_ROW + np.float32(1)).tobytes())


class Embeddings(FastHttpUser):  # type: ignore[misc]
    """Texts as the openai client sends them."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.texts = itertools.cycle(random.sample(_sentences(), _SENTENCES))

    @task  # type: ignore[untyped-decorator]
    def embed(self) -> None:
        body = {
            "model": self.environment.parsed_options.text_model,
            "input": next(self.texts),
            "encoding_format": "base64",
        }
        with self.client.post(
            "/v1/embeddings", json=body, name="Embeddings", catch_response=True
        ) as response:
            if response.status_code == 200:
                vector = base64.b64decode(json.loads(response.content)["data"][0]["embedding"])
                length = float(np.linalg.norm(np.frombuffer(vector, "<f4")))
                if abs(length - 1) > 1e-3:
                    response.failure(f"an embedding of length {length}")


class OpenLoop(_Binary):
    """Arrivals by a schedule that is fixed before the first: each user takes its share of it."""

    def on_start(self) -> None:
        super().on_start()
        self._pool = Pool(_IN_FLIGHT_MAX)

    @task  # type: ignore[untyped-decorator]
    def arrive(self) -> None:
        """All arrivals, until the run is over."""
        runner = self.environment.runner
        period_s = max(1, runner.target_user_count) / self.environment.parsed_options.arrivals
        due = time.perf_counter()
        while runner.state in ("spawning", "running"):
            due += period_s
            gevent.sleep(max(0.0, due - time.perf_counter()))
            if self._pool.free_count() == 0:
                self._report(due, 0, RuntimeError(f"over {_IN_FLIGHT_MAX} requests in flight"))
            else:
                self._pool.spawn(self._send, due)

    def _send(self, due: float) -> None:
        with self.client.post(
            self.path,
            data=self.body,
            headers=self.sent_headers,
            name="OpenLoop, as sent",
            catch_response=True,
        ) as response:
            failed = response.status_code != 200
        error = RuntimeError(f"status {response.status_code}") if failed else None
        self._report(due, len(response.content or b""), error)

    def _report(self, due: float, length: int, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="POST",
            name="OpenLoop, as due",
            response_time=1e3 * (time.perf_counter() - due),
            response_length=length,
            exception=error,
            context={},
        )

    def on_stop(self) -> None:
        self._pool.join(timeout=1)


_SHAPES: Final = {
    "ramp": [(1 + step) / 6 for step in range(6)],
    "spike": [0.1, 0.1, 1.0, 1.0, 0.1, 0.1],
}
_SHAPE: Final = os.environ.get("PELTON_LOAD_SHAPE", "")
if _SHAPE and _SHAPE not in _SHAPES:
    raise SystemExit(f"PELTON_LOAD_SHAPE: expected one of {', '.join(_SHAPES)}, got {_SHAPE!r}")

if _SHAPE:

    class Shape(LoadTestShape):  # type: ignore[misc]
        """Shares of `--users`, five seconds each."""

        def tick(self) -> tuple[int, float] | None:
            steps = _SHAPES[_SHAPE]
            step = int(self.get_run_time() // _STEP_S)
            if step >= len(steps):
                return None
            users = self.runner.environment.parsed_options.num_users or 1
            count = max(1, round(steps[step] * users))
            return count, float(count)
