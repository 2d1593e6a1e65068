from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.processes import Stack, running_stack
from tests.stack.servers import postgres_server, redis_server


@contextmanager
def stopped_cleanly(data_dir: Path, **more: str) -> Iterator[Stack]:
    """The whole application as a user starts it. It must stop when told, and leave nothing behind."""
    with running_stack(data_dir, **more) as stack:
        yield stack
        assert stack.stop() == 0
        assert stack.leftovers() == []


@pytest.fixture(scope="package")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stopped_cleanly(tmp_path_factory.mktemp("an embedded stack") / "data") as stack:
        yield stack


@pytest.fixture(scope="package")
def server_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("a stack of servers")
    with postgres_server() as database, redis_server(folder) as broker:
        more = {"DATABASE_URL": database, "REDIS_URL": broker, "SECRET_KEY": "known to the test only"}
        with stopped_cleanly(folder / "data", **more) as stack:
            yield stack


@pytest.fixture(params=["embedded_stack", "server_stack"])
def stack(request: pytest.FixtureRequest) -> Stack:
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
            # Tests of one stack stay in one process, so that it is started once.
            stacks = [name for name in ("embedded_stack", "server_stack") if name in item.nodeid]
            item.add_marker(pytest.mark.xdist_group((stacks or [item.path.stem])[0]))
