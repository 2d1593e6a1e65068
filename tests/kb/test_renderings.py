"""HTML that was made in advance: pages find it, edits and imports keep it true."""

import pytest
from django.core.cache import cache

from kb import markup
from kb.editing.services import item_save
from kb.markup import Resolver, digest_of, kept_html, render
from kb.models import Point, Rendering
from kb.renderings import renderings_rebuild
from kb.services import content_import
from kb.sources import point_source
from tests.builders import make_point
from tests.content_tree import edited, text, write

pytestmark = pytest.mark.django_db
POINT = "points/math/rank.yaml"


def kept() -> set[str]:
    return set(Rendering.objects.values_list("digest", flat=True))


def test_a_text_that_is_kept_is_not_parsed_again(monkeypatch, django_assert_num_queries):
    point = make_point(definition_en="The *rank*.")
    renderings_rebuild()
    cache.clear()
    monkeypatch.setattr(markup, "_markdown", lambda: pytest.fail("parsed"))
    resolver = Resolver("en")
    with django_assert_num_queries(1):
        resolver.prepare([point.definition_en, ""])
        assert resolver.html(point.definition_en) == "<p>The <em>rank</em>.</p>"
    with django_assert_num_queries(0):
        Resolver("en").prepare([point.definition_en])


def test_a_text_that_is_not_kept_is_rendered_when_it_is_shown():
    resolver = Resolver("en")
    resolver.prepare(["New *text*"])
    assert resolver.html("New *text*") == "<p>New <em>text</em></p>"
    assert not Rendering.objects.exists()


def test_an_import_renders_what_is_new_and_forgets_what_is_gone(tree):
    content_import(folder=tree)
    definition = Point.objects.get(slug="rank").definition_en
    before = kept()
    assert digest_of(definition) in before
    write(tree, POINT, edited(POINT, definition=text("Another definition.")))
    content_import(folder=tree)
    assert digest_of(text("Another definition.")["en"]) in kept() - before
    assert digest_of(definition) not in kept()


def test_a_dry_run_renders_nothing(tree):
    content_import(folder=tree, dry_run=True)
    assert not kept()


def test_an_edit_is_rendered_at_once(staff):
    point = make_point()
    source = point_source(point)
    changed = source.model_copy(update={"definition": source.definition.model_copy(update={"en": "Edited."})})
    item_save(point, changed, user=staff, before=None)
    assert digest_of("Edited.") in kept()


def test_another_renderer_makes_everything_anew(tree, monkeypatch):
    content_import(folder=tree)
    before = kept()
    monkeypatch.setattr(markup, "RENDERER_VERSION", markup.RENDERER_VERSION + 1)
    assert content_import(folder=tree).changed
    assert len(kept()) == len(before)
    assert not kept() & before


def test_what_is_kept_is_what_rendering_gives(tree):
    content_import(folder=tree)
    source = Point.objects.get(slug="rank").definition_en
    found = kept_html([source])
    cache.clear()
    assert found == {source: render(source)}


def test_what_is_not_kept_is_looked_for_once(django_assert_num_queries):
    Resolver("en").prepare(["New *text*"])
    with django_assert_num_queries(0):
        Resolver("en").prepare(["New *text*"])
    assert Resolver("en").html("New *text*") == "<p>New <em>text</em></p>"
