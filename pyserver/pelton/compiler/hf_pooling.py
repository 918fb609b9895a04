"""The sentence-transformers files of a model folder: modules, pooling, token limit, text settings.

A folder without modules.json is read as sentence-transformers reads a bare encoder: mean pooling,
no normalization. That is a guess about the model, and the plan's metadata says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pelton.compiler._source import Json, read_json, read_json_value, refuse
from pelton.compiler.attributes import Pooling
from pelton.errors import ModelNotFound

__all__ = [
    "CONFIG",
    "TOKENIZER",
    "TOKENIZER_CONFIG",
    "WEIGHTS",
    "SentenceModel",
    "read_sentence_model",
    "source_files",
]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"

#: The first of these beside config.json holds `max_seq_length` and `do_lower_case`.
_TRANSFORMER_FILES: Final = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_xlm-roberta_config.json",
)

_TEXT_FORWARD: Final = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
#: Arguments that the library passes on to the tokenizer and the model, under old names and new.
_TOKENIZER_ARGUMENTS: Final = frozenset({"model_max_length"})
_KNOWN_ARGUMENTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "tokenizer_args": _TOKENIZER_ARGUMENTS,
        "processor_kwargs": _TOKENIZER_ARGUMENTS,
        "config_args": frozenset(),
        "config_kwargs": frozenset(),
        "processing_kwargs": frozenset(),
    }
)

_POOLINGS: Final[Mapping[str, Pooling]] = MappingProxyType(
    {
        "pooling_mode_cls_token": Pooling.CLS,
        "pooling_mode_mean_tokens": Pooling.MEAN,
        "pooling_mode_max_tokens": Pooling.MAX,
        "pooling_mode_mean_sqrt_len_tokens": Pooling.MEAN_SQRT_LENGTH,
    }
)
_POOLING_NAMES: Final[Mapping[str, Pooling]] = MappingProxyType(
    {
        "cls": Pooling.CLS,
        "mean": Pooling.MEAN,
        "max": Pooling.MAX,
        "mean_sqrt_len_tokens": Pooling.MEAN_SQRT_LENGTH,
    }
)


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """What surrounds the encoder. `files` are those that were read, relative to the model folder;
    `encoder` is the folder below it that holds config.json and the weights."""

    pooling: Pooling
    normalize: bool
    pooling_basis: str
    encoder: str
    max_seq_length: int | None
    lower_case: bool
    files: tuple[str, ...]

    def path(self, name: str) -> str:
        """A file of the encoder, relative to the model folder."""
        return _join(self.encoder, name)


def source_files(folder: Path) -> tuple[str, ...]:
    """The files that decide what the plan holds, relative to `folder`, in a fixed order. Raises as
    `read_sentence_model` does."""
    sentence = read_sentence_model(folder)
    inner = (sentence.path(name) for name in (CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG))
    names = sorted({*sentence.files, *inner})
    return tuple(name for name in names if (folder / name).is_file())


def read_sentence_model(folder: Path) -> SentenceModel:
    """Raises `ModelNotFound` where there is no folder, `UnsupportedModel` naming a module or mode
    that is not known."""
    if not folder.is_dir():
        raise ModelNotFound(f"model {str(folder)!r}: expected a folder, got none", field="model")
    files: list[str] = []
    encoder, pooling, normalize, basis = "", Pooling.MEAN, False, "assumed"
    if (folder / "modules.json").is_file():
        files.append("modules.json")
        encoder, pooling_path, normalize = _read_modules(folder / "modules.json")
        files.append(_join(pooling_path, "config.json"))
        pooling = _read_pooling(read_json(folder / pooling_path / "config.json"))
        basis = "modules.json"
    _refuse_prompt(folder, files)
    max_seq_length, lower_case = None, False
    for name in _TRANSFORMER_FILES:
        path = folder / encoder / name
        if path.is_file():
            files.append(_join(encoder, name))
            max_seq_length, lower_case = _read_transformer(read_json(path))
            break
    return SentenceModel(
        pooling, normalize, basis, encoder, max_seq_length, lower_case, tuple(files)
    )


def _read_transformer(settings: Json) -> tuple[int | None, bool]:
    """`max_seq_length` and `do_lower_case`. What newer releases of the library may say there beside
    them is taken only where it changes nothing."""
    task = settings.get("transformer_task", str, "feature-extraction")
    if task != "feature-extraction":
        raise refuse(settings.where("transformer_task"), "'feature-extraction'", repr(task))
    modalities = settings.values.get("modality_config")
    if modalities is not None and modalities != _TEXT_FORWARD:
        raise refuse(settings.where("modality_config"), f"{_TEXT_FORWARD}", modalities)
    limits = [settings] if settings.values.get("max_seq_length") is not None else []
    for key, known in _KNOWN_ARGUMENTS.items():
        values = settings.values.get(key) or {}
        if not isinstance(values, dict) or not values.keys() <= known:
            expected = " or ".join(("nothing", *sorted(known)))
            raise refuse(settings.where(key), expected, values)
        if "model_max_length" in values:  # the library prefers it
            limits.insert(0, Json(settings.path, {"max_seq_length": values["model_max_length"]}))
    lower_case = settings.get("do_lower_case", bool, False)
    return limits[0].size("max_seq_length") if limits else None, lower_case


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _read_modules(path: Path) -> tuple[str, str, bool]:
    """The encoder's folder, the pooling's, and whether rows are normalized."""
    modules = read_json_value(path)
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise refuse(str(path), "a list of modules", type(modules).__name__)
    entries = [Json(path, module) for module in modules]
    kinds = [entry.get("type", str).rpartition(".")[2] for entry in entries]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise refuse(
            str(path), "Transformer, Pooling and at most Normalize", ", ".join(kinds) or "none"
        )
    folders = [_inner_folder(entry) for entry in entries]
    return folders[0], folders[1], len(kinds) == 3


def _inner_folder(entry: Json) -> str:
    path = entry.get("path", str, "")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise refuse(entry.where("path"), "a folder inside the model's", repr(path))
    return path.strip("/")


def _read_pooling(config: Json) -> Pooling:
    named = config.values.get("pooling_mode")
    if named is not None:
        if not isinstance(named, str) or named not in _POOLING_NAMES:
            expected = "one of " + ", ".join(_POOLING_NAMES)
            raise refuse(config.where("pooling_mode"), expected, repr(named))
        return _POOLING_NAMES[named]
    # The library's defaults: the mean unless switched off, nothing else unless switched on.
    flags = {"pooling_mode_mean_tokens": True, **config.values}
    modes = [key for key, on in flags.items() if key.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise refuse(
            config.where("pooling_mode_*"),
            "exactly one of " + ", ".join(_POOLINGS),
            ", ".join(modes) or "none",
        )
    return _POOLINGS[modes[0]]


def _refuse_prompt(folder: Path, files: list[str]) -> None:
    """A default prompt is put before every text, which the engine's tokenizer does not do."""
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return
    files.append(path.name)
    config = read_json(path)
    prompts = config.values.get("prompts")
    name = config.values.get("default_prompt_name")
    if isinstance(prompts, dict) and name is not None and prompts.get(name):
        raise refuse(config.where("default_prompt_name"), "none", repr(name))
