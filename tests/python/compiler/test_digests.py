"""Digests are remembered only where the file cannot have changed since."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from pelton.compiler import digests
from pelton.compiler.digests import DigestMemo, combined_digest
from pelton.errors import UnsupportedModel

SIZE = 1 << 20
OLD_NS = 10_000_000_000


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read and hashed."""
    names: list[str] = []
    read = digests.sha256_file

    def record(path: Path) -> str:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(digests, "sha256_file", record)
    return names


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is ahead of every file's times: files count as settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + OLD_NS)


def make(path: Path, fill: bytes = b"x", size: int = SIZE) -> str:
    data = fill * size
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.mark.usefixtures("later")
def test_a_large_file_is_hashed_once(tmp_path: Path, hashed: list[str]) -> None:
    expected = make(tmp_path / "weights")
    for _ in range(3):
        memo = DigestMemo(tmp_path / "memo.json")
        assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert hashed == ["weights"]


@pytest.mark.usefixtures("later")
def test_small_files_are_always_read(tmp_path: Path, hashed: list[str]) -> None:
    make(tmp_path / "config", size=SIZE - 1)
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["config"])
    memo.digests(tmp_path, ["config"])
    assert hashed == ["config", "config"]


def test_a_file_just_written_is_not_remembered(tmp_path: Path, hashed: list[str]) -> None:
    make(tmp_path / "weights")
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["weights"])
    expected = make(tmp_path / "weights", b"y")
    assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("way", ["in place, times restored", "replaced, times restored", "resized"])
def test_a_changed_file_is_hashed_again(way: str, tmp_path: Path, hashed: list[str]) -> None:
    path = tmp_path / "weights"
    make(path)
    facts = path.stat()
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["weights"])
    if way.startswith("in place"):
        with path.open("r+b") as file:
            file.write(b"y")
    elif way.startswith("replaced"):
        make(tmp_path / "other", b"y")
        os.replace(tmp_path / "other", path)
    else:
        make(path, size=SIZE + 1)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"files": []}', b'{"files": {"/x": 1}}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_memo_is_ignored(damage: bytes, tmp_path: Path, hashed: list[str]) -> None:
    expected = make(tmp_path / "weights")
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["weights"])
    (tmp_path / "memo.json").write_bytes(damage)
    assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
def test_an_entry_without_a_digest_is_ignored(tmp_path: Path, hashed: list[str]) -> None:
    expected = make(tmp_path / "weights")
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["weights"])
    document = json.loads((tmp_path / "memo.json").read_text())
    del document["files"][str(tmp_path / "weights")]["sha256"]
    (tmp_path / "memo.json").write_text(json.dumps(document))
    assert memo.digests(tmp_path, ["weights"]) == {"weights": expected}
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
def test_a_memo_that_others_may_write_is_not_believed(tmp_path: Path, hashed: list[str]) -> None:
    make(tmp_path / "weights")
    memo = DigestMemo(tmp_path / "memo.json")
    memo.digests(tmp_path, ["weights"])
    (tmp_path / "memo.json").chmod(0o622)
    memo.digests(tmp_path, ["weights"])
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
def test_the_memo_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_ENTRIES_MAX", 2)
    for name in ("a", "b", "c"):
        make(tmp_path / name)
        DigestMemo(tmp_path / "memo.json").digests(tmp_path, [name])
    entries = json.loads((tmp_path / "memo.json").read_text())["files"]
    assert [Path(path).name for path in entries] == ["b", "c"]


def test_combined_digest_is_that_of_sha256sums_output() -> None:
    lines = "11  a\n22  b\n"
    assert combined_digest({"b": "22", "a": "11"}) == hashlib.sha256(lines.encode()).hexdigest()


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="absent"):
        digests.sha256_file(tmp_path / "absent")
