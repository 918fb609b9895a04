"""The plan cache: one compilation per key, whatever happens at once; damaged plans made again;
bounded; private."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pelton.compiler import cache as cache_module
from pelton.compiler.cache import PlanCache, plan_key
from pelton.errors import (
    CorruptPlan,
    InvalidSettings,
    ModelNotFound,
    Unavailable,
    UnsupportedModel,
    UnsupportedPlan,
)

KEY = "0123456789abcdef"


class Compiler:
    """Counts its runs and puts `content` in place whole, as the plan writer does."""

    def __init__(self, content: bytes = b"plan") -> None:
        self.content = content
        self.runs = 0

    def __call__(self, path: Path) -> None:
        self.runs += 1
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(self.content)
        temporary.rename(path)


def reader(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    made = PlanCache(tmp_path / "cache", 1000)
    made.prepare()
    return made


def test_compiled_once(cache: PlanCache) -> None:
    compiler = Compiler()
    for _ in range(3):
        assert cache.open(KEY, compiler, reader) == b"plan"
    assert compiler.runs == 1


@pytest.mark.parametrize("error", [CorruptPlan, UnsupportedPlan])
def test_a_refused_plan_is_compiled_again(cache: PlanCache, error: type[Exception]) -> None:
    cache.open(KEY, Compiler(b"old"), reader)

    def opener(path: Path) -> bytes:
        if path.read_bytes() == b"old":
            raise error("refused")
        return path.read_bytes()

    compiler = Compiler(b"new")
    assert cache.open(KEY, compiler, opener) == b"new"
    assert compiler.runs == 1


def test_a_plan_refused_when_fresh_is_an_error(cache: PlanCache) -> None:
    def opener(path: Path) -> bytes:
        raise CorruptPlan("always")

    compiler = Compiler()
    with pytest.raises(CorruptPlan):
        cache.open(KEY, compiler, opener)
    assert compiler.runs == 1


def test_a_plan_evicted_before_it_is_opened_is_compiled_again(cache: PlanCache) -> None:
    cache.open(KEY, Compiler(), reader)
    evicted: list[Path] = []

    def opener(path: Path) -> bytes:
        if not evicted:
            evicted.append(path)
            path.unlink()
            raise ModelNotFound("gone")
        return path.read_bytes()

    assert cache.open(KEY, Compiler(b"again"), opener) == b"again"


def test_a_failed_compilation_is_not_cached_and_frees_the_lock(cache: PlanCache) -> None:
    def fail(path: Path) -> None:
        raise UnsupportedModel("no")

    with pytest.raises(UnsupportedModel):
        cache.open(KEY, fail, reader)
    assert cache.open(KEY, Compiler(), reader) == b"plan"


def test_threads_compile_once(cache: PlanCache) -> None:
    compiler = Compiler()
    barrier = threading.Barrier(8)
    results: list[bytes] = []

    def work() -> None:
        barrier.wait(10)
        results.append(cache.open(KEY, compiler, reader))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [b"plan"] * 8
    assert compiler.runs == 1


CHILD = f"""
import sys
from pathlib import Path
from pelton.compiler.cache import PlanCache

folder, count = Path(sys.argv[1]), Path(sys.argv[2])

def compile_to(path):
    with count.open("a") as file:
        file.write("x")
    path.with_suffix(".tmp").write_bytes(b"plan")
    path.with_suffix(".tmp").rename(path)

cache = PlanCache(folder, 1000)
cache.prepare()
print("ready", flush=True)
sys.stdin.readline()
sys.exit(cache.open("{KEY}", compile_to, Path.read_bytes) != b"plan")
"""


def test_processes_compile_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    command = [sys.executable, "-c", CHILD, str(tmp_path / "cache"), str(count)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n", timeout=60)
    assert [child.returncode for child in children] == [0] * 4
    assert count.read_text() == "x"


def test_a_lock_that_is_never_freed(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_LOCK_WAIT_S", 0.05)
    holders = [os.open(cache.plans / f"lock-{i:02d}", os.O_RDWR | os.O_CREAT) for i in range(64)]
    try:
        for holder in holders:
            fcntl.flock(holder, fcntl.LOCK_EX)
        compiler = Compiler()
        with pytest.raises(Unavailable, match="lock-"):
            cache.open(KEY, compiler, reader)
        assert compiler.runs == 0
    finally:
        for holder in holders:
            os.close(holder)


def fill(cache: PlanCache, key: str, size: int, used_s_ago: float) -> Path:
    path = cache.plans / f"{key}.plan"
    path.write_bytes(bytes(size))
    when = time.time() - used_s_ago
    os.utime(path, (when, when))
    return path


def test_the_least_recently_used_go_first(cache: PlanCache) -> None:
    paths = [fill(cache, f"{i:016x}", 300, 100 - i) for i in range(3)]
    cache.open(f"{0:016x}", Compiler(), reader)  # now the most recently used
    cache.open(KEY, Compiler(bytes(300)), reader)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_plan_over_the_limit_stays_alone(cache: PlanCache) -> None:
    other = fill(cache, f"{1:016x}", 300, 100)
    assert len(cache.open(KEY, Compiler(bytes(5000)), reader)) == 5000
    assert not other.exists()
    assert (cache.plans / f"{KEY}.plan").exists()


def test_what_killed_writers_left_is_removed(cache: PlanCache) -> None:
    old, new = cache.plans / ".a.plan.1.tmp", cache.plans / ".b.plan.2.tmp"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.open(KEY, Compiler(), reader)
    assert (old.exists(), new.exists()) == (False, True)


def test_folder_is_private(tmp_path: Path) -> None:
    plans = tmp_path / "a" / "b" / "plans"
    PlanCache(tmp_path / "a" / "b", 1).prepare()
    for path in (plans, plans.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_open_folder_is_closed_but_its_parent_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    PlanCache(tmp_path, 1).prepare()
    assert stat.S_IMODE((tmp_path / "plans").stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("make", [Path.touch, lambda p: p.symlink_to("/nonexistent/x")])
def test_a_folder_that_cannot_be_made(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "file")
    with pytest.raises(InvalidSettings, match="PELTON_CACHE_DIR"):
        PlanCache(tmp_path / "file", 1).prepare()


def test_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InvalidSettings, match="expected a folder of user"):
        PlanCache(tmp_path, 1).prepare()


def test_key_depends_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        return [
            plan_key({"a": "1"}, {"name": "x"}),
            plan_key({"a": "2"}, {"name": "x"}),
            plan_key({"b": "1"}, {"name": "x"}),
            plan_key({"a": "1"}, {"name": "y"}),
        ]

    found = keys()
    assert found == keys()
    monkeypatch.setattr(cache_module, "COMPILER_VERSION", 0)
    found += keys()
    monkeypatch.setattr(cache_module, "FORMAT_VERSION", 0)
    found += keys()
    assert len(set(found)) == 12
