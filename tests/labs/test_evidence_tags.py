"""How runs, checks and numbers are written on pages."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.utils import translation

from labs.catalog import all_labs
from labs.models import Claim, Run
from labs.schema import CheckSource
from labs.templatetags import evidence

START = datetime(2026, 1, 1, tzinfo=UTC)


def render(source: str, **context: object) -> str:
    return Template("{% load evidence %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (89.6, "2 min"), (1200, "20 min"), (3599, "1 h"), (4800, "1 h 20 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert evidence.span(seconds) == text


def test_a_run_took_what_it_says_or_what_the_clock_says() -> None:
    assert evidence.duration(Run(durations={"total": 42.4})) == "42 s"
    assert evidence.duration(Run(started_at=START, finished_at=START + timedelta(minutes=3))) == "3 min"
    assert evidence.duration(Run(started_at=START)) == ""


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ({"expected": 0.5}, "0.500 nats"),
        ({"expected": 0.5, "absolute": 0.01}, "0.500 nats ± 0.0100"),
        ({"expected": 0.5, "relative": 0.05}, "0.500 nats ± 5 %"),
        ({"at_least": 2}, "≥ 2 nats"),
        ({"at_most": 2}, "≤ 2 nats"),
        ({"at_least": 1, "at_most": 2}, "1 – 2 nats"),
    ],
)
def test_an_expectation_in_words(check: dict[str, float], text: str) -> None:
    assert evidence.expectation(CheckSource(**check), "nats") == text


def test_points_are_named_as_in_the_charts() -> None:
    assert evidence.point_title("rank=8,scaling=double", "rank-sweep") == "rank r = 8 · α = 2r"
    assert evidence.point_title("unknown=1", "rank-sweep") == "unknown = 1"
    assert evidence.point_title("", "rank-sweep") == ""
    with translation.override("zh-hans"):
        assert evidence.point_title("rank=8,scaling=constant", "rank-sweep") == "秩 r = 8 · α 固定"


@pytest.mark.parametrize("status", [status for status, _title in Run.STATUSES])
def test_every_status_has_a_title(status: str) -> None:
    assert evidence.status_title(Run(status=status))


def test_a_run_that_was_asked_to_stop_is_stopping() -> None:
    assert evidence.status_title(Run(status=Run.RUNNING, cancel_requested=True)) == "stopping"


def test_every_verdict_method_and_preset_has_a_title() -> None:
    assert all(evidence.verdict_title(verdict) for verdict, _title in Claim.VERDICTS)
    assert all(evidence.method_title(m) and evidence.method_meaning(m) for m, _title in Claim.METHODS)
    assert all(evidence.preset_title(name) != "Own parameters" for lab in all_labs().values() for name in lab.presets)
    assert evidence.preset_title("") == "Own parameters"


@pytest.mark.parametrize("reason", ["no-run", "one-seed", "undecided", "stale"])
def test_every_reason_is_a_sentence(reason: str) -> None:
    assert evidence.finding_reason(reason).endswith(".")


def test_the_command_repeats_the_run() -> None:
    run = Run(lab_slug="rank-sweep", preset="quick")
    assert evidence.repeat_command(run) == ".venv/bin/python manage.py run_lab rank-sweep --preset quick --json"
    own = Run(lab_slug="rank-sweep", params={"ranks": [1, 8]}, seeds=[0, 3])
    assert evidence.repeat_command(own).endswith("""rank-sweep --params '{"ranks": [1, 8]}' --seeds 0,3 --json""")


def test_nested_facts_become_text() -> None:
    value = {"cpu": "A", "gpu": "", "threads": 2, "dirty": False, "seeds": [0, 1]}
    assert evidence.flat(value) == "cpu A · threads 2 · dirty no · seeds 0, 1"


def test_missing_numbers_are_a_dash() -> None:
    assert render("{{ x|number }} {{ x|quantity:'nats' }}", x=None) == "— —"
    assert render("{{ x|number }} {{ x|quantity:'nats' }}", x=0.5) == "0.500 0.500 nats"


def test_texts_of_a_run_are_escaped() -> None:
    run = Run(lab_slug="<b>", params={}, status=Run.FAILED)
    assert "<b>" not in render("{{ run|command }}{{ value|flat }}", run=run, value={"<b>": "<b>"})
