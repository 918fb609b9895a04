"""Requests as the bytes that go over the wire."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgpack  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

__all__ = [
    "FORMATS",
    "embeddings_request",
    "oip_request",
    "post",
    "write_requests",
]

FORMATS: Final = ("binary", "json", "msgpack")

Array = npt.NDArray[np.float32]


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """One request with the headers that clients of these servers send, and no more."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def oip_request(model: str, name: str, value: Array, form: str) -> bytes:
    """One FP32 tensor; the answer comes in the same format."""
    path = f"/v2/models/{model}/infer"
    head = {"name": name, "shape": list(value.shape), "datatype": "FP32"}
    raw = np.ascontiguousarray(value, "<f4").tobytes()
    if form == "binary":
        tensor = {**head, "parameters": {"binary_data_size": len(raw)}}
        document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
        text = json.dumps(document, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text)),
        }
        return post(path, text + raw, headers)
    if form == "json":
        tensor = {**head, "data": [_shortest(number) for number in value.reshape(-1)]}
        text = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
        return post(path, text, {"Content-Type": "application/json"})
    packed: bytes = msgpack.packb({"inputs": [{**head, "data": raw}]})
    return post(path, packed, {"Content-Type": "application/msgpack"})


def _shortest(number: np.float32) -> float:
    """As JSON it has the fewest digits that give the same float32 again."""
    shown = float(str(number))
    assert math.isfinite(shown)
    return shown


def embeddings_request(model: str, texts: Sequence[str]) -> bytes:
    """As the openai client sends it: base64 is what it asks for."""
    document = {"model": model, "input": list(texts), "encoding_format": "base64"}
    return post(
        "/v1/embeddings", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )


def write_requests(path: Path, requests: Iterable[bytes]) -> Path:
    """A file for the load generator."""
    path.write_bytes(b"".join(requests))
    return path
