"""The native decoders of inference requests against the Python ones: the same requests, the same
refusals."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton import TensorSpec
from pelton.codec.types import DATATYPES
from python.codec.oip_bodies import LENGTH, SPECS, Maker, Raw, agree, write

# NumPy warns when it narrows a signalling NaN.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")

SMALL: dict[str, int] = {
    "body_bytes_max": 600,
    "head_bytes_max": 400,
    "tensors_max": 2,
    "rank_max": 2,
    "elements_max": 12,
    "nodes_max": 60,
    "containers_max": 14,
    "parameters_max": 2,
    "string_bytes_max": 12,
    "name_bytes_max": 6,
    "digits_max": 12,
}


def compare_many(seed: int, count: int) -> None:
    source = random.Random(seed)
    taken = refused = 0
    for _ in range(count):
        maker = Maker(source, junk=source.choice([0.0, 0.02, 0.1]))
        headers, body, _ = maker.request()
        limits = SMALL if source.random() < 0.15 else {}
        found = agree(headers, body, limits)
        taken += isinstance(found, dict)
        refused += not isinstance(found, dict)
        agree(headers, maker.mutated(body), limits)
        if LENGTH in headers and source.random() < 0.1:
            headers[LENGTH] = str(max(0, len(body) - source.randrange(40)))
            agree(headers, body, limits, source.choice(SPECS))
    # Both kinds are there, so that agreement says something.
    assert taken > count // 10
    assert refused > count // 10


def test_requests_drawn_at_random(seed: int) -> None:
    compare_many(seed, 2_500)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_many_requests_drawn_at_random(seed: int, share: int) -> None:
    compare_many(1000 * seed + share, 25_000)


# -- one rule at a time ----------------------------------------------------------------------------
def one_input(datatype: str, shape: list[int], data: str) -> bytes:
    return (
        f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}'
    ).encode()


ELEMENTS = (
    *("0", "1", "-1", "-0", "2", "255", "256", "-128", "-129", "65535", "65536"),
    *("2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("-9223372036854775809", "18446744073709551615", "18446744073709551616"),
    *("9" * 39, "9" * 40, "9" * 41, "-" + "9" * 200, "1" + "0" * 308, "1" + "0" * 309),
    *("0.5", "-0.0", "1.0", "1e2", "65504", "65519.99", "65520", "65536.0", "6e-8", "2.9e-8"),
    *("3.4028234e38", "3.4028236e38", "3.39e38", "3.3953e38", "1e39", "1e308", "1.8e308", "1e-400"),
    *("NaN", "Inf", "-Inf", "true", "false", "null", '""', '"a"', '"\\u00e9\\n"', "[]", "{}"),
)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_each_element_as_each_datatype(datatype: str) -> None:
    for element in ELEMENTS:
        agree({}, one_input(datatype, [1], f"[{element}]"))
        agree({}, one_input(datatype, [], element))
        agree({}, one_input(datatype, [2], f"[{element}, {element}]"))
        # With an infinite literal in the body, numbers too large are found by the parser.
        agree({}, one_input(datatype, [2], f"[{element}, Inf]"))
        agree({}, one_input(datatype, [2], f"[Inf, {element}]"))
        agree({}, one_input(datatype, [3], f"[1e400, {element}, {'9' * 400}]"))
        agree({}, one_input(datatype, [1, 1], f"[[{element}]]"))


NESTINGS = (
    *("[]", "[[]]", "[[],[]]", "[[[]]]", "1", "{}", "null", '"a"'),
    *("[1]", "[[1]]", "[[[1]]]", "[1,2]", "[[1,2]]", "[[1],[2]]", "[[1,2],[3,4]]"),
    *("[[1,2],[3]]", "[[1,2],3]", "[1,[2]]", "[[1,[2]],[3,4]]", "[[[1,2]],[[3,4]]]", "[[1,2],{}]"),
    *("[[[1],[2]],[[3],[4]]]", "[[[1],[2]],[[3],4]]", "[[[1],[2]],[[3],[4,5]]]", '[["a",1]]'),
)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_each_nesting_with_each_shape(nesting: str) -> None:
    shapes = ([], [0], [1], [2], [4], [1, 1], [2, 2], [1, 2], [2, 1], [0, 2], [2, 0], [2, 2, 1])
    for shape in (*shapes, [1, 2, 2], [2, 1, 2], [2, 0, 2]):
        for datatype in ("FP32", "INT8", "BYTES", "BOOL"):
            agree({}, one_input(datatype, shape, nesting))


@pytest.mark.parametrize("value", [None, *ELEMENTS])
def test_each_member_as_anything(value: str | None) -> None:
    base: dict[str, Any] = {
        "id": "1",
        "parameters": {"own": 1},
        "inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [1], "parameters": {}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    places: list[tuple[Any, ...]] = [
        *(("id",), ("parameters",), ("inputs",), ("outputs",), ("parameters", "own")),
        *(("inputs", 0), ("inputs", 0, "name"), ("inputs", 0, "datatype"), ("inputs", 0, "shape")),
        *(("inputs", 0, "shape", 0), ("inputs", 0, "data"), ("inputs", 0, "parameters")),
        ("inputs", 0, "parameters", "binary_data_size"),
        *(("outputs", 0), ("outputs", 0, "name"), ("outputs", 0, "parameters")),
        ("outputs", 0, "parameters", "binary_data"),
        *(
            ("parameters", name)
            for name in ("priority", "timeout", "truncate", "binary_data_output", "non_finite")
        ),
        *(("parameters", name) for name in ("sequence_id", "sequence_start", "headers", "triton_")),
    ]
    for place in places:
        document = json.loads(json.dumps(base))
        spot = document
        for step in place[:-1]:
            spot = spot[step]
        if value is not None:
            spot[place[-1]] = Raw(value)
        elif isinstance(spot, list):
            del spot[place[-1]]
        else:
            spot.pop(place[-1], None)
        text = write(document, random.Random(0)).encode()
        agree({}, text)
        agree({LENGTH: str(len(text))}, text)


@pytest.mark.parametrize("specs", SPECS, ids=str)
def test_a_raw_tensor_alone(specs: tuple[TensorSpec, ...]) -> None:
    for size in (0, 1, 2, 3, 4, 8, 15, 16, 17, 32):
        agree({LENGTH: "0"}, bytes(size), None, specs)
    agree({LENGTH: "0"}, b"\1\0\3\1", None, specs)


def test_lengths_of_the_head() -> None:
    body = one_input("INT8", [1], "[1]")
    values = ("", "-1", "+1", "1.0", "00", " 1", "1 ", "0x1", "abc" * 30, "\xb2", "é'", "1" * 19)
    for value in (*values, "1" * 20, "9" * 19, str(len(body)), f"0{len(body)}", str(len(body) + 1)):
        agree({LENGTH: value}, body)
    agree({LENGTH: str(len(body))}, body + b"x")
    agree({LENGTH: str(len(body))}, body, {"head_bytes_max": 10})
    agree({LENGTH: str(len(body))}, body, {"body_bytes_max": 10})
    agree({}, body, {"body_bytes_max": 10})


def test_where_the_binary_section_ends() -> None:
    def tensor(name: str, datatype: str, shape: list[int], size: Any) -> dict[str, Any]:
        parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
        return {"name": name, "datatype": datatype, "shape": shape, **parameters}

    heads = [
        [tensor("a", "INT8", [3], 3)],
        [tensor("a", "INT8", [3], None)],
        [tensor("a", "INT8", [3], 3), tensor("b", "FP16", [1], 2)],
        [tensor("a", "INT8", [3], 3), tensor("b", "FP16", [1], None)],
        [tensor("a", "INT8", [0], 0), tensor("b", "INT8", [3], 3)],
        [tensor("a", "BYTES", [1], 7)],
        [tensor("a", "BYTES", [2], 7)],
        [tensor("a", "BYTES", [2**20], 7)],
        [tensor("a", "BOOL", [7], 7)],
        [tensor("a", "FP64", [2**60], 2**63 - 1)],
    ]
    sections = (b"", b"\1\0\1", b"\1\0\1\0\0", b"\3\0\0\0abc", b"\4\0\0\0abc", b"\0\0\0\0\0\0\0")
    for head, section in itertools.product(heads, sections):
        text = json.dumps({"inputs": head}).encode()
        agree({LENGTH: str(len(text))}, text + section)
        agree({LENGTH: str(len(text))}, text + section + b"\0")
        agree({}, text)


@settings(max_examples=300)
@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=70) | st.floats() | st.integers()),
    st.text(max_size=12),
)
def test_names_and_values_are_quoted_alike(parameters: dict[str, Any], name: str) -> None:
    tensor = {"name": name, "datatype": "INT8", "shape": [1], "data": [parameters.get("", name)]}
    body = json.dumps({"inputs": [tensor], "parameters": parameters})
    agree({}, body.encode())
    agree({}, json.dumps({"inputs": [name], "id": parameters}).encode())
