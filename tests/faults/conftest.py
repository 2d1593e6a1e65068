from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.servers import embedded_broker, postgres, redis_broker, started
from tests.faults.site import Probe, Site


@pytest.fixture(scope="package")
def embedded_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("embedded") / "data"
    data_dir.mkdir()
    with started(embedded_broker(data_dir)) as broker:
        yield from running(Site(data_dir, broker))


@pytest.fixture(scope="package")
def server_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("servers")
    with postgres() as database, started(redis_broker(folder)) as broker:
        yield from running(Site(folder / "data", broker, database))


def running(site: Site) -> Iterator[Site]:
    try:
        site.start()
        yield site
        site.stop()
    finally:
        site.kill()


@pytest.fixture(params=["embedded_site", "server_site"])
def whole_site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(request.param)


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """A site with one worker that answers all along, pages from the database too."""
    if "a" not in whole_site.processes:  # what a failed test left
        whole_site.start_worker("a")
    probe = Probe(whole_site.url, ("healthz", "labs/"))
    probe.start()
    yield whole_site
    probe.stop()
    assert {status for (_, status) in probe.answers} == {200}, probe.answers


@pytest.fixture
def shaken_site(whole_site: Site) -> Iterator[Site]:
    """One whose database goes away for a while: what needs none answers all along."""
    probe = Probe(whole_site.url, ("healthz",))
    probe.start()
    yield whole_site
    probe.stop()
    assert set(probe.answers) == {("healthz", 200)}, probe.answers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
            # Each stack is started once, and they run beside each other: most of the time they wait.
            item.add_marker(pytest.mark.xdist_group("servers" if "server_site" in item.nodeid else "embedded"))
