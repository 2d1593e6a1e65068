"""Reading from point to point."""

import pytest

from kb.models import Point, Topic
from kb.queries import neighbours, reading_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def points() -> dict[str, Point]:
    """Two topics of two points; the first point of all needs the last."""
    made = {}
    for position, slug in enumerate(["first", "second"]):
        topic = Topic.objects.create(slug=slug, position=position, title_en=slug)
        for place in range(2):
            name = f"{slug}-{place}"
            made[name] = Point.objects.create(
                slug=name,
                topic=topic,
                position=place,
                title_en=name,
                title_zh=f"中文 {name}",
                definition_en=f"It is {name}.",
            )
    made["first-0"].prerequisites.add(made["second-1"])
    return made


def test_a_point_comes_after_what_it_needs(points):
    assert [p.slug for p in reading_order()] == ["second-1", "first-0", "first-1", "second-0"]


def test_neighbours_follow_the_reading_order(points):
    assert neighbours(points["second-1"]) == (None, points["first-0"])
    assert neighbours(points["second-0"]) == (points["first-1"], None)


def test_a_draft_is_nobodys_neighbour(points):
    Point.objects.filter(slug="first-0").update(status="draft")
    assert [p.slug for p in reading_order()] == ["first-1", "second-0", "second-1"]


def test_the_page_leads_on_and_back(points, as_charlie):
    page = as_charlie.get("/points/first-1/").content.decode()
    assert 'rel="prev" href="/points/first-0/"' in page
    assert 'rel="next" href="/points/second-0/"' in page


def test_a_draft_has_no_page_and_stands_in_no_list(points, as_charlie):
    Point.objects.filter(slug="first-1").update(status="review")
    assert as_charlie.get("/points/first-1/").status_code == 404
    assert "first-1" not in as_charlie.get("/topics/first/").content.decode()
    assert "first-1" not in as_charlie.get("/glossary/").content.decode()


def test_the_glossary_has_both_languages(points, as_charlie):
    page = as_charlie.get("/glossary/").content.decode()
    assert "second-0" in page
    assert "中文 second-0" in page
    assert "It is second-0." in page


def test_a_point_page_costs_the_same_in_a_long_reading_order(points, as_charlie, django_assert_max_num_queries):
    topic = Topic.objects.get(slug="second")
    for place in range(30):
        Point.objects.create(slug=f"more-{place}", topic=topic, position=9, title_en="more", definition_en="d")
    with django_assert_max_num_queries(12):
        as_charlie.get("/points/first-1/")
