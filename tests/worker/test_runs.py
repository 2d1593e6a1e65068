"""A run of the database, from its row to its result, with a real child process."""

import errno

import pytest
from django.db import OperationalError

from labs import broker, services
from labs.models import Artifact, MetricValue, Run
from worker import attempts, patience, runs, stopping
from worker.models.store import sha256

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folders(settings, tmp_path):
    settings.RUNS_DIR = tmp_path / "runs"
    settings.MODELS_DIR = tmp_path / "models"


@pytest.fixture
def bells(monkeypatch) -> list:
    rung = []
    monkeypatch.setattr(broker, "ring", lambda run_id, **_: rung.append(run_id))
    return rung


@pytest.fixture
def run(alice, bells) -> Run:
    request = services.run_request(lab_slug="rank-sweep", params={"model": "tiny"}, seeds=[0])
    return services.run_submit(user=alice, request=request)


def test_it_stores_what_the_child_says(run, behave, settings):
    behave("finish")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason, run.attempt) == (Run.SUCCEEDED, "", 1)
    assert run.environment == {"hardware": {}}
    assert run.durations["total"] > 0
    assert run.finished_points == [["rank=1,scaling=constant", 0]]
    values = MetricValue.objects.filter(run=run).values_list("name", "point", "seed", "step", "value")
    assert list(values) == [
        ("loss", "rank=1,scaling=constant", 0, 0, 2.0),
        ("validation_loss", "rank=1,scaling=constant", 0, None, 1.5),
    ]
    artifact = Artifact.objects.get(run=run)
    path = settings.RUNS_DIR / str(run.pk) / "artifacts" / "notes.csv"
    assert path.read_text() == "a,b\n"
    assert (artifact.name, artifact.size, artifact.sha256) == ("notes.csv", 4, sha256(path))
    assert [path.name for path in (settings.RUNS_DIR / str(run.pk)).iterdir()] == ["artifacts"]


def test_a_training_under_way_is_told(run, behave):
    behave("train")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert run.training == {"step": 6, "steps": 24, "loss": 2.5, "tokens_per_second": 150.0}
    assert (run.progress_done, run.progress_within) == (1, 0.25)
    assert run.progress_since <= run.progress_at
    assert run.peak_memory_mb > 0


def test_a_crash_says_why_and_keeps_the_finished_point(run, behave):
    behave("crash")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == Run.FAILED
    assert run.reason == "The experiment raised RuntimeError: the experiment is broken"
    assert "RuntimeError" in run.traceback
    assert run.values.count() == 2


def test_advice_follows_the_reason(run, behave):
    behave("diverge")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert run.reason.startswith("Diverged: validation_loss at rank=64,scaling=double (seed 0) was nan.")
    assert run.reason.endswith("Lower the learning rate, or alpha.")
    assert not run.values.exists()


def test_cancelling_stops_the_child(run, behave, monkeypatch):
    behave("sleep")

    def cancel_at_progress(run, **progress) -> None:
        assert services.run_cancel(run)

    monkeypatch.setattr(services, "run_progress", cancel_at_progress)
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason) == (Run.CANCELLED, "The run was cancelled.")


def test_the_time_limit_is_the_settings(run, behave, settings):
    settings.RUN_TIME_LIMIT = 2
    behave("sleep")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == Run.TIMED_OUT
    assert "longer than the limit of 2 seconds" in run.reason


def test_a_finished_run_is_left_alone(run, behave, bells):
    behave("finish")
    runs.execute(run.pk)
    bells.clear()
    runs.execute(run.pk)
    run.refresh_from_db()
    assert run.attempt == 1
    assert run.values.count() == 2
    assert bells == []


def test_a_run_that_somebody_holds_is_left_alone(run, bells):
    services.run_claim(run.pk)
    bells.clear()
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, bells) == (Run.RUNNING, 1, [])


def test_another_attempt_goes_on_with_what_was_finished(run, behave):
    first = services.run_claim(run.pk)
    services.run_finish_point(
        first, key="rank=1,scaling=constant", seed=0, metrics=[{"name": "validation_loss", "step": None, "value": 9.0}]
    )
    services.run_release(first)
    behave("finish")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Run.SUCCEEDED, 2)
    # The child skipped the point that it had got with the job: the first attempt's value stands, once.
    assert list(run.values.values_list("name", "value")) == [("validation_loss", 9.0)]


def test_a_worker_that_stops_gives_the_run_back(run, behave, bells, monkeypatch):
    behave("sleep")
    monkeypatch.setattr(stopping, "is_stopping", lambda: True)
    bells.clear()
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason_code, bells) == (Run.QUEUED, "worker-stopped", [run.pk])


@pytest.mark.django_db(transaction=True)
def test_what_the_run_says_waits_for_a_database_that_is_away(run, behave, monkeypatch):
    behave("finish")
    monkeypatch.setattr(patience, "PAUSE", 0)
    tries = []

    def away_twice(method):
        def call(*args, **kwargs):
            tries.append(method)
            if tries.count(method) <= 2:
                raise OperationalError("the database system is starting up")
            return method(*args, **kwargs)

        return call

    for name in ("run_environment", "run_finish_point", "run_keep_artifact", "run_finish"):
        monkeypatch.setattr(services, name, away_twice(getattr(services, name)))
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.environment) == (Run.SUCCEEDED, {"hardware": {}})
    assert run.values.count() == 2
    assert run.artifacts.count() == 1


def test_a_full_disk_is_an_outcome(run, behave, monkeypatch):
    behave("finish")

    def fill(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(services, "run_keep_artifact", fill)
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason_code) == (Run.FAILED, "disk-full")
    assert run.values.count() == 2


def test_an_error_of_the_worker_itself_does_not_leave_the_run_alive(run, behave, monkeypatch):
    behave("sleep")

    def fail(*args, **kwargs) -> None:
        raise OSError("broken pipe")

    monkeypatch.setattr(services, "run_progress", fail)
    with pytest.raises(OSError, match="broken pipe"):
        runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason) == (Run.FAILED, "The worker itself failed: OSError: broken pipe")


def test_finished_points_come_with_their_values(run):
    claimed = services.run_claim(run.pk)
    metrics = [{"name": "loss", "step": 0, "value": 1.0}, {"name": "validation_loss", "step": None, "value": 2.0}]
    services.run_finish_point(claimed, key="rank=2", seed=3, metrics=metrics)
    services.run_record_values(claimed, [{"point": "rank=4", "seed": 3, "name": "loss", "step": 0, "value": 5.0}])
    claimed.refresh_from_db()
    [point] = attempts.finished_points(claimed)
    assert (point.key, point.seed) == ("rank=2", 3)
    assert [value.model_dump() for value in point.metrics] == metrics
