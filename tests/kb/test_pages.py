"""The pages of the knowledge base, for everybody, in both languages, in a constant number of queries."""

import pytest
from django.urls import reverse

from kb.links import short_authors
from kb.models import Point, Reference
from kb.services import content_import
from tests.builders import make_claim, make_follow_up, make_point, make_question

pytestmark = pytest.mark.django_db

PAGES = ["kb-home", "kb-topics", "kb-references"]


def body(client, name: str, *args: str, language: str = "en", status: int = 200) -> str:
    response = client.get(reverse(name, args=args), headers={"accept-language": language})
    assert response.status_code == status
    return response.content.decode()


def test_the_pages_of_an_empty_site_say_what_to_do(as_charlie):
    for name in PAGES:
        body(as_charlie, name)
    assert "manage.py import_content" in body(as_charlie, "kb-home")


def test_home_lists_topics_with_their_points(as_charlie, tree):
    content_import(folder=tree)
    html = body(as_charlie, "kb-home")
    assert 'href="/topics/math/"' in html
    assert "2 knowledge points" in html


def test_a_topic_lists_points_and_questions(as_charlie, tree):
    content_import(folder=tree)
    html = body(as_charlie, "kb-topic", "math")
    assert 'href="/points/rank/"' in html
    assert "Why a <em>low</em> rank?" in html


def test_a_topic_lists_no_follow_ups_as_questions(as_charlie, tree):
    content_import(folder=tree)
    assert "why-low-rank-when-not" not in body(as_charlie, "kb-topic", "math")


def test_a_point_shows_its_parts_links_and_chips(as_charlie, tree):
    content_import(folder=tree)
    html = body(as_charlie, "kb-point", "rank")
    assert '<a class="chip chip-reproduced" href="/claims/lora-params/"' in html
    assert "256 parameters" in html
    assert '<a class="citation" href="/references/#hu2021" title="LoRA">[Hu et al. 2021]</a>' in html
    assert 'href="/questions/why-low-rank/"' in html
    assert 'href="/points/scaling/"' in html
    assert r"\(\Delta W = BA\)" in html


def test_a_point_links_to_points_and_questions_in_its_text(as_charlie, tree):
    content_import(folder=tree)
    html = body(as_charlie, "kb-point", "scaling")
    assert '<a href="/points/rank/">Rank</a>' in html
    assert '<a href="/questions/why-low-rank/">Why a *low* rank?</a>' in html


def test_pages_speak_chinese(as_charlie, tree):
    content_import(folder=tree)
    html = body(as_charlie, "kb-point", "rank", language="zh-hans")
    assert '<html lang="zh-hans">' in html
    assert "秩</h1>" in html


def test_a_missing_translation_falls_back_and_says_so(as_charlie):
    point = make_point(title_zh="秩", definition_en="Only English.")
    html = body(as_charlie, "kb-point", point.slug, language="zh-hans")
    assert "Only English." in html
    assert 'class="missing"' in html
    assert 'lang="en"' in html


@pytest.mark.parametrize("name", ["kb-topic", "kb-point"])
def test_an_unknown_slug_is_not_found(as_charlie, name):
    assert "Page not found" in body(as_charlie, name, "nothing", status=404)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_only_read(as_charlie, name):
    assert as_charlie.post(reverse(name)).status_code == 405


def test_references_lead_to_the_work(as_charlie):
    Reference.objects.create(key="a", title="T", authors="A B", year=2021, arxiv="2106.09685")
    assert 'href="https://arxiv.org/abs/2106.09685"' in body(as_charlie, "kb-references")


@pytest.mark.parametrize(
    ("fields", "link"),
    [
        ({"url": "https://a.example/x", "arxiv": "2106.09685"}, "https://a.example/x"),
        ({"arxiv": "2106.09685", "doi": "10.1/x"}, "https://arxiv.org/abs/2106.09685"),
        ({"doi": "10.1/x"}, "https://doi.org/10.1/x"),
        ({}, ""),
    ],
)
def test_a_reference_links_to_the_best_address(fields, link):
    assert Reference(**fields).link() == link


@pytest.mark.parametrize(
    ("authors", "short"),
    [
        ("Edward Hu", "Hu"),
        ("Edward Hu, Yelong Shen", "Hu & Shen"),
        ("Edward Hu, Yelong Shen, Phil W", "Hu et al."),
        ("Hu, ", "Hu"),
        ("", ""),
    ],
)
def test_short_authors(authors, short):
    assert short_authors(authors) == short


def test_titles_are_escaped(as_charlie):
    point = make_point(title_en="<script>alert(1)</script>", definition_en="[[point:other]]")
    make_point(slug="other", title_en='"><img src=x onerror=alert(1)>')
    html = body(as_charlie, "kb-point", point.slug)
    assert "<script>alert" not in html
    assert "<img src=x" not in html


# --- as many queries for much as for little ---------------------------------------------------------------------------


def chip() -> str:
    return f"[[claim:{make_claim().slug}]]"


def add_a_lot() -> None:
    """Points and questions, each with chips of its own, all tied to the point `hub`."""
    hub = Point.objects.filter(slug="hub").first() or make_point(slug="hub")
    for _ in range(3):
        point = make_point(definition_en=chip(), mechanism_en=chip())
        question = make_question(prompt_en=chip(), short_en=chip())
        make_follow_up(question, prompt_en=chip())
        hub.questions.add(question)
        hub.prerequisites.add(point)
        hub.definition_en += f"[[point:{point.slug}]] [[question:{question.slug}]] {chip()}"
    hub.save()


@pytest.mark.parametrize("address", ["/", "/topics/", "/topics/math/", "/points/hub/", "/references/"])
def test_the_number_of_queries_is_constant(as_charlie, django_assert_max_num_queries, address):
    add_a_lot()
    with django_assert_max_num_queries(30) as few:
        assert as_charlie.get(address).status_code == 200
    add_a_lot()
    with django_assert_max_num_queries(len(few)):
        as_charlie.get(address)
