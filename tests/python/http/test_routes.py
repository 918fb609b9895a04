from __future__ import annotations

import json
import re

import msgpack
import numpy as np
import pytest

from pelton.errors import (
    CorruptPlan,
    Internal,
    OutOfMemory,
    QueueFull,
    Unavailable,
)
from python.http.asgi import Asgi

INFER = "/v2/models/plus_one/infer"
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_health(client: Asgi) -> None:
    for name, body in (("live", {"live": True}), ("ready", {"ready": True})):
        reply = client.ask("GET", f"/v2/health/{name}")
        assert (reply.status, reply.json()) == (200, body)
        assert reply.headers["content-type"] == "application/json"


def test_server_metadata_lists_what_works(client: Asgi) -> None:
    found = client.ask("GET", "/v2").json()
    assert found["name"] == "pelton"
    assert found["version"]
    assert found["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "parameters",
        "schedule_policy",
        "statistics",
    ]


def test_models_are_listed(client: Asgi) -> None:
    assert client.ask("GET", "/v2/models").json() == {"models": ["tiny", "plus_one", "two", "told"]}


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny/versions/1"])
def test_model_metadata(path: str, client: Asgi) -> None:
    found = client.ask("GET", path).json()
    assert found["name"] == "tiny"
    assert found["versions"] == ["1"]
    assert found["platform"] == "pelton_plan"
    assert found["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert found["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 24]}]
    alternatives = found["parameters"]["alternative_inputs"]
    assert [tensor["name"] for tensor in alternatives][:2] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("path", ["/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"])
def test_model_ready(path: str, client: Asgi) -> None:
    assert client.ask("GET", path).json() == {"name": "tiny", "ready": True}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/none",
        "/v2/models/none/ready",
        "/v2/models/tiny/versions/9",
        "/v2/models/tiny/versions/9/ready",
        "/v2/models/%2e%2e",
        "/v2/models/..",
    ],
)
def test_an_unknown_model_is_404(path: str, client: Asgi) -> None:
    reply = client.ask("GET", path)
    assert (reply.status, reply.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path",
    ["/", "/v2/", "/v2/health", "/v2/models/", "/v2/models/tiny/", "/v3", "/v2/models/a/b/c"],
)
def test_an_unknown_path_is_404(path: str, client: Asgi) -> None:
    reply = client.ask("GET", path)
    assert (reply.status, reply.json()["error"]) == (404, "Not Found")
    assert reply.json()["code"] == "route_not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "OPTIONS, POST"),
        ("PUT", INFER, "OPTIONS, POST"),
        ("GET", "/v1/embeddings", "OPTIONS, POST"),
        ("POST", "/v2", "GET, HEAD, OPTIONS"),
        ("POST", "/v2/health/live", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v2/models/tiny", "GET, HEAD, OPTIONS"),
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v2/logging", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_another_method_is_405_with_allow(method, path, allow, client: Asgi) -> None:
    reply = client.ask(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allow)


def test_a_request_id_is_echoed_or_made(client: Asgi) -> None:
    reply = client.ask("GET", "/v2", headers={"X-Request-Id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    for unfit in (None, "", "a b", "x" * 129, "é"):
        headers = {} if unfit is None else {"X-Request-Id": unfit}
        made = client.ask("GET", "/v2", headers=headers).headers["x-request-id"]
        assert UUID7.fullmatch(made), made
    assert client.ask("GET", "/nope", headers={"X-Request-Id": "e"}).json()["request_id"] == "e"


def test_infer_in_json(client: Asgi) -> None:
    reply = client.post(INFER, {"id": "7", "inputs": [ROW]})
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json() == {
        "model_name": "plus_one",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [2, 3, 4, 5]}],
    }


def test_the_version_may_be_in_the_path(client: Asgi) -> None:
    reply = client.post("/v2/models/plus_one/versions/1/infer", {"inputs": [ROW]})
    assert (reply.status, reply.json()["model_version"]) == (200, "1")


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "application/json"])
def test_json_under_any_name_it_comes_by(content_type: str | None, client: Asgi) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    reply = client.ask("POST", INFER, json.dumps({"inputs": [ROW]}).encode(), headers)
    assert reply.status == 200


def test_infer_in_binary_with_a_head_of_odd_length(client: Asgi) -> None:
    values = np.arange(8, dtype="<f4").reshape(2, 4)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [2, 4],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 32},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    head += b" " * (1 - len(head) % 2)
    assert len(head) % 2
    headers = {"Inference-Header-Content-Length": str(len(head))}
    reply = client.ask("POST", INFER, head + values.tobytes(), headers)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers["inference-header-content-length"])
    answer = json.loads(reply.body[:length])
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 32}
    assert np.frombuffer(reply.body[length:], "<f4").tolist() == (values + 1).ravel().tolist()


def test_a_raw_request_is_one_row_of_the_only_input(client: Asgi) -> None:
    body = np.arange(4, dtype="<f4").tobytes()
    reply = client.ask("POST", INFER, body, {"Inference-Header-Content-Length": "0"})
    assert reply.status == 200
    length = int(reply.headers["inference-header-content-length"])
    assert np.frombuffer(reply.body[length:], "<f4").tolist() == [1, 2, 3, 4]


def test_infer_in_msgpack(client: Asgi) -> None:
    values = np.arange(4, dtype="<f4")
    row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": values.tobytes()}
    headers = {"Content-Type": "application/msgpack"}
    reply = client.ask("POST", INFER, msgpack.packb({"inputs": [row]}), headers)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/msgpack")
    output = reply.msgpack()["outputs"][0]
    assert (output["name"], output["shape"]) == ("y", [1, 4])
    assert np.frombuffer(output["data"], "<f4").tolist() == [1, 2, 3, 4]


def test_accept_chooses_the_answers_format(client: Asgi) -> None:
    body = json.dumps({"inputs": [ROW]}).encode()
    reply = client.ask("POST", INFER, body, {"Accept": "application/msgpack"})
    assert reply.msgpack()["outputs"][0]["shape"] == [1, 4]
    reply = client.ask("POST", INFER, body, {"Accept": "*/*"})
    assert reply.headers["content-type"] == "application/json"


def test_an_accept_that_nothing_fits_is_406(client: Asgi) -> None:
    reply = client.ask("POST", INFER, b"{}", {"Accept": "text/html"})
    assert (reply.status, reply.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize("path", [INFER, "/v1/embeddings"])
def test_an_unknown_type_is_415(path: str, client: Asgi) -> None:
    reply = client.ask("POST", path, b"{}", {"Content-Type": "text/plain"})
    assert reply.status == 415
    assert "application/json" in reply.headers["accept-post"]


def test_problem_json_is_sent_only_to_who_names_it(client: Asgi) -> None:
    reply = client.ask("GET", "/v2/models/none", headers={"Accept": "application/problem+json"})
    assert reply.headers["content-type"] == "application/problem+json"
    reply = client.ask("GET", "/v2/models/none", headers={"Accept": "*/*"})
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("hosts", [0, 2])
def test_not_exactly_one_host_is_400(hosts: int, client: Asgi) -> None:
    reply = client.ask("GET", "/v2", headers=[("host", "a")] * hosts, host=None)
    assert (reply.status, reply.json()["field"]) == (400, "Host")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueFull("no room"), 503),
        (OutOfMemory("no memory"), 503),
        (Unavailable("closed", retry_after_ms=2500), 503),
        (CorruptPlan("bad"), 500),
        (Internal("secret path"), 500),
        (RuntimeError("secret path"), 500),
    ],
)
def test_failures_of_the_model_are_answered(error, status: int, told, client: Asgi) -> None:
    told[0].fail = error
    row = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    reply = client.post("/v2/models/told/infer", {"inputs": [row]})
    assert reply.status == status
    assert b"secret" not in reply.body
    retry = ("retry-after" in reply.headers, "retry-after-ms" in reply.headers)
    assert retry == ((True, True) if status == 503 else (False, False))
    if status == 503:
        assert int(reply.headers["retry-after"]) >= 1


def test_a_defect_is_logged_with_the_request_id(told, client: Asgi, caplog) -> None:
    told[0].fail = RuntimeError("secret path")
    row = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    reply = client.post("/v2/models/told/infer", {"inputs": [row]}, X_Request_Id="r-9")
    assert reply.json()["request_id"] == "r-9"
    record = next(record for record in caplog.records if record.levelname == "ERROR")
    assert record.request_id == "r-9"
    assert record.exc_info is not None


def test_metrics_in_both_formats(client: Asgi) -> None:
    client.post(INFER, {"inputs": [ROW]})
    client.post(INFER, {"inputs": []})
    reply = client.ask("GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.body.decode()
    for line in (
        'pelton_requests_total{model="plus_one",outcome="ok",version="1"}',
        'pelton_requests_total{model="plus_one",outcome="invalid_input",version="1"}',
        'pelton_request_seconds_count{model="plus_one",phase="decode",version="1"}',
        'pelton_request_seconds_count{model="plus_one",phase="queue",version="1"}',
        'pelton_request_seconds_count{model="plus_one",phase="execute",version="1"}',
        'pelton_request_seconds_count{model="plus_one",phase="encode",version="1"}',
    ):
        value = next(found for found in text.splitlines() if found.startswith(line)).split()[-1]
        assert float(value) > 0, line
    reply = client.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.body.endswith(b"# EOF\n")


def test_what_is_no_request_is_not_answered(client: Asgi, state) -> None:
    async def lifespan() -> None:
        await client._app({"type": "lifespan"}, None, None)

    client.run(lifespan())
    assert state.accepted == 0
