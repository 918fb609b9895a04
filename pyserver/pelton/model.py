"""`pelton.load`: a model in this process, and what it offers a program."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.backends import (
    Backend,
    Inference,
    InferOptions,
    InputValue,
    NativeBackend,
    input_specs,
)
from pelton.bridge import NO_DEADLINE, Plan, ServedContract, open_plan
from pelton.errors import Error, InvalidInput, InvalidSettings, ModelNotFound, UnsupportedModel
from pelton.metrics import ModelSnapshot, RequestMetrics
from pelton.settings import Settings, load_settings

__all__ = [
    "Model",
    "default_name",
    "describe",
    "describe_model",
    "load",
    "open_model_plan",
    "prepared_path",
    "priority_level",
]

_KNOWN: Final = (
    "a folder with a Hugging Face encoder (config.json, model.safetensors, tokenizer.json), "
    "an .onnx file, or a compiled .plan"
)
_ONNX: Final = ".onnx"
_PRIORITY_DEFAULT: Final = 2
_PRIORITY_LOWEST: Final = 4
_DEADLINE_S_MAX: Final = 1e9


def priority_level(priority: int) -> int:
    """1 (first) to 4 (last): 0 is the default 2, above 4 is 4."""
    if not isinstance(priority, int) or isinstance(priority, bool) or priority < 0:
        raise InvalidInput(
            f"priority: expected 0 (the default) or 1 (first) to 4 (last), got {priority!r}",
            field="priority",
        )
    return min(priority, _PRIORITY_LOWEST) or _PRIORITY_DEFAULT


def _deadline_ns(deadline: float | None) -> int:
    """`deadline` seconds from now on the monotonic clock."""
    if deadline is None:
        return NO_DEADLINE
    if not isinstance(deadline, (int, float)) or not 0 < deadline <= _DEADLINE_S_MAX:
        raise InvalidInput(
            f"deadline: expected a number of seconds above 0, got {deadline!r}", field="deadline"
        )
    return time.monotonic_ns() + int(deadline * 1e9)


class Model:
    """One version of a model, loaded. Made by `pelton.load`.

    Thread-safe, and its `infer` may be awaited from several event loops at once; all callers in the
    process share the engine and its batches. A context manager; `close` frees the model.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str,
        version: str = "1",
        load_seconds: float = 0.0,
        labels: Sequence[str] | None = None,
    ) -> None:
        self._backend = backend
        self._labels = labels
        self._load_seconds = load_seconds
        self._closed = False
        self.name = name
        self.version = version
        self.metrics = RequestMetrics()

    def __repr__(self) -> str:
        return f"<pelton.Model {self.name!r} version {self.version}>"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs a request brings; a text encoder also takes `alternative_inputs`."""
        return self._backend.inputs

    @property
    def alternative_inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs that may come in the place of `inputs`: a text encoder's token ids."""
        return self._backend.alternative_inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._backend.outputs

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes of the outputs, in order; empty where it has none."""
        return self._backend.labels if self._labels is None else self._labels

    @property
    def platform(self) -> str:
        return self._backend.platform

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the compiled plan says of itself."""
        return self._backend.metadata

    @property
    def ready(self) -> bool:
        """Whether requests are taken: until `close`."""
        return not self._closed

    @property
    def is_text_encoder(self) -> bool:
        """Whether texts can be embedded."""
        return self._has_our_names and any(spec.name == "text" for spec in self.inputs)

    @property
    def _has_our_names(self) -> bool:
        """Whether a tensor's name says what it is: those of an ONNX file are its author's."""
        return not self._backend.platform.startswith("onnx")

    @property
    def takes_ids(self) -> bool:
        """Whether token ids can be sent, in place of texts or because there is no tokenizer."""
        specs = (*self.inputs, *self.alternative_inputs)
        return self._has_our_names and any(spec.name == "input_ids" for spec in specs)

    def __call__(self, inputs: Mapping[str, InputValue]) -> dict[str, npt.NDArray[Any]]:
        """`run` without options."""
        return self.run(inputs)

    def run(
        self,
        inputs: Mapping[str, InputValue],
        *,
        outputs: Sequence[str] | None = None,
        deadline: float | None = None,
        priority: int = 0,
        truncate: bool | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs by name, as arrays that own their memory. Blocks, the GIL released.

        `inputs` are arrays (NumPy, DLPack or buffer protocol; no copy of what is contiguous and of
        the right dtype), lists of numbers, or lists of texts. `outputs` names those wanted, None
        is all. `deadline` is in seconds from now. `priority` is 1 (first) to 4, 0 the default.
        `truncate` cuts texts over the model's limit instead of refusing them. Raises
        `InvalidInput`, `PayloadTooLarge`, `QueueFull`, `DeadlineExceeded`, `Unavailable` (after
        `close`).
        """
        return self.run_options(inputs, _options(outputs, deadline, priority, truncate)).outputs

    async def infer(
        self,
        inputs: Mapping[str, InputValue],
        *,
        outputs: Sequence[str] | None = None,
        deadline: float | None = None,
        priority: int = 0,
        truncate: bool | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """`run` for asyncio. Cancelling the awaiting task cancels the request."""
        options = _options(outputs, deadline, priority, truncate)
        return (await self.infer_options(inputs, options)).outputs

    def embed(
        self,
        texts: Sequence[str],
        *,
        deadline: float | None = None,
        priority: int = 0,
        truncate: bool | None = None,
    ) -> npt.NDArray[np.float32]:
        """The embeddings of `texts`, float32 [n, hidden], in their order; for text encoders."""
        if not self.is_text_encoder:
            raise InvalidInput(f"model {self.name!r} takes no texts", model=self.name)
        name = self.embedding_output
        outputs = self.run(
            {"text": texts},
            outputs=[name],
            deadline=deadline,
            priority=priority,
            truncate=truncate,
        )
        return outputs[name]

    @property
    def embedding_output(self) -> str:
        """The name of the output that holds embeddings."""
        names = [spec.name for spec in self.outputs]
        return "embedding" if "embedding" in names else names[0]

    def run_options(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        """`run` for servers: options as one object, the answer with its counts."""
        try:
            inference = self._backend.run(inputs, options)
        except Error as error:
            self.metrics.count(error.code)
            raise
        self.metrics.count("ok")
        return inference

    async def infer_options(
        self, inputs: Mapping[str, InputValue], options: InferOptions
    ) -> Inference:
        """`infer` for servers: options as one object, the answer with its counts."""
        try:
            inference = await self._backend.infer(inputs, options)
        except Error as error:
            self.metrics.count(error.code)
            raise
        except BaseException:
            self.metrics.count("cancelled")
            raise
        self.metrics.count("ok")
        return inference

    def served_contract(self) -> ServedContract | None:
        """What the native request path of a server needs; None: it leaves the model to Python."""
        return self._backend.served_contract()

    def stats(self) -> dict[str, Any]:
        """Counts, batch sizes, bytes and kernel variants at this moment."""
        return {"outcomes": self.metrics.outcomes, **self._backend.stats()}

    def snapshot(self, name: str | None = None) -> ModelSnapshot:
        """What a scrape of the metrics shows of this model; `name` is what a server calls it."""
        engine = None
        with suppress(Error):  # of a model that is closed, maybe at this moment
            engine = self._backend.snapshot()
        requests = self.metrics.snapshot()
        return ModelSnapshot(
            model=self.name if name is None else name,
            version=self.version,
            outcomes=requests.outcomes,
            decode=requests.decode,
            encode=requests.encode,
            load_seconds=self._load_seconds,
            engine=engine,
        )

    def close(self) -> None:
        """Finish what runs, refuse what comes, free the model. Idempotent."""
        self._closed = True
        self._backend.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _options(
    outputs: Sequence[str] | None, deadline: float | None, priority: int, truncate: bool | None
) -> InferOptions:
    return InferOptions(
        outputs=outputs,
        deadline_ns=_deadline_ns(deadline),
        priority=priority_level(priority),
        truncate=truncate,
    )


def default_name(path: str | os.PathLike[str]) -> str:
    """A model's name where none is given: the stem of its file, or the name of its folder."""
    resolved = Path(os.path.abspath(path))
    return resolved.name if resolved.is_dir() else resolved.stem


def open_model_plan(path: str | os.PathLike[str], settings: Settings) -> Plan:
    """The plan of a model: itself, or that of an encoder folder, compiled into the cache at its
    first use. Raises as `load` does."""
    given = os.fspath(path)
    if not os.path.exists(given):
        raise ModelNotFound(f"{given}: no such file or folder", model=given)
    if os.path.isdir(given):
        # Programs that open plans only do not pay for the compiler.
        from pelton.compiler import CompileSettings, PlanCache, load_or_compile

        return load_or_compile(
            given,
            CompileSettings(name=default_name(given)),
            PlanCache(Path(settings.cache_dir), settings.plan_cache_bytes_max),
            open_plan,
        )
    if given.endswith(".plan"):
        return open_plan(given)
    if _is_onnx(given):
        raise UnsupportedModel(f"{given}: there is no plan of an ONNX model", got="an ONNX model")
    kind = "a file of a kind that is not known"
    raise UnsupportedModel(f"{given}: {kind}; known are {_KNOWN}", expected=_KNOWN, got=kind)


def prepared_path(path: str | os.PathLike[str], settings: Settings) -> str:
    """What another process loads as this model: its plan, made where there is none, or the file of
    a model that has no plan. Raises as `load` does."""
    return os.fspath(path) if _is_onnx(path) else open_model_plan(path, settings).path


def _is_onnx(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).endswith(_ONNX) and not os.path.isdir(path)


def _backend(
    path: str | os.PathLike[str], settings: Settings, *, truncate: bool, allow_non_finite: bool
) -> Backend:
    if _is_onnx(path):
        if not os.path.exists(path):
            raise ModelNotFound(f"{os.fspath(path)}: no such file", model=os.fspath(path))
        from pelton.backends.onnxruntime import OnnxRuntimeBackend, refuse_native

        if settings.engine == "native":
            refuse_native(path, settings)
        return OnnxRuntimeBackend(path, settings, allow_non_finite=allow_non_finite)
    if settings.engine == "onnxruntime":
        raise UnsupportedModel(
            f"{os.fspath(path)}: the engine onnxruntime runs .onnx files only",
            expected="an .onnx file",
            got=os.fspath(path),
        )
    return NativeBackend(
        open_model_plan(path, settings),
        settings,
        truncate=truncate,
        allow_non_finite=allow_non_finite,
    )


def load(
    path: str | os.PathLike[str],
    *,
    quantize: str | None = None,
    threads: int | None = None,
    engine: str | None = None,
    truncate: bool = False,
    allow_non_finite: bool = False,
    labels: str | os.PathLike[str] | None = None,
    name: str | None = None,
    version: str = "1",
    settings: Settings | None = None,
) -> Model:
    """Load a model: a Hugging Face encoder folder (compiled at first use, then cached), a plan, or
    an ONNX file, which runs on ONNX Runtime (`pip install pelton[onnxruntime]`).

    `quantize`, `threads` (the most of the engine's team that its batches may use) and `engine` are
    the settings of those names; `settings` gives all others, by default those of the `PELTON_*`
    variables. `truncate` cuts texts over the model's limit when a request does not say,
    `allow_non_finite` takes NaN and infinities in inputs. `labels` is a file with the names of a
    classifier's classes, one a line, in the place of the model's own. `name` is by default that of
    the file or folder. Raises `UnsupportedModel`, `CorruptPlan`, `ModelNotFound`,
    `InvalidSettings`.
    """
    started = time.perf_counter()
    flags = {"quantize": quantize, "threads": threads, "engine": engine}
    given = {key: value for key, value in flags.items() if value is not None}
    if settings is None:
        settings = load_settings(flags=given)
    elif given:
        settings = replace(settings, **given)  # type: ignore[arg-type]
    names = None if labels is None else _read_labels(labels)
    backend = _backend(path, settings, truncate=truncate, allow_non_finite=allow_non_finite)
    return Model(
        backend,
        name=default_name(path) if name is None else name,
        version=version,
        load_seconds=time.perf_counter() - started,
        labels=names,
    )


def _read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    try:
        return tuple(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{os.fspath(path)}: no list of labels: {error}") from None


def describe_model(
    path: str | os.PathLike[str], settings: Settings, *, verify: bool = False
) -> dict[str, Any]:
    """`describe` for a path, which an ONNX file may be. `verify` checks every weight of a plan.
    Raises as `load` does."""
    if _is_onnx(path):
        if not os.path.exists(path):
            raise ModelNotFound(f"{os.fspath(path)}: no such file", model=os.fspath(path))
        from pelton.backends.onnxruntime import describe_onnx, refuse_native

        if settings.engine == "native":
            refuse_native(path, settings)
        return describe_onnx(path, settings)
    plan = open_model_plan(path, settings)
    if verify:
        plan.verify_weights()
    return {**describe(plan), "verified": verify}


def describe(plan: Plan) -> dict[str, Any]:
    """What a plan takes, gives and runs, for people and programs: plain values only."""
    metadata = plan.metadata
    ops = Counter(str(instruction["op"]) for instruction in plan.instructions())
    inputs, alternatives = input_specs(plan)
    return {
        "name": metadata.get("name", default_name(plan.path)),
        "kind": metadata.get("kind"),
        "batching": "ragged" if plan.ragged else "dense",
        "inputs": [_spec(spec) for spec in inputs],
        "alternative_inputs": [_spec(spec) for spec in alternatives],
        "outputs": [
            {"name": t.name, "datatype": t.dtype, "shape": list(t.shape)} for t in plan.outputs
        ],
        "ops": dict(ops.most_common()),
        # The engine of each op; a plan holds native ones only.
        "engines": dict.fromkeys(ops, "native"),
        "limits": metadata.get("limits", {}),
        "encoder": metadata.get("encoder", {}),
        "quantization": metadata.get("quantization", "none"),
        "error": metadata.get("error", {}),
        "source": metadata.get("source", {}),
        "compiler": metadata.get("compiler", {}),
        "attachments": plan.attachments,
        "file_bytes": plan.file_bytes,
        "weight_bytes": plan.weight_bytes,
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.dtype, "shape": list(spec.shape)}
