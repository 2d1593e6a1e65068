"""A learner of many years reviews: server time of the next card and of a grade, through the whole stack of views."""

import re
import time

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from bench.drill_data import build
from bench.timing import Times, queries_of, summary, temporary_database, timed
from kb.renderings import renderings_rebuild
from quiz.models import Card, ReviewEvent

ROUNDS = 150
# Of the p95, with 10,000 questions, 100,000 cards and 1,000,000 log entries.
GOALS_MS = {"next_card": 10, "grade": 15}
SEEN = re.compile(r'cards/(\d+)/grade/.*?name="token" value="([^"]+)".*?name="seen" value="([^"]+)"', re.DOTALL)


def play(user: User) -> dict[str, Times]:
    """A day: the card; a grade without JavaScript, answered by a redirect; one with it, answered by the next card."""
    client = Client()
    client.force_login(user)
    times: dict[str, Times] = {"next_card": [], "grade": [], "grade_and_next_card": []}
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


def queries(user: User) -> dict[str, list[int]]:
    """Fewest and most that a card takes, of several."""
    client, study = Client(), reverse("review-study")
    client.force_login(user)
    counts: dict[str, list[int]] = {"next_card_queries": [], "grade_queries": []}
    for _ in range(ROUNDS // 10):
        pages: list[str] = []
        counts["next_card_queries"].append(queries_of(lambda: pages.append(client.get(study).content.decode())))  # noqa: B023
        found = SEEN.search(pages[0])
        assert found, "a day of reviews is not over so soon"
        card, token, seen = found.groups()
        address, form = reverse("review-grade", args=[card]), {"token": token, "seen": seen, "rating": 3}
        counts["grade_queries"].append(queries_of(lambda: client.post(address, form)))  # noqa: B023 (called at once)
    return {name: [min(numbers), max(numbers)] for name, numbers in counts.items()}


def run() -> dict[str, object]:
    """Without the manifest of static files, which only a deployment makes."""
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": settings.PLAIN_STORAGE}}
    with override_settings(ALLOWED_HOSTS=["testserver"], STORAGES=plain, DEBUG=False):
        return measure()


def measure() -> dict[str, object]:
    with temporary_database():
        began = time.perf_counter()
        user = build()
        renderings_rebuild()  # as an import does
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
            **{name: summary(values, GOALS_MS.get(name)) for name, values in times.items()},
            **queries(user),
        }
