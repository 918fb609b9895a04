"""model.toml: what it may say, and where errors say that it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pelton.errors import InvalidSettings
from pelton.model_settings import MODEL_LIMITS, ModelSettings, read_model_settings


def read(folder: Path, text: str) -> ModelSettings:
    path = folder / "model.toml"
    path.write_text(text)
    return read_model_settings(path)


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    assert read_model_settings(tmp_path / "model.toml") == ModelSettings()
    assert read(tmp_path, "") == ModelSettings()


def test_every_key(tmp_path: Path) -> None:
    text = """
versions = [3, 1, 3]
engine = "native"
quantize = "none"
truncate = true
allow_non_finite = true
labels = "labels.txt"
[limits]
threads = 1
batch_rows_max = 8
batch_wait_us_max = 100
[warmup]
input = "warmup.npz"
"""
    assert read(tmp_path, text) == ModelSettings(
        versions=(1, 3),
        engine="native",
        quantize="none",
        truncate=True,
        allow_non_finite=True,
        labels="labels.txt",
        limits={"threads": 1, "batch_rows_max": 8, "batch_wait_us_max": 100},
        warmup="warmup.npz",
    )


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n\ntruncat = true", 3, "unknown key 'truncat'; the nearest is 'truncate'"),
        ("[limts]\nthreads = 1", 1, "unknown section 'limts'; the nearest is 'limits'"),
        ("[limits]\n\nbatch_rows = 1", 3, "unknown key 'batch_rows' of [limits]"),
        ("truncate = true\n[limits]\ntruncate = 1", 3, "unknown key 'truncate' of [limits]"),
        ("limits.port = 1", 1, "unknown key 'port' of [limits]"),
        ("\nlimits = { port = 1 }", 2, "unknown key 'port' of [limits]"),
        ("\n[limits]\nbatch_rows_max = 0", 3, "batch_rows_max must be an integer from 1"),
        ("truncate = 1", 1, "truncate must be true or false, not 1"),
        ('\nengine = "cuda"', 2, "engine must be one of auto, native"),
        ('labels = "../labels.txt"', 1, "the name of a file in the model's folder"),
        ('[warmup]\ninput = "/etc/passwd"', 2, "the name of a file in the model's folder"),
        ('[warmup]\ninput = ".hidden"', 2, "the name of a file in the model's folder"),
        ("versions = []", 1, 'versions must be "latest", "all" or a list of version numbers'),
        ("versions = [0]", 1, 'versions must be "latest", "all" or a list of version numbers'),
        ("versions = [true]", 1, 'versions must be "latest", "all" or a list of version numbers'),
        ("\nwarmup = 1", 2, "warmup must be a section, not 1"),
        ("a = ", 1, "not a TOML file"),
    ],
)
def test_errors_name_the_line(text: str, line: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as raised:
        read(tmp_path, text)
    assert says in raised.value.message
    if "TOML" not in says:
        assert raised.value.message.startswith(f"{tmp_path / 'model.toml'}:{line}: ")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="over 1048576 bytes"):
        read(tmp_path, "#" * (1 << 20) + "\n")


def test_the_example_of_the_documents(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "repository.md").read_text()
    settings = read(tmp_path, page.split("```toml\n")[1].split("```")[0])
    assert set(settings.limits) == set(MODEL_LIMITS)
    assert (settings.labels, settings.warmup) == ("labels.txt", "warmup.npz")
