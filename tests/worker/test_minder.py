"""The thread that looks after the runs of all workers, and the sign that a worker stops."""

import os
import socket
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from labs import broker, services
from labs.models import Run
from tests.builders import make_run
from worker import stopping
from worker.minder import Minder

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bells(monkeypatch) -> list:
    rung = []
    monkeypatch.setattr(broker, "ring", lambda run_id, **_: rung.append(run_id))
    return rung


def test_an_idle_worker_rings_for_runs_of_its_queues(alice, bells):
    waiting = make_run(alice, status=Run.QUEUED)
    make_run(alice, status=Run.QUEUED, queue=Run.GPU)
    Minder("cpu@a", ["cpu"], is_idle=lambda: True).look()
    assert bells == [waiting.pk]


def test_a_busy_worker_rings_for_nothing(alice, bells):
    make_run(alice, status=Run.QUEUED)
    Minder("cpu@a", ["cpu"], is_idle=lambda: False).look()
    assert bells == []


def test_it_takes_back_what_a_silent_worker_held(alice, bells, monkeypatch):
    ended = timezone.now() - timedelta(seconds=1)
    run = make_run(alice, status=Run.RUNNING, attempt=1, lease_until=ended)
    seconds = iter(range(0, 1000, 10))
    minder = Minder("cpu@a", ["cpu"], is_idle=lambda: False)
    minder.leases = services.LeaseWatch(lambda: next(seconds) // 20 * 20)  # each look takes no time
    minder.look()
    minder.look()
    run.refresh_from_db()
    assert (run.status, run.reason_code, bells) == (Run.QUEUED, "worker-lost", [run.pk])


@pytest.mark.parametrize("error", [OperationalError("gone"), broker.BrokerDown("gone")])
def test_what_is_away_is_looked_for_again(monkeypatch, error):
    looks = []

    def reap(leases) -> list[int]:
        looks.append(leases)
        if len(looks) == 1:
            raise error
        return []

    monkeypatch.setattr(services, "runs_reap", reap)
    minder = Minder("cpu@a", ["cpu"], is_idle=lambda: False)
    minder.look()
    minder.look()
    assert len(looks) == 2


def test_the_sign_to_stop_is_for_this_worker_and_can_be_taken_back(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    assert not stopping.is_stopping()
    stopping.announce_stop()
    assert stopping.is_stopping()
    assert [path.name for path in (tmp_path / "workers").iterdir()] == [
        f"{socket.gethostname()}-{os.getpid()}.stopping"
    ]
    stopping.withdraw_stop()
    assert not stopping.is_stopping()
