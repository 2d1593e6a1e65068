"""A learner of many years reviews: server time of the next card and of a grade, through the whole stack of views.

Targets, with 10,000 questions, 100,000 cards and 1,000,000 log entries: next card ≤ 10 ms p95, a grade ≤ 15 ms p95.
"""

import re
import statistics
import time
from collections.abc import Callable

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from bench.drill_data import build
from bench.timing import temporary_database
from quiz.models import Card, ReviewEvent

ROUNDS = 150
SEEN = re.compile(r'cards/(\d+)/grade/.*?name="token" value="([^"]+)".*?name="seen" value="([^"]+)"', re.DOTALL)


def p95(times: list[float]) -> float:
    return round(statistics.quantiles(times, n=20)[-1], 2)


def timed(times: list[float], work: Callable[[], object]) -> object:
    began = time.perf_counter()
    done = work()
    times.append((time.perf_counter() - began) * 1000)
    return done


def play(user: User) -> dict[str, list[float]]:
    """A day: the card; a grade without JavaScript, answered by a redirect; one with it, answered by the next card."""
    client = Client()
    client.force_login(user)
    times: dict[str, list[float]] = {"next_card": [], "grade": [], "grade_and_next_card": []}
    study = reverse("review-study")
    page = client.get(study).content.decode()
    for number in range(ROUNDS):
        page = timed(times["next_card"], lambda: client.get(study)).content.decode()  # type: ignore[attr-defined]
        found = SEEN.search(page)
        assert found, "a day of reviews is not over so soon"
        card, token, seen = found.groups()
        form = {"token": token, "seen": seen, "rating": 2 + number % 3, "milliseconds": 9000}
        address, headers = reverse("review-grade", args=[card]), {"HX-Request": "true"} if number % 2 else {}
        name = "grade_and_next_card" if number % 2 else "grade"
        timed(times[name], lambda: client.post(address, form, headers=headers))  # noqa: B023 (called at once)
    return times


@override_settings(ALLOWED_HOSTS=["testserver"])
def run() -> dict[str, object]:
    with temporary_database():
        began = time.perf_counter()
        user = build()
        built = time.perf_counter() - began
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "PRAGMA optimize")
        cards, events = Card.objects.count(), ReviewEvent.objects.count()
        times = play(user)
        return {
            "cards": cards,
            "events": events,
            "engine": connection.vendor,
            "build_seconds": round(built, 1),
            "rounds": ROUNDS,
            **{f"{name}_p95_ms": p95(values) for name, values in times.items()},
            **{f"{name}_median_ms": round(statistics.median(values), 2) for name, values in times.items()},
        }
