"""tritonclient.http.aio: aiohttp asks for gzip and deflate with every call, and metadata is read as
it comes."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from conformance.values import ALL, BINARY_ONLY, triton_input, values_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def run(served: Any, http: Any) -> Callable[..., Any]:
    """Runs a coroutine function with a client."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aio = pytest.importorskip("tritonclient.http.aio")

    def run(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            client = aio.InferenceServerClient(served.url.removeprefix("http://"))
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(asyncio.wait_for(main(), 60))

    return run


def test_everything_but_inference(run: Any) -> None:
    async def work(client: Any) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("tiny")
        assert "statistics" in (await client.get_server_metadata())["extensions"]
        metadata = await client.get_model_metadata("tiny")
        config = await client.get_model_config("tiny")
        assert config["output"][0]["name"] == metadata["outputs"][0]["name"]
        statistics = await client.get_inference_statistics()
        assert len(statistics["model_stats"]) == 4

    run(work)


@pytest.mark.parametrize("count", [0, 1, 6000])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_inference(count: int, binary: bool, coding: str | None, run: Any, http: Any) -> None:
    values = (np.arange(4 * count, dtype=np.float32) % 999).reshape(count, 4)

    async def work(client: Any) -> Any:
        result = await client.infer(
            "plus_one",
            [triton_input(http, "x", "FP32", values, binary=binary)],
            outputs=[http.InferRequestedOutput("y", binary_data=binary)],
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        return result.as_numpy("y")

    np.testing.assert_array_equal(run(work), values + 1)


def test_every_datatype_is_read_and_refused_by_name(run: Any, http: Any) -> None:
    async def work(client: Any) -> None:
        for datatype in ALL:
            for binary in (True, False):
                if datatype == "FP32" or (not binary and datatype in BINARY_ONLY):
                    continue
                values = values_of(datatype, (2, 4), binary=binary)
                given = triton_input(http, "x", datatype, values, binary=binary)
                with pytest.raises(http.InferenceServerException, match=f"got {datatype}"):
                    await client.infer("plus_one", [given])

    run(work)


def test_many_at_once(run: Any, http: Any) -> None:
    async def work(client: Any) -> Any:
        values = np.ones((2, 4), np.float32)
        given = [triton_input(http, "x", "FP32", values)]
        return await asyncio.gather(*(client.infer("plus_one", given) for _ in range(100)))

    assert all((result.as_numpy("y") == 2).all() for result in run(work))


def test_errors_are_shown_with_their_text(run: Any, http: Any) -> None:
    async def work(client: Any) -> None:
        given = [triton_input(http, "x", "FP32", np.ones((1, 4), np.float32))]
        with pytest.raises(http.InferenceServerException, match="there is no model 'none'"):
            await client.infer("none", given)
        with pytest.raises(http.InferenceServerException, match="there is no model 'none'"):
            await client.get_model_config("none")

    run(work)
