"""What a watched repository asks for, look by look."""

from __future__ import annotations

from pathlib import Path

from pelton.repository import Change, Seen, Watch, look


def files(*sizes: int) -> tuple[tuple[str, int, int], ...]:
    return tuple((f"f{at}", size, size) for at, size in enumerate(sizes))


def model(beside: int = 0, **versions: tuple[tuple[str, int, int], ...]) -> Seen:
    return Seen(files(beside), {int(name[1:]): found for name, found in versions.items()})


def load(name: str, *versions: int) -> list[Change]:
    return [Change(name, frozenset(versions))]


def test_a_version_is_taken_when_two_looks_saw_the_same() -> None:
    watch = Watch({})
    assert watch.step({"m": model(v1=files(1))}) == []
    assert watch.step({"m": model(v1=files(1, 2))}) == []  # a second file came
    assert watch.step({"m": model(v1=files(1, 3))}) == []  # it grew
    assert watch.step({"m": model(v1=files(1, 3))}) == load("m", 1)
    assert watch.step({"m": model(v1=files(1, 3))}) == []  # said once


def test_an_empty_folder_is_not_complete() -> None:
    watch = Watch({})
    for _ in range(3):
        assert watch.step({"m": model(v1=())}) == []


def test_a_version_that_is_written_does_not_hold_others_up() -> None:
    watch = Watch({})
    watch.step({"m": model(v1=files(1), v2=files(1))})
    assert watch.step({"m": model(v1=files(1), v2=files(2))}) == load("m", 1)
    assert watch.step({"m": model(v1=files(1), v2=files(2))}) == load("m", 1, 2)


def test_what_is_served_waits_while_it_is_written_again() -> None:
    seen = {"m": model(v1=files(1))}
    watch = Watch(seen)
    assert watch.step(seen) == []
    changed = {"m": model(v1=files(2))}
    assert watch.step(changed) == []
    assert watch.step(changed) == load("m", 1)


def test_settings_that_change_are_read_again() -> None:
    seen = {"m": model(v1=files(1))}
    watch = Watch(seen)
    changed = {"m": model(5, v1=files(1))}
    assert watch.step(changed) == []
    assert watch.step(changed) == load("m", 1)


def test_folders_that_are_removed() -> None:
    seen = {"m": model(v1=files(1), v2=files(1)), "n": model(v1=files(1))}
    watch = Watch(seen)
    without = {"m": model(v1=files(1)), "n": model(v1=files(1))}
    assert watch.step(without) == load("m", 1)
    assert watch.step({"n": model(v1=files(1))}) == []
    assert watch.step({"n": model(v1=files(1))}) == load("m")
    assert watch.step({"n": model(v1=files(1))}) == []
    # It comes back.
    watch.step(without)
    assert watch.step(without) == load("m", 1)


def test_a_model_that_comes_and_goes_before_it_was_complete() -> None:
    watch = Watch({})
    assert watch.step({"m": model(v1=files(1))}) == []
    assert watch.step({}) == []
    assert watch.step({}) == []


def test_look(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "2.tmp").mkdir()
    (tmp_path / "m" / ".3").mkdir()
    (tmp_path / "m" / "1" / "a").write_text("abc")
    (tmp_path / "m" / "model.toml").write_text("")
    seen = look(str(tmp_path))
    assert list(seen) == ["m"]
    assert [name for name, _, _ in seen["m"].beside] == ["model.toml"]
    assert {v: [(n, size) for n, size, _ in f] for v, f in seen["m"].versions.items()} == {
        1: [("a", 3)]
    }
