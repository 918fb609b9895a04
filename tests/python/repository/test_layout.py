"""What is found in a repository, and what is not looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pelton.errors import InvalidSettings, ModelNotFound, UnsupportedModel
from pelton.repository import (
    check_repository,
    file_in,
    find_artefact,
    fingerprint,
    model_names,
    read_model,
    wanted_versions,
)


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_names_of_models(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", "c.tmp"):
        (tmp_path / name).mkdir()
    put(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    assert model_names(str(tmp_path)) == ["a", "b"]


def test_versions_are_numbers(tmp_path: Path) -> None:
    for name in ("1", "10", "9", "0", "02", "-1", "1.tmp", ".5", "x", "٣", "1" * 19):
        (tmp_path / "m" / name).mkdir(parents=True)
    put(tmp_path / "m" / "7")  # a file
    assert read_model(str(tmp_path), "m").versions == (1, 9, 10)


@pytest.mark.parametrize("name", ["", ".", "..", "../m", "m/1", "other", "/", "m\0"])
def test_a_name_is_looked_up_and_never_a_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "root" / "m" / "1").mkdir(parents=True)
    with pytest.raises(ModelNotFound):
        read_model(str(tmp_path / "root"), name)


def test_which_versions_are_wanted(tmp_path: Path) -> None:
    for name in ("1", "2", "5"):
        (tmp_path / "m" / name).mkdir(parents=True)

    def wanted(text: str) -> tuple[int, ...]:
        put(tmp_path / "m" / "model.toml", text)
        return wanted_versions(read_model(str(tmp_path), "m"))

    assert wanted("") == (5,)
    assert wanted('versions = "all"') == (1, 2, 5)
    assert wanted("versions = [5, 1]") == (1, 5)
    with pytest.raises(ModelNotFound, match="no folder for version 3"):
        wanted("versions = [1, 3]")


def test_a_model_without_versions(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(ModelNotFound, match="has no version"):
        wanted_versions(read_model(str(tmp_path), "m"))


@pytest.mark.parametrize(
    ("names", "artefact"),
    [
        (["model.onnx"], "model.onnx"),
        (["x.plan", "README", "y.plan.tmp", ".z.plan"], "x.plan"),
        (["config.json", "model.safetensors", "tokenizer.json"], ""),
    ],
)
def test_the_artefact_of_a_version(names: list[str], artefact: str, tmp_path: Path) -> None:
    for name in names:
        put(tmp_path / name)
    assert find_artefact(str(tmp_path)) == str(tmp_path / artefact)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "got no files"),
        (["a.txt", "b.txt"], "got a.txt, b.txt"),
        (["config.json"], "got config.json"),
        (["a.plan", "b.plan"], "got a.plan, b.plan"),
        (["a.plan", "model.onnx"], "got a.plan, model.onnx"),
        (["config.json", "model.safetensors", "model.onnx"], "config.json and model.safetensors"),
        (["model.py"], "Python models are not served from a repository"),
    ],
)
def test_folders_without_one_artefact(names: list[str], says: str, tmp_path: Path) -> None:
    for name in names:
        put(tmp_path / name)
    with pytest.raises(UnsupportedModel) as raised:
        find_artefact(str(tmp_path))
    assert says in raised.value.message


def test_a_fingerprint_shows_every_change(tmp_path: Path) -> None:
    put(tmp_path / "a")
    put(tmp_path / "sub" / "b", "1")
    found = [fingerprint(str(tmp_path))]
    put(tmp_path / "sub" / "b", "22")
    found.append(fingerprint(str(tmp_path)))
    os.utime(tmp_path / "a", ns=(1, 1))
    found.append(fingerprint(str(tmp_path)))
    put(tmp_path / "c")
    found.append(fingerprint(str(tmp_path)))
    (tmp_path / "a").unlink()
    found.append(fingerprint(str(tmp_path)))
    assert len(set(found)) == len(found)
    assert [name for name, _, _ in fingerprint(str(tmp_path), is_deep=False)] == ["c"]
    assert fingerprint(str(tmp_path / "gone")) == ()


def test_files_that_settings_name(tmp_path: Path) -> None:
    put(tmp_path / "m" / "labels.txt")
    model = read_model(str(tmp_path), "m")
    assert file_in(model, "labels.txt") == str(tmp_path / "m" / "labels.txt")
    with pytest.raises(InvalidSettings, match="no such file"):
        file_in(model, "other.txt")


def test_what_is_no_repository(tmp_path: Path) -> None:
    check_repository(str(tmp_path))
    for path in (tmp_path / "missing", put(tmp_path / "file")):
        with pytest.raises(InvalidSettings, match="repository"):
            check_repository(str(path))
