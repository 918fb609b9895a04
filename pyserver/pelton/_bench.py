"""`pelton bench`: a model timed here, as ratios to its smallest batch and to ONNX Runtime.

The model is passed in: this module knows how to time calls and nothing of how models are made.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.errors import InvalidInput, InvalidSettings, Unavailable

__all__ = ["BenchOptions", "Case", "OnnxPeer", "Result", "lines", "run_bench", "to_json"]

_SAMPLE_S: Final = 0.02
_CALLS_MAX: Final = 10_000
_SEED: Final = 1
_IDS: Final = "input_ids"
_MASK: Final = "attention_mask"
_TYPES: Final = "token_type_ids"
_NUMPY: Final = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}

Array = npt.NDArray[Any]
Inputs = dict[str, Array]


class BenchModel(Protocol):
    """What a `pelton.Model` offers that is used here."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def alternative_inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def takes_ids(self) -> bool: ...
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """`seqs` are tokens of a row, for models that take texts; `rounds` the samples of each."""

    batches: tuple[int, ...] = (1, 8, 32)
    seqs: tuple[int, ...] = (16, 64, 256)
    rounds: int = 9


@dataclass(frozen=True, slots=True)
class Case:
    """One shape of input; `tokens` of a row, 0 for models without."""

    rows: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.tokens}" if self.tokens else str(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Median seconds of a call. `peer_ratio` is how many times faster than the peer, the median of
    the rounds; `difference` the largest of an output to the peer's, None where their shapes do not
    match. `gain` is rows per second to those of the first case of as many tokens."""

    case: Case
    seconds: float
    gain: float = 1.0
    peer_seconds: float | None = None
    peer_ratio: float | None = None
    difference: float | None = None


@dataclass(slots=True)
class OnnxPeer:
    """An ONNX model in ONNX Runtime, on as many threads."""

    path: str
    threads: int
    _session: Any = field(init=False)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise Unavailable(
                "--against onnxruntime needs ONNX Runtime: pip install 'pelton[bench]'"
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Its threads must not take the CPUs while the other one is timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                self.path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no class but this
            raise InvalidInput(f"{self.path}: ONNX Runtime does not load it: {error}") from None

    def call(self, inputs: Inputs) -> Callable[[], list[Array]]:
        """A call of the session with our inputs under its names and in its types. Raises
        `InvalidInput` where it wants others."""
        feed = {}
        for wanted in self._session.get_inputs():
            array = inputs.get(wanted.name)
            if array is None:
                raise InvalidInput(
                    f"{self.path}: it takes {wanted.name!r}, which the model does not; "
                    f"there are {', '.join(inputs)}"
                )
            feed[wanted.name] = array.astype(_onnx_dtype(wanted.type))
        run = self._session.run
        try:
            run(None, feed)
        except Exception as error:  # its errors share no class but this
            raise InvalidInput(f"{self.path}: ONNX Runtime does not run it: {error}") from None

        def call() -> list[Array]:
            outputs: list[Array] = run(None, feed)
            return outputs

        return call


def _onnx_dtype(name: str) -> npt.DTypeLike:
    """Of a name such as "tensor(float)"."""
    names = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}
    inner = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype(names.get(inner, inner))


def _cases(model: BenchModel, options: BenchOptions) -> list[Case]:
    if not model.takes_ids:
        return [Case(rows, 0) for rows in options.batches]
    longest = model.metadata.get("limits", {}).get("positions_max", math.inf)
    for tokens in options.seqs:
        if tokens > longest:
            raise InvalidSettings(f"--seq: the model takes {longest} tokens at most, got {tokens}")
    return [Case(rows, tokens) for tokens in options.seqs for rows in options.batches]


def _inputs(model: BenchModel, case: Case) -> Inputs:
    """Seeded: token ids without padding, or tensors of the model's shapes."""
    generator = np.random.default_rng(_SEED)
    if case.tokens:
        words = int(model.metadata.get("encoder", {}).get("vocabulary_size", 1000))
        shape = (case.rows, case.tokens)
        ids = generator.integers(words // 2, words, shape, np.int64)
        names = {spec.name for spec in (*model.inputs, *model.alternative_inputs)}
        inputs: Inputs = {_IDS: ids, _MASK: np.ones_like(ids)}
        return inputs | ({_TYPES: np.zeros_like(ids)} if _TYPES in names else {})
    return {spec.name: _tensor(spec, case.rows, generator) for spec in model.inputs}


def _tensor(spec: TensorSpec, rows: int, generator: np.random.Generator) -> Array:
    if spec.dtype not in _NUMPY or any(size < 1 for size in spec.shape[1:]):
        raise InvalidInput(
            f"input {spec.name!r} of {spec.dtype} {list(spec.shape)}: bench makes inputs of "
            "numbers whose only free dimension is the first",
            tensor=spec.name,
        )
    shape = (rows, *spec.shape[1:])
    dtype = np.dtype(_NUMPY[spec.dtype])
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def _calls(call: Callable[[], object]) -> int:
    call()
    begin = time.perf_counter()
    call()
    taken = max(time.perf_counter() - begin, 1e-9)
    return min(_CALLS_MAX, max(1, math.ceil(_SAMPLE_S / taken)))


def _in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each call, once per round, in alternating order."""
    counts = [_calls(call) for call in calls]
    found: list[list[float]] = [[] for _ in calls]
    for index in range(rounds):
        order = range(len(calls)) if index % 2 == 0 else reversed(range(len(calls)))
        for which in order:
            calls[which]()
            begin = time.perf_counter()
            for _ in range(counts[which]):
                calls[which]()
            found[which].append((time.perf_counter() - begin) / counts[which])
    return found


def _difference(ours: Mapping[str, Array], theirs: Sequence[Array]) -> float | None:
    """The largest of the outputs that come in the same order with the same shapes."""
    pairs = list(zip(ours.values(), theirs, strict=False))
    if any(a.shape != b.shape or a.dtype.kind != "f" for a, b in pairs):
        return None
    return max(float(np.abs(a.astype(np.float64) - b).max()) for a, b in pairs)


def run_bench(
    model: BenchModel,
    options: BenchOptions,
    peer: OnnxPeer | None = None,
    progress: Callable[[float], object] | None = None,
) -> list[Result]:
    """Every batch size with every length. Raises `InvalidInput` for a model whose inputs cannot be
    made up, `InvalidSettings` for lengths that it does not take."""
    results: list[Result] = []
    first: dict[int, float] = {}
    cases = _cases(model, options)
    for index, case in enumerate(cases):
        if progress is not None:
            progress(index / len(cases))
        result = _measure(model, case, options, peer)
        each = result.seconds / case.rows
        gain = first.setdefault(case.tokens, each) / each
        results.append(_with_gain(result, gain))
    return results


def _with_gain(result: Result, gain: float) -> Result:
    return Result(
        case=result.case,
        seconds=result.seconds,
        gain=gain,
        peer_seconds=result.peer_seconds,
        peer_ratio=result.peer_ratio,
        difference=result.difference,
    )


def _measure(model: BenchModel, case: Case, options: BenchOptions, peer: OnnxPeer | None) -> Result:
    inputs = _inputs(model, case)
    calls: list[Callable[[], object]] = [lambda: model.run(inputs)]
    if peer is None:
        (ours,) = _in_turns(calls, options.rounds)
        return Result(case=case, seconds=statistics.median(ours))
    call = peer.call(inputs)
    difference = _difference(model.run(inputs), call())
    ours, theirs = _in_turns([*calls, call], options.rounds)
    return Result(
        case=case,
        seconds=statistics.median(ours),
        peer_seconds=statistics.median(theirs),
        peer_ratio=statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        difference=difference,
    )


def to_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Plain values, one object per case."""
    return [
        {
            "rows": result.case.rows,
            "tokens": result.case.tokens or None,
            "seconds": result.seconds,
            "rows_per_second": result.case.rows / result.seconds,
            "gain_of_batching": result.gain,
            "onnxruntime_seconds": result.peer_seconds,
            "times_onnxruntime": result.peer_ratio,
            "largest_difference": result.difference,
        }
        for result in results
    ]


def lines(results: Sequence[Result]) -> list[str]:
    """A table for people."""
    with_peer = any(result.peer_ratio is not None for result in results)
    header = ["rows x tokens" if results[0].case.tokens else "rows", "ms", "rows/s", "batching"]
    rows = [header + (["onnxruntime ms", "pelton to it", "difference"] if with_peer else [])]
    for result in results:
        row = [str(result.case), f"{1e3 * result.seconds:.3f}"]
        row += [f"{result.case.rows / result.seconds:,.0f}", f"{result.gain:.2f}x"]
        if result.peer_seconds is not None:
            shown = "not compared" if result.difference is None else f"{result.difference:.1e}"
            row += [f"{1e3 * result.peer_seconds:.3f}", f"{result.peer_ratio:.2f}x", shown]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
