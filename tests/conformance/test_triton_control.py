"""tritonclient.http: health, metadata, config, statistics, shared memory, and what is missing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from conformance.values import triton_input

pytestmark = pytest.mark.e2e


def test_health_and_metadata(triton: Any, http: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("tiny", "1")
    assert not triton.is_model_ready("none")
    extensions = triton.get_server_metadata()["extensions"]
    assert {"statistics", "model_configuration", "system_shared_memory"} <= set(extensions)
    assert not {"sequence", "trace", "logging", "cuda_shared_memory"} & set(extensions)
    assert triton.get_model_metadata("two", "1")["versions"] == ["1"]


def test_config(triton: Any) -> None:
    config = triton.get_model_config("tiny")
    assert config["max_batch_size"] == 64
    assert config["input"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": []}]
    assert config["output"] == [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [24]}]


def test_statistics(triton: Any, http: Any) -> None:
    before = triton.get_inference_statistics("two", "1")["model_stats"][0]
    given = [triton_input(http, name, "FP32", np.ones((5, 4), np.float32)) for name in ("a", "b")]
    triton.infer("two", given)
    after = triton.get_inference_statistics("two")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 5
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["last_inference"] > 1_600_000_000_000
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        old, new = before["inference_stats"][name], after["inference_stats"][name]
        assert (new["count"] - old["count"], new["ns"] > old["ns"]) == (1, True), name
    names = [model["name"] for model in triton.get_inference_statistics()["model_stats"]]
    assert names == ["tiny", "plus_one", "two", "labelled"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_trace_settings(),
        lambda client: client.get_trace_settings("two"),
        lambda client: client.update_trace_settings(settings={"trace_rate": "1"}),
        lambda client: client.get_log_settings(),
        lambda client: client.update_log_settings({"log_info": False}),
        lambda client: client.get_cuda_shared_memory_status(),
        lambda client: client.unregister_cuda_shared_memory(),
    ],
    ids=["trace", "model trace", "set trace", "log", "set log", "cuda", "unregister cuda"],
)
def test_what_is_missing_says_so(call: Any, triton: Any, http: Any) -> None:
    with pytest.raises(http.InferenceServerException, match="not implemented") as caught:
        call(triton)
    assert caught.value.status() == "501"


@pytest.fixture
def memory(triton: Any) -> Iterator[Any]:
    import tritonclient.utils.shared_memory as module

    key = f"pelton-{uuid.uuid4().hex}"
    handle = module.create_shared_memory_region("values", key, 128)
    yield module, handle, key
    triton.unregister_system_shared_memory()
    module.destroy_shared_memory_region(handle)


def test_shared_memory(triton: Any, http: Any, memory: Any) -> None:
    module, handle, key = memory
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    module.set_shared_memory_region(handle, [values])
    triton.register_system_shared_memory("values", key, 128)
    assert triton.get_system_shared_memory_status() == [
        {"name": "values", "key": key, "offset": 0, "byte_size": 128}
    ]
    given = http.InferInput("x", [2, 4], "FP32")
    given.set_shared_memory("values", 32)
    wanted = http.InferRequestedOutput("y", binary_data=True)
    wanted.set_shared_memory("values", 32, offset=64)
    result = triton.infer("plus_one", [given], outputs=[wanted])
    output = result.get_output("y")
    found = module.get_contents_as_numpy(handle, np.float32, output["shape"], offset=64)
    np.testing.assert_array_equal(found, values + 1)
    del found
    given.set_shared_memory("values", 32, offset=112)
    with pytest.raises(http.InferenceServerException, match="at most 128 bytes"):
        triton.infer("plus_one", [given])
    triton.unregister_system_shared_memory("values")
    given.set_shared_memory("values", 32)
    with pytest.raises(http.InferenceServerException, match="no shared memory region"):
        triton.infer("plus_one", [given])


def test_shared_memory_beside_bodies(triton: Any, http: Any, memory: Any) -> None:
    module, handle, key = memory
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    module.set_shared_memory_region(handle, [values])
    triton.register_system_shared_memory("values", key, 128)
    shared = http.InferInput("a", [2, 4], "FP32")
    shared.set_shared_memory("values", 32)
    for binary in (True, False):
        plain = triton_input(http, "b", "FP32", values, binary=binary)
        result = triton.infer("two", [shared, plain])
        np.testing.assert_array_equal(result.as_numpy("sum"), values * 2)
