"""What one user, and all together, may ask for: each refusal says which limit, its value and when it frees."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from labs import services
from labs.catalog import all_labs
from labs.models import Run
from labs.services import LimitReached, run_request
from labs.services.limits import minutes_today, work
from tests.builders import make_run

pytestmark = pytest.mark.django_db

QUICK = run_request(lab_slug="rank-sweep", preset="quick")


def refusal(user, request=QUICK) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        services.run_submit(user=user, request=request)
    return caught.value


def admitted(run: Run, worker: str = "cpu@a", memory_mb: int = 4096, gpus=()) -> Run | None:
    return services.run_admit(run.pk, worker=worker, memory_mb=memory_mb, gpus=list(gpus))


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_user_may_have_so_many_waiting_runs(alice, bob, bells, settings):
    settings.USER_MAX_WAITING = 2
    runs = [services.run_submit(user=alice, request=QUICK) for _ in range(2)]
    refused = refusal(alice)
    assert (refused.name, refused.allowed, refused.frees_at) == ("waiting", 2, None)
    assert str(refused).startswith("Your waiting runs: 2, the limit: 2. There is room again as soon as")
    services.run_submit(user=bob, request=QUICK)
    services.run_claim(runs[0].pk)
    services.run_submit(user=alice, request=QUICK)


def test_all_together_may_have_so_many_waiting_runs(alice, bob, staff, bells, settings):
    settings.QUEUE_LENGTH = 1
    run = services.run_submit(user=alice, request=QUICK)
    for user in (bob, staff):
        refused = refusal(user)
        assert (refused.name, refused.allowed) == ("queue", 1)
        assert "The queue is full: 1 runs of all users are waiting, the limit: 1." in str(refused)
    services.run_cancel(run)
    services.run_submit(user=bob, request=QUICK)


# --- minutes ----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def _noon(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def ended(user, began: datetime, minutes: float, **values) -> Run:
    return make_run(user, started_at=began, finished_at=began + timedelta(minutes=minutes), **values)


@pytest.mark.usefixtures("_noon")
def test_minutes_are_those_since_midnight(alice, bob):
    midnight = NOON.replace(hour=0)
    ended(alice, midnight - timedelta(minutes=10), 30)  # 20 of them today
    ended(alice, NOON - timedelta(hours=2), 5, status=Run.FAILED)
    make_run(alice, status=Run.RUNNING, started_at=NOON - timedelta(minutes=3))
    ended(alice, midnight - timedelta(hours=2), 60)
    ended(bob, NOON - timedelta(hours=1), 60)
    make_run(alice, status=Run.CANCELLED, finished_at=NOON)  # never started
    assert minutes_today(alice) == pytest.approx(28)


@pytest.mark.usefixtures("_noon")
def test_a_days_minutes_are_free_again_at_midnight(alice, staff, bells, settings):
    settings.USER_MINUTES_PER_DAY = 30
    ended(alice, NOON - timedelta(hours=1), 29.9)
    services.run_submit(user=alice, request=QUICK)
    ended(alice, NOON - timedelta(hours=1), 0.1)
    refused = refusal(alice)
    assert (refused.name, refused.allowed) == ("minutes", 30)
    assert refused.frees_at == datetime(2026, 3, 2, tzinfo=UTC)
    assert "have used 30 minutes of device time today, the limit: 30." in str(refused)
    assert "from 2026-03-02 00:00 UTC on" in str(refused)
    ended(staff, NOON - timedelta(hours=1), 50)
    services.run_submit(user=staff, request=QUICK)


@pytest.mark.usefixtures("_noon")
def test_minutes_of_yesterday_do_not_count(alice, bells, settings):
    settings.USER_MINUTES_PER_DAY = 30
    ended(alice, NOON - timedelta(days=1), 60)
    services.run_submit(user=alice, request=QUICK)


# --- work -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", all_labs().values(), ids=lambda lab: lab.slug)
def test_every_preset_is_open_to_learners(alice, bells, lab):
    for name in lab.presets:
        assert services.run_submit(user=alice, request=run_request(lab_slug=lab.slug, preset=name)).preset == name


@pytest.mark.parametrize("lab", all_labs().values(), ids=lambda lab: lab.slug)
def test_more_seeds_than_a_preset_has_are_more_work(alice, bells, lab):
    refused = refusal(alice, run_request(lab_slug=lab.slug, preset="standard", seeds=list(range(10))))
    assert (refused.name, refused.temporary) == ("work", False)


def test_the_measure_of_a_gpu_run_is_the_gpu_preset(alice, bells):
    params = {"steps": 200, "ranks": [1, 8, 64]}
    refused = refusal(alice, run_request(lab_slug="rank-sweep", params=params, seeds=[0, 1, 2, 3, 4]))
    assert str(refused).startswith("This asks for 5.95 times the work of the preset “standard”; the limit for one run")
    wish = run_request(lab_slug="rank-sweep", preset="gpu", params=params)
    assert services.run_submit(user=alice, request=wish).queue == "gpu"


def test_the_operator_may_allow_more(alice, bells, settings):
    settings.LEARNER_WORK_PERCENT = 400
    services.run_submit(
        user=alice, request=run_request(lab_slug="rank-sweep", preset="standard", seeds=list(range(10)))
    )


def test_work_grows_with_what_is_computed():
    lab = all_labs()["merge-check"]
    base = work(lab, lab.parameters(), 1)
    assert work(lab, lab.parameters(), 3) == 3 * base
    for more in ({"steps": 40}, {"repeats": 20}, {"shapes": ["1x1", "1x64", "4x64", "8x64"]}):
        assert work(lab, lab.parameters(**more), 1) > base


# --- starting ---------------------------------------------------------------------------------------------------------


def test_more_runs_of_one_user_wait_until_one_ends(alice, bob, staff, settings):
    settings.USER_MAX_RUNNING = 1
    first, second = (make_run(alice, status=Run.QUEUED) for _ in range(2))
    others = [make_run(bob, status=Run.QUEUED), *(make_run(staff, status=Run.QUEUED) for _ in range(2))]
    held = admitted(first)
    assert held is not None
    assert admitted(second) is None
    assert all(admitted(run) for run in others)
    services.run_finish(held, status=Run.SUCCEEDED)
    started = admitted(second, worker="cpu@b")
    assert started is not None
    assert (started.status, started.worker, started.attempt) == (Run.RUNNING, "cpu@b", 1)


def test_what_is_not_waiting_is_not_admitted(alice):
    assert admitted(make_run(alice)) is None
    assert admitted(make_run(alice, status=Run.RUNNING, started_at=timezone.now())) is None
    assert services.run_admit(10**9, worker="", memory_mb=1, gpus=[]) is None


GPU = {"name": "A", "memory_mb": 8000, "capability": "8.9"}


@pytest.mark.parametrize(
    ("needs", "is_fit"),
    [
        ({}, True),
        ({"memory_mb": 4096}, True),
        ({"memory_mb": 4097}, False),
        ({"gpu": True}, True),
        ({"gpu": True, "gpu_memory_mb": 8000}, True),
        ({"gpu": True, "gpu_memory_mb": 8001}, False),
    ],
)
def test_a_machine_takes_only_what_fits_it(alice, needs, is_fit):
    run = make_run(alice, status=Run.QUEUED, needs=needs, queue=Run.GPU)
    assert (admitted(run, gpus=[GPU]) is not None) == is_fit
    run.refresh_from_db()
    assert run.status == (Run.RUNNING if is_fit else Run.QUEUED)


def test_without_a_gpu_nothing_that_needs_one_starts(alice):
    assert admitted(make_run(alice, status=Run.QUEUED, needs={"gpu": True})) is None
