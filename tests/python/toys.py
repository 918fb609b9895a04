"""Small models for tests of everything above the engine, and a backend that does as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pelton import TensorSpec
from pelton.backends import Inference, InferOptions, NativeBackend
from pelton.bridge import NO_DEADLINE, open_plan
from pelton.compiler import ROWS, Activation, Binary, GraphBuilder, plan_metadata, write_plan
from pelton.errors import DeadlineExceeded
from pelton.metrics import COUNT_BOUNDS, EngineSnapshot, Histogram
from pelton.model import Model
from pelton.settings import Settings
from python.compiler.tiny_models import TinyModel

WIDTH = 4


def write_graph(builder: GraphBuilder, path: Path) -> Path:
    graph = builder.build()
    write_plan(graph, path, plan_metadata(graph), {})
    return path


def plus_one(folder: Path) -> Path:
    """x FP32 [-1, 4] -> y = x + 1."""
    builder = GraphBuilder("plus_one")
    x = builder.input("x", (ROWS, WIDTH))
    builder.output("y", builder.binary(x, np.ones(WIDTH, np.float32), Binary.ADD))
    return write_graph(builder, folder / "plus_one.plan")


def two_by_two(folder: Path) -> Path:
    """a, b FP32 [-1, 4] -> sum, product."""
    builder = GraphBuilder("two_by_two")
    a, b = builder.input("a", (ROWS, WIDTH)), builder.input("b", (ROWS, WIDTH))
    builder.output("sum", builder.binary(a, b, Binary.ADD))
    builder.output("product", builder.binary(a, b, Binary.MULTIPLY))
    return write_graph(builder, folder / "two_by_two.plan")


def slow(folder: Path, layers: int = 24) -> Path:
    """x FP32 [-1, 768] -> y = x for x >= 0, by the way of many products with the identity."""
    builder = GraphBuilder("slow")
    weight = builder.weight(np.eye(768, dtype=np.float32))
    value = builder.input("x", (ROWS, 768))
    for _ in range(layers):
        value = builder.activation(builder.gemm(value, weight), Activation.RELU)
    builder.output("y", value)
    return write_graph(builder, folder / "slow.plan")


def tiny_encoder(folder: Path) -> Path:
    """A random BERT of 2 layers: hidden 24, 20 positions, 40 words, 2 token types."""
    return TinyModel().sentence().write(folder / "tiny")


def load_plan(path: Path, settings: Settings | None = None, **changes: Any) -> Model:
    settings = settings or Settings(threads=2, **changes)
    return Model(NativeBackend(open_plan(path), settings), name=path.stem)


class ToldBackend:
    """x FP32 [-1, 1] -> y = x, when and how the test says: `hold()` makes requests wait for
    `release()`, `fail` is raised instead of an answer."""

    inputs = (TensorSpec("x", "FP32", (-1, 1)),)
    alternative_inputs: tuple[TensorSpec, ...] = ()
    outputs = (TensorSpec("y", "FP32", (-1, 1)),)
    labels: tuple[str, ...] = ()
    platform = "told"
    metadata: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.fail: BaseException | None = None
        self.begun = 0
        self.cancelled = 0
        self.options: list[InferOptions] = []
        self._gate: asyncio.Event | None = None
        self.on_infer: Callable[[], None] = lambda: None

    def hold(self) -> None:
        self._gate = asyncio.Event()

    def release(self) -> None:
        if self._gate is not None:
            self._gate.set()

    def served_contract(self) -> None:
        """Requests for it take the Python path."""

    def run(self, inputs: Mapping[str, Any], options: InferOptions) -> Inference:
        self.begun += 1
        self.options.append(options)
        if self.fail is not None:
            raise self.fail
        return Inference(outputs={"y": np.array(inputs["x"], np.float32)})

    async def infer(self, inputs: Mapping[str, Any], options: InferOptions) -> Inference:
        answer = self.run(inputs, options)
        self.on_infer()
        if self._gate is not None:
            try:
                await self._wait(self._gate, options.deadline_ns)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return answer

    @staticmethod
    async def _wait(gate: asyncio.Event, deadline_ns: int) -> None:
        wait_s = None if deadline_ns == NO_DEADLINE else (deadline_ns - time.monotonic_ns()) / 1e9
        try:
            await asyncio.wait_for(gate.wait(), wait_s)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the request ran") from None

    def stats(self) -> dict[str, Any]:
        return {"begun": self.begun}

    def snapshot(self) -> EngineSnapshot:
        seconds, counts = Histogram().snapshot(), Histogram(COUNT_BOUNDS).snapshot()
        return EngineSnapshot(
            queue=seconds,
            execute=seconds,
            batch_rows=counts,
            batch_tokens=counts,
            queue_rows=0,
            pool_bytes={},
        )

    def close(self) -> None:
        pass


def told_model() -> tuple[ToldBackend, Model]:
    backend = ToldBackend()
    return backend, Model(backend, name="told")
