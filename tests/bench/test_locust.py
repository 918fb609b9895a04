"""The Locust scenarios run against a server and find its answers right."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.server import locust_run


@pytest.mark.parametrize(
    "words", [["coffee"], ["--seconds", "0"], ["--users", "none"], ["--arrivals", "0"]]
)
def test_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        locust_run.main(words)
    assert stop.value.code == 2


def test_locust_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert locust_run.main([]) == 1
    assert "pelton[load]" in capsys.readouterr().err


@pytest.mark.e2e
@pytest.mark.slow
def test_scenarios_answer_without_failures(
    tmp_path: Path, minilm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("locust", reason="Locust needs the extra `load`")
    names = ["oip-binary", "oip-json", "oip-msgpack", "embeddings", "open-loop"]
    words = ["--seconds", "1", "--users", "2", "--arrivals", "50", "--reports", str(tmp_path)]
    assert locust_run.main([*names, *words, "--threads", "1", "--model", str(minilm)]) == 0
    out = capfd.readouterr().out
    assert "OpenLoop, as due" in out
    assert {path.stem for path in tmp_path.iterdir()} == set(names)
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())
