"""What bad input gets, case by case, in each of the three formats."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgpack
import numpy as np
import pytest

from python.http.asgi import Asgi, Reply

FORMATS = ("json", "binary", "msgpack")
_WIDTHS = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "UINT8": "u1", "BOOL": "?"}


def raw(datatype: str, data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if datatype == "BYTES":
        items = [item.encode() if isinstance(item, str) else item for item in data]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    return np.array(data, _WIDTHS[datatype]).tobytes()


def write(form: str, inputs: list[dict[str, Any]], **members: Any) -> tuple[bytes, dict[str, str]]:
    """A request in a format, however wrong it is."""
    if form == "json":
        return json.dumps({"inputs": inputs, **members}).encode(), {}
    if form == "msgpack":
        packed = [
            {**tensor, "data": tensor["data"] if tensor["datatype"] == "BYTES" else raw_of(tensor)}
            for tensor in inputs
        ]
        body = msgpack.packb({"inputs": packed, **members}, use_bin_type=True)
        return body, {"content-type": "application/msgpack"}
    heads, chunks = [], []
    for tensor in inputs:
        chunk = raw_of(tensor)
        head = {name: value for name, value in tensor.items() if name != "data"}
        heads.append({**head, "parameters": {"binary_data_size": len(chunk)}})
        chunks.append(chunk)
    head = json.dumps({"inputs": heads, **members}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    return head + b"".join(chunks), headers


def raw_of(tensor: dict[str, Any]) -> bytes:
    return raw(tensor["datatype"], tensor["data"])


def tensor(name: str, shape: list[int], data: Any, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def texts(*data: Any, shape: list[int] | None = None) -> dict[str, Any]:
    return tensor("text", [len(data)] if shape is None else shape, list(data), "BYTES")


def ids(data: Any, shape: list[int], name: str = "input_ids", datatype: str = "INT64") -> dict:
    return tensor(name, shape, data, datatype)


FOUR = [1.0, 2.0, 3.0, 4.0]
A, B = tensor("a", [1, 4], FOUR), tensor("b", [1, 4], FOUR)
X = tensor("x", [1, 4], FOUR)

# name: (model, inputs, further members, tensor named, words of the message)
CASES: dict[str, tuple[str, list[Any], dict[str, Any], str | None, str]] = {
    "no_inputs": ("plus_one", [], {}, None, "input"),
    "missing_input": ("two", [A], {}, "b", "got none"),
    "unknown_input": ("plus_one", [X, tensor("z", [1], [1.0])], {}, "z", "no such input"),
    "input_twice": ("plus_one", [X, X], {}, "x", "twice"),
    "datatype": ("plus_one", [tensor("x", [1, 4], FOUR, "FP64")], {}, "x", "FP32"),
    "datatype_unknown": ("plus_one", [{**X, "datatype": "FP31"}], {}, "x", "FP31"),
    "rank": ("plus_one", [tensor("x", [4], FOUR)], {}, "x", "[-1, 4]"),
    "width": ("plus_one", [tensor("x", [1, 3], FOUR[:3])], {}, "x", "[-1, 4]"),
    "count_short": ("plus_one", [tensor("x", [1, 4], FOUR[:3])], {}, "x", ""),
    "count_long": ("plus_one", [tensor("x", [1, 4], [*FOUR, 5.0])], {}, "x", ""),
    "negative_shape": ("plus_one", [tensor("x", [-1, 4], FOUR)], {}, "x", "-1"),
    "overflowing_shape": ("plus_one", [tensor("x", [2**62, 4], FOUR)], {}, "x", ""),
    "shape_of_strings": ("plus_one", [tensor("x", ["1", 4], FOUR)], {}, "x", "shape"),
    "rows_differ": ("two", [A, tensor("b", [2, 4], FOUR * 2)], {}, "b", "1 rows"),
    "nan": ("plus_one", [tensor("x", [1, 4], [1.0, float("nan"), 3.0, 4.0])], {}, "x", "finite"),
    "infinity": (
        "plus_one",
        [tensor("x", [1, 4], [1.0, float("inf"), 3.0, 4.0])],
        {},
        "x",
        "finite",
    ),
    "unknown_output": ("plus_one", [X], {"outputs": [{"name": "q"}]}, "q", "no such output"),
    "output_twice": ("plus_one", [X], {"outputs": [{"name": "y"}] * 2}, "y", "twice"),
    "id_not_text": ("plus_one", [X], {"id": 7}, None, "id"),
    "parameters_not_map": ("plus_one", [X], {"parameters": []}, None, "parameters"),
    "bad_timeout": ("plus_one", [X], {"parameters": {"timeout": -1}}, None, "timeout"),
    "reserved": ("plus_one", [X], {"parameters": {"triton_x": 1}}, None, "reserved"),
    "texts_and_ids": ("tiny", [texts("a"), ids([4], [1, 1])], {}, None, "input_ids"),
    "text_of_rank_2": ("tiny", [texts("a", "a", shape=[2, 1])], {}, "text", "[-1]"),
    "text_as_numbers": ("tiny", [tensor("text", [1], [1.0])], {}, "text", "BYTES"),
    "nul": ("tiny", [texts("ok", "a\0b")], {}, "text", "NUL, got one at character 1"),
    "too_many_tokens": ("tiny", [texts("a " * 19)], {}, "text", "at most 20 tokens, got 21"),
    "id_too_large": ("tiny", [ids([2, 40], [1, 2])], {}, "input_ids", "0 to 39, got 40 at [0, 1]"),
    "id_negative": ("tiny", [ids([2, -1], [1, 2])], {}, "input_ids", "0 to 39, got -1 at [0, 1]"),
    "ids_of_rank_1": ("tiny", [ids([2, 3], [2])], {}, "input_ids", "[-1, -1]"),
    "ids_of_rank_3": ("tiny", [ids([2, 3], [1, 1, 2])], {}, "input_ids", "[-1, -1]"),
    "ids_as_floats": ("tiny", [tensor("input_ids", [1, 1], [2.0])], {}, "input_ids", "INT64"),
    "ids_too_long": ("tiny", [ids([4] * 21, [1, 21])], {}, "input_ids", "at most 20 tokens"),
    "row_without_tokens": ("tiny", [ids([], [2, 0])], {}, "input_ids", "at least one token"),
    "mask_of_twos": (
        "tiny",
        [ids([2, 3], [1, 2]), ids([1, 2], [1, 2], "attention_mask")],
        {},
        "attention_mask",
        "0 or 1, got 2 at [0, 1]",
    ),
    "mask_left_padded": (
        "tiny",
        [ids([2, 3], [1, 2]), ids([0, 1], [1, 2], "attention_mask")],
        {},
        "attention_mask",
        "ones of a row before its zeros",
    ),
    "mask_of_other_shape": (
        "tiny",
        [ids([2, 3], [1, 2]), ids([1], [1, 1], "attention_mask")],
        {},
        "attention_mask",
        "[1, 2]",
    ),
    "mask_alone": ("tiny", [ids([1], [1, 1], "attention_mask")], {}, None, "text"),
    "types_out_of_range": (
        "tiny",
        [ids([2, 3], [1, 2]), ids([0, 2], [1, 2], "token_type_ids")],
        {},
        "token_type_ids",
        "0 to 1, got 2",
    ),
}


def infer(client: Asgi, form: str, model: str, inputs: Any, **members: Any) -> Reply:
    body, headers = write(form, inputs, **members)
    return client.ask("POST", f"/v2/models/{model}/infer", body, headers)


def problem(reply: Reply, form: str) -> dict[str, Any]:
    return reply.msgpack() if form == "msgpack" else reply.json()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named(case: str, form: str, client: Asgi) -> None:
    model, inputs, members, named, words = CASES[case]
    if form != "json" and case == "datatype_unknown":
        inputs = [{**inputs[0], "data": b"\0" * 16}]
    reply = infer(client, form, model, inputs, **members)
    found = problem(reply, form)
    assert reply.status == 400, found
    assert found["status"] == 400
    assert found["code"] == "invalid_input"
    assert isinstance(found["error"], str)
    assert found["error"] == found["detail"]
    assert words in found["error"]
    if named is not None:
        assert found.get("tensor") == named
        assert {"expected", "got"} & found.keys()
    assert found["instance"] == f"/v2/models/{model}/infer"
    assert found["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("form", ["binary", "msgpack"])
@pytest.mark.parametrize("text", [b"\xff", b"ab\xc3", b"\xed\xa0\x80"])
def test_text_that_is_not_utf_8_is_named(form: str, text: bytes, client: Asgi) -> None:
    found = problem(infer(client, form, "tiny", [texts(b"ok", text)]), form)
    assert (found["status"], found["tensor"], found["field"]) == (400, "text", "text[1]")
    assert found["expected"] == "UTF-8"


@pytest.mark.parametrize("form", FORMATS)
def test_a_text_over_the_byte_limit_is_413(form: str, client: Asgi) -> None:
    reply = infer(client, form, "tiny", [texts("ok", "x" * 4097)], parameters={"truncate": True})
    found = problem(reply, form)
    assert (reply.status, found["code"], found["field"]) == (413, "payload_too_large", "text[1]")
    assert found["expected"] == "at most 4096 bytes"


@pytest.mark.parametrize("form", FORMATS)
def test_a_long_text_is_cut_only_where_that_is_asked_for(form: str, client: Asgi) -> None:
    long = texts("a " * 30, "hello", "world " * 40)
    reply = infer(client, form, "tiny", [long], parameters={"truncate": True})
    assert reply.status == 200
    assert reply.headers["pelton-truncated"] == "2"
    reply = infer(client, form, "tiny", [long], parameters={"truncate": False})
    assert reply.status == 400
    assert "pelton-truncated" not in reply.headers
    fits = infer(client, form, "tiny", [texts("a " * 18)], parameters={"truncate": True})
    assert fits.status == 200
    assert "pelton-truncated" not in fits.headers


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_text_is_a_text(form: str, client: Asgi) -> None:
    assert infer(client, form, "tiny", [texts("", "hello")]).status == 200


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("tiny", [texts()]),
        ("tiny", [ids([], [0, 5])]),
        ("plus_one", [tensor("x", [0, 4], [])]),
    ],
)
def test_no_rows_in_no_rows_out(form: str, model: str, inputs, client: Asgi) -> None:
    reply = infer(client, form, model, inputs)
    assert reply.status == 200
    answer = problem(reply, form)
    assert answer["outputs"][0]["shape"][0] == 0


MALFORMED = {
    "empty": (b"", {}),
    "not_json": (b"{", {}),
    "trailing": (b"{} {}", {}),
    "bom": (b"\xef\xbb\xbf{}", {}),
    "not_utf_8": (b'{"inputs": "\xff"}', {}),
    "not_an_object": (b"[1]", {}),
    "duplicate_keys": (b'{"inputs": [], "inputs": []}', {}),
    "lone_surrogate": (rb'{"id": "\ud800", "inputs": []}', {}),
    "deep": (b"[" * 10_000 + b"]" * 10_000, {}),
    "head_length_not_a_number": (b"{}", {"inference-header-content-length": "x"}),
    "head_length_negative": (b"{}", {"inference-header-content-length": "-1"}),
    "head_length_beyond_the_body": (b"{}", {"inference-header-content-length": "3"}),
    "msgpack_cut_short": (b"\x81\xa6inputs", {"content-type": "application/msgpack"}),
    "msgpack_never_used": (b"\xc1", {"content-type": "application/msgpack"}),
    "msgpack_timestamp": (b"\xd6\xff\0\0\0\0", {"content-type": "application/msgpack"}),
    "msgpack_claims_much": (b"\xdd\xff\xff\xff\xff", {"content-type": "application/msgpack"}),
    "msgpack_trailing": (b"\x80\x80", {"content-type": "application/msgpack"}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_bytes_are_400(case: str, client: Asgi) -> None:
    body, headers = MALFORMED[case]
    reply = client.ask("POST", "/v2/models/plus_one/infer", body, headers)
    found = reply.msgpack() if "msgpack" in reply.headers["content-type"] else reply.json()
    assert (reply.status, found["code"]) == (400, "invalid_input")


def test_malformed_json_names_the_byte(client: Asgi) -> None:
    reply = client.ask("POST", "/v2/models/plus_one/infer", b'{"inputs": [}')
    assert reply.json()["offset"] == 12


def test_a_pickled_array_is_never_read(client: Asgi) -> None:
    body = msgpack.packb({"nd": True, "type": "|O", "kind": b"O", "shape": [1], "data": b"cos\n"})
    reply = client.ask(
        "POST", "/v2/models/plus_one/infer", body, {"content-type": "application/msgpack"}
    )
    assert reply.status == 400
    assert "pickled" in reply.msgpack()["error"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/models/none/infer", "model_not_found"),
        ("/v2/models/plus_one/versions/2/infer", "model_not_found"),
        ("/v2/models/plus_one/versions/one/infer", "model_not_found"),
    ],
)
def test_an_unknown_model_or_version_is_404(form: str, path: str, code: str, client: Asgi) -> None:
    body, headers = write(form, [X])
    reply = client.ask("POST", path, body, headers)
    assert (reply.status, problem(reply, form)["code"]) == (404, code)


@pytest.mark.parametrize("form", FORMATS)
def test_good_input_is_answered_in_its_format(form: str, client: Asgi) -> None:
    """The builders of this page do make requests that are right."""
    for model, inputs in (("two", [A, B]), ("plus_one", [X]), ("tiny", [texts("hello")])):
        reply = infer(client, form, model, inputs, id="7")
        assert reply.status == 200, problem(reply, form)
        answer = problem(reply, form)
        assert (answer["model_name"], answer["model_version"], answer["id"]) == (model, "1", "7")
