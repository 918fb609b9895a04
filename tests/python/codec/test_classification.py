from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pelton.codec import Tensor
from pelton.codec.classification import ELEMENTS_MAX, classify
from pelton.codec.types import DATATYPES
from pelton.errors import InvalidInput


def classes(values: Any, count: int, labels: Any = (), *, datatype: str = "FP32") -> list[str]:
    array = np.array(values, DATATYPES[datatype].storage)
    tensor = classify(Tensor("y", datatype, array.shape, array), count, labels, batched=True)
    assert tensor.datatype == "BYTES"
    assert tensor.shape == (len(values), len(tensor.elements) // max(1, len(values)))
    return [element.decode() for element in tensor.elements]


def test_the_largest_come_first_with_their_places() -> None:
    assert classes([[0.1, 0.7, 0.2]], 2) == ["0.700000:1", "0.200000:2"]
    assert classes([[1, 2], [4, 3]], 1) == ["2.000000:1", "4.000000:0"]


def test_labels_are_added_where_there_are_any() -> None:
    assert classes([[3, 2, 1]], 3, ["a", "b"]) == ["3.000000:0:a", "2.000000:1:b", "1.000000:2"]


def test_no_more_than_there_are() -> None:
    assert len(classes([[3, 2, 1]], 2**31 - 1)) == 3


def test_nan_is_last_and_equal_values_keep_their_order() -> None:
    values = [[np.nan, -np.inf, 5, np.inf, 5, np.nan]]
    found = [element.partition(":") for element in classes(values, 6)]
    assert [place for _, _, place in found] == ["3", "2", "4", "1", "0", "5"]
    assert [value for value, _, _ in found][:1] == ["inf"]
    assert [value for value, _, _ in found][-1] == "nan"


@pytest.mark.parametrize("datatype", ["INT8", "INT64", "UINT8", "UINT64"])
def test_integers_are_exact_at_their_ends(datatype: str) -> None:
    low, high = DATATYPES[datatype].low, DATATYPES[datatype].high
    found = classes([[low, high, high - 1]], 3, datatype=datatype)
    assert found == [f"{high}:1", f"{high - 1}:2", f"{low}:0"]


@pytest.mark.parametrize("datatype", ["FP16", "FP64"])
def test_floats_have_six_decimals(datatype: str) -> None:
    assert classes([[0.5, 2]], 2, datatype=datatype) == ["2.000000:1", "0.500000:0"]


def test_all_axes_but_the_batch_are_one_row() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    tensor = Tensor("y", "FP32", values.shape, values)
    found = classify(tensor, 1, batched=True)
    assert (found.shape, found.elements) == ((2, 1), [b"5.000000:5", b"11.000000:5"])
    found = classify(tensor, 2, batched=False)
    assert (found.shape, found.elements) == ((2,), [b"11.000000:11", b"10.000000:10"])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (3,)])
def test_shapes_at_the_edge(shape: tuple[int, ...]) -> None:
    found = classify(Tensor("y", "FP32", shape, np.zeros(shape, "f4")), 2, batched=True)
    rest = 1 if len(shape) == 1 else shape[1]
    assert found.shape == (shape[0], min(2, rest))
    assert len(found.elements) == shape[0] * min(2, rest)


def test_against_sorted(seed: int) -> None:
    values = np.random.default_rng(seed).integers(-3, 3, (4, 9)).astype(np.float32)
    expected = []
    for row in values:
        order = sorted(range(9), key=lambda place: (-row[place], place))[:5]
        expected += [f"{row[place]:f}:{place}" for place in order]
    assert classes(values, 5) == expected


@pytest.mark.parametrize("datatype", ["BOOL", "BF16", "BYTES"])
def test_what_has_no_order_is_refused(datatype: str) -> None:
    data: Any = [b"a"] if datatype == "BYTES" else np.zeros((1, 1), DATATYPES[datatype].storage)
    with pytest.raises(InvalidInput, match="expected integers or floats") as caught:
        classify(Tensor("y", datatype, (1, 1), data), 1, batched=True)
    assert caught.value.tensor == "y"


def test_an_answer_has_a_bound() -> None:
    values = np.broadcast_to(np.float32(0), (ELEMENTS_MAX // 2 + 1, 2))
    with pytest.raises(InvalidInput, match="at most 1048576 elements"):
        classify(Tensor("y", "FP32", values.shape, values), 2, batched=True)
