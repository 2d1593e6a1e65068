"""What a worker has, and which GPU a run gets: without a GPU in sight."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from labs.catalog import get_lab
from labs.declaration import Needs, Preset
from labs.models import Machine, Run
from tests.builders import make_run
from worker import app, gpus, machine
from worker.environment import ROOT
from worker.machine import Announcer, device_at, device_for, gpus_at, pool_size
from worker.supervise import child_environment

TWO = [{"name": "A", "memory_mb": 8000, "capability": "8.0"}, {"name": "B", "memory_mb": 24000, "capability": "8.9"}]


@pytest.fixture(autouse=True)
def _asked_anew():
    asked = machine.gpus
    asked.cache_clear()
    yield
    asked.cache_clear()


@pytest.mark.parametrize(
    ("queues", "found", "size"), [(["cpu"], TWO, 1), (["gpu"], TWO, 2), (["cpu", "gpu"], TWO, 2), (["gpu"], [], 1)]
)
def test_a_worker_takes_one_run_a_gpu(queues, found, size):
    assert pool_size(queues, found) == size


@pytest.mark.parametrize(
    ("place", "visible", "device"),
    [(0, None, "0"), (1, None, "1"), (0, "3,5", "3"), (1, "3, 5", "5"), (1, "GPU-aa,GPU-bb", "GPU-bb"), (2, None, "0")],
)
def test_each_pool_process_has_a_gpu_of_its_own(place, visible, device):
    assert device_at(place, TWO, visible) == device
    assert gpus_at(place, TWO) == [TWO[place % 2]]


def test_without_gpus_there_is_no_device():
    assert device_at(0, [], None) == ""
    assert gpus_at(0, []) == []


def test_a_run_of_the_cpu_queue_sees_no_gpu(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: TWO)
    monkeypatch.setattr(machine, "place", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (device_for(Run(queue=Run.CPU)), device_for(Run(queue=Run.GPU))) == ("", "1")


def test_the_child_sees_the_device_it_was_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert child_environment("1")["CUDA_VISIBLE_DEVICES"] == "1"
    assert child_environment("")["CUDA_VISIBLE_DEVICES"] == ""
    assert child_environment()["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(
    ("device", "told", "policy"), [("", None, None), ("1", None, "PASSIVE"), ("1", "ACTIVE", "ACTIVE")]
)
def test_threads_sleep_where_runs_share_the_cores(monkeypatch, device, told, policy):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if told:
        monkeypatch.setenv("OMP_WAIT_POLICY", told)
    assert child_environment(device).get("OMP_WAIT_POLICY") == policy


def test_outside_a_pool_the_place_is_the_first():
    assert machine.place() == 0


# --- asking -----------------------------------------------------------------------------------------------------------


def test_without_a_driver_nobody_asks_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "DRIVERS", (tmp_path / "none",))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked"))
    assert machine.gpus() == ()


@pytest.fixture
def _driver(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "DRIVERS", (tmp_path,))


@pytest.mark.usefixtures("_driver")
def test_torch_is_asked_once_by_a_child(monkeypatch):
    asked = []

    def run(command, **_):
        asked.append(command)
        return SimpleNamespace(stdout='[{"name": "A", "memory_mb": 8000, "capability": "8.0"}]')

    monkeypatch.setattr(subprocess, "run", run)
    assert machine.gpus() == machine.gpus() == (TWO[0],)
    assert asked == [[sys.executable, "-m", "worker.gpus"]]


@pytest.mark.usefixtures("_driver")
@pytest.mark.parametrize("error", [OSError("gone"), subprocess.TimeoutExpired("python", 1), ValueError("no JSON")])
def test_a_child_that_cannot_tell_means_no_gpu(monkeypatch, caplog, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert machine.gpus() == ()
    assert "Could not ask for the GPUs" in caplog.text


def test_a_gpu_is_described_by_name_memory_and_capability():
    properties = SimpleNamespace(name="A", total_memory=24 * 2**30 + 5, major=8, minor=9)
    assert gpus.describe(properties) == {"name": "A", "memory_mb": 24 * 1024, "capability": "8.9"}


@pytest.mark.slow
def test_the_child_prints_json():
    asked = subprocess.run([sys.executable, "-m", "worker.gpus"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.startswith("[")


@pytest.mark.usefixtures("_driver")
@pytest.mark.parametrize(("queues", "size"), [("gpu", 2), ("cpu,gpu", 2), (["gpu"], 2), ("cpu", 1), (None, 1)])
def test_celery_starts_as_many_pool_processes(monkeypatch, queues, size):
    monkeypatch.setattr(machine, "gpus", lambda: TWO)
    conf = SimpleNamespace()
    app.set_pool_size(conf=conf, options={"queues": queues})
    assert conf.worker_concurrency == size


# --- announcing -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_worker_announces_this_machine_and_then_only_that_it_is_there(django_assert_num_queries):
    announcer = Announcer("cpu@a", {"cpu"})
    announcer.announce()
    row = Machine.objects.get()
    assert (row.name, row.queues, row.gpus) == ("cpu@a", ["cpu"], [])
    assert row.cores >= 1
    assert row.memory_mb > 500
    assert {"python", "torch"} <= set(row.versions)
    with django_assert_num_queries(1):
        announcer.announce()
    Machine.objects.all().delete()
    announcer.announce()  # a restored database does not know it
    assert Machine.objects.count() == 1


@pytest.mark.django_db
def test_a_worker_leaves_what_does_not_fit(alice, monkeypatch):
    from worker import attempts, runs

    monkeypatch.setattr(attempts, "supervise", lambda *_, **__: pytest.fail("started"))
    run = make_run(alice, status=Run.QUEUED, queue=Run.GPU, needs={"gpu": True})
    runs.execute(run.pk, worker="gpu@a")
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Run.QUEUED, 0)


# --- needs ------------------------------------------------------------------------------------------------------------


def test_needs_come_from_the_preset():
    from dataclasses import replace

    lab = get_lab("rank-sweep")
    assert lab.needs("gpu") == Needs(gpu=True)
    assert lab.needs("quick") == lab.needs("") == Needs()
    large = Preset({}, seeds=(0,), expected_seconds=1, needs=Needs(gpu_memory_mb=16000))
    lab = replace(lab, presets={**lab.presets, "standard": large})
    assert lab.needs("standard").document() == {"gpu": True, "gpu_memory_mb": 16000}
