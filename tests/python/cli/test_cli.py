from __future__ import annotations

import io
import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pelton import cli
from pelton._progress import progress_bar
from python import toys


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Path:
    return toys.tiny_encoder(folder)


@pytest.fixture(scope="module")
def two(folder: Path) -> Path:
    return toys.two_by_two(folder)


@pytest.fixture
def pelton(capsys, monkeypatch):
    """Runs a command; returns its exit code, stdout and stderr. What `serve` does to the process's
    log is undone. Variables of the test run itself would make warnings."""
    for name in [name for name in os.environ if name.startswith("PELTON_TEST_")]:
        monkeypatch.delenv(name)
    root, own = logging.getLogger(), logging.getLogger("pelton")
    handlers, levels = root.handlers, (root.level, own.level)

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield run
    root.handlers = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def test_help_names_the_commands(pelton) -> None:
    code, out, _ = pelton("--help")
    assert code == 0
    for name in ("serve", "compile", "inspect", "run", "doctor"):
        assert name in out
        assert pelton(name, "--help")[0] == 0


def test_every_setting_is_an_option_of_serve(pelton) -> None:
    from pelton.settings import KEYS

    _, out, _ = pelton("serve", "--help")
    for key in KEYS.values():
        assert key.flag in out


def test_the_version_is_that_of_the_distribution(pelton) -> None:
    from importlib.metadata import version

    assert pelton("--version") == (0, f"pelton {version('pelton')}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nope",),
        ("serve",),
        ("serve", "--nope", "x"),
        ("serve", "--por", "1", "x"),
        ("compile", "x"),
        ("run", "x", "--quantize", "int8"),
        ("compile", "x", "-o", "x.plan", "--quantize", "int8"),
        ("compile", "x", "-o", "x.bin"),
        ("serve", "x", "--port", "http"),
        ("serve", "x", "--engine", "torch"),
        ("serve", "x", "--config", "/nowhere.toml"),
        ("serve", "a=x", "a=y"),
        ("serve", "--repository", "/nowhere", "--port", "0"),
        ("models", "list", "x"),
        ("models", "load"),
        ("models", "drop", "x"),
        ("serve", "=x"),
        ("run", "x"),
        ("run", "x", "--text", "a", "--input", "b=[1]"),
        ("run", "x", "--input", "novalue"),
        ("run", "x", "--text", "a", "--json", "-o", "-"),
    ],
)
def test_wrong_usage_is_2_and_one_line(arguments, pelton) -> None:
    code, out, err = pelton(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("pelton")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "/nowhere"), "/nowhere: no such file or folder"),
        (("run", "/nowhere", "--text", "a"), "no such file or folder"),
        (("inspect", "/nowhere"), "no such file or folder"),
        (("compile", "/nowhere", "-o", "x.plan"), "/nowhere"),
        (("inspect", "{onnx}"), "x.onnx"),
        (("run", "{two}", "--input", "a=[[1,2,3]]", "--input", "b=[[1,2,3,4]]"), "input 'a'"),
        (("run", "{two}", "--input", "a=[[1"), "--input a: expected a .npy file or JSON"),
        (("run", "{two}", "--input", "a=/none.npy", "--input", "b=[1]"), "/none.npy: No such file"),
        (("run", "{two}", "--input", "a={onnx}.npy", "--input", "b=[1]"), "--input a"),
        (("run", "{tiny}", "--text", "a " * 40), "at most 20 tokens, got 42"),
    ],
)
def test_failures_are_1_and_one_line(arguments, words, two, tiny, folder, pelton) -> None:
    (folder / "x.onnx").write_bytes(b"x")
    (folder / "x.onnx.npy").write_bytes(b"not an array")
    names = {"two": two, "tiny": tiny, "onnx": folder / "x.onnx"}
    code, out, err = pelton(*(text.format(**names) if "{" in text else text for text in arguments))
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_model_is_compiled_inspected_and_run(tiny, folder, pelton) -> None:
    plan = folder / "made.plan"
    code, out, err = pelton("compile", tiny, "-o", plan)
    assert (code, err) == (0, "")
    assert str(plan) in out
    code, out, _ = pelton("inspect", plan, "--verify", "--json")
    facts = json.loads(out)
    assert (code, facts["name"], facts["verified"]) == (0, "tiny", True)
    assert set(facts["engines"].values()) == {"native"}
    code, out, _ = pelton("inspect", tiny)
    assert code == 0
    assert "output embedding: FP32 [-1, 24]" in out
    code, out, _ = pelton("run", plan, "--text", "hello", "--text", "world")
    assert code == 0
    assert out.startswith("embedding: float32 [2, 24]\n")
    assert out.count("\n") == 3


def test_compile_reports_in_json(tiny, folder, pelton) -> None:
    plan = folder / "json.plan"
    _, out, _ = pelton("compile", tiny, "-o", plan, "--json")
    assert json.loads(out) == {"plan": str(plan), "bytes": plan.stat().st_size}


def test_run_reads_tensors_and_writes_npz(two, folder, pelton) -> None:
    np.save(folder / "a.npy", np.full((2, 4), 3, np.float32))
    arguments = ("--input", f"a={folder / 'a.npy'}", "--input", "b=[[1,2,3,4],[5,6,7,8]]")
    target = folder / "out"
    code, out, _ = pelton("run", two, *arguments, "-o", target)
    assert code == 0
    assert out == "sum: float32 [2, 4]\nproduct: float32 [2, 4]\n"
    with np.load(target) as found:
        assert found["sum"].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    code, out, _ = pelton("run", two, *arguments, "--json")
    assert json.loads(out)["product"]["data"][0] == [3, 6, 9, 12]


def test_run_writes_npz_to_stdout(two) -> None:
    command = [sys.executable, "-m", "pelton", "run", str(two), "-o", "-"]
    command += ["--input", "a=[[1,2,3,4]]", "--input", "b=[[1,1,1,1]]"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    with np.load(io.BytesIO(done.stdout)) as found:
        assert found["sum"].tolist() == [[2, 3, 4, 5]]


def test_run_cuts_texts_on_request(tiny, pelton) -> None:
    assert pelton("run", tiny, "--text", "a " * 40, "--truncate")[0] == 0


def test_doctor_describes_the_machine(pelton) -> None:
    code, out, _ = pelton("doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["cpus"]["used"] >= 1
    assert found["kernel_variants"]["f32_gemm"].startswith("f32_gemm__")
    assert found["packages"]["numpy"] == np.__version__
    assert isinstance(found["cpu_features"]["avx2"], bool)
    code, out, _ = pelton("doctor")
    assert f"cpus.used: {found['cpus']['used']}\n" in out


def test_an_impossible_isa_is_an_error(pelton, monkeypatch) -> None:
    monkeypatch.setenv("PELTON_ISA", "z80")
    code, _, err = pelton("doctor")
    assert code == 1
    assert "z80" in err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = f"{sys.executable} -m pelton doctor --json | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr


def test_the_bar_is_drawn_on_a_terminal_only(monkeypatch, capsys) -> None:
    with progress_bar("compiling", lambda: 0.5):
        pass
    assert capsys.readouterr().err == ""
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar("compiling x", lambda: 0.5):
            seen = b""
            while b"%" not in seen:  # drawn every tenth of a second
                seen += os.read(parent, 4096)
    os.close(parent)
    assert b"compiling x [###############---------------]  50 %" in seen


def test_paths_with_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert cli._named_models([str(odd)]) == {"a=b": str(odd)}
    assert cli._named_models([f"m={odd}"]) == {"m": str(odd)}
    assert cli._named_models(["x/y.plan", "n=z.plan"]) == {"y": "x/y.plan", "n": "z.plan"}


def test_an_unknown_variable_is_a_warning_on_stderr(two, pelton, monkeypatch) -> None:
    monkeypatch.setenv("PELTON_THREDS", "2")
    code, out, err = pelton("inspect", two, "--json")
    assert (code, json.loads(out)["name"]) == (0, "two_by_two")
    assert err.startswith("pelton: warning: unknown environment variable PELTON_THREDS")
