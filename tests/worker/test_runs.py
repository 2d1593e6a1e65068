"""A run of the database, from its row to its result, with a real child process."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labs import broker, services
from labs.models import Artifact, MetricValue, Run
from worker import runs
from worker.models.store import sha256

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folders(settings, tmp_path):
    settings.RUNS_DIR = tmp_path / "runs"
    settings.MODELS_DIR = tmp_path / "models"


@pytest.fixture
def bells(monkeypatch) -> list:
    rung = []
    monkeypatch.setattr(broker, "ring", lambda run_id, countdown=0: rung.append((run_id, countdown)))
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
    assert not (settings.RUNS_DIR / str(run.pk) / "scratch").exists()


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
    assert run.reason.startswith("diverged: validation_loss at rank=64,scaling=double")
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


def test_a_run_that_is_alive_elsewhere_is_asked_for_again_later(run, bells):
    services.run_claim(run.pk)
    bells.clear()
    runs.execute(run.pk)
    [(run_id, countdown)] = bells
    assert run_id == run.pk
    assert 10 < countdown <= services.LEASE.total_seconds() + 1


def test_a_run_whose_worker_died_is_taken_over_with_what_was_finished(run, behave):
    first = services.run_claim(run.pk)
    services.run_finish_point(
        first, key="rank=1,scaling=constant", seed=0, metrics=[{"name": "validation_loss", "step": None, "value": 9.0}]
    )
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    behave("finish")
    runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Run.SUCCEEDED, 2)
    # The child skipped the point that it had got with the job: the first attempt's value stands, once.
    assert list(run.values.values_list("name", "value")) == [("validation_loss", 9.0)]


def test_an_error_of_the_worker_itself_does_not_leave_the_run_alive(run, behave, monkeypatch):
    behave("sleep")

    def fail(*args, **kwargs) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(services, "run_progress", fail)
    with pytest.raises(OSError, match="disk full"):
        runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.reason) == (Run.FAILED, "The worker itself failed: OSError: disk full")


def test_finished_points_come_with_their_values(run):
    claimed = services.run_claim(run.pk)
    metrics = [{"name": "loss", "step": 0, "value": 1.0}, {"name": "validation_loss", "step": None, "value": 2.0}]
    services.run_finish_point(claimed, key="rank=2", seed=3, metrics=metrics)
    services.run_record_values(claimed, [{"point": "rank=4", "seed": 3, "name": "loss", "step": 0, "value": 5.0}])
    claimed.refresh_from_db()
    [point] = runs.finished_points(claimed)
    assert (point.key, point.seed) == ("rank=2", 3)
    assert [value.model_dump() for value in point.metrics] == metrics
