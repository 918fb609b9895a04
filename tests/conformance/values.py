"""Tensors of every datatype, as tritonclient wants them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pelton.codec.types import DATATYPES

#: Every datatype of the protocol, with BF16, which Triton adds.
ALL = tuple(DATATYPES)
#: The client's JSON has no half floats.
BINARY_ONLY = ("FP16", "BF16")


def values_of(datatype: str, shape: tuple[int, ...], *, binary: bool) -> Any:
    import ml_dtypes  # which the client depends on

    count = int(np.prod(shape))
    if datatype == "BYTES":
        text = b"\xff\0\xfe" if binary else "é\0".encode()
        return np.array([text] * count, dtype=object).reshape(shape)
    if datatype == "BF16":
        return np.linspace(-2, 2, count).astype(ml_dtypes.bfloat16).reshape(shape)
    if datatype == "BOOL":
        return (np.arange(count) % 2).astype(bool).reshape(shape)
    return (np.arange(count) % 100).astype(DATATYPES[datatype].storage).reshape(shape)


def triton_input(http: Any, name: str, datatype: str, values: Any, *, binary: bool = True) -> Any:
    given = http.InferInput(name, list(values.shape), datatype)
    return given.set_data_from_numpy(values, binary_data=binary)
