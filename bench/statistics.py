"""The statistics page and the plan of a learner with 100,000 cards and 1,000,000 log entries."""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings as site
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from bench.drill_data import build
from bench.timing import median_ms, temporary_database
from quiz.models import Card, PlanDay
from quiz.plan.services import compute_plan, plan_today
from quiz.review.days import today
from quiz.review.services import settings_change, study_settings

ROUNDS = 40
PLAN_ROUNDS = 5
PLAN_DAYS = 60
PLAN_CARDS = 700


def p95_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(times, n=20)[-1]


def page_of(user: User, path: str) -> Callable[[], None]:
    """A request through all middleware and the template, without the network."""
    client = Client(headers={"host": "localhost"})
    client.force_login(user)

    def get() -> None:
        response = client.get(path)
        assert response.status_code == 200, response.status_code

    return get


def queries_of(work: Callable[[], None]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


def _small_plan(user: User) -> float:
    """The same learner with no more cards than the shipped content has."""
    kept = Card.objects.filter(owner=user, question__isnull=False).order_by("-position").values("pk")[:PLAN_CARDS]
    Card.objects.filter(owner=user).exclude(pk__in=list(kept.values_list("pk", flat=True))).update(is_suspended=True)
    settings = study_settings(user)
    return median_ms(lambda: compute_plan(settings), rounds=PLAN_ROUNDS)


# Without the manifest, which only a site that was set up has.
STORAGES = {**site.STORAGES, "staticfiles": {"BACKEND": site.PLAIN_STORAGE}}


@override_settings(STORAGES=STORAGES)
def run() -> dict[str, float]:
    with temporary_database():
        user = build()
        settings = settings_change(user, minutes_per_day=60)
        settings = settings_change(user, interview_date=today(settings) + timedelta(days=PLAN_DAYS))
        page, plan = page_of(user, "/statistics/"), page_of(user, "/plan/")
        page()  # the first request loads templates and the catalogue
        found = {
            "cards": Card.objects.filter(owner=user).count(),
            "statistics_p95_ms": round(p95_ms(page, ROUNDS), 1),
            "statistics_after_a_grade_ms": round(median_ms(page, rounds=PLAN_ROUNDS, before=cache.clear), 1),
            "statistics_queries": queries_of(page),
            "plan_computed_ms": round(median_ms(lambda: compute_plan(settings), rounds=PLAN_ROUNDS), 1),
        }
        plan_today(user)
        assert PlanDay.objects.filter(owner=user).count() == 1
        return {
            **found,
            "plan_p95_ms": round(p95_ms(plan, ROUNDS), 1),
            f"plan_of_{PLAN_CARDS}_cards_ms": round(_small_plan(user), 1),
        }
