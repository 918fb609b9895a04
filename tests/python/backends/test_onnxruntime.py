"""ONNX models behind ONNX Runtime: everybody's own answer, proved batches, errors with names."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

import pelton
from pelton.backends._onnx_session import OnnxSession
from pelton.backends.batching import check_batching
from pelton.errors import InvalidInput, ModelNotFound, Unavailable, UnsupportedModel
from pelton.settings import load_settings

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from python.backends import onnx_models

CALLERS = 24
LIMIT_S = 60


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return replace(load_settings(flags={}), cache_dir=str(cache), threads=2)


@pytest.fixture
def opened(tmp_path: Path, settings):
    models = []

    def open_model(make, **changes):
        model = pelton.load(make(tmp_path), settings=replace(settings, **changes))
        models.append(model)
        return model

    yield open_model
    for model in models:
        model.close()


def batching(model) -> dict:
    return dict(model.metadata["batching"])


def array(rows: int, *dims: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((rows, *dims)).astype(np.float32)


#: Models that batch: their axes, and inputs of a request from its number.
BATCHED = {
    "linear": ({"x": 0}, {"y": 0}, lambda n: {"x": array(1 + n % 3, 6, seed=n)}),
    "free_width": (
        {"x": 0},
        {"y": 0},
        lambda n: {"x": array(1 + n % 3, 4 + n % 2, 2, seed=n)},
    ),
    "state_on_axis_1": (
        {"x": 0, "state": 1, "rate": None},
        {"y": 0, "next": 1},
        lambda n: {
            "x": array(1 + n % 2, 4, seed=n),
            "state": np.moveaxis(array(1 + n % 2, 2, 4, seed=n + 1), 0, 1),
            "rate": np.int64(1 + n % 2),
        },
    ),
    "strings": (
        {"s": 0},
        {"t": 0, "is_a": 0},
        lambda n: {"s": [["a" if n % 2 else "b", f"text {n}"]]},
    ),
    "halves": ({"x": 0}, {"y": 0}, lambda n: {"x": array(2, 3, seed=n).astype(np.float16)}),
    "lookup": ({"ids": 0}, {"y": 0}, lambda n: {"ids": np.array([n % 10, (3 * n) % 10])}),
    "several": (
        {"x": 0, "ids": 0},
        {"sum": 0, "best": 0},
        lambda n: {"x": array(2, 5, seed=n), "ids": np.full((2, 5), n, np.int32)},
    ),
}
#: Models that declare a batch and do not honour it.
MIXING = {
    "maximum_over_all": ("ReduceMax", "another together with other rows"),
    "time_first": ("CumSum", "another together with other rows"),
    "one_answer": ("ReduceMean", "no axis with one entry for each row"),
    "rare_mixing": ("ReduceMax", "another together with other rows"),
}


def direct(path: Path, inputs) -> dict:
    """ONNX Runtime's own answer."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kinds = {meta.name: meta.type for meta in session.get_inputs()}
    feed = {
        name: np.asarray(value, dtype=object if kinds[name] == "tensor(string)" else None)
        for name, value in inputs.items()
    }
    names = [meta.name for meta in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape
        assert ours[name].dtype == expected.dtype
        if expected.dtype.kind == "f":
            scale = float(np.abs(expected).max())
            np.testing.assert_allclose(ours[name], expected, rtol=1e-5, atol=1e-5 * scale)
        else:
            assert (ours[name] == expected).all()


@pytest.mark.parametrize("name", BATCHED)
def test_callers_at_once_get_their_own_answers_from_shared_batches(
    name: str, opened, tmp_path: Path
) -> None:
    input_axes, output_axes, request = BATCHED[name]
    # Held back for a while, so that batches are as full as they can be.
    model = opened(getattr(onnx_models, name), batch_wait_us_max=100_000, batch_rows_max=16)
    assert batching(model)["input_axes"] == input_axes, batching(model)
    assert batching(model)["output_axes"] == output_axes
    expected = [direct(tmp_path / f"{name}.onnx", request(n)) for n in range(CALLERS)]

    async def main():
        return await asyncio.gather(*(model.infer(request(n)) for n in range(CALLERS)))

    for answer, theirs in zip(asyncio.run(main()), expected, strict=True):
        assert_same(answer, theirs)
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda n: model(request(n)), range(CALLERS)))
    for answer, theirs in zip(answers, expected, strict=True):
        assert_same(answer, theirs)
        # Nobody's answer is a view of what others have.
        assert not any(isinstance(array.base, np.ndarray) for array in answer.values())
    stats = model.stats()
    assert stats["requests"]["ok"] == 2 * CALLERS
    assert stats["batches"] < 2 * CALLERS, "no two requests shared a batch"


@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_rows_is_never_batched(name: str, opened, tmp_path: Path) -> None:
    model = opened(getattr(onnx_models, name), batch_wait_us_max=20_000)
    assert not batching(model)["batched"]
    op, seen = MIXING[name]
    assert op in batching(model)["blocking_op"]
    # The check finds it, too, without the analysis.
    session = OnnxSession(tmp_path / f"{name}.onnx", threads=1)
    names = [tensor.name for tensor in session.outputs]
    found = check_batching(session.inputs, session.outputs, lambda feed: session.run(names, feed))
    assert not found.batched
    assert seen in found.reason
    requests = [{"x": array(1 + n % 3, 4, seed=n) * (1 + n)} for n in range(CALLERS)]

    async def main():
        return await asyncio.gather(*(model.infer(request) for request in requests))

    for request, answer in zip(requests, asyncio.run(main()), strict=True):
        theirs = direct(tmp_path / f"{name}.onnx", request)
        assert all((answer[key] == theirs[key]).all() for key in theirs)
    assert model.stats()["batches"] == CALLERS


def test_scalars_have_rank_nought(opened) -> None:
    model = opened(onnx_models.scalars)
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(), (), ()]
    found = model({"a": 3.0, "b": np.float32(4)})["c"]
    assert found.shape == ()
    assert found == 12.0


def test_a_large_request_is_cut_and_put_together(opened, tmp_path: Path) -> None:
    model = opened(onnx_models.linear, batch_rows_max=8)
    x = array(37, 6)
    assert_same(model({"x": x}), direct(tmp_path / "linear.onnx", {"x": x}))
    assert model.stats()["batches"] == 5
    empty = model({"x": array(0, 6)})
    assert empty["y"].shape == (0, 3)


def test_outputs_can_be_chosen(opened) -> None:
    model = opened(onnx_models.several)
    inputs = {"x": array(2, 5), "ids": np.zeros((2, 5), np.int32)}
    assert list(model.run(inputs, outputs=["best"])) == ["best"]
    with pytest.raises(InvalidInput, match="'worst': the model has no such output"):
        model.run(inputs, outputs=["worst"])


def test_one_bad_request_does_not_fail_the_others_of_its_batch(opened) -> None:
    model = opened(onnx_models.lookup, batch_wait_us_max=100_000)

    async def main():
        ids = [np.array([n if n != 5 else 99]) for n in range(10)]
        tasks = [model.infer({"ids": each}) for each in ids]
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    assert isinstance(answers[5], InvalidInput)
    assert "out of data bounds" in answers[5].message
    table = onnx_models.weights(10, 3)
    for n, answer in enumerate(answers):
        if n != 5:
            assert (answer["y"] == table[n]).all()


def test_wrong_inputs_are_refused_by_name(opened) -> None:
    model = opened(onnx_models.several)
    good = {"x": array(2, 5), "ids": np.zeros((2, 5), np.int32)}
    cases = {
        "'y': the model has no such input": good | {"y": 1},
        "'ids': expected a tensor, got none": {"x": good["x"]},
        r"'x': expected shape \[-1, 5\], got \[2, 4\]": good | {"x": array(2, 4)},
        r"'ids': expected 2 rows on axis 0, as input 'x' has": good
        | {"ids": np.zeros((3, 5), np.int32)},
        "'x': expected an array": good | {"x": object()},
        "'ids': expected an array of INT32": good | {"ids": array(2, 5)},
    }
    for text, inputs in cases.items():
        with pytest.raises(InvalidInput, match=text):
            model(inputs)
    strings = opened(onnx_models.strings)
    with pytest.raises(InvalidInput, match="'s': expected strings, got int in element 1"):
        strings({"s": [["a", 3]]})
    with pytest.raises(InvalidInput, match="'s': expected strings in UTF-8"):
        strings({"s": [[b"a", b"\xff"]]})


def test_non_finite_values_are_refused_unless_allowed(opened, tmp_path: Path, settings) -> None:
    model = opened(onnx_models.linear)
    x = array(2, 6)
    x[1, 2] = np.nan
    with pytest.raises(InvalidInput, match=r"'x': expected finite numbers, got nan at \[1, 2\]"):
        model({"x": x})
    path = tmp_path / "linear.onnx"
    with pelton.load(path, settings=settings, allow_non_finite=True) as allowing:
        assert np.isnan(allowing({"x": x})["y"][1]).all()


def test_views_of_a_body_need_not_be_aligned(opened, tmp_path: Path) -> None:
    model = opened(onnx_models.linear)
    x = array(3, 6)
    view = np.frombuffer(b"\x01" + x.tobytes(), np.float32, offset=1).reshape(3, 6)
    assert not view.flags.aligned
    assert_same(model({"x": view}), direct(tmp_path / "linear.onnx", {"x": x}))


def test_the_check_runs_once_for_each_content(tmp_path: Path, settings, monkeypatch) -> None:
    from pelton.backends import onnxruntime as backend

    settings = replace(settings, cache_dir=str(tmp_path / "cache"))
    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        return check(*args, **kwargs)

    check = backend.check_batching
    monkeypatch.setattr(backend, "check_batching", counted)
    path = onnx_models.linear(tmp_path)
    for _ in range(2):
        with pelton.load(path, settings=settings) as model:
            assert batching(model)["batched"]
    assert len(calls) == 1
    onnx_models.maximum_over_all(tmp_path).rename(path)
    with pelton.load(path, settings=settings) as model:
        assert not batching(model)["batched"]
    onnx_models.halves(tmp_path).rename(path)
    with pelton.load(path, settings=settings) as model:
        assert batching(model)["batched"]
    assert len(calls) == 2
    for verdict in (tmp_path / "cache" / "plans").glob("*.batching.json"):
        verdict.write_text("{damaged")
    with pelton.load(path, settings=settings) as model:
        assert batching(model)["batched"]
    assert len(calls) == 3


def test_the_engine_is_named_in_the_log_and_the_metadata(opened, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="pelton.onnxruntime"):
        model = opened(onnx_models.linear)
    lines = [
        record.message for record in caplog.records if "runs on ONNX Runtime" in record.message
    ]
    assert len(lines) == 1
    assert "MatMul, Tanh" in lines[0]
    assert model.metadata["engine"] == "onnxruntime"
    assert "MatMul, Tanh" in model.metadata["engine_reason"]
    assert model.platform == "onnxruntime_onnx"
    assert not model.is_text_encoder
    assert model.served_contract() is None
    assert model.snapshot().engine is not None


def test_native_only_is_an_error_that_lists_the_ops(tmp_path: Path, settings) -> None:
    path = onnx_models.linear(tmp_path)
    with pytest.raises(UnsupportedModel, match="MatMul, Tanh"):
        pelton.load(path, engine="native", settings=settings)
    with pytest.raises(ModelNotFound, match=r"none\.onnx"):
        pelton.load(tmp_path / "none.onnx", settings=settings)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_corrupt_file_is_refused_by_name_within_a_second(
    damage: str, tmp_path: Path, settings
) -> None:
    path = onnx_models.linear(tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no model", "empty": b""}[damage])
    started = time.monotonic()
    with pytest.raises(UnsupportedModel, match=r"linear\.onnx"):
        pelton.load(path, settings=settings)
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("module", ["onnxruntime", "onnx"])
def test_a_missing_extra_says_what_to_install(
    module: str, tmp_path: Path, settings, monkeypatch
) -> None:
    path = onnx_models.linear(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedModel, match=r"pip install pelton\[onnxruntime\]") as caught:
        pelton.load(path, settings=settings)
    assert f"{module} is not installed" in caught.value.message


def test_closing_finishes_what_runs(opened) -> None:
    model = opened(onnx_models.slow, batch_wait_us_max=0)
    x = array(1600, 1600)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(model, {"x": x})
        deadline = time.monotonic() + LIMIT_S
        while sum(model.stats()["requests"].values()) + model.stats()["queue_rows"] == 0:
            if first.done():
                break
            assert time.monotonic() < deadline
        model.close()
        assert first.result(LIMIT_S)["y"].shape == (1600, 1600)
    with pytest.raises(Unavailable):
        model({"x": x})


def test_a_deadline_ends_what_waits(opened) -> None:
    model = opened(onnx_models.slow)
    x = array(1600, 1600)

    async def main():
        running = [asyncio.ensure_future(model.infer({"x": x})) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(pelton.DeadlineExceeded):
            await model.infer({"x": x}, deadline=1e-3)
        await asyncio.gather(*running)

    asyncio.run(main())


def test_importing_pelton_imports_neither_onnx_nor_its_runtime() -> None:
    program = (
        "import sys, pelton.model; "
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_is_served_over_http(opened) -> None:
    model, strings, scalars = (
        opened(make) for make in (onnx_models.several, onnx_models.strings, onnx_models.scalars)
    )
    x, ids = array(3, 5), np.full((3, 5), 2, np.int32)
    with (
        pelton.Server({"m": model, "s": strings, "c": scalars}, port=0) as server,
        pelton.Client(server.url) as client,
    ):
        found = client.infer("m", {"x": x, "ids": ids})
        assert_same(dict(found), model({"x": x, "ids": ids}))
        facts = httpx.get(f"{server.url}/v2/models/m").json()
        assert facts["platform"] == "onnxruntime_onnx"
        assert facts["inputs"][1] == {"name": "ids", "datatype": "INT32", "shape": [-1, 5]}
        words = [["a", "b"], ["é", "a"]]
        tensor = {"name": "s", "shape": [2, 2], "datatype": "BYTES", "data": words}
        reply = httpx.post(f"{server.url}/v2/models/s/infer", json={"inputs": [tensor]}).json()
        outputs = {each["name"]: each for each in reply["outputs"]}
        assert outputs["t"]["data"] == ["a", "b", "é", "a"]
        assert outputs["is_a"]["data"] == [True, False, False, True]
        pair = [
            {"name": name, "shape": [], "datatype": "FP32", "data": [value]}
            for name, value in (("a", 3), ("b", 4))
        ]
        reply = httpx.post(f"{server.url}/v2/models/c/infer", json={"inputs": pair}).json()
        assert (reply["outputs"][0]["shape"], reply["outputs"][0]["data"]) == ([], [12])
        wrong = {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        refused = httpx.post(f"{server.url}/v2/models/s/infer", json={"inputs": [wrong]})
        assert refused.status_code == 400
        assert "'s': expected shape [-1, 2]" in refused.json()["error"]


def test_a_program_ends_that_closes_nothing(tmp_path: Path) -> None:
    path = onnx_models.linear(tmp_path)
    program = (
        "import sys, numpy, pelton; model = pelton.load(sys.argv[1]); "
        "print(model({'x': numpy.zeros((1, 6), 'f4')})['y'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PELTON_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert (done.returncode, done.stdout) == (0, "(1, 3)\n"), done.stderr
    assert done.stderr == ""


def test_a_dropped_model_is_freed(tmp_path: Path, settings) -> None:
    path = onnx_models.linear(tmp_path)
    model = pelton.load(path, settings=settings)
    loaded = model._backend._loaded
    engine, number = loaded._engine, loaded.id
    del loaded, model
    assert number not in engine._models


def test_many_loads_and_unloads_leave_no_thread(tmp_path: Path, settings) -> None:
    path = onnx_models.linear(tmp_path)

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    pelton.load(path, settings=settings).close()
    before = threads()
    for _ in range(10):
        pelton.load(path, settings=settings).close()
    assert threads() <= before
    assert threading.active_count() >= 1
