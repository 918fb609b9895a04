"""Config, statistics, classification, OPTIONS, and what is known but not implemented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pelton.compiler import ROWS, Binary, GraphBuilder, plan_metadata, write_plan
from pelton.http import Application, ServerState
from pelton.http._statistics import ModelStatistics, add_engine, add_requests
from pelton.metrics import Histogram, ModelSnapshot
from python import toys
from python.http.asgi import Asgi

EIGHT = ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"]
EIGHT += ["cache_hit", "cache_miss"]


@pytest.mark.parametrize("name", ["tiny", "plus_one", "two", "told"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_config_agrees_with_metadata(name: str, version: str, client: Asgi) -> None:
    config = client.ask("GET", f"/v2/models/{name}{version}/config").json()
    metadata = client.ask("GET", f"/v2/models/{name}{version}").json()
    assert (config["name"], config["platform"]) == (name, metadata["platform"])
    assert config["max_batch_size"] == 64
    assert config["response_cache"] == {"enable": False}
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert "sequence_batching" not in config
    for kind in ("input", "output"):
        tensors = metadata[f"{kind}s"]
        assert [tensor["name"] for tensor in config[kind]] == [t["name"] for t in tensors]
        for found, tensor in zip(config[kind], tensors, strict=True):
            datatype = tensor["datatype"].replace("BYTES", "STRING")
            assert found["data_type"] == f"TYPE_{datatype}"
            assert found["dims"] == tensor["shape"][1:]  # without the batch


def test_a_model_without_a_batch_axis_shows_whole_shapes(told, client: Asgi) -> None:
    told[0].inputs = (type(told[0].inputs[0])("x", "FP32", (3, 4)),)
    config = client.ask("GET", "/v2/models/told/config").json()
    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [3, 4]
    assert config["output"][0]["dims"] == [-1, 1]
    assert "dynamic_batching" not in config


def statistics(client: Asgi, name: str = "plus_one") -> dict[str, Any]:
    found = client.ask("GET", f"/v2/models/{name}/stats").json()["model_stats"]
    assert [model["name"] for model in found] == [name]
    return found[0]


def test_statistics_have_every_key_from_the_first_moment(client: Asgi) -> None:
    found = client.ask("GET", "/v2/models/stats").json()["model_stats"]
    assert [model["name"] for model in found] == ["tiny", "plus_one", "two", "told"]
    for model in found:
        assert model["version"] == "1"
        assert list(model["inference_stats"]) == EIGHT
        assert all(set(item) == {"count", "ns"} for item in model["inference_stats"].values())
        assert model["memory_usage"][0]["type"] == "CPU"
    by_version = client.ask("GET", "/v2/models/told/versions/1/stats").json()
    assert by_version == {"model_stats": [found[3]]}


def test_statistics_count_what_was_done(client: Asgi) -> None:
    before = statistics(client)
    rows = {"name": "x", "shape": [3, 4], "datatype": "FP32", "data": [0.5] * 12}
    assert client.post("/v2/models/plus_one/infer", {"inputs": [rows]}).status == 200
    assert client.post("/v2/models/plus_one/infer", {"inputs": []}).status == 400
    after = statistics(client)
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    for name, count in zip(EIGHT, (1, 1, 1, 1, 1, 1, 0, 0), strict=True):
        old, new = before["inference_stats"][name], after["inference_stats"][name]
        assert new["count"] - old["count"] == count, name
        assert (new["ns"] > old["ns"]) == (count > 0 and name != "fail"), name
    sizes = {batch["batch_size"]: batch["compute_infer"] for batch in after["batch_stats"]}
    assert sizes[3]["count"] >= 1
    assert sizes[3]["ns"] > 0


def test_sources_of_statistics_add_up() -> None:
    decode, encode, queue = Histogram(), Histogram(), Histogram()
    for histogram in (decode, encode, queue):
        histogram.observe(0.001)
    snapshot = ModelSnapshot(
        model="m",
        version="1",
        outcomes={"ok": 5, "invalid_input": 2, "queue_full": 1},
        decode=decode.snapshot(),
        encode=encode.snapshot(),
        load_seconds=0.0,
        engine=None,
    )
    found = ModelStatistics("m", "1")
    add_requests(found, snapshot)
    add_requests(found, snapshot)
    stats = {
        "rows": 7,
        "batches": 2,
        "requests_execute_ns": 30,
        "last_execution_ns": 1_000,
        "batch_sizes": [(3, 1, 10), (4, 1, 20)],
    }
    add_engine(found, stats, now_ns=2_001_000)
    add_engine(found, {**stats, "last_execution_ns": 0}, now_ns=2_001_000)
    assert (found.success.count, found.fail.count) == (10, 6)
    assert found.compute_input.count == found.compute_output.count == 2
    assert found.success.ns == 4_000_000 + 60
    assert (found.inference_count, found.execution_count) == (14, 4)
    assert [(size, item.count, item.ns) for size, item in found.batch_sizes.items()] == [
        (3, 2, 20),
        (4, 2, 40),
    ]
    assert found.last_inference_ms > 1_600_000_000_000


def test_statistics_of_a_closed_model_are_still_shown(tmp_path: Path, settings) -> None:
    model = toys.load_plan(toys.plus_one(tmp_path))
    state = ServerState({"m": model}, settings)
    client = Asgi(Application(state))
    model.close()
    assert statistics(client, "m")["inference_stats"]["success"]["count"] == 0
    client.close()
    state.close()


def classified(client: Asgi, parameters: dict[str, Any], model: str = "plus_one") -> Any:
    rows = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [4, 1, 3, 2, 1, 1, 2, 1]}
    wanted = [{"name": "y", "parameters": parameters}]
    return client.post(f"/v2/models/{model}/infer", {"inputs": [rows], "outputs": wanted})


def test_classification(client: Asgi) -> None:
    reply = classified(client, {"classification": 2})
    assert reply.json()["outputs"] == [
        {
            "name": "y",
            "shape": [2, 2],
            "datatype": "BYTES",
            "data": ["5.000000:0", "4.000000:2", "3.000000:2", "2.000000:0"],
        }
    ]
    reply = classified(client, {"classification": 9, "binary_data": True})
    length = int(reply.headers["inference-header-content-length"])
    output = json.loads(reply.body[:length])["outputs"][0]
    assert (output["shape"], output["datatype"]) == ([2, 4], "BYTES")
    assert reply.body[length:][4:14] == b"5.000000:0"
    assert classified(client, {"classification": 0}).json()["outputs"][0]["datatype"] == "FP32"
    assert classified(client, {"classification": -1}).status == 400


def test_labels_travel_in_the_plan(tmp_path: Path, settings) -> None:
    builder = GraphBuilder("labelled")
    x = builder.input("x", (ROWS, 4))
    builder.output("y", builder.binary(x, np.ones(4, np.float32), Binary.ADD))
    graph = builder.build()
    path = tmp_path / "labelled.plan"
    write_plan(graph, path, plan_metadata(graph), {"labels.txt": "Katze\nPelikan é\n".encode()})
    model = toys.load_plan(path)
    state = ServerState({"labelled": model}, settings)
    client = Asgi(Application(state))
    data = classified(client, {"classification": 4}, "labelled").json()["outputs"][0]["data"]
    assert data[:4] == ["5.000000:0:Katze", "4.000000:2", "3.000000:3", "2.000000:1:Pelikan é"]
    client.close()
    state.close()
    model.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/models/tiny/generate"),
        ("POST", "/v2/models/tiny/versions/1/generate_stream"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/trace/setting"),
        ("GET", "/v2/models/tiny/trace/setting"),
        ("POST", "/v2/logging"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/r/register"),
        ("POST", "/v2/cudasharedmemory/unregister"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
        ("POST", "/v2/systemsharedmemory/unregister"),
    ],
)
def test_what_is_off_or_missing_is_501(method: str, path: str, client: Asgi) -> None:
    reply = client.ask(method, path)
    assert (reply.status, reply.json()["code"]) == (501, "not_implemented")
    assert reply.json()["error"]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/models/tiny/infer", "OPTIONS, POST"),
        ("/v1/embeddings", "OPTIONS, POST"),
        ("/v2/trace/setting", "GET, HEAD, OPTIONS, POST"),
        ("*", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_options(path: str, allow: str, client: Asgi) -> None:
    reply = client.ask("OPTIONS", path)
    assert (reply.status, reply.headers["allow"], reply.body) == (204, allow, b"")


def test_options_of_an_unknown_path_is_404(client: Asgi) -> None:
    assert client.ask("OPTIONS", "/nope").status == 404


def test_head_works_where_get_does(client: Asgi) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/models/tiny/config", "/metrics", "/docs"):
        assert client.ask("HEAD", path).status == 200


def test_models_as_openai_lists_them(client: Asgi, state) -> None:
    found = client.ask("GET", "/v1/models").json()
    assert found["object"] == "list"
    assert [model["id"] for model in found["data"]] == ["tiny", "plus_one", "two", "told"]
    one = client.ask("GET", "/v1/models/tiny").json()
    assert one == {
        "id": "tiny",
        "object": "model",
        "created": state.started_s,
        "owned_by": "pelton",
    }
    assert client.ask("GET", "/v1/models/none").json()["error"]["code"] == "model_not_found"
