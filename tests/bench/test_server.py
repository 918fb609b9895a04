"""The drivers of the server's figures: models, requests, processes, and every row on little."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench.__main__ import _SERVER_ROWS, main
from bench.peers.peer import Assets, Peer
from bench.report import Section
from bench.server.contest import Sample
from bench.server.cost import _peer_figures, sample_rows
from bench.server.figures import ROWS, run_server
from bench.server.floor import ANSWER
from bench.server.models import MLP_WIDTHS, add_plan, mlp_onnx, mlp_plan, timed_plan
from bench.server.processes import ServerProcess, free_port
from bench.server.requests import FORMATS, embeddings_request, oip_request, post
from bench.server.stage import ServerOptions, Stage, ask, load_peer

import pelton

FLOOR = Path(sys.modules[ServerProcess.__module__].__file__ or "").with_name("floor.py")


def test_the_no_op_model_adds_one(tmp_path: Path) -> None:
    with pelton.load(add_plan(tmp_path), threads=1) as model:
        x = np.random.default_rng(1).standard_normal((3, 16), np.float32)
        assert (model({"x": x})["y"] == x + np.float32(1)).all()


def test_both_forms_of_the_mlp_are_one_model(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the peer needs the extra `bench`")
    pytest.importorskip("onnx", reason="the peer needs the extra `bench`")
    x = np.random.default_rng(2).standard_normal((5, MLP_WIDTHS[0]), np.float32)
    session = onnxruntime.InferenceSession(str(mlp_onnx(tmp_path, seed=3)))
    (expected,) = session.run(["y"], {"x": x})
    with pelton.load(mlp_plan(tmp_path, seed=3), threads=1) as model:
        found = model({"x": x})["y"]
    assert found.shape == (5, 1)
    assert np.abs(found - expected).max() < 1e-4


def test_a_model_of_a_wanted_duration(tmp_path: Path) -> None:
    """The time is taken on a machine that may be busy: only its order is sure."""
    plan = timed_plan(tmp_path / "x.plan", rows=4, width=128, seconds=0.003, threads=1)
    assert 0.0003 < plan.seconds < 0.1
    with pelton.load(plan.path, threads=1) as model:
        x = np.random.default_rng(1).standard_normal((4, 128), np.float32)
        assert (model({"x": x})["y"] == np.maximum(x, 0)).all()


def test_requests_are_what_the_server_answers(tmp_path: Path, loadgen: Path) -> None:
    row = np.random.default_rng(4).standard_normal((1, 16), np.float32)
    with Stage(ServerOptions(program=loadgen, isa="generic", threads=1)) as stage:
        server = stage.pelton({"add": stage.add_plan}, oip_request("add", "x", row, "binary"))
        bodies = {form: ask(server, oip_request("add", "x", row, form)) for form in FORMATS}
        assert (row + np.float32(1)).tobytes() in bodies["binary"]
        assert (row + np.float32(1)).tobytes() in bodies["msgpack"]
        assert b'"outputs"' in bodies["json"]
        assert server.cpu_ns() > 0
        assert server.resident_bytes() > 10e6
        assert b"'none'" in ask(server, embeddings_request("none", ["x"]))
        folder = stage.folder
        assert folder.exists()
    assert not folder.exists()
    assert server.process.poll() is not None


def test_the_floor_answers_the_same_to_everything() -> None:
    port = free_port()
    words = [sys.executable, str(FLOOR), str(port)]
    with ServerProcess("floor", words, port=port, probe=post("/", b"x")) as server:
        for body in (b"", b"x" * 64, b"y" * 100_000):
            assert ask(server, post("/a", body)) == ANSWER[-64:]
        before = server.cpu_ns()
        ask(server, post("/", bytes(64)))
        assert before < server.cpu_ns() < before + 1e9
    assert server.process.returncode == 0


def test_children_count_and_end_with_their_server(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, {str(FLOOR)!r}, sys.argv[1]])\n"
        "child.wait()\n"
    )
    port = free_port()
    words = [sys.executable, str(script), str(port)]
    with ServerProcess("parent", words, port=port, probe=post("/", b"x")) as server:
        pids = server.pids()
        assert len(pids) == 2
        assert server.cpu_ns() > 0
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/stat").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_does_not_start_says_why() -> None:
    words = [sys.executable, "-c", "raise SystemExit('no port is good enough')"]
    with pytest.raises(SystemExit, match="exit code 1:\nno port is good enough"):
        ServerProcess("picky", words, port=free_port(), probe=post("/", b""))


@pytest.mark.parametrize("name", ["mosec", "litserve", "bentoml", "triton"])
def test_peers_are_pinned_and_have_commands(name: str, tmp_path: Path) -> None:
    peer = load_peer(name)
    assert peer.name == name
    assert all("==" in requirement for requirement in peer.requirements)
    assets = Assets(folder=tmp_path, mlp_onnx=tmp_path, encoder_onnx=tmp_path, tokenizer=tmp_path)
    python = tmp_path / "bin" / "python"
    (tmp_path / "lib" / "python3" / "site-packages" / "pytriton" / "tritonserver").mkdir(
        parents=True
    )
    for workload in peer.workloads:
        for variant in peer.variants:
            words = peer.command(python, workload, 4321, assets, variant)
            assert any("4321" in word for word in words)
    request = peer.text_request or peer.tensor_request
    assert request is not None


def test_an_environment_is_made_once_and_anew_for_other_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELTON_BENCH_PEERS", str(tmp_path))

    def peer(*requirements: str) -> Peer:
        return Peer(
            name="none",
            requirements=requirements,
            workloads=frozenset(),
            command=lambda *_: [],
        )

    one = peer("a==1")
    assert one.folder.parent == tmp_path
    assert one.folder != peer("a==2").folder
    (one.folder).mkdir()
    (one.folder / "installed").touch()
    assert one.install() == one.folder / "bin" / "python"


def test_the_rows_of_the_command_line_are_those_there_are() -> None:
    assert tuple(ROWS) == _SERVER_ROWS


def on_little(loadgen: Path, *rows: str) -> dict[str, Section]:
    options = ServerOptions(program=loadgen, isa="generic", threads=1, rounds=1, tiny=True)
    return dict(zip(rows, run_server(options, rows), strict=True))


@pytest.mark.e2e
def test_the_floor_row_runs_on_little(loadgen: Path) -> None:
    section = on_little(loadgen, "floor")["floor"]
    assert [figure.reach for figure in section.figures] == [1.3, 1.5]
    assert all("CPU per request" in figure.what for figure in section.figures)
    assert all(figure.value > 0 for figure in section.figures)
    assert "| 64 | pelton |" in section.markdown()
    assert "generic" in section.title


@pytest.mark.e2e
@pytest.mark.slow
def test_all_rows_without_peers_run_on_little(loadgen: Path) -> None:
    sections = on_little(loadgen, "single", "formats", "open", "hog", "stall", "idle", "mixed")
    whats = [figure.what for section in sections.values() for figure in section.figures]
    for part in ("json", "msgpack", "one connection", "computes", "stall", "resident", "its p99"):
        assert any(part in what for what in whats), part
    assert "95% of pelton" in sections["open"].markdown()
    assert "us of CPU a second" in sections["idle"].markdown()
    bounded = [figure for name in ("hog", "stall", "mixed") for figure in sections[name].figures]
    bounded.append(sections["idle"].figures[1])
    assert all(figure.interval is not None for figure in bounded)
    assert "us of CPU a second" in sections["idle"].figures[1].cost


def samples(cpu_us: float) -> list[Sample]:
    return [Sample(cpu_us=cpu_us, rate=1.0, p50_us=1.0, p99_us=1.0, client_share=0.1)] * 3


def test_where_triton_does_not_start_its_ratio_to_the_floor_stands_in() -> None:
    found = {"floor": samples(2.0), "pelton": samples(2.5), "mosec": samples(10.0)}
    mosec, triton = _peer_figures(found, 64, 3.5)
    assert mosec.value == 4.0
    assert mosec.met
    assert triton.value == pytest.approx(4.0)
    assert "not interleaved" in triton.against
    assert triton.met is None
    assert len(_peer_figures(found, 16, 2.5)) == 1
    _, measured = _peer_figures({**found, "triton": samples(5.0)}, 64, 3.5)
    assert measured.value == 2.0
    assert "interleaved" not in measured.against


def test_a_client_that_is_the_limit_is_named() -> None:
    (row,) = sample_rows({"x": [replace(samples(1.0)[0], client_share=0.95)]}, 64)
    assert row[-1] == "95% (the limit)"


@pytest.mark.parametrize("words", [["server", "coffee"], ["floor"], ["server", "engine"]])
def test_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
