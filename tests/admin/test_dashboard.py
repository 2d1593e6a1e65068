"""The admin's first page says what waits, at the same cost whatever there is."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from kb.models import ErrorReport, Point
from quiz.models import Attempt
from tests.builders import make_measured_claim, make_point, make_question


def panels(client):
    html = client.get("/admin/").content.decode()
    return html.split('class="panels"')[1].split('id="content-main"')[0]


def test_it_shows_what_waits(as_staff, rank, why, alice):
    Point.objects.filter(pk=rank.pk).update(status="review", practice_zh="")
    ErrorReport.objects.create(kind="point", slug="rank", url="/points/rank/", language="en", text="Wrong number.")
    for score in (0.0, 0.25, 0.5):
        Attempt.objects.create(owner=alice, question=why, score=score)
    html = panels(as_staff)
    assert "Wrong number." in html
    assert "why-low-rank · 25% · n = 3" in html
    assert html.count(f"/admin/kb/point/{rank.pk}/change/") == 2  # waits for review, and for its Chinese text
    assert "loss-falls" in html  # awaits evidence


def test_it_costs_the_same_whatever_there_is(as_staff, alice):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert as_staff.get("/admin/").status_code == 200
        return len(captured)

    queries()
    before = queries()
    for _ in range(12):
        make_point(status="draft")
        make_measured_claim()
        Attempt.objects.create(owner=alice, question=make_question(status="draft"), score=0.1)
    assert queries() == before
