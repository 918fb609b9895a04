"""The generated document, its examples, and the page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pelton import TensorSpec
from pelton.http._examples import binary_sample, infer_body, json_sample, msgpack_sample
from python.http.asgi import Asgi

REF = re.compile(r"#/components/(schemas|responses)/(.+)")


@pytest.fixture
def document(client: Asgi) -> dict[str, Any]:
    reply = client.ask("GET", "/openapi.json")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    found: dict[str, Any] = reply.json()
    return found


def operations(document: dict[str, Any]):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def references(value: Any):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere(document) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        kind, name = REF.fullmatch(reference).groups()
        assert name in document["components"][kind]


def test_operations_have_names_of_their_own(document) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_path_is_served_and_every_example_works(document, client: Asgi, told) -> None:
    for path, method, operation in operations(document):
        body = b""
        if method == "POST":
            content = operation["requestBody"]["content"]["application/json"]
            body = json.dumps(content["example"]).encode()
        assert client.ask(method, path, body).status == 200, (method, path)


def test_the_routes_of_the_server_are_in_it(document) -> None:
    paths = set(document["paths"])
    assert {"/v2/models/tiny/infer", "/v2/models/two/stats", "/v1/embeddings", "/embed"} <= paths
    assert {"/v2", "/metrics", "/v1/models", "/v2/health/ready"} <= paths
    assert not any("generate" in path or "sharedmemory" in path for path in paths)


def test_schemas_say_what_a_model_takes(document) -> None:
    schema = document["components"]["schemas"]["two.Request"]
    tensors = schema["properties"]["inputs"]["items"]["anyOf"]
    assert [tensor["properties"]["name"] for tensor in tensors] == [{"const": "a"}, {"const": "b"}]
    shape = tensors[0]["properties"]["shape"]
    assert shape["prefixItems"] == [{"type": "integer", "minimum": 0}, {"const": 4}]


def test_without_a_text_encoder_there_are_no_embeddings(told, settings) -> None:
    from pelton.http._openapi import document

    made = document({"told": told[1]}, "1.0", "http://x")
    assert "/embed" not in made["paths"]
    assert [tag["name"] for tag in made["tags"]] == ["told", "server"]


def test_names_of_any_script_have_a_place(told) -> None:
    from pelton.http._openapi import document

    made = document({"modèle x": told[1]}, "1.0", "http://x")
    assert "/v2/models/mod%C3%A8le%20x/infer" in made["paths"]
    for reference in references(made):
        assert re.fullmatch(r"[#/A-Za-z0-9._-]+", reference)


@pytest.mark.parametrize(
    ("host", "shown"), [("a.b:80", "http://a.b:80/"), ('x"; rm -rf /', "http://localhost/")]
)
def test_examples_name_the_host_if_it_is_one(host: str, shown: str, client: Asgi) -> None:
    found = client.ask("GET", "/openapi.json", host=host).json()
    samples = found["paths"]["/embed"]["post"]["x-codeSamples"]
    assert shown in samples[0]["source"]


class Shaped:
    """What the examples need of a model."""

    def __init__(self, *specs: TensorSpec) -> None:
        self.inputs = specs


CASES = [
    *((datatype, (-1, 3)) for datatype in ("BOOL", "UINT8", "INT64", "FP16", "BF16", "FP64")),
    *((datatype, shape) for datatype in ("FP32", "BYTES") for shape in ((-1,), (-1, 40), (2000,))),
]


def run(command: str, length: str | None) -> bytes:
    """What a sample's command line would send: its printf and Python, without curl."""
    text, _, tail = command.partition("curl ")
    # The python3 of these tests, which has msgpack.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = subprocess.run(
        ["bash", "-c", text.rstrip().removesuffix("|")],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PATH": path},
    )
    if length is not None:
        assert f"Inference-Header-Content-Length: {length}" in tail
    return made.stdout


@pytest.mark.parametrize(("datatype", "shape"), CASES)
def test_samples_send_what_the_codec_reads(datatype: str, shape: tuple[int, ...]) -> None:
    from pelton.codec import DecodeLimits, decode_infer

    model: Any = Shaped(TensorSpec("it's", datatype, shape), TensorSpec("k", "INT8", (-1,)))
    sample = binary_sample("http://x", model)
    length = re.search(r"Content-Length: (\d+)", sample)[1]
    body = run(sample, length)
    headers = {"inference-header-content-length": length}
    found = decode_infer(headers, body, DecodeLimits())
    expected = tuple(1 if dim < 0 else dim for dim in shape)
    assert [(t.name, t.datatype, t.shape) for t in found.inputs] == [
        ("it's", datatype, expected),
        ("k", "INT8", (1,)),
    ]
    body = run(msgpack_sample("http://x", model), None)
    assert msgpack.unpackb(body)["inputs"][0]["shape"] == [*expected]
    found = decode_infer({"content-type": "application/msgpack"}, body, DecodeLimits())
    assert found.inputs[0].shape == expected
    if shape == (2000,) and datatype == "FP32":
        assert infer_body(model)["inputs"][0]["data"] == []  # too many to read
        body = run(json_sample("http://x", model), None)
        assert decode_infer({}, body, DecodeLimits()).inputs[0].array.sum() == 0


def test_the_page_needs_no_other_host_and_runs_only_its_own(client: Asgi) -> None:
    reply = client.ask("GET", "/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    text = reply.body.decode()
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", text) == []
    assert "innerHTML" not in text
    assert not re.search(r"\s(?:on[a-z]+|style)=", text)
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
