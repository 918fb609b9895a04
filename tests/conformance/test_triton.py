"""tritonclient.http, unchanged, against a server: tensors, outputs, codings, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.values import ALL, BINARY_ONLY, triton_input, values_of

pytestmark = pytest.mark.e2e

CODINGS = [None, "gzip", "deflate"]
REFUSED = [
    (name, binary)
    for name in ALL
    for binary in (True, False)
    if name != "FP32" and (binary or name not in BINARY_ONLY)
]


def rows(count: int) -> np.ndarray:
    return np.arange(4 * count, dtype=np.float32).reshape(count, 4) / 8


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_numbers(count: int, binary: bool, binary_out: bool | None, triton: Any, http: Any) -> None:
    values = rows(count)
    given = [triton_input(http, "x", "FP32", values, binary=binary)]
    wanted = None
    if binary_out is not None:
        wanted = [http.InferRequestedOutput("y", binary_data=binary_out)]
    found = triton.infer("plus_one", given, outputs=wanted).as_numpy("y")
    assert (found.dtype, found.shape) == (np.float32, (count, 4))
    np.testing.assert_array_equal(found, values + 1)


@pytest.mark.parametrize(("datatype", "binary"), REFUSED)
def test_another_datatype_is_read_and_refused_by_name(
    datatype: str, binary: bool, triton: Any, http: Any
) -> None:
    """The engine computes in FP32. That the tensor's bytes were read is in tests of the codec."""
    for count in (0, 1, 3):
        values = values_of(datatype, (count, 4), binary=binary)
        with pytest.raises(http.InferenceServerException) as caught:
            triton.infer("plus_one", [triton_input(http, "x", datatype, values, binary=binary)])
        assert f"input 'x': expected datatype FP32, got {datatype}" in str(caught.value)
        assert caught.value.status() == "400"


@pytest.mark.parametrize("datatype", ["INT64", "INT32"])
@pytest.mark.parametrize("binary", [True, False])
def test_token_ids(datatype: str, binary: bool, triton: Any, http: Any, tiny: Any) -> None:
    ids = np.array([[2, 5, 6, 3], [2, 7, 3, 0]], datatype.lower())
    mask = (ids > 0).astype(ids.dtype)
    given = [
        triton_input(http, name, datatype, values, binary=binary)
        for name, values in (("input_ids", ids), ("attention_mask", mask))
    ]
    found = triton.infer("tiny", given).as_numpy("embedding")
    expected = tiny({"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)})
    np.testing.assert_array_equal(found, expected["embedding"])


@pytest.mark.parametrize("binary", [True, False])
def test_texts(binary: bool, triton: Any, http: Any, tiny: Any) -> None:
    texts = ["w1 w2", "", "日本語 w3", "w4"]
    encoded = np.array([text.encode() for text in texts], object)
    for count in (0, 1, 4):
        given = [triton_input(http, "text", "BYTES", encoded[:count], binary=binary)]
        found = triton.infer("tiny", given).as_numpy("embedding")
        assert found.shape == (count, 24)
        if count:
            np.testing.assert_array_equal(found, tiny.embed(texts[:count]))


@pytest.mark.parametrize(
    ("text", "message"), [(b"a\0b", "NUL"), (b"\xff\xfe", "UTF-8")], ids=["NUL", "not UTF-8"]
)
def test_bytes_that_are_no_text_are_refused_with_the_reason(
    text: bytes, message: str, triton: Any, http: Any
) -> None:
    given = [triton_input(http, "text", "BYTES", np.array([b"fine", text], object))]
    with pytest.raises(http.InferenceServerException, match=message):
        triton.infer("tiny", given)


def test_several_inputs_behind_heads_of_every_length(triton: Any, http: Any) -> None:
    """Raw tensors lie behind the head, so at any alignment."""
    a, b = rows(3), rows(3) + 2
    for length in range(1, 9):
        given = [triton_input(http, "b", "FP32", b), triton_input(http, "a", "FP32", a)]
        result = triton.infer("two", given, request_id="x" * length)
        assert result.get_response()["id"] == "x" * length
        np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
        np.testing.assert_array_equal(result.as_numpy("product"), a * b)


def test_texts_of_odd_byte_sizes(triton: Any, http: Any, tiny: Any) -> None:
    for length in (1, 2, 3, 5, 7):
        texts = ["w" * length, "w1", "x" * (length + 1)]
        encoded = np.array([text.encode() for text in texts], object)
        found = triton.infer("tiny", [triton_input(http, "text", "BYTES", encoded)])
        np.testing.assert_array_equal(found.as_numpy("embedding"), tiny.embed(texts))


@pytest.mark.parametrize("names", [["sum"], ["product"], ["product", "sum"], None])
@pytest.mark.parametrize("forms", [(True, True), (False, False), (True, False), (False, True)])
def test_outputs_in_the_order_and_form_asked_for(
    names: list[str] | None, forms: tuple[bool, bool], triton: Any, http: Any
) -> None:
    given = [triton_input(http, name, "FP32", rows(2)) for name in ("a", "b")]
    wanted = None
    if names is not None:
        pairs = zip(names, forms, strict=False)
        wanted = [http.InferRequestedOutput(name, binary_data=form) for name, form in pairs]
    result = triton.infer("two", given, outputs=wanted)
    found = result.get_response()["outputs"]
    assert [output["name"] for output in found] == (names or ["sum", "product"])
    for output in found:
        value = rows(2) * 2 if output["name"] == "sum" else rows(2) ** 2
        np.testing.assert_array_equal(result.as_numpy(output["name"]), value)


@pytest.mark.parametrize("sent", CODINGS)
@pytest.mark.parametrize("answered", CODINGS)
@pytest.mark.parametrize("binary", [True, False])
def test_codings_both_ways(
    sent: str | None, answered: str | None, binary: bool, triton: Any, http: Any
) -> None:
    values = rows(5000)
    result = triton.infer(
        "plus_one",
        [triton_input(http, "x", "FP32", values, binary=binary)],
        outputs=[http.InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=sent,
        response_compression_algorithm=answered,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), values + 1)


def test_classes_with_labels(triton: Any, http: Any) -> None:
    given = [triton_input(http, "x", "FP32", np.array([[3, 9, 1, 9]], np.float32))]
    for binary in (True, False):
        wanted = [http.InferRequestedOutput("y", binary_data=binary, class_count=3)]
        found = triton.infer("labelled", given, outputs=wanted).as_numpy("y")
        assert found.shape == (1, 3)
        texts = [item.decode() if binary else item for item in found[0]]
        assert texts == ["10.000000:1:one", "10.000000:3:three", "4.000000:0:zero"]


def test_options(triton: Any, http: Any) -> None:
    given = [triton_input(http, "x", "FP32", rows(1))]
    result = triton.infer(
        "plus_one",
        given,
        model_version="1",
        priority=1,
        timeout=60_000_000,
        parameters={"mine": "yes"},
        headers={"X-Request-Id": "mine-1"},
        query_params={"ignored": 1},
    )
    assert result.get_response()["model_version"] == "1"
    with pytest.raises(http.InferenceServerException, match="sequences are not supported"):
        triton.infer("plus_one", given, sequence_id=5, sequence_start=True)


def test_errors_are_shown_with_their_text(triton: Any, http: Any) -> None:
    given = [triton_input(http, "x", "FP32", rows(1))]
    cases: list[tuple[str, dict[str, Any], str, str]] = [
        ("none", {}, "404", "there is no model 'none'"),
        ("plus_one", {"model_version": "9"}, "404", "has no version '9'"),
        ("plus_one", {"outputs": [http.InferRequestedOutput("z")]}, "400", "no such output"),
        ("two", {}, "400", "input"),
    ]
    for name, options, status, message in cases:
        with pytest.raises(http.InferenceServerException, match=message) as caught:
            triton.infer(name, given, **options)
        assert caught.value.status() == status
    wrong = [triton_input(http, "x", "FP32", np.zeros((1, 5), np.float32))]
    with pytest.raises(http.InferenceServerException, match=r"expected shape \[-1, 4\]"):
        triton.infer("plus_one", wrong)


@pytest.mark.slow
def test_many_at_once(served: Any, http: Any) -> None:
    client = http.InferenceServerClient(served.url.removeprefix("http://"), concurrency=16)
    calls = [
        client.async_infer("plus_one", [triton_input(http, "x", "FP32", rows(1 + n % 7))])
        for n in range(200)
    ]
    for n, call in enumerate(calls):
        np.testing.assert_array_equal(call.get_result().as_numpy("y"), rows(1 + n % 7) + 1)
    client.close()
