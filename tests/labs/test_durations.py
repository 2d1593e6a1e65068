"""How long a preset takes: this site's history where it tells, else the reference run, else the declaration."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labs.catalog import all_labs, get_lab
from labs.durations import HISTORY, Duration, expected_durations
from labs.models import Run
from tests.builders import make_run

pytestmark = pytest.mark.django_db

LAB = get_lab("rank-sweep")


def took(user, seconds: float, **values) -> Run:
    now = timezone.now()
    return make_run(user, **{"started_at": now, "finished_at": now + timedelta(seconds=seconds), **values})


def quick() -> Duration:
    return expected_durations([LAB])["rank-sweep", "quick"]


def test_without_a_history_it_is_the_authors_guess():
    assert quick() == Duration(LAB.presets["quick"].expected_seconds, is_measured=False)


def test_it_is_the_median_of_the_last_runs(alice, bob):
    for seconds in (7000, *[10] * (HISTORY - 2), 20, 900):  # the first is too long ago
        took(alice, seconds)
    assert quick() == Duration(10, is_measured=True)
    took(bob, 30)
    assert expected_durations([LAB])["rank-sweep", "standard"].is_measured is False


def reference(seconds: float, **values) -> None:
    make_run(**{"preset": "quick", "durations": {"total": seconds}, **values})


def test_without_a_history_it_is_what_the_reference_run_took(alice):
    reference(41.6)
    assert quick() == Duration(42, is_measured=False)
    took(alice, 10)
    assert quick() == Duration(10, is_measured=True)


@pytest.mark.parametrize(
    "values", [{"lab_version": LAB.version + 1}, {"params": {}}, {"seeds": [7]}, {"durations": {}}], ids=str
)
def test_a_reference_run_of_something_else_says_nothing(values):
    reference(1, **values)
    assert quick() == Duration(LAB.presets["quick"].expected_seconds, is_measured=False)


@pytest.mark.parametrize(
    "values",
    [
        {"status": Run.FAILED},
        {"lab_version": LAB.version + 1},
        {"preset": "standard"},
        {"preset": ""},
        {"queue": Run.GPU},  # another kind of device
        {"attempt": 2},  # only the last attempt's start is known
        {"origin": Run.REFERENCE},
        {"started_at": None},
    ],
    ids=str,
)
def test_other_runs_say_nothing(alice, values):
    run = took(alice, 10)
    Run.objects.filter(pk=run.pk).update(**values)
    assert quick().is_measured is False


def test_the_gpu_preset_has_the_history_of_gpus(alice):
    took(alice, 40, preset="gpu", queue=Run.GPU)
    assert expected_durations([LAB])["rank-sweep", "gpu"] == Duration(40, is_measured=True)


def test_all_labs_take_one_query(alice, django_assert_num_queries):
    for lab in all_labs():
        took(alice, 10, lab=lab)
    with django_assert_num_queries(1):
        durations = expected_durations(all_labs().values())
    assert all(durations[lab, "quick"].is_measured for lab in all_labs())
