from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stack.processes import Stack, running_stack
from tests.stack.servers import postgres_server, redis_server


@pytest.fixture(scope="module", params=["embedded", "servers"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole application as a user starts it, in a folder with a space. It must stop cleanly."""
    folder = tmp_path_factory.mktemp("a stack")
    with ExitStack() as servers:
        more = {}
        if request.param == "servers":
            more["DATABASE_URL"] = servers.enter_context(postgres_server())
            more["REDIS_URL"] = servers.enter_context(redis_server(folder))
            more["SECRET_KEY"] = "known to the test only"
        with running_stack(folder / "data", **more) as stack:
            yield stack
            assert stack.stop() == 0
            assert stack.leftovers() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"
