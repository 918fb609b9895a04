from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from pelton._cpus import cgroup_cpu_quota, process_cpus
from pelton.errors import InvalidSettings
from pelton.settings import KEYS, Settings, default_cache_dir, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "pelton.toml"
    path.write_text(text)
    return path


def test_defaults_are_those_of_the_interface() -> None:
    settings = load_settings(environ={})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.threads == process_cpus()
    assert settings.text_bytes_max == 256 * 1024
    assert settings.body_bytes_max == 64 * 1024 * 1024
    assert settings.connections_max == 16384
    assert settings.drain_lag_s == 0.0


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "port = 1\nthreads = 1\nbatch_rows_max = 1\n")
    settings = load_settings(
        config=path,
        environ={"PELTON_PORT": "2", "PELTON_THREADS": "2"},
        flags={"port": 3, "threads": None},
    )
    assert (settings.port, settings.threads, settings.batch_rows_max) == (3, 2, 1)
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_every_key_is_read_from_file_environment_and_flag(key, tmp_path: Path) -> None:
    value: object = {"int": 7, "float": 7.5, "str": "7.example"}.get(key.kind)
    if key.choices:
        value = key.choices[-1]
    text = f'"{value}"' if isinstance(value, str) else str(value)
    path = write(tmp_path, f"{key.name} = {text}\n")
    assert getattr(load_settings(config=path, environ={}), key.name) == value
    assert getattr(load_settings(environ={key.variable: str(value)}), key.name) == value
    assert getattr(load_settings(environ={}, flags={key.name: value}), key.name) == value


def test_an_unknown_key_of_a_file_names_the_nearest_and_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "# comment\nport = 1\n\nbatch_row_max = 3\n")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(config=path, environ={})
    assert f"{path}:4" in caught.value.message
    assert "'batch_row_max'" in caught.value.message
    assert "'batch_rows_max'" in caught.value.message


def test_an_unknown_table_of_a_file_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "port = 1\n[limits]\nport = 2\n")
    with pytest.raises(InvalidSettings, match=":2: unknown key 'limits'"):
        load_settings(config=path, environ={})


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(InvalidSettings, match="'threads'"):
        load_settings(environ={}, flags={"thread": 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 70000", ":1: port must be an integer from 0 to 65535, not 70000"),
        ('port = "x"', "port must be an integer"),
        ("port = true", "port must be an integer"),
        ("port = 1.5", "port must be an integer"),
        ("threads = 0", "threads must be an integer from 1"),
        ('log_format = "xml"', "log_format must be one of text, json, not 'xml'"),
        ('quantize = "int8"', "quantize must be one of none, not 'int8'"),
        ('engine = "torch"', "engine must be one of auto, native, onnxruntime, not 'torch'"),
        ("drain_s_max = -1", "drain_s_max must be a number"),
        ("drain_s_max = nan", "drain_s_max must be a number"),
        ('host = ""', "host must be a string that is not empty"),
        ("port = ", "not a TOML file"),
    ],
)
def test_a_bad_value_says_what_was_expected(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(config=write(tmp_path, text), environ={})
    assert words in caught.value.message


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(InvalidSettings, match="PELTON_PORT: port must be"):
        load_settings(environ={"PELTON_PORT": "http"})


def test_settings_made_in_a_program_are_checked_too() -> None:
    with pytest.raises(InvalidSettings, match="batch_rows_max"):
        Settings(batch_rows_max=0)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(config=tmp_path / "none.toml", environ={})


def test_the_file_of_the_working_directory_is_read_when_asked_for(tmp_path, monkeypatch) -> None:
    write(tmp_path, "port = 9\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}, search=True).port == 9
    assert load_settings(environ={}).port == 8080


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    path = write(tmp_path, "port = 9\n")
    assert load_settings(environ={"PELTON_CONFIG": str(path)}).port == 9


def test_an_unknown_variable_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="pelton"):
        load_settings(environ={"PELTON_THREAD": "3"})
    assert "PELTON_THREADS" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PELTON_SERVICE_HOST", "10.0.0.1"),
        ("PELTON_SERVICE_PORT_HTTP", "80"),
        ("PELTON_PORT", "tcp://10.0.0.1:80"),
        ("PELTON_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PELTON_ISA", "avx2"),
        ("HOME", "/"),
    ],
)
def test_variables_that_are_not_settings_are_passed_in_silence(
    variable: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="pelton"):
        assert load_settings(environ={variable: value}).port == 8080
    assert caplog.text == ""


def test_the_cache_folder_follows_xdg_and_its_variable() -> None:
    assert default_cache_dir({"XDG_CACHE_HOME": "/x"}) == "/x/pelton"
    assert default_cache_dir({"XDG_CACHE_HOME": "x"}) == str(Path.home() / ".cache" / "pelton")
    assert load_settings(environ={"PELTON_CACHE_DIR": "/c"}).cache_dir == "/c"


@pytest.mark.parametrize(
    ("files", "groups", "cpus"),
    [
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 2.0),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, "0::/a/b", 0.5),
        ({"cpu.max": "300000 100000"}, "0::/not/here", 3.0),
        ({"cpu.max": "garbage"}, "0::/", None),
        (
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
            "4:cpu,cpuacct:/a",
            2.5,
        ),
        (
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            "1:cpu:/",
            None,
        ),
    ],
)
def test_cpu_quotas_of_cgroups(files, groups, cpus, tmp_path: Path) -> None:
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    listing = tmp_path / "cgroup"
    listing.write_text(groups + "\n")
    assert cgroup_cpu_quota(listing, tmp_path / "mount") == cpus
