"""Whatever dies, no run is lost, none is stuck, its results are there once, and the site answers all along."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time

import psutil

from tests.faults.site import ALLOCATE, FULL_DISK, IGNORE_SIGTERM, WRITE, Site
from tests.stack.processes import ROOT, until

HOUR = 3600
POINTS = 3


def assert_succeeded(runs, *, attempt: int | None = None, points: int = POINTS) -> None:
    for run in runs:
        assert (run["status"], run["reason_code"], run["results"]) == ("succeeded", "", points)
        assert attempt is None or run["attempt"] == attempt


# --- who dies ---------------------------------------------------------------------------------------------------------


def test_a_killed_child_is_an_outcome(site):
    ids = site.submit()
    site.in_the_middle(ids)
    [child] = site.children()
    child.kill()
    [run] = site.finished(ids)
    assert (run["status"], run["reason_code"]) == ("failed", "killed")
    assert run["results"] >= 1


def test_a_killed_pool_process_loses_no_run(site):
    ids = site.submit()
    site.in_the_middle(ids)
    site.pool_process("a").kill()
    assert_succeeded(site.finished(ids), attempt=2)


def test_a_killed_main_process_loses_no_run(site):
    ids = site.submit()
    site.in_the_middle(ids)
    site.kill_worker("a")
    until(lambda: not site.children(), seconds=3, what="the end of the orphan")
    site.start_worker("a")
    assert_succeeded(site.finished(ids), attempt=2)


def test_a_stopped_worker_gives_its_run_back_at_once(site):
    ids = site.submit()
    site.in_the_middle(ids)
    site.stop_worker("a", within=6)
    [run] = site.look(ids)
    assert (run["status"], run["reason_code"], run["lost_attempts"]) == ("queued", "worker-stopped", 0)
    assert site.children() == []
    site.start_worker("a")
    assert_succeeded(site.finished(ids), attempt=2)


def test_a_killed_broker_loses_none_of_50_waiting_runs(site):
    ids = site.submit(points=1, pause=1, count=50)
    site.broker.stop(signal.SIGKILL)
    time.sleep(1)
    site.broker.start()
    assert_succeeded(site.finished(ids, seconds=120), points=1)


def test_a_database_that_is_away_in_the_middle_of_a_run_ends_nothing(shaken_site):
    ids = shaken_site.submit(points=8)
    shaken_site.in_the_middle(ids)
    take_the_database_away(shaken_site, seconds=10 if shaken_site.database is None else 3)
    assert_succeeded(shaken_site.finished(ids), points=8, attempt=1)


def take_the_database_away(site: Site, *, seconds: float) -> None:
    if site.database:
        site.database.stop(signal.SIGQUIT)  # as after a crash
        time.sleep(seconds)
        site.database.start()
        return
    with sqlite3.connect(site.data_dir / "proofdeck.sqlite3", isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        lock.execute("ROLLBACK")


def test_a_worker_that_falls_silent_loses_its_run_and_cannot_write_any_more(site):
    ids = site.submit(points=6)
    site.in_the_middle(ids)
    site.signal_all("a", signal.SIGSTOP)
    site.start_worker("b")
    until(lambda: site.look(ids)[0]["attempt"] == 2, seconds=20, what="the second attempt")
    site.signal_all("a", signal.SIGCONT)
    runs = site.finished(ids)
    site.stop_worker("b", within=6)
    assert_succeeded(runs, points=6, attempt=2)
    assert runs[0]["worker"].startswith("b@")


# --- who is given what ------------------------------------------------------------------------------------------------


def test_of_two_workers_that_claim_one_run_200_times_one_wins_each(site):
    site.stop_worker("a", within=6)
    ids = site.do("submit", behaviour=0, points=1, pause=1, count=200, with_bell=False)
    won: dict[str, list[int]] = {}

    def claim(worker: str) -> None:
        code = f"from tests.faults.driver import claim; print(claim(ids={ids}, worker={worker!r}))"
        command = [sys.executable, "-c", code]
        answer = subprocess.run(command, env=site.environment, cwd=ROOT, check=True, capture_output=True, text=True)
        won[worker] = list(map(int, answer.stdout.strip("[]\n").split(","))) if answer.stdout.strip() != "[]" else []

    claimers = [threading.Thread(target=claim, args=(name,)) for name in ("one", "two")]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join()
    assert sorted(won["one"] + won["two"]) == ids
    assert {run["attempt"] for run in site.look(ids)} == {1}
    site.do("end", ids=ids)
    site.start_worker("a")


def test_a_clock_that_jumps_neither_ends_a_lease_nor_makes_it_last(site):
    ids = site.submit(points=12)
    site.in_the_middle(ids)
    for jump in (-HOUR, HOUR, -HOUR):
        assert site.do("shift_leases", seconds=jump) == 1
        time.sleep(1.2)
    assert_succeeded(site.finished(ids), points=12, attempt=1)

    ids = site.submit()
    site.in_the_middle(ids)
    site.kill_worker("a")
    site.do("shift_leases", seconds=HOUR)
    site.start_worker("a")
    assert_succeeded(site.finished(ids), attempt=2)


# --- who takes too much -----------------------------------------------------------------------------------------------


def test_endless_allocation_ends_with_figures_and_advice(site):
    [run] = site.finished(site.submit(ALLOCATE))
    assert (run["status"], run["reason_code"]) == ("failed", "out-of-memory")
    assert run["reason_args"]["limit"] == "0.5"
    assert 0.4 <= float(run["reason_args"]["peak"]) <= 0.6


def test_files_without_end_and_a_full_disk_are_outcomes(site):
    endless, full = site.finished([*site.submit(WRITE), *site.submit(FULL_DISK)])
    assert (endless["status"], endless["reason_code"], endless["reason_args"]) == (
        "failed",
        "disk-limit",
        {"limit": 16},
    )
    assert (full["status"], full["reason_code"]) == ("failed", "disk-full")
    assert not list((site.data_dir / "runs").glob("*/scratch*"))


def test_a_run_that_ignores_sigterm_is_cancelled_within_three_seconds(site):
    ids = site.submit(IGNORE_SIGTERM, points=12)
    site.in_the_middle(ids)
    [child] = site.children()
    began = time.monotonic()
    assert site.do("cancel", id=ids[0])
    [run] = site.finished(ids)
    assert time.monotonic() - began < 3
    assert run["status"] == "cancelled"
    assert not psutil.pid_exists(child.pid)
