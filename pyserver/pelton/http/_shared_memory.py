"""The extension system_shared_memory: its routes, and requests whose tensors lie there.

Source: triton-inference-server/server `docs/protocol/extension_shared_memory.md`. It is off unless
the setting `shared_memory` turns it on, and then for processes of the server's user on its host.
"""

from __future__ import annotations

from dataclasses import replace

from pelton.codec import InferRequest, InferResponse, SharedMemory
from pelton.codec.management import decode_region
from pelton.codec.memory import shared_bytes, shared_tensor
from pelton.errors import InvalidInput, PayloadTooLarge
from pelton.http._answers import Answer, json_answer
from pelton.http._exchange import Exchange
from pelton.http._management import check_same_user
from pelton.http._regions import Region, Regions

__all__ = ["SharedTensors", "register", "status", "unregister", "uses_memory"]


async def _regions(exchange: Exchange) -> Regions:
    """Raises `Unimplemented` where it is off, `Forbidden` for those it is not for."""
    regions = exchange.state.shared_regions
    await check_same_user(exchange)
    return regions


async def register(exchange: Exchange) -> Answer:
    await _regions(exchange)
    body = await exchange.body()
    place = decode_region(body, exchange.state.limits)
    region = (exchange.path_params["region"], *place)
    await exchange.state.control.apply("register_region", region)
    return json_answer({})


async def unregister(exchange: Exchange) -> Answer:
    """One region, or all. One that is not registered is no error: clients clear up with this."""
    await _regions(exchange)
    await exchange.state.control.apply("unregister_region", exchange.path_params.get("region"))
    return json_answer({})


async def status(exchange: Exchange) -> Answer:
    regions = await _regions(exchange)
    name = exchange.path_params.get("region")
    if name is not None:
        regions.region(name)
    return json_answer([row for row in regions.status() if name in (None, row["name"])])


def uses_memory(request: InferRequest) -> bool:
    return bool(request.shared_inputs) or any(
        output.memory is not None for output in request.outputs or ()
    )


class SharedTensors:
    """The shared memory of one request. Its regions stay open for as long as this object lives."""

    def __init__(self, exchange: Exchange, request: InferRequest) -> None:
        self._exchange = exchange
        self._request = request
        self._pinned: dict[str, Region] = {}

    async def open(self) -> InferRequest:
        """The request with the inputs copied in. Raises `InvalidInput` for what is no region or not
        within one, `PayloadTooLarge` where the inputs together are over the limit of a body, and
        what `Regions` raise."""
        regions = await _regions(self._exchange)
        inputs = [shared.memory for shared in self._request.shared_inputs]
        outputs = [o.memory for o in self._request.outputs or () if o.memory is not None]
        for memory in (*inputs, *outputs):
            region = regions.region(memory.region)
            region.check(memory.offset, memory.byte_size)
            self._pinned[memory.region] = region
        size = sum(memory.byte_size for memory in inputs)
        limit = self._exchange.state.settings.body_bytes_max
        if size > limit:
            raise PayloadTooLarge(
                f"expected inputs of at most {limit} bytes in shared memory, got {size}",
                expected=f"at most {limit} bytes",
                got=f"{size} bytes",
            )
        return await self._exchange.off_loop(size, self._read)

    def _read(self) -> InferRequest:
        tensors = [
            shared_tensor(shared, self._pinned[shared.memory.region].read(*_place(shared.memory)))
            for shared in self._request.shared_inputs
        ]
        request = self._request
        return replace(request, inputs=(*request.inputs, *tensors), shared_inputs=())

    async def put(self, response: InferResponse) -> InferRequest:
        """Copies outputs out; the request then names the bytes that were written. Raises
        `InvalidInput` for an output that does not fit."""
        size = sum(len(shared_bytes(t)) for t in response.outputs if not isinstance(t.data, list))
        return await self._exchange.off_loop(size, self._write, response)

    def _write(self, response: InferResponse) -> InferRequest:
        by_name = {tensor.name: tensor for tensor in response.outputs}
        outputs = []
        for output in self._request.outputs or ():
            memory = output.memory
            if memory is not None:
                data = shared_bytes(by_name[output.name])
                if len(data) > memory.byte_size:
                    raise _too_small(output.name, memory, len(data))
                self._pinned[memory.region].write(memory.offset, data)
                output = replace(output, memory=replace(memory, byte_size=len(data)))
            outputs.append(output)
        return replace(self._request, outputs=tuple(outputs) or None)


def _place(memory: SharedMemory) -> tuple[int, int]:
    return memory.offset, memory.byte_size


def _too_small(name: str, memory: SharedMemory, size: int) -> InvalidInput:
    return InvalidInput(
        f"output {name!r}: expected at least {size} bytes of shared memory, got {memory.byte_size}",
        tensor=name,
        field="shared_memory_byte_size",
        expected=f"at least {size} bytes",
        got=f"{memory.byte_size} bytes",
    )
