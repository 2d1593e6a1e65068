"""Bilingual titles, Markdown inside links, the current section."""

from types import SimpleNamespace

import pytest
from django.template import Context, Template
from django.utils import translation

from kb.models import Point
from kb.templatetags import page

TOPIC = SimpleNamespace(title_en="A <b>", title_zh="", prompt_en="", prompt_zh="")


def render(source: str, **context: object) -> str:
    return Template("{% load page %}" + source).render(Context(context))


def test_a_title_is_escaped() -> None:
    assert render('{{ topic|bilingual:"title" }}', topic=TOPIC) == "A &lt;b&gt;"


def test_a_title_that_falls_back_says_its_language() -> None:
    with translation.override("zh-hans"):
        assert render('{{ topic|bilingual:"title" }}', topic=TOPIC) == '<span lang="en">A &lt;b&gt;</span>'
        assert page.text_language(TOPIC, "title") == "en"
    assert page.text_language(TOPIC, "title") == "en"


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("Why a *low* `r`?", "Why a <em>low</em> <code>r</code>?"),
        ("See [there](https://example.org).", "See there."),
        ("# Head\n\n- one", "Head\none"),
        ("$r$", r'<span class="arithmatex">\(r\)</span>'),
        ("<img src=x onerror=alert(1)><b>x", "x"),
        ('<a title="><img src=x onerror=alert(1)>">x</a>', "x"),
    ],
)
def test_inline_markdown_has_neither_blocks_nor_links(source: str, html: str) -> None:
    question = SimpleNamespace(prompt_en=source, prompt_zh="")
    found = render('{% markdown_inline question "prompt" %}', question=question)
    assert "".join(found.split("\n")) == "".join(html.split("\n"))


@pytest.mark.parametrize(("name", "is_current"), [("quiz-question", True), ("kb-home", False), (None, False)])
def test_the_current_section_is_marked(name: str | None, is_current: bool) -> None:
    request = SimpleNamespace(resolver_match=SimpleNamespace(url_name=name))
    html = render('{% aria_current "kb-topic quiz-" %}', request=request)
    assert html == ('aria-current="page"' if is_current else "")


def test_no_section_is_current_without_a_request() -> None:
    assert render('{% aria_current "kb-" %}') == ""


def test_every_part_of_a_point_has_a_heading() -> None:
    assert all(page.part_title(part) for part in Point.PARTS)


def test_difficulty_is_five_dots() -> None:
    assert [page.dots(level) for level in (1, 5)] == ["●○○○○", "●●●●●"]
