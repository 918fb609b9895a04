"""An OpenAPI 3.1 document of the server: the protocol's routes, and for each model what it takes
and gives, with examples in every format. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pelton._specs import TensorSpec
from pelton.http._examples import (
    binary_sample,
    infer_body,
    json_sample,
    msgpack_sample,
    post_sample,
)
from pelton.model import Model

__all__ = ["document"]

_JSON = "application/json"
_ERROR = {"$ref": "#/components/responses/Error"}
_INTRODUCTION = (
    "Open Inference Protocol v2 in JSON, with raw binary tensors, and in msgpack; embeddings as "
    "OpenAI's and TEI's clients ask for them. Made from the models that are loaded."
)


def document(models: Mapping[str, Model], version: str, origin: str) -> dict[str, Any]:
    """`origin` is where the examples send their requests."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": _error_schema()}
    encoders = [name for name, model in models.items() if model.is_text_encoder]
    for name, model in models.items():
        key = _component(name)
        schemas[f"{key}.Request"] = _request_schema(model)
        schemas[f"{key}.Answer"] = _answer_schema(name, model)
        paths |= _model_paths(name, model, key, origin)
    if encoders:
        paths |= _embedding_paths(encoders, origin)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pelton", "version": version, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [
            *({"name": name, "description": _about(model)} for name, model in models.items()),
            *([{"name": "embeddings"}] if encoders else []),
            {"name": "server"},
        ],
        "paths": paths | _server_paths(),
        "components": {"schemas": schemas, "responses": {"Error": _error_response()}},
    }


def _component(name: str) -> str:
    """A model's name as the name of a component: letters, digits and a few signs only."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else f"_{ord(c):x}_" for c in name
    )


def _about(model: Model) -> str:
    limits = model.metadata.get("limits", {})
    kind = "Text encoder" if model.is_text_encoder else "Model"
    words = [f"{kind}, version {model.version}, {model.platform}"]
    words += [f"{key} {value}" for key, value in limits.items()]
    return "; ".join(words)


# -- operations ------------------------------------------------------------------------------------
def _operation(tag: str, summary: str, operation: str, schema: Any = None) -> dict[str, Any]:
    content = {_JSON: {"schema": {"type": "object"} if schema is None else schema}}
    return {
        "tags": [tag],
        "summary": summary,
        "operationId": operation,
        "responses": {"200": {"description": "Done", "content": content}, "default": _ERROR},
    }


def _model_paths(name: str, model: Model, key: str, origin: str) -> dict[str, Any]:
    base = f"/v2/models/{quote(name, safe='')}"
    answer = {"$ref": f"#/components/schemas/{key}.Answer"}
    infer = _operation(name, f"Run {name}", f"infer.{key}", answer)
    example = infer_body(model)
    octets = {"schema": {"type": "string", "format": "binary"}}
    infer["requestBody"] = {
        "required": True,
        "content": {
            _JSON: {"schema": {"$ref": f"#/components/schemas/{key}.Request"}, "example": example},
            "application/octet-stream": octets,
            "application/msgpack": octets,
        },
    }
    infer["responses"]["200"]["content"] |= {
        "application/octet-stream": octets,
        "application/msgpack": octets,
    }
    infer["parameters"] = _headers()
    url = origin + f"{base}/infer"
    infer["x-codeSamples"] = [
        {"lang": "bash", "label": "JSON", "source": json_sample(url, model)},
        {"lang": "bash", "label": "Binary", "source": binary_sample(url, model)},
        {"lang": "bash", "label": "msgpack", "source": msgpack_sample(url, model)},
    ]
    infer["x-pelton-model"] = _contract(name, model)
    return {
        f"{base}/infer": {"post": infer},
        base: {"get": _operation(name, "Inputs, outputs and limits", f"metadata.{key}")},
        f"{base}/ready": {"get": _operation(name, "Whether it takes requests", f"ready.{key}")},
        f"{base}/config": {"get": _operation(name, "As a Triton ModelConfig", f"config.{key}")},
        f"{base}/stats": {"get": _operation(name, "What has been counted", f"stats.{key}")},
    }


def _headers() -> list[dict[str, Any]]:
    def header(name: str, kind: str, about: str) -> dict[str, Any]:
        return {"name": name, "in": "header", "schema": {"type": kind}, "description": about}

    return [
        header(
            "Inference-Header-Content-Length",
            "integer",
            "Bytes of the JSON part of a body with raw tensors behind it",
        ),
        header("Pelton-Deadline-Ms", "integer", "Give up after so many milliseconds"),
        header("X-Request-Id", "string", "Echoed, and in the log"),
    ]


def _contract(name: str, model: Model) -> dict[str, Any]:
    def tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [{"name": s.name, "datatype": s.dtype, "shape": [*s.shape]} for s in specs]

    return {
        "name": name,
        "version": model.version,
        "platform": model.platform,
        "text": model.is_text_encoder,
        "inputs": tensors(model.inputs),
        "alternative_inputs": tensors(model.alternative_inputs),
        "outputs": tensors(model.outputs),
        "limits": dict(model.metadata.get("limits", {})),
        "quantization": model.metadata.get("quantization", "none"),
    }


def _embedding_paths(encoders: Sequence[str], origin: str) -> dict[str, Any]:
    first = encoders[0]
    openai = {"model": first, "input": ["hello world"], "encoding_format": "float"}
    tei = {"inputs": ["hello world"]} | ({"model": first} if len(encoders) > 1 else {})
    made = {}
    for path, example, summary in (
        ("/v1/embeddings", openai, "Embeddings, as OpenAI's clients ask for them"),
        ("/embed", tei, "Embeddings, as TEI's clients ask for them"),
    ):
        operation = _operation("embeddings", summary, path.rpartition("/")[2])
        schema = _openai_schema(encoders) if path == "/v1/embeddings" else _tei_schema(encoders)
        operation["requestBody"] = {
            "required": True,
            "content": {_JSON: {"schema": schema, "example": example}},
        }
        source = post_sample(origin + path, example)
        operation["x-codeSamples"] = [{"lang": "bash", "label": "JSON", "source": source}]
        made[path] = {"post": operation}
    made["/embed"]["post"]["responses"]["200"]["content"][_JSON]["schema"] = {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}},
    }
    return made


def _server_paths() -> dict[str, Any]:
    rows = (
        ("/v2/health/live", "Whether the process answers", "live"),
        ("/v2/health/ready", "Whether every model is ready", "ready"),
        ("/v2", "Name, version and extensions", "server_metadata"),
        ("/v2/models", "Names of the models", "models"),
        ("/v2/models/stats", "What has been counted of all models", "stats"),
        ("/v1/models", "The models, as OpenAI's clients list them", "openai_models"),
        ("/metrics", "Metrics for Prometheus", "metrics"),
    )
    paths = {path: {"get": _operation("server", about, name)} for path, about, name in rows}
    text = {"text/plain": {"schema": {"type": "string"}}}
    paths["/metrics"]["get"]["responses"]["200"]["content"] = text
    return paths


# -- schemas ---------------------------------------------------------------------------------------
def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required]}


def _data_schema(datatype: str) -> dict[str, Any]:
    kinds = {"BYTES": "string", "BOOL": "boolean"}
    kind = "integer" if "INT" in datatype else kinds.get(datatype, "number")
    return {
        "type": "array",
        "items": {"anyOf": [{"type": kind}, {"type": "array"}]},
        "description": "Row-major, flat or nested",
    }


def _tensor_schema(spec: TensorSpec, *, of_answer: bool = False) -> dict[str, Any]:
    """A dimension that is free may have any size, the others have one."""
    dims = [{"type": "integer", "minimum": 0} if n < 0 else {"const": n} for n in spec.shape]
    parameter = "binary_data_size"
    return _object(
        {
            "name": {"const": spec.name},
            "datatype": {"const": spec.dtype},
            "shape": {"type": "array", "prefixItems": dims, "minItems": len(dims), "items": False},
            "data": _data_schema(spec.dtype),
            "parameters": {"type": "object", "properties": {parameter: {"type": "integer"}}},
        },
        *("name", "shape", "datatype"),
    ) | ({"description": "Raw where it was asked for"} if of_answer else {})


def _set_schema(specs: Sequence[TensorSpec], *, of_answer: bool = False) -> dict[str, Any]:
    tensors = [_tensor_schema(spec, of_answer=of_answer) for spec in specs]
    return {"type": "array", "items": {"anyOf": tensors}, "maxItems": len(tensors)}


def _request_schema(model: Model) -> dict[str, Any]:
    sets = [_set_schema(specs) for specs in (model.inputs, model.alternative_inputs) if specs]
    names = [spec.name for spec in model.outputs]
    output = _object({"name": {"enum": names}, "parameters": {"type": "object"}}, "name")
    parameters = {
        "priority": {"type": "integer", "minimum": 0, "description": "1 first to 4; 0 default"},
        "timeout": {"type": "integer", "minimum": 0, "description": "Microseconds; 0 for none"},
        "binary_data_output": {"type": "boolean", "description": "Outputs not listed are raw"},
        "truncate": {"type": "boolean", "description": "Cut texts over the model's limit"},
    }
    return _object(
        {
            "id": {"type": "string", "description": "Echoed"},
            "parameters": {"type": "object", "properties": parameters},
            "inputs": sets[0] if len(sets) == 1 else {"anyOf": sets},
            "outputs": {
                "type": "array",
                "items": output,
                "description": "Those wanted; all where it is left out",
            },
        },
        "inputs",
    )


def _answer_schema(name: str, model: Model) -> dict[str, Any]:
    return _object(
        {
            "model_name": {"const": name},
            "model_version": {"const": model.version},
            "id": {"type": "string"},
            "outputs": _set_schema(model.outputs, of_answer=True),
        },
        *("model_name", "model_version", "outputs"),
    )


def _inputs_schema() -> dict[str, Any]:
    tokens = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    text = {"type": "string", "minLength": 1}
    return {
        "anyOf": [
            text,
            {"type": "array", "items": text, "minItems": 1},
            tokens,
            {"type": "array", "items": tokens, "minItems": 1},
        ]
    }


def _openai_schema(encoders: Sequence[str]) -> dict[str, Any]:
    return _object(
        {
            "model": {"enum": [*encoders]},
            "input": _inputs_schema(),
            "encoding_format": {"enum": ["float", "base64"], "default": "float"},
            "dimensions": {"type": "integer"},
            "user": {"type": "string"},
            "truncate": {"type": "boolean"},
        },
        *("model", "input"),
    )


def _tei_schema(encoders: Sequence[str]) -> dict[str, Any]:
    return _object(
        {
            "inputs": _inputs_schema(),
            "truncate": {"type": "boolean"},
            "normalize": {"type": "boolean", "default": True},
            "dimensions": {"type": "integer"},
            "model": {"enum": [*encoders], "description": "Where there are several"},
        },
        "inputs",
    )


def _error_schema() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer"}
    return _object(
        {
            **dict.fromkeys(("error", "type", "title", "detail", "code", "request_id"), text),
            "status": number,
            **dict.fromkeys(("instance", "tensor", "field", "expected", "got", "model"), text),
            "offset": number,
            "retry_after_ms": number,
        },
        "error",
    )


def _error_response() -> dict[str, Any]:
    return {
        "description": "What was wrong, what was expected and what came",
        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
