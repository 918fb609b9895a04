"""The interface of a backend, and what goes in and out of it.

Values are named tuples: a frozen dataclass takes up to ten times as long to define, and a server's
start is mostly definitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pelton._specs import TensorSpec
from pelton.bridge import ServedContract
from pelton.metrics import EngineSnapshot

__all__ = [
    "NUMPY_DTYPES",
    "PRIORITY_DEFAULT",
    "Array",
    "Backend",
    "InferOptions",
    "Inference",
    "InputValue",
    "RaggedIds",
]

Array = npt.NDArray[Any]
#: An input: texts (BYTES), or anything that becomes an array (see `_arrays.as_array`).
InputValue = Any

PRIORITY_DEFAULT: Final = 2

#: NumPy's dtype of each datatype that tensors of plans can have.
NUMPY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        "UINT8": np.dtype("u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype("i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
    }
)


class InferOptions(NamedTuple):
    """How one request is to be run.

    - `outputs`: names wanted, in that order; None is all of them.
    - `deadline_ns`: on the clock of `time.monotonic_ns`; `NO_DEADLINE` of the bridge is none.
    - `priority`: 1 (first) to 4.
    - `truncate`: whether texts over the model's limit are cut; None leaves it to the model.
    - `exact_dtypes`: refuse an array of another dtype, as the protocol demands, not convert it.
    """

    outputs: Sequence[str] | None = None
    deadline_ns: int = 2**63 - 1
    priority: int = PRIORITY_DEFAULT
    truncate: bool | None = None
    exact_dtypes: bool = False


class RaggedIds(NamedTuple):
    """Token ids without padding, for the input `input_ids`: those of row i are the next
    `lengths[i]` of `ids`. `ids` is INT64 or INT32 [sum of lengths], `lengths` INT32 [rows]."""

    ids: Array
    lengths: npt.NDArray[np.int32]


class Inference(NamedTuple):
    """An answer. `outputs` own their memory; `truncated` counts the texts that were cut;
    `token_count` the tokens that ran, special ones included (0 for dense models)."""

    outputs: dict[str, Array]
    truncated: int = 0
    token_count: int = 0


class Backend(Protocol):
    """One loaded model. Thread-safe; `infer` may be awaited from many event loops at once.

    `run` and `infer` raise errors of the tree: `InvalidInput` naming the tensor, what was expected
    and what came; `QueueFull`, `DeadlineExceeded`, `Unavailable` after `close`, and so on.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def alternative_inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs that may come in the place of `inputs`."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes of the outputs, in order; empty where it has none."""
        ...

    @property
    def platform(self) -> str:
        """The name of the kind of model, as metadata shows it."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of the model: where it came from, how it was compiled, its limits."""
        ...

    def run(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference:
        """Blocks, the GIL released while the engine works."""
        ...

    async def infer(self, inputs: Mapping[str, InputValue], options: InferOptions) -> Inference: ...

    def served_contract(self) -> ServedContract | None:
        """What the native request path needs to serve the model; None: it cannot."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counts, bytes and names for people and programs."""
        ...

    def snapshot(self) -> EngineSnapshot:
        """Counts for metrics."""
        ...

    def close(self) -> None:
        """Finish what runs and free the model. Idempotent."""
        ...
