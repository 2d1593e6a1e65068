"""Markdown to safe HTML, in two steps.

`render` turns source into sanitised HTML; its result depends on nothing but the source, so it is cached, and for the
content kept in the database too. Inline references (`[[claim:slug]]`, `[@key]` …) stay empty placeholders in it.
`Resolver` fills the placeholders for one reader, because a verdict or a title changes without the text around it
changing.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Collection, Iterable
from xml.etree.ElementTree import Element

import markdown
import nh3
from django.core.cache import cache
from django.db import connection
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

from kb.text import Language

# Raise when the same source must render to other HTML than before.
RENDERER_VERSION = 3

# Longer sources are refused before they reach the parser: rendering costs about 5 ms a kB.
MAX_SOURCE = 200_000

# Fills the placeholders of one kind: HTML by slug. A slug that is missing from the result is unknown.
InlineResolver = Callable[[Iterable[str], Language], dict[str, str]]

_resolvers: dict[str, InlineResolver] = {}


def register_inline(kind: str, resolver: InlineResolver) -> None:
    """Make `[[kind:slug]]` known. Called from AppConfig.ready()."""
    _resolvers[kind] = resolver


def inline_kinds() -> list[str]:
    return sorted(_resolvers)


# --- step one ---------------------------------------------------------------------------------------------------------

INLINE = re.compile(r"\[\[(?P<kind>[a-z]+):(?P<slug>[a-z0-9-]+)\]\]")
CITATION = re.compile(r"\[@(?P<key>[a-z0-9-]+)\]")
PLAIN = re.compile(r"\[\[plain:(?P<figure>[^|\]]+)\|(?P<reason>[^\]]+)\]\]")

# The drawn numbers of parametric questions; where nothing was drawn, as in lists, an ellipsis stands for them.
VARIABLE = re.compile(r"<<([a-z][a-z0-9_]*)>>")
NOT_DRAWN = "…"

_PLACEHOLDER = re.compile(r'<span data-inline="([a-z]+)" data-slug="([a-z0-9-]+)"></span>')


class _Placeholder(InlineProcessor):
    def __init__(self, pattern: str, kind: str = "") -> None:
        super().__init__(pattern)
        self.kind = kind

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element, int, int]:  # noqa: N802
        span = Element("span")
        span.set("data-inline", self.kind or m["kind"])
        span.set("data-slug", m["key"] if self.kind else m["slug"])
        return span, m.start(0), m.end(0)


class _PlainFigure(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802
        return m["figure"], m.start(0), m.end(0)


class InlineReferences(Extension):
    """`[[kind:slug]]`, `[@key]` and `[[plain:figure|reason]]`; above links in priority, below code spans."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802
        md.inlinePatterns.register(_PlainFigure(PLAIN.pattern), "plain_figure", 179)
        md.inlinePatterns.register(_Placeholder(INLINE.pattern), "inline_reference", 178)
        md.inlinePatterns.register(_Placeholder(CITATION.pattern, "reference"), "citation", 177)


_local = threading.local()


def _markdown() -> markdown.Markdown:
    """One parser a thread: building one takes longer than most texts take to render."""
    if not hasattr(_local, "markdown"):
        _local.markdown = markdown.Markdown(
            extensions=[
                "tables",
                "sane_lists",
                "pymdownx.superfences",
                "pymdownx.highlight",
                "pymdownx.arithmatex",
                InlineReferences(),
            ],
            extension_configs={
                "pymdownx.arithmatex": {"generic": True},
                "pymdownx.highlight": {"css_class": "code", "guess_lang": False},
            },
            output_format="html",
        )
    return _local.markdown.reset()


_TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "strong", "em", "del", "sub", "sup"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "div", "span", "a", "img"),
}
_FOREIGN_TAGS = {"b", "i", "u", "s", "small", "kbd", "mark", "ruby", "rt", "rp", "dl", "dt", "dd", "caption", "tfoot"}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    "th": {"style"},
    "td": {"style"},
    "span": {"class", "data-inline", "data-slug"},
    "div": {"class"},
    "code": {"class"},
    "pre": {"class"},
}
_CLASS = re.compile(r"^(arithmatex|code|highlight|language-[a-z0-9]+|[a-z][a-z0-9]{0,2})$")
# Data URLs are for pictures; a link that opens one shows the reader a page of somebody else's making.
_HREF = re.compile(r"^(https?://|mailto:|[/#?])")
_ALIGN = re.compile(r"^text-align: ?(left|right|center);?$")


def _clean_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return " ".join(c for c in value.split() if _CLASS.match(c)) or None
    if name == "style":
        return value if _ALIGN.match(value) else None
    if name == "href":
        return value if _HREF.match(value) else None
    if name == "src":
        return value if value.startswith(("/static/", "data:image/png;", "data:image/svg+xml;")) else None
    return value


def _align_classes(html: str) -> str:
    """Table alignment as classes: the Content-Security-Policy allows no style attributes."""
    return re.sub(r' style="text-align: ?(left|right|center);?"', r' class="align-\1"', html)


def _sanitise(html: str, tags: set[str] = _TAGS) -> str:
    clean = nh3.clean(
        html,
        tags=tags,
        attributes=_ATTRIBUTES,
        attribute_filter=_clean_attribute,
        clean_content_tags={"script", "style"},
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer",
    )
    return _align_classes(clean)


def sanitise(html: str) -> str:
    """HTML of somebody else's making, such as an Anki card's: what Markdown may give, and a few more text styles."""
    return _sanitise(html, _TAGS | _FOREIGN_TAGS)


def render(source: str) -> str:
    """Sanitised HTML with placeholders. Cached by a hash of the source; ValueError above MAX_SOURCE characters."""
    if len(source) > MAX_SOURCE:
        raise ValueError(f"Text of {len(source)} characters; allowed: {MAX_SOURCE}")
    key = digest_of(source)
    html: str | None = cache.get(key)
    if not html:
        html = _sanitise(_markdown().convert(VARIABLE.sub(NOT_DRAWN, source)))
        cache.set(key, html)
    return html


def digest_of(source: str) -> str:
    """Names the HTML of a text, in the cache and in the database: two of the same digest have the same."""
    return hashlib.sha256(f"markup {RENDERER_VERSION}:{source}".encode()).hexdigest()


def kept_html(sources: Iterable[str]) -> dict[str, str]:
    """HTML by source, from the cache or else from the database in one query; empty for a text that is not kept."""
    digests = {digest_of(source): source for source in sources}
    found: dict[str, str] = cache.get_many(digests)
    if missing := digests.keys() - found.keys():
        read = dict.fromkeys(missing, "") | _kept_in_database(missing)
        cache.set_many(read)
        found |= read
    return {digests[digest]: html for digest, html in found.items()}


def _kept_in_database(digests: Collection[str]) -> dict[str, str]:
    """Without a queryset, because nearly every page waits for it: to compile one takes four times as long."""
    marks = ", ".join(["%s"] * len(digests))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT digest, html FROM kb_rendering WHERE digest IN ({marks})", list(digests))  # noqa: S608
        return dict(cursor.fetchall())


# --- step two ---------------------------------------------------------------------------------------------------------


class Resolver:
    """Fills placeholders for one reader; asks each kind's resolver at most once for all that a page needs.

    `prepare` may be called with all texts of a page first; without it a text with unseen slugs costs a query a kind,
    and one that is not in the cache is parsed.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._known: dict[str, dict[str, str]] = {}
        self._rendered: dict[str, str] = {}

    def prepare(self, sources: Iterable[str]) -> None:
        texts = {source for source in sources if source}
        self._rendered |= kept_html(texts - self._rendered.keys())
        self._load_references(texts)

    def _load_references(self, sources: Iterable[str]) -> None:
        wanted: dict[str, set[str]] = {}
        for source in sources:
            for kind, slug in inline_references(source):
                wanted.setdefault(kind, set()).add(slug)
        for kind, slugs in wanted.items():
            self._load(kind, slugs)

    def html(self, source: str) -> SafeString:
        self._load_references([source])
        html = self._rendered.get(source) or render(source)
        # Both parts are safe: sanitised Markdown, and what the resolvers built with escaping.
        return mark_safe(_PLACEHOLDER.sub(self._fill, html))  # noqa: S308

    def _load(self, kind: str, slugs: set[str]) -> None:
        known = self._known.setdefault(kind, {})
        missing = slugs - known.keys()
        if missing and kind in _resolvers:
            known.update({slug: _unknown(kind, slug) for slug in missing} | _resolvers[kind](missing, self.language))

    def _fill(self, match: re.Match[str]) -> str:
        kind, slug = match.groups()
        return self._known.get(kind, {}).get(slug) or _unknown(kind, slug)


def _unknown(kind: str, slug: str) -> str:
    return f'<span class="unknown">[[{escape(kind)}:{escape(slug)}]]</span>'


def inline_references(source: str) -> list[tuple[str, str]]:
    """(kind, slug) of every inline reference in a text, citations as kind `reference`."""
    found = [(m["kind"], m["slug"]) for m in INLINE.finditer(source)]
    return found + [("reference", m["key"]) for m in CITATION.finditer(source)]
