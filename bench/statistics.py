"""The statistics page and the plan of a learner with 100,000 cards and 1,000,000 log entries."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings as site
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, override_settings

from bench.drill_data import build
from bench.timing import Times, median_ms, queries_of, summary, temporary_database, timed
from quiz.models import Card, PlanDay
from quiz.plan.services import compute_plan, plan_today
from quiz.review.days import today
from quiz.review.services import settings_change, study_settings

ROUNDS = 40
GOAL_MS = 300  # of the statistics' p95
PLAN_ROUNDS = 5
PLAN_DAYS = 60
PLAN_CARDS = 700


def times_of(work: Callable[[], None], before: Callable[[], None] = lambda: None) -> Times:
    times: Times = []
    for _ in range(ROUNDS):
        before()
        timed(times, work)
    return times


def page_of(user: User, path: str) -> Callable[[], None]:
    """A request through all middleware and the template, without the network."""
    client = Client(headers={"host": "localhost"})
    client.force_login(user)

    def get() -> None:
        response = client.get(path)
        assert response.status_code == 200, response.status_code

    return get


def _small_plan(user: User) -> float:
    """The same learner with no more cards than the shipped content has."""
    kept = Card.objects.filter(owner=user, question__isnull=False).order_by("-position").values("pk")[:PLAN_CARDS]
    Card.objects.filter(owner=user).exclude(pk__in=list(kept.values_list("pk", flat=True))).update(is_suspended=True)
    settings = study_settings(user)
    return median_ms(lambda: compute_plan(settings), rounds=PLAN_ROUNDS)


# Without the manifest, which only a site that was set up has.
STORAGES = {**site.STORAGES, "staticfiles": {"BACKEND": site.PLAIN_STORAGE}}


@override_settings(STORAGES=STORAGES)
def run() -> dict[str, object]:
    with temporary_database():
        user = build()
        settings = settings_change(user, minutes_per_day=60)
        settings = settings_change(user, interview_date=today(settings) + timedelta(days=PLAN_DAYS))
        page, plan = page_of(user, "/statistics/"), page_of(user, "/plan/")
        page()  # the first request loads templates and the catalogue
        found: dict[str, object] = {
            "cards": Card.objects.filter(owner=user).count(),
            "statistics": summary(times_of(page, before=cache.clear), GOAL_MS),  # as after every grade
            "statistics_again": summary(times_of(page)),
            "statistics_queries": queries_of(page),
            "plan_computed_ms": round(median_ms(lambda: compute_plan(settings), rounds=PLAN_ROUNDS), 1),
        }
        plan_today(user)
        assert PlanDay.objects.filter(owner=user).count() == 1
        return {
            **found,
            "plan": summary(times_of(plan)),
            f"plan_of_{PLAN_CARDS}_cards_ms": round(_small_plan(user), 1),
        }
