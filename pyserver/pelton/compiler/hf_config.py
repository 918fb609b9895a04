"""`config.json` of a Hugging Face encoder: what the importer knows, and refusal of the rest.

The names and defaults are those of the `transformers` configuration classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pelton.compiler._source import Json, refuse
from pelton.compiler.ir import Activation

__all__ = ["FAMILIES", "EncoderConfig", "Family", "LayerNames", "parse_config"]


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Names of a layer's parts below its prefix; each holds `weight` and `bias`."""

    prefix: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    up: str
    down: str
    out_norm: str

    def parts(self) -> tuple[str, ...]:
        return (
            self.query,
            self.key,
            self.value,
            self.attention_out,
            self.attention_norm,
            self.up,
            self.down,
            self.out_norm,
        )


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between the encoders that are BERT in other words."""

    layer: LayerNames
    #: Before `embeddings.` and the layers: the bare model has none, a model with a head its own.
    prefixes: tuple[str, ...]
    #: Position ids begin after the padding id.
    positions_after_padding: bool = False
    has_types: bool = True
    #: Where this family's config.json calls a size something else.
    keys: Mapping[str, str] = field(default_factory=dict)


_BERT_LAYER: Final = LayerNames(
    prefix="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    out_norm="output.LayerNorm",
)

_DISTILBERT_LAYER: Final = LayerNames(
    prefix="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    out_norm="output_layer_norm",
)

_ROBERTA: Final = Family(_BERT_LAYER, ("", "roberta."), positions_after_padding=True)

#: `model_type` of config.json to what it means.
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "bert": Family(_BERT_LAYER, ("", "bert.")),
        "roberta": _ROBERTA,
        "xlm-roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "electra": Family(_BERT_LAYER, ("", "electra.")),
        "distilbert": Family(
            _DISTILBERT_LAYER,
            ("", "distilbert."),
            has_types=False,
            keys={
                "hidden_size": "dim",
                "num_hidden_layers": "n_layers",
                "num_attention_heads": "n_heads",
                "intermediate_size": "hidden_dim",
                "hidden_act": "activation",
            },
        ),
    }
)

#: `hidden_act` to the function. gelu_new, gelu_fast and gelu_pytorch_tanh are one formula.
_ACTIVATIONS: Final[Mapping[str, Activation]] = MappingProxyType(
    {
        "gelu": Activation.GELU_ERF,
        "gelu_python": Activation.GELU_ERF,
        "gelu_new": Activation.GELU_TANH,
        "gelu_fast": Activation.GELU_TANH,
        "gelu_pytorch_tanh": Activation.GELU_TANH,
        "relu": Activation.RELU,
        "silu": Activation.SILU,
        "swish": Activation.SILU,
    }
)

_LAYERS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """An encoder's sizes. `position_count` is how many tokens the position table can number."""

    model_type: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    activation: Activation
    epsilon: float
    positions: int
    first_position: int
    types: int

    @property
    def family(self) -> Family:
        return FAMILIES[self.model_type]

    @property
    def position_count(self) -> int:
        return self.positions - self.first_position


def parse_config(config: Json) -> EncoderConfig:
    """Raises `UnsupportedModel` naming the key, what is known and what came."""
    model_type = config.get("model_type", str, "none")
    if model_type not in FAMILIES:
        raise refuse(config.where("model_type"), _one_of(FAMILIES), repr(model_type))
    _refuse_variants(config)
    family = FAMILIES[model_type]
    names = {name: family.keys.get(name, name) for name in _SIZES}
    act_name = family.keys.get("hidden_act", "hidden_act")
    act = config.get(act_name, str, "gelu")
    if act not in _ACTIVATIONS:
        raise refuse(config.where(act_name), _one_of(_ACTIVATIONS), repr(act))
    padding = config.get("pad_token_id", int, 1 if family.positions_after_padding else 0)
    parsed = EncoderConfig(
        model_type=model_type,
        vocabulary=config.size("vocab_size"),
        hidden=config.size(names["hidden_size"]),
        layers=config.size(names["num_hidden_layers"]),
        heads=config.size(names["num_attention_heads"]),
        intermediate=config.size(names["intermediate_size"]),
        activation=_ACTIVATIONS[act],
        epsilon=config.get("layer_norm_eps", float, 1e-12),
        positions=config.size("max_position_embeddings", 512),
        first_position=padding + 1 if family.positions_after_padding else 0,
        types=config.get("type_vocab_size", int, 2) if family.has_types else 0,
    )
    _check(config, names, parsed)
    return parsed


_SIZES: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def _refuse_variants(config: Json) -> None:
    """Switches that make another model of the same family."""
    positions = config.get("position_embedding_type", str, "absolute")
    if positions != "absolute":
        raise refuse(config.where("position_embedding_type"), "'absolute'", repr(positions))
    for key in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
        if config.get(key, bool, False):
            raise refuse(config.where(key), "false", "true", "only encoders are known")
    for key in ("auto_map", "quantization_config"):
        if config.values.get(key) is not None:
            raise refuse(config.where(key), "none", "one", "code or weights of its own kind")
    embedding_size = config.values.get("embedding_size")
    if embedding_size is not None and embedding_size != config.values.get("hidden_size"):
        raise refuse(
            config.where("embedding_size"),
            f"hidden_size ({config.values.get('hidden_size')})",
            embedding_size,
            "projected embeddings are not known",
        )


def _check(config: Json, names: Mapping[str, str], parsed: EncoderConfig) -> None:
    if parsed.hidden % parsed.heads:
        raise refuse(
            config.where(names["num_attention_heads"]),
            f"a divisor of the hidden size {parsed.hidden}",
            parsed.heads,
        )
    if parsed.layers > _LAYERS_MAX:
        where = config.where(names["num_hidden_layers"])
        raise refuse(where, f"at most {_LAYERS_MAX}", parsed.layers)
    if not 0 <= parsed.epsilon < math.inf:
        raise refuse(config.where("layer_norm_eps"), "a finite number >= 0", parsed.epsilon)
    if not 0 <= parsed.first_position < parsed.positions:
        raise refuse(
            config.where("pad_token_id"),
            f"0 to {parsed.positions - 2}, below the positions",
            parsed.first_position - 1,
        )
    if not 0 <= parsed.types < 2**31:
        raise refuse(config.where("type_vocab_size"), "an integer >= 0", parsed.types)


def _one_of(names: Mapping[str, object]) -> str:
    return "one of " + ", ".join(names)
