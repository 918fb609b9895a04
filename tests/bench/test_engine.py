"""Both engines compute what the oracle does, and the bench refuses what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the peer needs the extra `bench`")
pytest.importorskip("onnxruntime", reason="the peer needs the extra `bench`")

from bench.engine import figures  # noqa: E402
from bench.engine.engines import OnnxRuntimeEngine, PeltonEngine, pass_over  # noqa: E402
from bench.engine.onnx_graph import FORMS, build_graph  # noqa: E402
from bench.engine.workload import batches_of, sentences, uniform_batch  # noqa: E402
from bench.oracle import Difference, difference, expected_embeddings  # noqa: E402


@pytest.fixture(scope="module")
def expected(minilm: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return expected_embeddings(minilm, sentences(minilm, 4, seed=3))


@pytest.mark.parametrize("form", FORMS)
def test_the_peers_graph_is_the_model(
    minilm: Path,
    tmp_path: Path,
    form: str,
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(build_graph(minilm, form), str(path))
    engine = OnnxRuntimeEngine(path, form=form, threads=1, spinning=False)
    batches = batches_of(sentences(minilm, 4, seed=3), 4)
    assert difference(pass_over(engine, batches)(), expected).error < 1e-5


def test_pelton_is_the_model(
    minilm: Path, expected: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    engine = PeltonEngine(minilm, threads=1)
    try:
        batches = batches_of(sentences(minilm, 4, seed=3), 2)
        found = difference(pass_over(engine, batches)(), expected)
    finally:
        engine.close()
    assert found.error < 2e-6
    assert found.cosine > 0.999999


def test_the_difference_sees_one_wrong_row() -> None:
    expected = np.eye(3)
    wrong = np.eye(3, dtype=np.float32)
    wrong[1] = [0.0, 0.8, 0.6]
    found = Difference(wrong, expected)
    assert found.error == pytest.approx(0.6)
    assert found.cosine == pytest.approx(0.8)


def options(minilm: Path, program: Path) -> figures.EngineOptions:
    return figures.EngineOptions(
        folder=minilm, program=program, isa="generic", threads=1, rounds=1, tiny=True
    )


def test_the_whole_bench_runs_on_little(minilm: Path, program: Path) -> None:
    section = figures.run_engine(options(minilm, program))
    by_name = {figure.what: figure for figure in section.figures}
    assert by_name["outputs: largest absolute error"].met
    assert any("unsorted" in name for name in by_name)
    assert any("share of the fp32 peak" in name for name in by_name)
    text = section.markdown()
    assert "2 x 16" in text
    assert "ONNX Runtime fp32" in text


def test_a_peer_that_is_not_at_its_best_stops_the_bench(
    minilm: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PEER_SHARE_MIN", float("inf"))
    monkeypatch.setattr(figures.EngineOptions, "judges_peer", True)
    with pytest.raises(SystemExit, match="not at its best"):
        figures.run_engine(options(minilm, program))


def test_wrong_outputs_stop_the_bench(
    minilm: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transposed(folder: Path, rows: list[list[int]]) -> object:
        return expected_embeddings(folder, rows)[:, ::-1]

    monkeypatch.setattr(figures, "expected_embeddings", transposed)
    with pytest.raises(SystemExit, match="differ from the float64 oracle"):
        figures.run_engine(options(minilm, program))


def test_a_prepared_call_can_be_repeated(minilm: Path) -> None:
    engine = PeltonEngine(minilm, threads=1)
    try:
        call = engine.prepare(uniform_batch(2, 8, seed=1))
        first = call().copy()
        assert (call() == first).all()
    finally:
        engine.close()
