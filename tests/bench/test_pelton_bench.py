"""`pelton bench`: ratios to the smallest batch and to ONNX Runtime, and clear errors without it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from bench.server.models import mlp_onnx, mlp_plan

from pelton import _bench, cli
from python import toys

BATCH = ("--batch", "1,3")


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith(("PELTON_TEST_", "PELTON_BUILD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(_bench, "_SAMPLE_S", 0.0)

    def run(*words: object) -> tuple[int, str, str]:
        try:
            code = cli.main(["bench", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_dense_model(bench, tmp_path: Path) -> None:
    code, out, _ = bench(toys.plus_one(tmp_path), *BATCH, "--threads", 1, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["threads"] == 1
    assert document["isa"] in ("generic", "avx2", "avx512")
    one, three = document["cases"]
    assert (one["rows"], three["rows"]) == (1, 3)
    assert one["gain_of_batching"] == 1.0
    gain = three["rows_per_second"] / one["rows_per_second"]
    assert three["gain_of_batching"] == pytest.approx(gain)
    assert one["times_onnxruntime"] is None


def test_a_text_encoder(bench, tmp_path: Path) -> None:
    words = (toys.tiny_encoder(tmp_path), *BATCH, "--seq", "4,16")
    code, out, _ = bench(*words, "--json")
    assert code == 0
    cases = json.loads(out)["cases"]
    assert [(case["rows"], case["tokens"]) for case in cases] == [(1, 4), (3, 4), (1, 16), (3, 16)]
    code, out, _ = bench(*words)
    assert code == 0
    assert "3 x 16" in out
    assert "batching" in out


def test_against_onnxruntime(bench, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the peer needs the extra `bench`")
    pytest.importorskip("onnx", reason="the peer needs the extra `bench`")
    plan, graph = mlp_plan(tmp_path, seed=5), mlp_onnx(tmp_path, seed=5)
    words = (plan, "--against", "onnxruntime", "--onnx", graph, *BATCH)
    code, out, _ = bench(*words, "--json")
    assert code == 0
    for case in json.loads(out)["cases"]:
        assert case["times_onnxruntime"] > 0
        assert case["largest_difference"] < 1e-4
    code, out, _ = bench(*words)
    assert "pelton to it" in out
    code, _, error = bench(toys.plus_one(tmp_path), *words[1:])
    assert code == 1
    assert "ONNX Runtime does not run it" in error


def test_a_graph_that_takes_something_else(bench, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the peer needs the extra `bench`")
    pytest.importorskip("onnx", reason="the peer needs the extra `bench`")
    words = ("--against", "onnxruntime", "--onnx", mlp_onnx(tmp_path, seed=5), *BATCH)
    code, _, error = bench(toys.two_by_two(tmp_path), *words)
    assert code == 1
    assert "it takes 'x', which the model does not; there are a, b" in error
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    code, _, error = bench(toys.plus_one(tmp_path), "--against", "onnxruntime", "--onnx", broken)
    assert code == 1
    assert "ONNX Runtime does not load it" in error


def test_without_onnxruntime(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = tmp_path / "x.onnx"
    graph.write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, error = bench(toys.plus_one(tmp_path), "--against", "onnxruntime", "--onnx", graph)
    assert code == 1
    assert error.count("\n") == 1
    assert "pip install 'pelton[bench]'" in error


def test_outputs_of_other_shapes_are_not_compared() -> None:
    ours = {"y": np.ones((2, 3), np.float32)}
    assert _bench._difference(ours, [np.zeros((2, 3))]) == 1.0
    assert _bench._difference(ours, [np.zeros((2, 4))]) is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--batch", "1,0"), "'1,0'"),
        (("--batch", "a"), "'a'"),
        (("--seq", ""), "''"),
        (("--against", "coffee"), "coffee"),
        (("--onnx", "x.onnx"), "--against only"),
        (("--against", "onnxruntime"), "there is no"),
        (("--against", "onnxruntime", "--onnx", "none.onnx"), "there is no none.onnx"),
    ],
)
def test_wrong_usage(bench, tmp_path: Path, words: tuple[str, ...], shown: str) -> None:
    code, out, error = bench(toys.plus_one(tmp_path), *words)
    assert code == 2
    assert out == ""
    assert shown in error


def test_more_tokens_than_the_model_takes(bench, tmp_path: Path) -> None:
    code, _, error = bench(toys.tiny_encoder(tmp_path), "--seq", "21")
    assert code == 2
    assert "the model takes 20 tokens at most, got 21" in error
