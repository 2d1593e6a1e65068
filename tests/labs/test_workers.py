"""Workers, queues, and why a run waits: what is stored, the page and the API."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from labs import services
from labs.models import Machine, Run, RunPart
from labs.waiting import Site
from tests.builders import make_machine, make_run
from tests.labs.test_pages import body

pytestmark = pytest.mark.django_db

PAGE = "/workers/"
FACTS = {"host": "a", "queues": ["cpu"], "cores": 4, "memory_mb": 8192, "gpus": [], "versions": {"torch": "2"}}
SMALL = {"name": "Small", "memory_mb": 8 * 1024, "capability": "7.5"}
LARGE = {"name": "Large", "memory_mb": 24 * 1024, "capability": "8.9"}


def waiting(user, **values) -> Run:
    return make_run(user, **{"status": Run.QUEUED, **values})


def why(run: Run) -> str:
    return Site().why_waiting(run)


# --- announcing -------------------------------------------------------------------------------------------------------


def test_a_worker_says_what_it_has_and_that_it_is_there():
    assert services.machine_seen(name="cpu@a") is False
    services.machine_announce(name="cpu@a", **FACTS)
    services.machine_announce(name="cpu@a", **FACTS | {"cores": 8})
    machine = Machine.objects.get()
    assert (machine.cores, machine.versions) == (8, {"torch": "2"})
    Machine.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    assert not Site().workers[0].is_live
    assert services.machine_seen(name="cpu@a") is True
    assert Site().workers[0].is_live


def test_a_worker_that_is_gone_for_long_is_forgotten():
    make_machine("old@a", last_seen=timezone.now() - timedelta(hours=25))
    assert Site().workers == []
    services.machine_announce(name="cpu@a", **FACTS)
    assert [machine.name for machine in Machine.objects.all()] == ["cpu@a"]


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Run.RUNNING, Run.SUCCEEDED, Run.CANCELLED])
def test_only_a_waiting_run_waits_for_something(alice, status):
    assert why(make_run(alice, status=status)) == ""


def test_nobody_is_there(alice):
    assert why(waiting(alice)) == "Waits: no worker is running. Start one."
    gpu = waiting(alice, queue=Run.GPU, needs={"gpu": True})
    assert why(gpu) == "Waits: no worker with a GPU is running; start one, or choose the standard preset."


def test_who_is_silent_or_listens_elsewhere_is_not_there(alice):
    make_machine("old@a", last_seen=timezone.now() - timedelta(minutes=5))
    make_machine("gpu@a", queues=["gpu"], gpus=[LARGE])
    assert why(waiting(alice)).startswith("Waits: no worker is running")


def test_a_gpu_queue_without_a_gpu_takes_nothing(alice):
    make_machine("gpu@a", queues=["gpu"])
    assert why(waiting(alice, queue=Run.GPU, needs={"gpu": True})).startswith("Waits: no worker with a GPU is running")


def test_nobody_has_enough(alice):
    make_machine("gpu@a", queues=["cpu", "gpu"], gpus=[SMALL])
    needs = {"gpu": True, "gpu_memory_mb": 16 * 1024}
    assert why(waiting(alice, queue=Run.GPU, needs=needs)) == (
        "Waits: no worker with a GPU of 16 GB is running; start one, or choose the standard preset."
    )
    large = waiting(alice, needs={"memory_mb": 64 * 1024})
    assert why(large) == ("Waits: no worker with 64 GB of memory is running; start one, or choose a smaller preset.")


def test_one_machine_that_fits_is_enough(alice):
    make_machine("gpu@a", queues=["gpu"], gpus=[SMALL])
    make_machine("gpu@b", queues=["gpu"], gpus=[SMALL, LARGE])
    run = waiting(alice, queue=Run.GPU, needs={"gpu": True, "gpu_memory_mb": 16 * 1024})
    assert why(run) == "Waits for a free worker. It is the next in the queue."


def test_others_are_before_it(alice, bob):
    make_machine()
    waiting(bob)
    waiting(bob, queue=Run.GPU)
    run = waiting(alice)
    waiting(bob)
    assert why(run) == "Waits for a free worker. Runs before it in the queue: 1."


def test_ones_own_runs_are_under_way(alice, staff, settings):
    settings.USER_MAX_RUNNING = 1
    make_machine()
    make_run(alice, status=Run.RUNNING)
    make_run(staff, status=Run.RUNNING)
    assert why(waiting(alice)) == ("Waits: your runs under way are 1, the limit is 1. It starts when one of them ends.")
    assert why(waiting(staff)).startswith("Waits for a free worker.")


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(alice, bob) -> dict[str, Run]:
    """Two workers, one of them at work, and a waiting run of each learner."""
    make_machine("cpu@secret-host", versions={"torch": "2.5"})
    make_machine("gpu@other-host", queues=["gpu"], gpus=[LARGE], last_seen=timezone.now() - timedelta(hours=1))
    running = make_run(bob, status=Run.RUNNING, worker="cpu@secret-host", preset="standard")
    return {"running": running, "alice": waiting(alice), "bob": waiting(bob)}


def test_whoever_is_not_signed_in_is_asked_to(as_charlie):
    assert as_charlie.get(PAGE).url == f"/login/?next={PAGE}"
    assert as_charlie.get("/api/v1/workers/").status_code == as_charlie.get("/api/v1/queues/").status_code == 403


def test_a_learner_sees_workers_without_names_and_the_own_runs(as_alice, site):
    html = body(as_alice, PAGE)
    assert "secret-host" not in html
    assert "Worker 1" in html
    assert "computes" in html
    assert "silent for 1" in html
    assert "Large, 24 GB" in html
    assert "torch 2.5" in html
    assert site["alice"].get_absolute_url() in html
    assert site["bob"].get_absolute_url() not in html
    assert site["running"].get_absolute_url() not in html
    assert "It is the next in the queue." in html


def test_staff_see_names_and_everything(as_staff, site):
    html = body(as_staff, PAGE)
    assert "cpu@secret-host" in html
    assert all(run.get_absolute_url() in html for run in site.values())


def test_it_speaks_chinese(as_alice, site):
    html = body(as_alice, PAGE, language="zh-hans")
    assert "工作进程与队列" in html
    assert "等待空闲的工作进程。它是队列中的下一个。" in html


def test_the_page_costs_the_same_on_a_large_site(as_staff, alice, site, django_assert_max_num_queries):
    def ask() -> None:
        assert as_staff.get(PAGE).status_code == 200

    for number in range(10):
        make_machine(f"cpu@{number}")
        waiting(alice)
    with django_assert_max_num_queries(9):
        ask()


def test_a_runs_page_says_why_it_waits_and_where_to_look(as_alice, site):
    html = body(as_alice, site["alice"].get_absolute_url())
    assert "It is the next in the queue." in html
    assert f'href="{PAGE}"' in html


# --- the API ----------------------------------------------------------------------------------------------------------


def got(client, address: str):
    response = client.get(address)
    assert response.status_code == 200
    return json.loads(response.content)


def test_the_api_tells_workers(as_alice, as_staff, site):
    first, second = got(as_alice, "/api/v1/workers/")
    assert (first["number"], first["name"], first["is_live"], first["is_busy"], first["runs"]) == (
        (1, None, True, True, [])
    )
    assert (second["is_live"], second["gpus"], second["queues"]) == (False, [LARGE], ["gpu"])
    named = got(as_staff, "/api/v1/workers/")[0]
    assert (named["name"], named["runs"]) == ("cpu@secret-host", [site["running"].pk])


def test_a_worker_with_a_part_is_busy(as_staff, site):
    make_machine("cpu@third")
    RunPart.objects.create(run=site["running"], key="rank=1", seed=0, status=Run.RUNNING, worker="cpu@third")
    assert [worker["is_busy"] for worker in got(as_staff, "/api/v1/workers/")] == [True, False, True]


def test_the_api_tells_queues(as_alice, as_staff, site):
    cpu, gpu = got(as_alice, "/api/v1/queues/")
    assert (cpu["name"], cpu["workers"], cpu["running"], cpu["waiting"]) == ("cpu", 1, 1, 2)
    assert cpu["runs"] == [
        {"run": site["alice"].pk, "waiting": "Waits for a free worker. It is the next in the queue."}
    ]
    assert (gpu["workers"], gpu["waiting"], gpu["oldest"], gpu["runs"]) == (0, 0, None, [])
    assert [run["run"] for run in got(as_staff, "/api/v1/queues/")[0]["runs"]] == [site["alice"].pk, site["bob"].pk]


def test_a_run_tells_what_it_waits_for(as_alice, site):
    run = got(as_alice, f"/api/v1/runs/{site['alice'].pk}/")
    assert (run["queue"], run["needs"], run["waiting"]) == (
        ("cpu", {}, "Waits for a free worker. It is the next in the queue.")
    )


def test_a_list_of_runs_asks_once_for_the_site(as_alice, alice, site, django_assert_max_num_queries):
    for _ in range(20):
        waiting(alice)
    with django_assert_max_num_queries(9):
        got(as_alice, "/api/v1/runs/")


def test_a_lab_tells_what_its_presets_need_and_take(as_charlie):
    presets = got(as_charlie, "/api/v1/labs/rank-sweep/")["presets"]
    assert (presets["gpu"]["needs"], presets["quick"]["needs"]) == ({"gpu": True}, {})
    assert presets["quick"]["is_measured"] is False
