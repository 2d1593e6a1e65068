"""How a child process of a run is watched, and what its end is called."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import psutil
import pytest

from labs.reasons import REASONS
from worker import supervise
from worker.protocol import ArtifactEvent, EnvironmentEvent, PointEvent, ProgressEvent
from worker.supervise import Limits, Outcome
from worker.training.outcomes import Diverged

ROOT = Path(__file__).resolve().parents[2]


def run(job, *, time_limit: float = 60, cancel_when=lambda _: False, **limits) -> tuple[Outcome, list]:
    events = []
    outcome = supervise.supervise(
        job,
        on_event=events.append,
        on_pulse=lambda _: "cancelled" if cancel_when(events) else None,
        limits=Limits(time_limit, **limits),
    )
    return outcome, events


def pids(events) -> list[int]:
    notes = [event.args["en"] for event in events if isinstance(event, ProgressEvent)]
    return [int(pid) for pid in notes[0].split()]


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_it_passes_on_events_in_order(job, behave):
    behave("finish")
    outcome, events = run(job)
    assert outcome.status == "succeeded", outcome
    assert [event.event for event in events] == [
        "environment", "progress", "metric", "point", "artifact", "done",
    ]  # fmt: skip
    assert isinstance(events[0], EnvironmentEvent)
    assert isinstance(events[3], PointEvent)
    assert [(value.name, value.step, value.value) for value in events[3].metrics] == [
        ("loss", 0, 2.0),
        ("validation_loss", None, 1.5),
    ]
    assert isinstance(events[4], ArtifactEvent)
    assert events[5].durations["total"] > 0


def test_prints_go_to_the_log(job, behave):
    behave("chatter")
    outcome, events = run(job)
    assert outcome.status == "succeeded"
    assert len(events) == 6
    assert "a library prints" in outcome.log
    assert "and C code too" in outcome.log


def test_it_keeps_secrets_from_the_child(job, behave, monkeypatch):
    for name in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "HUB_TOKEN", "DB_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    behave("show_environment")
    _, events = run(job)
    names = events[1].args["en"].split(",")
    assert "PATH" in names
    assert "HF_HUB_OFFLINE" in names
    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "HUB_TOKEN", "DB_PASSWORD"} & set(names)


def test_a_crash_is_an_outcome_and_keeps_what_was_finished(job, behave):
    behave("crash")
    outcome, events = run(job)
    assert outcome.status == "failed"
    assert outcome.reason == "The experiment raised RuntimeError: the experiment is broken"
    assert "stub_child.py" in outcome.traceback
    assert sum(isinstance(event, PointEvent) for event in events) == 1


def test_a_value_that_is_not_finite_is_named(job, behave):
    behave("diverge")
    outcome, events = run(job)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("Diverged: validation_loss at rank=64,scaling=double (seed 0) was nan.")
    assert "learning rate" in outcome.reason
    assert not any(isinstance(event, PointEvent) for event in events)


def test_a_training_that_diverges_is_named_and_comes_with_advice(job, behave):
    behave("diverge_in_training")
    outcome, events = run(job)
    assert (outcome.status, outcome.code) == ("failed", "loss-too-high")
    assert "in step 5 of rank=64,scaling=double (seed 0)" in outcome.reason
    assert "Lower the learning rate" in outcome.reason
    assert not any(isinstance(event, PointEvent) for event in events)


def test_every_way_to_diverge_is_told():
    ways = get_args(Diverged.__init__.__annotations__["reason"])
    assert {Diverged(way, step=0).code for way in ways} <= set(REASONS)


def test_running_out_of_memory_comes_with_advice(job, behave):
    behave("run_out_of_memory")
    outcome, _ = run(job)
    assert (outcome.status, outcome.code) == ("failed", "out-of-memory")
    assert "Lower the batch size" in outcome.reason
    assert outcome.peak_memory_mb >= 300


def test_the_memory_limit_becomes_advice_and_not_a_kill(job, behave):
    behave("allocate")
    outcome, _ = run(job, memory_mb=512)
    assert outcome.status == "failed"
    assert "asked for more memory than the 0.5 GB it may use" in outcome.reason


def test_the_memory_limit_holds_for_all_processes_together(job, behave):
    behave("allocate_in_helpers")
    outcome, events = run(job, memory_mb=400)
    assert (outcome.status, outcome.code) == ("failed", "memory-limit")
    assert re.match(r"The run held 0\.[4-9] GB of memory, over the limit of 0\.4 GB\. ", outcome.reason)
    assert outcome.peak_memory_mb > 400
    assert all(wait_until_gone(pid) for pid in pids(events))


@pytest.mark.parametrize("behaviour", ["write_one_large_file", "write_many_files", "keep_many_files"])
def test_files_over_the_limit_end_the_run(job, behave, behaviour):
    behave(behaviour)
    outcome, _ = run(job, disk_mb=16)
    assert (outcome.status, outcome.code) == ("failed", "disk-limit")
    assert "passed the limit of 16 MB" in outcome.reason


def test_a_full_disk_is_an_outcome(job, behave):
    behave("fill_the_disk")
    outcome, _ = run(job)
    assert (outcome.status, outcome.code) == ("failed", "disk-full")


@pytest.mark.parametrize("behaviour", ["keep_a_pickle", "keep_above", "keep_a_stranger"])
def test_only_plain_files_of_the_run_are_kept(job, behave, behaviour):
    behave(behaviour)
    outcome, events = run(job)
    assert (outcome.status, outcome.code) == ("failed", "bad-artifact")
    assert not any(isinstance(event, ArtifactEvent) for event in events)


def test_a_killed_child_is_an_outcome(job, behave):
    behave("be_killed")
    outcome, _ = run(job)
    assert outcome.status == "failed"
    assert "killed, most likely because the machine ran out of memory" in outcome.reason


def test_a_child_that_leaves_early_has_failed(job, behave):
    behave("leave")
    outcome, _ = run(job)
    assert (outcome.status, outcome.code, outcome.args) == ("failed", "ended-early", {"code": 3})


def test_something_that_is_not_an_event_fails_the_run(job, behave):
    behave("garble")
    outcome, events = run(job)
    assert outcome.status == "failed"
    assert "not an event" in outcome.reason
    assert events == []


def test_an_invalid_job_starts_nothing(job):
    outcome, events = run(job.model_copy(update={"params": {"model": "gpt-9"}}))
    assert outcome.status == "failed"
    assert "Unknown model 'gpt-9'; allowed: smollm2-135m, minilm-l6, tiny" in outcome.reason
    assert events == []


@pytest.mark.parametrize("behaviour", ["sleep", "sleep_through_sigterm"])
def test_cancelling_ends_the_whole_group(job, behave, monkeypatch, behaviour):
    monkeypatch.setattr(supervise, "GRACE_SECONDS", 0.3)
    behave(behaviour)
    outcome, events = run(job, cancel_when=lambda events: len(events) == 2)
    assert outcome.status == "cancelled"
    assert all(wait_until_gone(pid) for pid in pids(events))


def test_the_time_limit_holds_for_a_silent_child(job, behave):
    behave("sleep")
    outcome, events = run(job, time_limit=3)
    assert outcome.status == "timed_out"
    assert outcome.reason.startswith("The run took longer than the limit of 3 seconds.")
    assert all(wait_until_gone(pid) for pid in pids(events))


def test_an_error_of_the_listener_ends_the_child(job, behave):
    behave("sleep")
    events = []

    def listen(event) -> None:
        events.append(event)
        if isinstance(event, ProgressEvent):
            raise OSError("the database is gone")

    with pytest.raises(OSError, match="the database is gone"):
        supervise.supervise(job, on_event=listen, on_pulse=lambda _: None, limits=Limits(60))
    assert all(wait_until_gone(pid) for pid in pids(events))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux only")
def test_a_killed_supervisor_leaves_no_orphan(job):
    script = (
        "import sys; from worker import supervise; from worker.protocol import Job;"
        "supervise.COMMAND = (sys.executable, 'tests/worker/stub_child.py', 'sleep');"
        "supervise.supervise(Job.model_validate_json(sys.argv[1]), limits=supervise.Limits(60),"
        "on_pulse=lambda _: None,"
        "on_event=lambda event: print(getattr(event, 'args', {}).get('en', ''), flush=True))"
    )
    command = [sys.executable, "-c", script, job.model_dump_json()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "\n"  # the environment
        child, helper = map(int, parent.stdout.readline().split())
        parent.kill()
    assert wait_until_gone(child)
    os.kill(helper, signal.SIGKILL)  # what an experiment starts itself is not protected; end it here


def test_supervising_needs_no_torch():
    script = "import sys, worker.supervise, worker.models.store, worker.runs; sys.exit('torch' in sys.modules)"
    script = "import django, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; django.setup();" + script
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
