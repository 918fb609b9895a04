"""ONNX Runtime as a backend: any ONNX model, behind the engine's own queue and batches.

Rows of different callers share a run only where `batching` has proved that they do not mix; other
requests run whole, one after the other.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from pelton._specs import TensorSpec
from pelton.backends._arrays import check_finite
from pelton.backends._onnx_inputs import checked_inputs
from pelton.backends._onnx_session import OnnxSession, import_onnxruntime
from pelton.backends._requests import check_outputs
from pelton.backends.batching import CHECK_VERSION, BatchVerdict, agreed, check_batching
from pelton.backends.types import Array, Inference, InferOptions, InputValue
from pelton.bridge import LoadOptions, Payload, ServedContract, shared_engine
from pelton.errors import Error, UnsupportedModel
from pelton.metrics import EngineSnapshot
from pelton.settings import Settings

if TYPE_CHECKING:
    from pelton.compiler.onnx.graph import OnnxModel

__all__ = ["OnnxRuntimeBackend", "describe_onnx", "refuse_native"]

_LOG: Final = logging.getLogger("pelton.onnxruntime")
#: Inputs that all callers of a batch must share are compared byte for byte; larger ones run alone.
_SHARED_BYTES_MAX: Final = 64 << 10
_VERDICT_BYTES_MAX: Final = 64 << 10
_VERDICTS_MAX: Final = 1000
_SUFFIX: Final = ".batching.json"


class _Call:
    """One request, or a piece of one, on its way through the engine."""

    __slots__ = ("arrays", "error", "key", "names", "outputs", "rows")

    def __init__(self, arrays: Sequence[Array], names: Sequence[str], rows: int) -> None:
        self.arrays = arrays
        self.names = names
        self.rows = rows
        #: Calls with equal keys may run together; None: never.
        self.key: object = None
        self.outputs: list[Array] = []
        self.error: Error | None = None


class _Runner:
    """What the engine calls with each batch. Refers to the session only: the engine keeps it."""

    def __init__(self, session: OnnxSession, verdict: BatchVerdict) -> None:
        self._session = session
        self._verdict = verdict
        self._inputs = [tensor.name for tensor in session.inputs]
        self._axis_of = dict(
            zip((tensor.name for tensor in session.outputs), verdict.outputs, strict=False)
        )

    def __call__(self, calls: list[_Call]) -> None:
        if len(calls) == 1:
            self._alone(calls[0])
            return
        groups: dict[object, list[_Call]] = {}
        for call in calls:
            groups.setdefault(id(call) if call.key is None else call.key, []).append(call)
        for group in groups.values():
            if len(group) == 1 or not self._together(group):
                for call in group:
                    self._alone(call)

    def _alone(self, call: _Call) -> None:
        try:
            call.outputs = self._session.run(
                call.names, dict(zip(self._inputs, call.arrays, strict=True))
            )
        except Error as error:
            call.error = error

    def _together(self, calls: Sequence[_Call]) -> bool:
        """Runs them as one. False: that failed, and one bad request must not fail the others."""
        feed = {
            name: calls[0].arrays[i]
            if axis is None
            else np.concatenate([call.arrays[i] for call in calls], axis)
            for i, (name, axis) in enumerate(zip(self._inputs, self._verdict.inputs, strict=True))
        }
        names = list(dict.fromkeys(name for call in calls for name in call.names))
        try:
            outputs = dict(zip(names, self._session.run(names, feed), strict=True))
        except Error:
            return False
        total = sum(call.rows for call in calls)
        if any(outputs[name].shape[self._axis(name)] != total for name in names):
            return False
        begin = 0
        for call in calls:
            rows = slice(begin, begin + call.rows)
            call.outputs = [_rows_of(outputs[n], self._axis(n), rows).copy() for n in call.names]
            begin += call.rows
        return True

    def _axis(self, name: str) -> int:
        axis = self._axis_of[name]
        assert axis is not None
        return axis


def _rows_of(array: Array, axis: int, rows: slice) -> Array:
    taken: Array = array[(slice(None),) * axis + (rows,)]
    return taken


class OnnxRuntimeBackend:
    """One ONNX file. Thread-safe. NaN and infinities among the inputs are refused, but with
    `allow_non_finite`."""

    platform = "onnxruntime_onnx"
    labels: tuple[str, ...] = ()
    alternative_inputs: tuple[TensorSpec, ...] = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings,
        *,
        allow_non_finite: bool = False,
    ) -> None:
        self._allow_non_finite = allow_non_finite
        facts = _read(Path(path), settings)
        self._engine = shared_engine(
            threads=settings.threads, queue_requests_max=settings.queue_requests_max
        )
        session = OnnxSession(facts.path, threads=min(settings.threads, self._engine.threads))
        self.inputs = tuple(_spec(t.name, t.dtype, t.shape) for t in session.inputs)
        self.outputs = tuple(_spec(t.name, t.dtype, t.shape) for t in session.outputs)
        self._output_names = [spec.name for spec in self.outputs]
        self.verdict = _verdict(facts, session)
        self._axes = self.verdict.inputs if self.verdict.batched else (None,) * len(self.inputs)
        self._rows_max = min(settings.batch_rows_max, settings.queue_rows_max)
        self.metadata: Mapping[str, Any] = {
            "engine": "onnxruntime",
            "engine_version": session.version,
            "engine_reason": _why_not_native(facts.ops),
            "opsets": facts.opsets,
            "producer": facts.producer,
            "source": {"sha256": facts.digest},
            "batching": self.verdict.to_json(
                [spec.name for spec in self.inputs], self._output_names
            ),
        }
        self._loaded = self._engine.load_callback(
            _Runner(session, self.verdict),
            LoadOptions(
                threads=settings.threads,
                batch_rows_max=self._rows_max if self.verdict.batched else 1,
                batch_tokens_max=settings.batch_tokens_max,
                batch_wait_us_max=settings.batch_wait_us_max if self.verdict.batched else 0,
                queue_rows_max=settings.queue_rows_max,
            ),
        )
        _LOG.info(
            "%s runs on ONNX Runtime (%s); %s",
            facts.path,
            self.metadata["engine_reason"],
            "requests share batches"
            if self.verdict.batched
            else f"requests run one by one: {self.verdict.reason}",
        )

    def served_contract(self) -> ServedContract | None:
        """The native request path does not serve it."""
        return None

    def run(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        arrays, rows, names = self._prepare(inputs, options)
        calls = []
        for call in self._calls(arrays, rows, names):
            self._loaded.run(_payload(call, options))
            calls.append(_over(call))
        return self._answer(calls, names)

    async def infer(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        arrays, rows, names = self._prepare(inputs, options)
        calls = []
        for call in self._calls(arrays, rows, names):
            await self._loaded.infer(_payload(call, options))
            calls.append(_over(call))
        return self._answer(calls, names)

    def _prepare(
        self, inputs: Mapping[str, InputValue], options: InferOptions
    ) -> tuple[list[Array], int, Sequence[str]]:
        arrays, rows = checked_inputs(inputs, self.inputs, self._axes, options)
        if not self._allow_non_finite:
            for array, spec in zip(arrays, self.inputs, strict=True):
                check_finite(array, spec.name)
        names = self._output_names
        if options.outputs is not None:
            check_outputs(options.outputs, self._output_names)
            names = list(options.outputs)
        return arrays, rows, names

    def _calls(self, arrays: Sequence[Array], rows: int, names: Sequence[str]) -> Iterator[_Call]:
        """The request in pieces of at most a batch, or whole."""
        if not self.verdict.batched or rows == 0:
            yield _Call(arrays, names, 1)
            return
        for begin in range(0, rows, self._rows_max):
            piece = slice(begin, min(begin + self._rows_max, rows))
            taken = arrays
            if rows > self._rows_max:
                taken = [
                    array if axis is None else np.array(_rows_of(array, axis, piece), order="C")
                    for array, axis in zip(arrays, self._axes, strict=True)
                ]
            call = _Call(taken, names, piece.stop - piece.start)
            call.key = self._key(taken)
            yield call

    def _key(self, arrays: Sequence[Array]) -> object:
        """What requests that run together must have in common: all sizes but the rows, and inputs
        without rows."""
        parts: list[object] = []
        for array, axis in zip(arrays, self._axes, strict=True):
            if axis is not None:
                parts.append(array.shape[:axis] + array.shape[axis + 1 :])
            elif array.nbytes > _SHARED_BYTES_MAX:
                return None
            elif array.dtype.kind == "O":
                parts.append((array.shape, tuple(array.reshape(-1).tolist())))
            else:
                parts.append((array.shape, array.tobytes()))
        return tuple(parts)

    def _answer(self, calls: Sequence[_Call], names: Sequence[str]) -> Inference:
        if len(calls) == 1:
            outputs: list[Array] = calls[0].outputs
        else:
            axis_of = dict(zip(self._output_names, self.verdict.outputs, strict=True))
            outputs = [
                np.concatenate([call.outputs[i] for call in calls], axis_of[name])
                for i, name in enumerate(names)
            ]
        return Inference(outputs=dict(zip(names, outputs, strict=True)))

    def stats(self) -> dict[str, Any]:
        return {
            **self._loaded.stats(),
            "threads": self._engine.threads,
            "engine": "onnxruntime",
            "batching": self.metadata["batching"],
        }

    def snapshot(self) -> EngineSnapshot:
        return self._loaded.snapshot()

    def close(self) -> None:
        self._loaded.close()


def _payload(call: _Call, options: InferOptions) -> Payload:
    return Payload(call, call.rows, options.priority, options.deadline_ns)


def _over(call: _Call) -> _Call:
    if call.error is not None:
        raise call.error
    return call


def _spec(name: str, dtype: str, shape: tuple[int | str | None, ...] | None) -> TensorSpec:
    dims = tuple(dim if isinstance(dim, int) else -1 for dim in shape or ())
    return TensorSpec(name, dtype, dims)


class _OnnxFacts(NamedTuple):
    cache: Path
    model: OnnxModel
    path: Path
    ops: dict[str, int]
    opsets: dict[str, int]
    producer: str
    file_bytes: int
    digest: str


def _read(path: Path, settings: Settings) -> _OnnxFacts:
    """What the file says, after it was found to be sound: ONNX Runtime gets no other."""
    import_onnxruntime(path)
    from pelton.compiler import PlanCache
    from pelton.compiler.digests import combined_digest
    from pelton.compiler.onnx.read import read_model
    from pelton.compiler.onnx.tensors import ExternalRange

    model = read_model(path)
    ops = Counter(
        f"{node.domain}.{node.op}" if node.domain else node.op
        for graph in model.graph.walk()
        for node in graph.nodes
    )
    external = {
        tensor.data.location: os.fspath(tensor.data.real_path)
        for graph in model.graph.walk()
        for tensor in graph.initializers.values()
        if isinstance(tensor.data, ExternalRange)
    }
    cache = PlanCache(Path(settings.cache_dir), settings.plan_cache_bytes_max)
    cache.prepare()
    files = {path.name: os.path.abspath(path), **external}
    digests = cache.memo.digests(Path("/"), files.values())
    return _OnnxFacts(
        cache=cache.plans,
        model=model,
        path=path,
        ops=dict(ops.most_common()),
        opsets={domain or "ai.onnx": version for domain, version in model.opsets.items()},
        producer=model.producer,
        file_bytes=path.stat().st_size,
        digest=combined_digest({name: digests[file] for name, file in files.items()})
        if external
        else digests[os.path.abspath(path)],
    )


def _why_not_native(ops: Mapping[str, int]) -> str:
    return f"no native plan for ONNX ops {', '.join(sorted(ops))}" if ops else "the graph is empty"


def refuse_native(path: str | os.PathLike[str], settings: Settings) -> NoReturn:
    """Raises `UnsupportedModel` that lists the ops which the native engine lacks."""
    ops = sorted(_read(Path(path), settings).ops)
    raise UnsupportedModel(
        f"{os.fspath(path)}: the native engine has no plan for its ops {', '.join(ops)}; "
        "engine auto runs it on ONNX Runtime",
        expected="ops of the native engine",
        got=", ".join(ops),
    )


def _verdict(facts: _OnnxFacts, session: OnnxSession) -> BatchVerdict:
    """What the check finds, remembered by the file's content."""
    from pelton.compiler.plan_writer import write_file

    name = f"{facts.digest[:40]}-{session.version}-{CHECK_VERSION}{_SUFFIX}"
    path = facts.cache / name
    known = _remembered(path, session)
    if known is not None:
        return known
    verdict = _analysed(facts.model, session)
    if verdict.batched:
        names = [tensor.name for tensor in session.outputs]
        checked = check_batching(
            session.inputs,
            session.outputs,
            lambda feed: session.run(names, feed),
            axes=verdict.inputs,
        )
        verdict = agreed(checked, verdict)
    write_file(path, [json.dumps(verdict._asdict()).encode()], mode=0o600)
    _forget_oldest(facts.cache)
    return verdict


def _analysed(model: OnnxModel, session: OnnxSession) -> BatchVerdict:
    """What the analysis of the graph says; a model that it cannot follow is not batched."""
    from pelton.compiler.onnx.batch_axis import batch_axes

    try:
        found = batch_axes(model)
    except Exception as error:  # a defect of the analysis must not keep the model from being served
        _LOG.exception("the analysis of %s failed", model.path)
        return BatchVerdict(False, f"the analysis of the graph failed: {type(error).__name__}")
    if found.inputs is None or found.outputs is None:
        node = f"{found.op} {found.node!r}" if found.node else found.op
        return BatchVerdict(False, found.reason, blocking_op=node or None)
    inputs, outputs = found.inputs, found.outputs
    return BatchVerdict(
        True,
        "the analysis of the graph found rows that do not mix",
        tuple(inputs.get(tensor.name) for tensor in session.inputs),
        tuple(outputs.get(tensor.name) for tensor in session.outputs),
    )


def _remembered(path: Path, session: OnnxSession) -> BatchVerdict | None:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_VERDICT_BYTES_MAX))
        verdict = BatchVerdict(
            batched=document["batched"] is True,
            reason=str(document["reason"]),
            inputs=tuple(document["inputs"]),
            outputs=tuple(document["outputs"]),
            blocking_op=document["blocking_op"],
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not verdict.batched:
        return verdict
    fits = len(verdict.inputs) == len(session.inputs) and len(verdict.outputs) == len(
        session.outputs
    )
    return verdict if fits else None


def _forget_oldest(folder: Path) -> None:
    """Bounds how many verdicts are kept."""
    found = []
    for entry in os.scandir(folder):
        if entry.name.endswith(_SUFFIX):
            try:
                found.append((entry.stat().st_mtime_ns, entry.path))
            except FileNotFoundError:
                continue
    for _, path in sorted(found)[: max(0, len(found) - _VERDICTS_MAX)]:
        Path(path).unlink(missing_ok=True)


def describe_onnx(path: str | os.PathLike[str], settings: Settings) -> dict[str, Any]:
    """What an ONNX model takes, gives and runs, for people and programs: plain values only."""
    facts = _read(Path(path), settings)
    session = OnnxSession(facts.path, threads=settings.threads)
    verdict = _verdict(facts, session)
    reason = _why_not_native(facts.ops)
    names = [tensor.name for tensor in session.outputs]
    return {
        "name": facts.path.stem,
        "kind": "onnx",
        "engine": "onnxruntime",
        "engine_version": session.version,
        "engine_reason": reason,
        "opsets": facts.opsets,
        "producer": facts.producer,
        "inputs": [_tensor(t.name, t.dtype, t.shape) for t in session.inputs],
        "outputs": [_tensor(t.name, t.dtype, t.shape) for t in session.outputs],
        "ops": facts.ops,
        "engines": dict.fromkeys(facts.ops, "onnxruntime"),
        "batching": verdict.to_json([t.name for t in session.inputs], names),
        "file_bytes": facts.file_bytes,
        "source": {"sha256": facts.digest},
    }


def _tensor(name: str, dtype: str, shape: tuple[int | str | None, ...] | None) -> dict[str, Any]:
    return {"name": name, "datatype": dtype, "shape": list(_spec(name, dtype, shape).shape)}
