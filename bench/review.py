"""A learner of many years reviews: server time of the next card and of a grade, through the whole stack of views.

Targets, with 10,000 questions, 100,000 cards and 1,000,000 log entries: next card ≤ 10 ms p95, a grade ≤ 15 ms p95.
"""

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from bench.drill_data import build
from bench.timing import temporary_database
from quiz.models import Card, ReviewEvent

ROUNDS = 150
SEEN = re.compile(r'cards/(\d+)/grade/.*?name="token" value="([^"]+)".*?name="seen" value="([^"]+)"', re.DOTALL)


Times = dict[str, list[tuple[float, float]]]


def timed(times: list[tuple[float, float]], work: Callable[[], Any]) -> Any:
    """Do the work; note its milliseconds by the clock on the wall and of this process alone."""
    wall, own = time.perf_counter(), time.process_time()
    done = work()
    times.append(((time.perf_counter() - wall) * 1000, (time.process_time() - own) * 1000))
    return done


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    """On a busy machine the wall's clock tells of the others; `cpu` is what is left of them."""
    wall, own = (list(column) for column in zip(*times, strict=True))
    return {
        "median_ms": round(statistics.median(wall), 2),
        "p95_ms": round(statistics.quantiles(wall, n=20)[-1], 2),
        "cpu_p95_ms": round(statistics.quantiles(own, n=20)[-1], 2),
    }


def play(user: User) -> Times:
    """A day: the card; a grade without JavaScript, answered by a redirect; one with it, answered by the next card."""
    client = Client()
    client.force_login(user)
    times: Times = {"next_card": [], "grade": [], "grade_and_next_card": []}
    study = reverse("review-study")
    page = client.get(study).content.decode()
    for number in range(ROUNDS):
        page = timed(times["next_card"], lambda: client.get(study)).content.decode()
        found = SEEN.search(page)
        assert found, "a day of reviews is not over so soon"
        card, token, seen = found.groups()
        form = {"token": token, "seen": seen, "rating": 2 + number % 3, "milliseconds": 9000}
        address, headers = reverse("review-grade", args=[card]), {"HX-Request": "true"} if number % 2 else {}
        name = "grade_and_next_card" if number % 2 else "grade"
        timed(times[name], lambda: client.post(address, form, headers=headers))  # noqa: B023 (called at once)
    return times


def run() -> dict[str, object]:
    """Without the manifest of static files, which only a deployment makes."""
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": settings.PLAIN_STORAGE}}
    with override_settings(ALLOWED_HOSTS=["testserver"], STORAGES=plain, DEBUG=False):
        return measure()


def measure() -> dict[str, object]:
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
            **{name: summary(values) for name, values in times.items()},
        }
