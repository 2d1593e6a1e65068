"""Search finds what readers look for, in both languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.content.files import read_tree
from kb.search import MAX_QUERY, mark, plain_text, query_phrases, rebuild_index, search, words_of
from kb.services import content_import
from tests.content_tree import edited, text, write


@pytest.fixture
def indexed(db, tree):
    """The small tree, with words that are hard to find."""
    point = "points/math/rank.yaml"
    mechanism = text("With $\\frac{\\alpha}{r}$ it merges.", "双重量化后合并，缩放 $\\frac{\\alpha}{r}$。")
    write(tree, point, edited(point, title=text("Rank as capacity", "秩就是容量"), mechanism=mechanism))
    assert read_tree(tree).errors() == []
    content_import(folder=tree)
    return tree


def slugs(query: str, language: str = "en", **filters) -> list[str]:
    return [hit.slug for hit in search(query, language, **filters)]


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("秩", "zh"),
        ("合并", "zh"),
        ("双重量化", "zh"),
        ("量化后合", "zh"),
        ("α/r", "zh"),
        ("rank", "en"),
        ("capac", "en"),
    ],
)
def test_it_finds_the_point_first(indexed, query, language):
    assert slugs(query, language, kind="point")[0] == "rank"  # a lab may be called after the word as well


def test_words_are_found_in_all_their_forms(indexed):
    assert "rank" in slugs("merging", "en")
    assert {"rank", "scaling"} <= set(slugs("α/r", "en"))


@pytest.mark.parametrize(
    "query", ["量双", "并合", "rank nonsense", "", "   ", "[]()$", "'", '"', "*", "\\", "NEAR(", "a" * 500]
)
def test_what_is_not_there_is_not_found_and_breaks_nothing(indexed, query):
    assert slugs(query, "zh") == []


def test_filters_narrow_the_results(indexed):
    assert {hit.kind for hit in search("rank", "en")} >= {"point", "question"}
    assert {hit.kind for hit in search("rank", "en", kind="question")} == {"question"}
    assert slugs("rank", "en", topic="nowhere") == []
    assert slugs("parameters", "en", kind="claim", facet="refuted") == []


def test_drafts_are_not_found(indexed):
    point = "points/math/rank.yaml"
    write(indexed, point, edited(point, status="draft"))
    content_import(folder=indexed)
    assert "rank" not in slugs("rank", "en", kind="point")


def test_rebuilding_changes_nothing(indexed):
    before = slugs("rank")
    rebuild_index()
    assert slugs("rank") == before


def test_the_page_shows_results_with_the_words_marked(indexed, as_charlie):
    page = as_charlie.get("/search/", {"q": "rank"}).content.decode()
    assert "<mark>Rank</mark> as capacity" in page
    assert 'href="/points/rank/"' in page


def test_typing_gets_only_the_results(indexed, as_charlie):
    fragment = as_charlie.get("/search/", {"q": "rank"}, HTTP_HX_REQUEST="true").content.decode()
    assert "<html" not in fragment
    assert "/points/rank/" in fragment


def test_an_over_long_query_is_explained(indexed, as_charlie):
    page = as_charlie.get("/search/", {"q": "a" * (MAX_QUERY + 1)}).content.decode()
    assert str(MAX_QUERY) in page


def test_a_search_costs_the_same_whatever_it_finds(indexed, as_charlie, django_assert_num_queries):
    with django_assert_num_queries(2):  # topics for the form, and the search
        as_charlie.get("/search/", {"q": "rank"})


@given(st.text(max_size=300))
def test_marking_never_lets_markup_through(query):
    marked = mark('<script>alert("rank & α")</script>', query)
    assert "<" not in marked.replace("<mark>", "").replace("</mark>", "")


@given(st.text(max_size=300))
def test_every_query_becomes_words(query):
    assert all(word and word == word.lower() for phrase in query_phrases(query) for word in phrase)


def test_short_latin_words_are_marked_only_whole():
    assert mark("rank r = 8", "r") == "rank <mark>r</mark> = 8"


def test_markdown_and_latex_become_plain_words():
    source = "**Scale** $\\frac{\\alpha}{r}$ of [[claim:x]] [@hu2021] `r=8` [[plain:73.8|a table]] [text](/url)"
    assert plain_text(source) == "Scale α r of r=8 73.8 text"
    assert words_of("合并 LoRA") == "合 并 lora"
