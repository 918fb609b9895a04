"""Folder to plan: directly, and through the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pelton.bridge import Plan, open_plan
from pelton.compiler import (
    CompileSettings,
    PlanCache,
    compile_model,
    digests,
    load_or_compile,
    plan_metadata,
    run_passes,
)
from pelton.compiler import driver as driver_module
from pelton.compiler.hf_encoder import load_encoder
from pelton.compiler.plan_writer import plan_bytes
from pelton.compiler.version import COMPILER_VERSION
from pelton.errors import CorruptPlan, Unavailable, UnsupportedModel
from python.compiler.tiny_models import FAMILIES, TinyModel

SETTINGS = CompileSettings("tiny")

#: SHA-256 of the plan of a fixed tiny model (less what names its source files, which another
#: release of safetensors may write in other bytes). When the compiler's output changes,
#: COMPILER_VERSION must rise with it, or caches would go on serving the old plans.
GOLDEN = {1: "358f82a7d2e9276bb3482e51cd0e806bd82ac62fb276e07a8201ae27217493f1"}


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "cache", 1 << 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return TinyModel().sentence().write(tmp_path / "tiny")


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    made: list[Path] = []
    compile_one = driver_module._compile

    def record(folder: Path, path: Path, *rest: object, **options: object) -> None:
        made.append(path)
        compile_one(folder, path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver_module, "_compile", record)
    return made


def load(folder: Path, cache: PlanCache, settings: CompileSettings = SETTINGS) -> Plan:
    return load_or_compile(folder, settings, cache, open_plan)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_reader_takes_every_family(model_type: str, tmp_path: Path) -> None:
    folder = TinyModel(model_type).sentence().write(tmp_path / "m")
    plan = open_plan(compile_model(folder, tmp_path / "m.plan", SETTINGS))
    names = ["input_ids", *(["token_type_ids"] if FAMILIES[model_type][1] else [])]
    assert [(t.name, t.dtype, t.shape) for t in plan.inputs] == [(n, "INT32", (-2,)) for n in names]
    assert [(t.name, t.shape) for t in plan.outputs] == [("embedding", (-1, 24))]
    layer = ["gemm", "ragged_attention", "gemm", "layer_norm", "gemm", "gemm", "layer_norm"]
    assert [i["op"] for i in plan.instructions()] == [
        "embedding",
        "layer_norm",
        *layer * 2,
        "pool",
        "l2_normalize",
    ]


def test_plan_is_self_contained(folder: Path, tmp_path: Path) -> None:
    plan = open_plan(compile_model(folder, tmp_path / "x.plan", CompileSettings("other")))
    assert plan.attachment("tokenizer.json") == (folder / "tokenizer.json").read_bytes()
    metadata = plan.metadata
    assert metadata["name"] == "other"
    assert metadata["batching"] == "ragged"
    assert metadata["compiler"] == {"version": COMPILER_VERSION}
    assert metadata["settings"] == {"quantize": "none"}
    assert metadata["quantization"] == "none"
    assert metadata["error"] == {"basis": "not_quantized", "value": None}
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert metadata["source"]["files"]["model.safetensors"] == weights


def test_output_has_the_golden_digest(tmp_path: Path) -> None:
    model = TinyModel().sentence()
    for name, weight in model.weights.items():  # values that no release of NumPy rounds otherwise
        steps = np.arange(weight.size) * 37 % 101 - 50
        model.weights[name] = (steps / 64).astype(np.float32).reshape(weight.shape)
    encoder = load_encoder(model.write(tmp_path), "tiny")
    graph = run_passes(encoder.graph)
    metadata = plan_metadata(graph, settings={"quantize": "none"}, model=encoder.metadata)
    data = b"".join(plan_bytes(graph, metadata, encoder.attachments))
    assert hashlib.sha256(data).hexdigest() == GOLDEN[COMPILER_VERSION]


def test_second_load_compiles_nothing(
    folder: Path, cache: PlanCache, compilations: list[Path]
) -> None:
    first = load(folder, cache)
    second = load(folder, cache)
    assert len(compilations) == 1
    assert first.path == second.path
    assert Path(first.path).stat().st_mode & 0o777 == 0o600


def test_settings_and_content_have_plans_of_their_own(
    folder: Path, cache: PlanCache, compilations: list[Path]
) -> None:
    load(folder, cache)
    load(folder, cache, CompileSettings("another"))
    model = TinyModel().sentence()
    model.config["layer_norm_eps"] = 1e-6
    model.write(folder)
    load(folder, cache)
    assert len(set(compilations)) == 3


def test_a_copy_of_the_folder_shares_the_plan(
    folder: Path, cache: PlanCache, compilations: list[Path], tmp_path: Path
) -> None:
    load(folder, cache)
    load(TinyModel().sentence().write(tmp_path / "copy"), cache)
    assert len(compilations) == 1


@pytest.mark.parametrize("damage", ["version", "flip", "truncate"])
def test_a_cached_plan_that_is_refused_is_compiled_again(
    damage: str, folder: Path, cache: PlanCache, compilations: list[Path]
) -> None:
    path = Path(load(folder, cache).path)
    whole = path.read_bytes()
    data = bytearray(whole)
    if damage == "version":
        data[8] = 9
    elif damage == "flip":
        data[-1] ^= 1
    else:
        del data[-100:]
    path.unlink()  # a plan is never changed in place: it may be mapped
    path.write_bytes(data)
    load(folder, cache)
    assert len(compilations) == 2
    assert path.read_bytes() == whole


def test_files_that_change_while_compiling(
    folder: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest was of the old file: the plan of the new one must not get its name."""
    calls = []
    compile_one = driver_module._compile

    def touch_first(folder: Path, *rest: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            TinyModel(config={"layer_norm_eps": 1e-3}).sentence().write(folder)
        compile_one(folder, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver_module, "_compile", touch_first)
    plan = load(folder, cache)
    assert len(calls) == 2
    assert len(list(cache.plans.glob("*.plan"))) == 1
    config = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    assert plan.metadata["source"]["files"]["config.json"] == config


def test_files_that_never_rest(
    folder: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_one = driver_module._compile

    def touch(folder: Path, *rest: object, **options: object) -> None:
        TinyModel().sentence().write(folder)
        compile_one(folder, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(driver_module, "_compile", touch)
    with pytest.raises(Unavailable, match="files change"):
        load(folder, cache)
    assert list(cache.plans.glob("*")) == list(cache.plans.glob("lock-*"))


def test_unsupported_models_leave_no_output(folder: Path, tmp_path: Path) -> None:
    TinyModel(config={"hidden_act": "quick_gelu"}).write(folder)
    with pytest.raises(UnsupportedModel):
        compile_model(folder, tmp_path / "x.plan", SETTINGS)
    assert not (tmp_path / "x.plan").exists()


def test_an_opener_that_refuses_even_the_fresh_plan(folder: Path, cache: PlanCache) -> None:
    def opener(path: Path) -> Plan:
        raise CorruptPlan("always")

    with pytest.raises(CorruptPlan):
        load_or_compile(folder, SETTINGS, cache, opener)


WARM_START = """
import sys
from pelton.bridge import open_plan
from pelton.compiler import CompileSettings, PlanCache, load_or_compile
from pathlib import Path
cache = PlanCache(Path(sys.argv[2]), 1 << 30)
load_or_compile(sys.argv[1], CompileSettings("tiny"), cache, open_plan)
assert "safetensors" not in sys.modules, "a start from the cache must not import safetensors"
"""


def test_a_warm_start_imports_no_safetensors(folder: Path, cache: PlanCache) -> None:
    load(folder, cache)
    subprocess.run(
        [sys.executable, "-c", WARM_START, folder, cache.folder],
        check=True,
        timeout=60,
        env={**os.environ},
    )


def test_a_warm_start_reads_no_weights(
    minilm: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)
    cold = load(minilm, cache, CompileSettings("minilm"))
    read: list[str] = []
    sha256_file = digests.sha256_file

    def record(path: Path) -> str:
        read.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(digests, "sha256_file", record)
    warm = load(minilm, cache, CompileSettings("minilm"))
    assert warm.path == cold.path
    assert "model.safetensors" not in read
    assert warm.metadata["limits"] == {"tokens_max": 256, "positions_max": 512}
