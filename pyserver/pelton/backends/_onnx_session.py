"""ONNX Runtime's session under our rules: our threads, our log, errors of our tree."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pelton.backends.batching import FreeTensor
from pelton.backends.types import Array
from pelton.errors import Error, Internal, InvalidInput, OutOfMemory, UnsupportedModel

__all__ = ["OnnxSession", "import_onnxruntime"]

_LOG: Final = logging.getLogger("pelton.onnxruntime")
_ERROR_SEVERITY: Final = 3
_MESSAGE_MAX: Final = 600

#: The protocol's name of each of ONNX Runtime's tensor types that a request can carry.
_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def import_onnxruntime(path: Path) -> Any:
    """The module. Raises `UnsupportedModel` that says what to install."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        missing = "onnx" if (error.name or "").partition(".")[0] == "onnx" else "onnxruntime"
        raise UnsupportedModel(
            f"{path}: this model runs on ONNX Runtime, and {missing} is not installed: "
            "pip install pelton[onnxruntime]",
            expected="pelton[onnxruntime]",
            got=f"no {missing}",
        ) from None
    if not _prepared:
        _prepared.append(True)
        onnxruntime.disable_telemetry_events()
        if hasattr(onnxruntime, "set_default_logger_callback"):
            onnxruntime.set_default_logger_callback(_log)
            atexit.register(onnxruntime.set_default_logger_callback, None)
        else:  # older ones write to stderr, and there is nothing but errors worth that
            onnxruntime.set_default_logger_severity(_ERROR_SEVERITY)
    return onnxruntime


_prepared: Final[list[bool]] = []


def _log(severity: int, _category: str, _logid: str, where: str, message: str) -> None:
    """Errors are raised, too: there they reach whoever asked."""
    level = logging.WARNING if severity < _ERROR_SEVERITY else logging.DEBUG
    _LOG.log(level, "%s", " ".join(message.split())[:_MESSAGE_MAX], extra={"where": where})


class OnnxSession:
    """A loaded model. Thread-safe. Its pool has `threads` threads, the caller among them; none
    spins while no batch runs, since the cores are the engine's then."""

    def __init__(self, path: Path, *, threads: int) -> None:
        ort = import_onnxruntime(path)
        self._path = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnsupportedModel(
                f"{path}: ONNX Runtime refuses the model: {_text_of(error)}",
                expected="a model that ONNX Runtime loads",
                got=type(error).__name__,
            ) from None
        # The inner object: the outer one checks in Python what has been checked here before.
        self._session = session._sess
        self._kept = session
        self.inputs = tuple(_declared(path, "input", meta) for meta in session.get_inputs())
        self.outputs = tuple(_declared(path, "output", meta) for meta in session.get_outputs())
        self.version: str = ort.__version__

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names; the GIL is released meanwhile. Raises errors of the tree."""
        try:
            found: list[Array] = self._session.run(list(names), feed, None)
        except Exception as error:
            raise _error_of(error) from None
        return found


def _declared(path: Path, kind: str, meta: Any) -> FreeTensor:
    datatype = _DATATYPES.get(meta.type)
    if datatype is None:
        raise UnsupportedModel(
            f"{path}: {kind} {meta.name!r}: expected a tensor of a type that requests can carry, "
            f"got {meta.type}",
            expected=", ".join(_DATATYPES.values()),
            got=meta.type,
        )
    dims = tuple(
        dim if isinstance(dim, str) and dim else dim if isinstance(dim, int) and dim >= 0 else None
        for dim in meta.shape
    )
    return FreeTensor(meta.name, datatype, dims)


def _text_of(error: BaseException) -> str:
    """What ONNX Runtime says, in one line and without paths of its sources."""
    text = " ".join(str(error).split())
    return text[:_MESSAGE_MAX]


def _error_of(error: Exception) -> Error:
    """A model fails on its inputs: an index out of a table, shapes that do not go together."""
    text = _text_of(error)
    if isinstance(error, MemoryError) or "Failed to allocate memory" in text:
        return OutOfMemory(f"the model needs more memory than there is: {text}")
    if type(error).__name__ in ("InvalidArgument", "Fail", "RuntimeException", "NotImplemented"):
        return InvalidInput(f"the model fails on these inputs: {text}")
    return Internal(f"ONNX Runtime: {type(error).__name__}: {text}")
