"""A sweep of which two workers compute a point each at a time, and what may go wrong meanwhile."""

import signal
import time

import pytest

from tests.faults.site import Site
from tests.stack.processes import until

POINTS = 6


@pytest.fixture
def shared_site(site):
    """Workers a and b, which know of each other."""
    site.start_worker("b")
    site.do("announce", workers=["a", "b"])
    yield site
    site.do("announce", workers=[])
    if "b" in site.processes:
        site.kill_worker("b")  # how a worker stops is promised in test_faults
    if "a" not in site.processes:
        site.start_worker("a")


def parts_of(site: Site, run_id: int, worker: str, *statuses: str) -> list[dict]:
    parts = site.do("parts", id=run_id)
    return [part for part in parts if part["worker"].startswith(f"{worker}@") and part["status"] in statuses]


def both_at_work(site: Site, run_id: int) -> None:
    """When each worker has finished a point and has just begun another."""
    until(
        lambda: all(parts_of(site, run_id, worker, "succeeded") for worker in "ab"), seconds=40, what="a point of each"
    )
    until(lambda: all(parts_of(site, run_id, worker, "running") for worker in "ab"), seconds=10, what="another of each")


def holder_of(site: Site, run_id: int) -> str:
    return str(site.look([run_id])[0]["worker"].split("@")[0])


def assert_each_computed_once(site: Site, run: dict, *, attempt: int) -> None:
    assert (run["status"], run["reason_code"], run["attempt"]) == ("succeeded", "", attempt)
    keys = [f"rank={rank},scaling=constant" for rank in range(1, POINTS + 1)]
    assert sorted(site.computed(run["id"])) == sorted(keys)
    assert run["results"] == POINTS
    assert {part["status"] for part in site.do("parts", id=run["id"])} == {"succeeded"}


def test_two_workers_share_a_sweep(shared_site):
    ids = shared_site.submit(points=POINTS, pause=100)
    until(lambda: len(shared_site.children()) == 2, seconds=30, what="two points at the same time")
    [run] = shared_site.finished(ids)
    assert_each_computed_once(shared_site, run, attempt=1)
    assert {part["worker"][0] for part in shared_site.do("parts", id=ids[0])} == {"a", "b"}


@pytest.mark.parametrize("victim", ["helper", "holder"])
def test_one_of_two_workers_is_killed_in_the_middle(shared_site, victim):
    ids = shared_site.submit(points=POINTS, pause=150)
    both_at_work(shared_site, ids[0])
    holder = holder_of(shared_site, ids[0])
    shared_site.kill_worker(holder if victim == "holder" else {"a": "b", "b": "a"}[holder])
    [run] = shared_site.finished(ids, seconds=60)
    assert_each_computed_once(shared_site, run, attempt=2 if victim == "holder" else 1)
    if victim == "helper":  # its point is somebody else's second attempt
        assert sorted(part["attempt"] for part in shared_site.do("parts", id=ids[0])) == [1] * (POINTS - 1) + [2]


def test_one_of_two_workers_is_stopped_in_the_middle(shared_site):
    ids = shared_site.submit(points=POINTS, pause=150)
    both_at_work(shared_site, ids[0])
    shared_site.stop_worker("b", within=6)
    [run] = shared_site.finished(ids, seconds=60)
    assert_each_computed_once(shared_site, run, attempt=run["attempt"])


def test_cancelling_ends_the_points_of_all_workers(shared_site):
    ids = shared_site.submit(points=POINTS, pause=300)
    until(lambda: len(shared_site.children()) == 2, seconds=30, what="two points at the same time")
    began = time.monotonic()
    assert shared_site.do("cancel", id=ids[0])
    until(lambda: not shared_site.children(), seconds=10, what="the end of the children")
    assert time.monotonic() - began < 3
    [run] = shared_site.finished(ids)
    assert run["status"] == "cancelled"
    assert not [part for part in shared_site.do("parts", id=ids[0]) if part["status"] in ("queued", "running")]


def test_a_point_that_cannot_be_computed_takes_no_other_with_it(shared_site):
    ids = shared_site.submit(points=POINTS, pause=150)
    until(lambda: len(shared_site.children()) == 2, seconds=30, what="two points at the same time")
    time.sleep(0.5)
    shared_site.children()[0].send_signal(signal.SIGKILL)
    [run] = shared_site.finished(ids)
    assert (run["status"], run["reason_code"], run["results"]) == ("failed", "points-failed", POINTS - 1)
    [failed] = [part for part in shared_site.do("parts", id=ids[0]) if part["status"] == "failed"]
    assert run["reason_args"]["points"] == f"{failed['key']} (seed 0)"
    assert run["reason_args"]["reason"]["code"] == "killed"


def test_a_lost_broker_does_not_stop_a_shared_sweep(shared_site):
    ids = shared_site.submit(points=POINTS, pause=150)
    until(lambda: len(shared_site.children()) == 2, seconds=30, what="two points at the same time")
    shared_site.broker.stop(signal.SIGKILL)
    time.sleep(1)
    shared_site.broker.start()
    [run] = shared_site.finished(ids, seconds=60)
    assert_each_computed_once(shared_site, run, attempt=1)
