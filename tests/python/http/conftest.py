from __future__ import annotations

from collections.abc import Iterator

import pytest

from pelton.http import Application, ServerState
from pelton.model import Model, load
from pelton.settings import Settings
from python import toys
from python.http.asgi import Asgi
from python.http.hostile import PATHS, Running, running, until


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("http-models")
    settings = Settings(threads=2, cache_dir=str(folder / "cache"), text_bytes_max=4096)
    paths = {
        "tiny": toys.tiny_encoder(folder),
        "plus_one": toys.plus_one(folder),
        "two": toys.two_by_two(folder),
    }
    models = {name: load(path, settings=settings) for name, path in paths.items()}
    yield models
    for model in models.values():
        model.close()


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(threads=2, cache_dir="unused", body_bytes_max=1 << 20)


@pytest.fixture
def told():
    return toys.told_model()


@pytest.fixture
def state(toy_models, told, settings) -> Iterator[ServerState]:
    state = ServerState({**toy_models, "told": told[1]}, settings)
    yield state
    state.close()


@pytest.fixture
def client(state) -> Iterator[Asgi]:
    client = Asgi(Application(state))
    yield client
    client.close()


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("hostile"), has_text=True) as running_server:
        yield running_server


@pytest.fixture
def server(module_server: Running) -> Iterator[Running]:
    """Over real sockets; no test leaves anything behind in it."""
    yield module_server
    until(module_server.is_idle)


@pytest.fixture(params=PATHS, ids=("native", "python"))
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)
