"""The extension model_configuration: a model as Triton's tools expect to find it configured.

Source: triton-inference-server/common `protobuf/model_config.proto`, as JSON. perf_analyzer asserts
that the names agree with those of the metadata, which is so because both come from one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pelton._specs import TensorSpec
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.model import Model
from pelton.settings import Settings

__all__ = ["model_config"]

_FREE: Final = -1
_PRIORITY_LEVELS: Final = 4
_PRIORITY_DEFAULT: Final = 2


def _data_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def _tensors(specs: Sequence[TensorSpec], *, batched: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "data_type": _data_type(spec.dtype),
            "dims": [*(spec.shape[1:] if batched else spec.shape)],
        }
        for spec in specs
    ]


def _document(name: str, model: Model, settings: Settings) -> dict[str, Any]:
    specs = (*model.inputs, *model.outputs)
    batched = all(spec.shape[:1] == (_FREE,) for spec in specs)
    document: dict[str, Any] = {
        "name": name,
        "platform": model.platform,
        "backend": "pelton",
        "version_policy": {"latest": {"num_versions": 1}},
        # Of one batch; a request may have more rows and is then run in several.
        "max_batch_size": min(settings.batch_rows_max, settings.queue_rows_max) if batched else 0,
        "input": _tensors(model.inputs, batched=batched),
        "output": _tensors(model.outputs, batched=batched),
        "instance_group": [{"name": name, "kind": "KIND_CPU", "count": 1, "gpus": []}],
        "response_cache": {"enable": False},
        "model_transaction_policy": {"decoupled": False},
    }
    if batched:
        document["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": settings.batch_wait_us_max,
            "priority_levels": _PRIORITY_LEVELS,
            "default_priority_level": _PRIORITY_DEFAULT,
        }
    return document


async def model_config(exchange: Exchange) -> Answer:
    name = exchange.path_params["model"]
    model = exchange.state.model(name, exchange.path_params.get("version"))
    return json_answer(_document(name, model, exchange.state.settings))
