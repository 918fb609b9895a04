"""The calls that perf_analyzer and KServe's client make before and beside their requests, as they
stand on the wire: facts from triton-inference-server/perf_analyzer and kserve/kserve."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.e2e

DURATIONS = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)


def exchange(served: Any, request: bytes) -> tuple[int, bytes]:
    """One request as these bytes, and the whole answer: status and body."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as sock:
        sock.sendall(request)
        with sock.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            length = 0
            while line := answer.readline().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            return status, answer.read(length)


def get(served: Any, path: str) -> Any:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{served.port}\r\nAccept: */*\r\n\r\n"
    status, body = exchange(served, head.encode())
    assert status == 200, (path, body)
    return json.loads(body)


def counts(served: Any, name: str) -> dict[str, tuple[int, int]]:
    """What perf_analyzer takes of the statistics, indexing without a check."""
    model = get(served, f"/v2/models/{name}/versions/1/stats")["model_stats"][0]
    assert (model["name"], model["version"]) == (name, "1")
    stats = model["inference_stats"]
    found = {key: (stats[key]["count"], stats[key]["ns"]) for key in DURATIONS}
    return {**found, "rows": (model["inference_count"], 0), "runs": (model["execution_count"], 0)}


@pytest.mark.parametrize("name", ["plus_one", "two", "tiny"])
def test_perf_analyzer_starts_up_and_measures(name: str, served: Any) -> None:
    metadata = get(served, f"/v2/models/{name}")
    config = get(served, f"/v2/models/{name}/config")
    assert "statistics" in get(served, "/v2")["extensions"]
    assert config["max_batch_size"] > 0  # else -b above 1 is refused
    assert "sequence_batching" not in config
    assert "ensemble_scheduling" not in config
    assert not config["model_transaction_policy"]["decoupled"]
    assert not config["response_cache"]["enable"]
    for mine, theirs in (("input", "inputs"), ("output", "outputs")):
        known = {tensor["name"]: tensor for tensor in metadata[theirs]}
        for tensor in config[mine]:
            shape = known[tensor["name"]]["shape"][1:]  # what it takes off for the batch
            assert tensor["dims"] == shape
            assert -1 not in shape  # else --shape would have to be given
    before = counts(served, name)
    inputs = [
        {
            "name": tensor["name"],
            "shape": [3, *tensor["shape"][1:]],
            "datatype": tensor["datatype"],
            "data": (
                ["w1"] * 3
                if tensor["datatype"] == "BYTES"
                else np.ones((3, *tensor["shape"][1:])).ravel().tolist()
            ),
        }
        for tensor in metadata["inputs"]
    ]
    body = json.dumps({"inputs": inputs}).encode()
    head = (
        f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: localhost:{served.port}\r\n"
        f"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    status, answer = exchange(served, head.encode() + body)
    assert status == 200, answer
    after = counts(served, name)
    assert after["rows"][0] - before["rows"][0] == 3
    assert after["runs"][0] - before["runs"][0] == 1
    for key in DURATIONS:
        expected = 1 if key not in ("fail", "cache_hit", "cache_miss") else 0
        assert after[key][0] - before[key][0] == expected, key
        assert after[key][1] >= before[key][1]


def test_posts_without_a_body_have_no_length(served: Any) -> None:
    """`unregister` of Triton's Python client: neither Content-Length nor Transfer-Encoding."""
    head = (
        f"POST /v2/systemsharedmemory/unregister HTTP/1.1\r\nHost: localhost:{served.port}\r\n\r\n"
    )
    assert exchange(served, head.encode())[0] == 200


def test_kserve_reads_health_from_bodies(served: Any) -> None:
    for path, member in (("live", "live"), ("ready", "ready")):
        reply = httpx.get(f"{served.url}/v2/health/{path}", timeout=30)
        assert (reply.status_code, reply.json()) == (200, {member: True})
    reply = httpx.get(f"{served.url}/v2/models/tiny/ready", timeout=30)
    assert (reply.status_code, reply.json()) == (200, {"name": "tiny", "ready": True})


def test_kserve_shows_errors_of_exactly_this_type(served: Any) -> None:
    reply = httpx.post(f"{served.url}/v2/models/none/infer", json={"inputs": []}, timeout=30)
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/json"
    assert "there is no model 'none'" in reply.json()["error"]


def test_head_and_options_on_the_wire(served: Any) -> None:
    for path in ("/v2", "/v2/models/tiny", "/openapi.json", "/docs", "/metrics"):
        reply = httpx.head(f"{served.url}{path}", timeout=30)
        assert (reply.status_code, reply.content) == (200, b"")
        assert int(reply.headers["content-length"]) > 0
    reply = httpx.options(f"{served.url}/v2/models/tiny/infer", timeout=30)
    assert (reply.status_code, reply.headers["allow"]) == (204, "OPTIONS, POST")
    assert "content-length" not in reply.headers
    head = f"OPTIONS * HTTP/1.1\r\nHost: localhost:{served.port}\r\n\r\n"
    assert exchange(served, head.encode())[0] == 204
