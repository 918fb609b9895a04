"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from structure.sources import ROOT

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()
ADDRESS = "127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run_python(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_gets_an_embedding(served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl")
    (command,) = [block for block in blocks("bash") if block.startswith("curl")]
    assert ADDRESS in command
    command = command.replace(f"http://{ADDRESS}", served.url)
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert len(answer["data"][0]["embedding"]) == 384
    assert answer["usage"]["prompt_tokens"] > 2


def test_the_python_snippet_runs(minilm: Path) -> None:
    (snippet,) = [block for block in blocks("python") if "pelton.load" in block]
    assert run_python(snippet.replace("path/to/encoder", str(minilm))).startswith("[[")


def test_the_snippet_of_tritons_client_runs(served) -> None:
    (snippet,) = [block for block in blocks("python") if "tritonclient" in block]
    assert ADDRESS in snippet
    port_and_host = served.url.removeprefix("http://")
    assert run_python(snippet.replace(ADDRESS, port_and_host) + "print(vectors.shape)\n") == (
        "(2, 384)\n"
    )
