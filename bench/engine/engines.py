"""The contestants: Pelton's engine through its bridge, ONNX Runtime through its Python API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from bench.engine.workload import Batch
from pelton.bridge import NO_DEADLINE, LoadOptions, Submission, shared_engine
from pelton.model import open_model_plan
from pelton.settings import load_settings

__all__ = ["Engine", "OnnxRuntimeEngine", "PeltonEngine", "pass_over"]

_QUEUE_REQUESTS_MAX: Final = 64
_BATCH_ROWS_MAX: Final = 64
_BATCH_TOKENS_MAX: Final = 16_384

Embeddings = npt.NDArray[np.float32]


class Engine(Protocol):
    """`prepare` does what a caller would have done before; the call it returns is what is timed."""

    name: str

    def prepare(self, batch: Batch) -> Callable[[], Embeddings]: ...


def pass_over(engine: Engine, batches: Sequence[Batch]) -> Callable[[], list[Embeddings]]:
    """One call that runs the batches one after the other."""
    calls = [engine.prepare(batch) for batch in batches]
    return lambda: [call() for call in calls]


class PeltonEngine:
    """The plan of `folder` (compiled into the cache at its first use) on a team of `threads`."""

    name = "Pelton"

    def __init__(self, folder: Path, *, threads: int) -> None:
        settings = load_settings(flags={"threads": threads})
        self._plan = open_model_plan(folder, settings)
        self._engine = shared_engine(threads=threads, queue_requests_max=_QUEUE_REQUESTS_MAX)
        self._model = self._engine.load(
            self._plan,
            LoadOptions(
                threads=threads,
                batch_rows_max=_BATCH_ROWS_MAX,
                batch_tokens_max=_BATCH_TOKENS_MAX,
                batch_wait_us_max=0,
                queue_rows_max=_BATCH_ROWS_MAX,
            ),
        )

    @property
    def plan_path(self) -> str:
        return self._plan.path

    def prepare(self, batch: Batch) -> Callable[[], Embeddings]:
        given = {"input_ids": batch.flat, "token_type_ids": np.zeros_like(batch.flat)}
        (output,) = self._plan.outputs
        embeddings = np.empty((batch.rows, output.shape[1]), np.float32)
        submission = Submission(
            inputs=[given[tensor.name] for tensor in self._plan.inputs],
            outputs=[embeddings],
            rows=batch.rows,
            lengths=batch.lengths,
            priority=2,
            deadline_ns=NO_DEADLINE,
        )

        def run() -> Embeddings:
            self._model.run(submission)
            return embeddings

        return run

    def close(self) -> None:
        self._model.close()


class OnnxRuntimeEngine:
    """A session of its own. `spinning`: its threads wait busily for their next task, which helps
    small batches; they stop when a run returns, so that they take nothing from the other engine."""

    def __init__(self, graph: Path, *, form: str, threads: int, spinning: bool) -> None:
        self.name = f"{form}, {'spinning' if spinning else 'not spinning'}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        spin = "1" if spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spin)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def prepare(self, batch: Batch) -> Callable[[], Embeddings]:
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask}

        def run() -> Embeddings:
            (embeddings,) = self._session.run(["embedding"], feed)
            result: Embeddings = embeddings
            return result

        return run
