"""Every known family, compiled and interpreted in float64, is the model that the oracle computes;
what is not known is refused with its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from pelton.compiler.hf_encoder import load_encoder
from pelton.compiler.hf_pooling import source_files
from pelton.compiler.ir import Graph
from pelton.compiler.passes import run_passes
from pelton.errors import ModelNotFound, UnsupportedModel
from python.compiler.interpreter import interpret
from python.compiler.tiny_models import (
    FAMILIES,
    HIDDEN,
    POSITIONS,
    VOCABULARY,
    TinyModel,
    tokenizer_document,
)
from python.oracle.encoder import OracleEncoder

LENGTHS = (5, 1, 16, 2)


def ragged_ids(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, VOCABULARY, sum(LENGTHS))


def check_against_oracle(folder: Path) -> Graph:
    """Before and after the passes, on a batch of sequences of several lengths."""
    graph = load_encoder(folder, "tiny").graph
    oracle = OracleEncoder(folder)
    ids = ragged_ids(3)
    inputs = {"input_ids": ids}
    type_ids = None
    if "token_type_ids" in graph.tensors:
        type_ids = inputs["token_type_ids"] = ids % oracle.config["type_vocab_size"]
    ends = np.cumsum(LENGTHS)
    expected = np.stack(
        [
            oracle.embed(
                ids[end - n : end].tolist(),
                None if type_ids is None else type_ids[end - n : end].tolist(),
            )
            for end, n in zip(ends, LENGTHS, strict=True)
        ]
    )
    fused = run_passes(graph)
    for form in (graph, fused):
        actual = interpret(form, inputs, LENGTHS)["embedding"]
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    return fused


@pytest.mark.parametrize("model_type", FAMILIES)
def test_families(model_type: str, tmp_path: Path) -> None:
    fused = check_against_oracle(TinyModel(model_type).sentence().write(tmp_path))
    layer = ["GEMM", "ATTENTION", "GEMM", "LAYER_NORM", "GEMM", "GEMM", "LAYER_NORM"]
    assert [node.op.name for node in fused.nodes] == [
        "EMBEDDING",
        "LAYER_NORM",
        *layer * 2,
        "POOL",
        "L2_NORMALIZE",
    ]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_models_saved_with_a_head(model_type: str, tmp_path: Path) -> None:
    model = TinyModel(model_type)
    prefix = FAMILIES[model_type][0]
    model.weights = {prefix + name: w for name, w in model.weights.items()}
    model.weights["classifier.weight"] = np.zeros((2, HIDDEN), np.float32)
    model.weights[prefix + "pooler.dense.weight"] = np.zeros((HIDDEN, HIDDEN), np.float32)
    model.weights[prefix + "embeddings.position_ids"] = np.arange(POSITIONS).reshape(1, -1)
    check_against_oracle(model.write(tmp_path))


ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str, tmp_path: Path) -> None:
    check_against_oracle(TinyModel(config={"hidden_act": activation}).sentence().write(tmp_path))


@pytest.mark.parametrize(
    "pooling", ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_poolings(pooling: str, normalize: bool, tmp_path: Path) -> None:
    check_against_oracle(TinyModel().sentence(pooling, normalize).write(tmp_path))


def test_names_of_tensorflow_checkpoints(tmp_path: Path) -> None:
    model = TinyModel()
    model.weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): w
        for name, w in model.weights.items()
    }
    check_against_oracle(model.write(tmp_path))


def test_half_precision_storage(tmp_path: Path) -> None:
    model = TinyModel()
    model.weights = {name: w.astype(np.float16) for name, w in model.weights.items()}
    graph = check_against_oracle(model.write(tmp_path))
    assert all(t.data.dtype == np.float32 for t in graph.tensors.values() if t.data is not None)


def test_a_padding_id_of_its_own_moves_positions(tmp_path: Path) -> None:
    model = TinyModel("roberta", config={"pad_token_id": 2}).write(tmp_path)
    check_against_oracle(model)
    encoder = load_encoder(model, "tiny")
    assert encoder.metadata["limits"] == {
        "tokens_max": POSITIONS - 3,
        "positions_max": POSITIONS - 3,
    }


def test_bare_encoder_gets_mean_pooling_and_says_so(tmp_path: Path) -> None:
    encoder = load_encoder(TinyModel().write(tmp_path), "tiny")
    facts = encoder.metadata["encoder"]
    assert (facts["pooling"], facts["pooling_basis"]) == ("mean", "assumed")
    assert facts["normalized"] is False


def test_metadata_of_a_sentence_model(tmp_path: Path) -> None:
    model = TinyModel().sentence("cls_token")
    model.files["sentence_bert_config.json"] = {"max_seq_length": 12, "do_lower_case": False}
    encoder = load_encoder(model.write(tmp_path), "tiny")
    assert encoder.metadata == {
        "kind": "text_encoder",
        "limits": {"tokens_max": 12, "positions_max": POSITIONS},
        "encoder": {
            "architecture": "bert",
            "hidden_size": 24,
            "layers": 2,
            "heads": 3,
            "intermediate_size": 40,
            "vocabulary_size": VOCABULARY,
            "type_vocabulary_size": 2,
            "activation": "gelu_erf",
            "pooling": "cls",
            "pooling_basis": "modules.json",
            "normalized": True,
        },
        "text": {"tokenizer": "tokenizer.json"},
    }
    assert list(encoder.attachments) == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "expected"),
    [
        ({"max_seq_length": 12}, {"model_max_length": 5}, 12),
        ({"max_seq_length": 100}, {}, POSITIONS),
        ({"max_seq_length": 12, "processor_kwargs": {"model_max_length": 7}}, {}, 7),
        ({"tokenizer_args": {"model_max_length": 7}}, {"model_max_length": 9}, 7),
        ({"max_seq_length": None}, {"model_max_length": 5}, 5),
        (None, {"model_max_length": int(1e30)}, POSITIONS),
        (None, {"model_max_length": 512}, POSITIONS),
        (None, {}, POSITIONS),
        (None, None, POSITIONS),
    ],
)
def test_token_limit(
    sentence: dict[str, Any] | None, tokenizer: dict[str, Any] | None, expected: int, tmp_path: Path
) -> None:
    model = TinyModel()
    if sentence is not None:
        model.sentence().files["sentence_bert_config.json"] = sentence
    if tokenizer is not None:
        model.files["tokenizer_config.json"] = tokenizer
    limits = load_encoder(model.write(tmp_path), "tiny").metadata["limits"]
    assert limits["tokens_max"] == expected


def test_model_in_a_folder_of_its_own(tmp_path: Path) -> None:
    model = TinyModel().sentence()
    modules = model.files.pop("modules.json")
    model.files["0_Transformer/note.json"] = {}
    model.write(tmp_path)
    modules[0]["path"] = "0_Transformer"
    TinyModel(files={"../modules.json": modules}).write(tmp_path / "0_Transformer")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).unlink()
    assert load_encoder(tmp_path, "tiny").metadata["encoder"]["pooling_basis"] == "modules.json"
    assert "0_Transformer/model.safetensors" in source_files(tmp_path)


@pytest.mark.parametrize(
    "normalizer",
    [None, {"type": "NFC"}, {"type": "Sequence", "normalizers": [{"type": "NFC"}]}],
)
def test_lower_case_becomes_a_normalizer(normalizer: dict[str, Any] | None, tmp_path: Path) -> None:
    model = TinyModel().sentence()
    model.files["tokenizer.json"] = {**tokenizer_document(), "normalizer": normalizer}
    model.files["sentence_bert_config.json"] = {"do_lower_case": True}
    data = load_encoder(model.write(tmp_path), "tiny").attachments["tokenizer.json"]
    steps = [{"type": "Lowercase"}, *([] if normalizer is None else [{"type": "NFC"}])]
    assert json.loads(data)["normalizer"] == {"type": "Sequence", "normalizers": steps}
    tokenizer = Tokenizer.from_buffer(data)
    assert tokenizer.encode("HELLO World").ids == [2, 4, 5, 3]


@pytest.mark.parametrize("lower_case", [True, False])
def test_a_tokenizer_that_needs_nothing_is_attached_as_it_is(
    lower_case: bool, tmp_path: Path
) -> None:
    model = TinyModel().sentence()
    model.files["sentence_bert_config.json"] = {"do_lower_case": lower_case}
    data = load_encoder(model.write(tmp_path), "tiny").attachments["tokenizer.json"]
    assert data == (tmp_path / "tokenizer.json").read_bytes()


def test_source_files_are_those_that_matter(tmp_path: Path) -> None:
    model = TinyModel().sentence()
    model.files["data_config.json"] = {}
    model.files["tokenizer_config.json"] = {}
    assert source_files(model.write(tmp_path)) == (
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
    )


def test_no_folder(tmp_path: Path) -> None:
    for read in (source_files, lambda folder: load_encoder(folder, "tiny")):
        with pytest.raises(ModelNotFound):
            read(tmp_path / "absent")


Change = Callable[[TinyModel], object]


def config(**values: Any) -> Change:
    return lambda model: model.config.update(values)


def modules(*kinds: str) -> Change:
    def change(model: TinyModel) -> None:
        model.files["modules.json"] = [
            {"path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(kinds)
        ]

    return change


def pooling(**values: Any) -> Change:
    return lambda model: model.sentence().files["1_Pooling/config.json"].update(values)


def transformer(**values: Any) -> Change:
    return lambda model: model.sentence().files.update({"sentence_bert_config.json": values})


def reshaped(name: str, *shape: int, dtype: Any = np.float32) -> Change:
    return lambda model: model.weights.update({name: np.ones(shape, dtype)})


def renamed(old: str, new: str) -> Change:
    return lambda model: model.weights.update({new: model.weights.pop(old)})


def document(name: str, value: Any) -> Change:
    return lambda model: model.files.update({name: value})


QUERY = "encoder.layer.1.attention.self.query.weight"
VOCABULARY_BEYOND = {**tokenizer_document()}
VOCABULARY_BEYOND["model"] = {**VOCABULARY_BEYOND["model"], "vocab": {"a": VOCABULARY}}


@pytest.mark.parametrize(
    ("parts", "change"),
    [
        (["model_type", "bert, roberta", "'gpt2'"], config(model_type="gpt2")),
        (["model_type", "got 'none'"], lambda m: m.config.pop("model_type")),
        (["hidden_act", "gelu_new", "'quick_gelu'"], config(hidden_act="quick_gelu")),
        (
            ["position_embedding_type", "'absolute'", "'relative_key'"],
            config(position_embedding_type="relative_key"),
        ),
        (["is_decoder", "only encoders"], config(is_decoder=True)),
        (["add_cross_attention"], config(add_cross_attention=True)),
        (["auto_map"], config(auto_map={"AutoModel": "modeling.Custom"})),
        (["quantization_config"], config(quantization_config={"bits": 4})),
        (["embedding_size", "hidden_size (24)", "got 16"], config(embedding_size=16)),
        (
            ["num_attention_heads", "a divisor of the hidden size 24", "got 5"],
            config(num_attention_heads=5),
        ),
        (["num_hidden_layers", "at most 1024"], config(num_hidden_layers=5000)),
        (["hidden_size", "type int", "got none"], lambda m: m.config.pop("hidden_size")),
        (["hidden_size", "type int", "'24'"], config(hidden_size="24")),
        (["hidden_size", "type int", "True"], config(hidden_size=True)),
        (["intermediate_size", "1 to 2147483647", "got 0"], config(intermediate_size=0)),
        (["layer_norm_eps", ">= 0"], config(layer_norm_eps=-1.0)),
        (["type_vocab_size", ">= 0", "-1"], config(type_vocab_size=-1)),
        (
            ["modules.json", "Transformer, Pooling and at most Normalize", "Dense"],
            modules("Transformer", "Pooling", "Dense", "Normalize"),
        ),
        (["modules.json", "got Pooling, Transformer"], modules("Pooling", "Transformer")),
        (["modules.json", "got none"], modules()),
        (["modules.json", "a list"], document("modules.json", {"type": "Transformer"})),
        (
            ["modules.json", "path", "inside the model's"],
            lambda m: m.sentence().files["modules.json"][1].update(path="../elsewhere"),
        ),
        (
            ["pooling_mode_*", "weightedmean"],
            pooling(pooling_mode_mean_tokens=False, pooling_mode_weightedmean_tokens=True),
        ),
        (["pooling_mode_*", "cls_token", "mean_tokens"], pooling(pooling_mode_cls_token=True)),
        (["pooling_mode_*", "got none"], pooling(pooling_mode_mean_tokens=False)),
        (["pooling_mode", "'lasttoken'"], pooling(pooling_mode="lasttoken")),
        (
            ["default_prompt_name", "'query'"],
            document(
                "config_sentence_transformers.json",
                {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
            ),
        ),
        (["transformer_task", "'fill-mask'"], transformer(transformer_task="fill-mask")),
        (["modality_config", "'image'"], transformer(modality_config={"image": {}})),
        (
            ["processor_kwargs", "nothing or model_max_length", "do_basic"],
            transformer(processor_kwargs={"do_basic_tokenize": False}),
        ),
        (["config_args", "expected nothing", "rope"], transformer(config_args={"rope": 1})),
        (["processing_kwargs", "got 3"], transformer(processing_kwargs=3)),
        (
            ["max_seq_length", "got 0"],
            lambda m: m.sentence().files.update(
                {"sentence_bert_config.json": {"max_seq_length": 0}}
            ),
        ),
        (
            ["model_max_length", "at least 1"],
            document("tokenizer_config.json", {"model_max_length": 0}),
        ),
        ([QUERY, "shape [24, 24]", "[24, 23]"], reshaped(QUERY, 24, 23)),
        ([QUERY, "dtype F32 or F16 or BF16", "I64"], reshaped(QUERY, 24, 24, dtype=np.int64)),
        ([QUERY, "dtype F32 or F16 or BF16", "F64"], reshaped(QUERY, 24, 24, dtype=np.float64)),
        (
            [QUERY, "finite values"],
            lambda m: m.weights.update({QUERY: np.full((24, 24), np.nan, np.float32)}),
        ),
        (["a tensor '" + QUERY], lambda m: m.weights.pop(QUERY)),
        (
            ["embeddings.word_embeddings.weight", "none"],
            renamed("embeddings.word_embeddings.weight", "transformer.wte.weight"),
        ),
        (["2 layers", "encoder.layer.2.extra"], reshaped("encoder.layer.2.extra", 1)),
        (["embeddings.projection.weight"], reshaped("embeddings.projection.weight", 1)),
        (
            ["tokenizer.json", "ids below vocab_size (40)", "got 40"],
            document("tokenizer.json", VOCABULARY_BEYOND),
        ),
        (["tokenizer.json", "with a vocabulary"], document("tokenizer.json", {"model": {}})),
    ],
)
def test_what_is_not_known_is_refused(parts: list[str], change: Change, tmp_path: Path) -> None:
    model = TinyModel()
    change(model)
    model.write(tmp_path)
    with pytest.raises(UnsupportedModel) as caught:
        load_encoder(tmp_path, "tiny")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("config.json", b"{", "expected JSON"),
        ("config.json", b"[]", "expected a JSON object, got list"),
        ("config.json", b"\xff", "expected JSON"),
        ("config.json", b"[" * 100_000, "expected JSON"),
        ("model.safetensors", b"", "expected a safetensors file"),
        ("model.safetensors", b"\xff" * 64, "expected a safetensors file"),
        ("tokenizer.json", b"{}", "with a vocabulary"),
    ],
)
def test_damaged_files(name: str, content: bytes, part: str, tmp_path: Path) -> None:
    TinyModel().write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsupportedModel) as caught:
        load_encoder(tmp_path, "tiny")
    assert part in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    TinyModel().write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UnsupportedModel, match=name):
        load_encoder(tmp_path, "tiny")


def test_every_truncation_of_the_weights_is_refused(tmp_path: Path) -> None:
    TinyModel().write(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    for size in [*range(0, header, 97), header, (header + len(whole)) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UnsupportedModel):
            load_encoder(tmp_path, "tiny")
