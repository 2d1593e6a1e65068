"""Search over everything that apps offer to it, in both languages, on SQLite (FTS5) and PostgreSQL alike.

Chinese has no spaces, so both engines are given text in which every Chinese character is a word; a run of characters in
a query becomes a phrase, which finds any word of any length (`秩`, `合并`, `双重量化`) exactly where it stands. Greek
letters in LaTeX are written out, so that `α/r` finds `\\frac{\\alpha}{r}`.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Case, ExpressionWrapper, F, FloatField, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Length
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from kb.content.arithmetic import MATH
from kb.markup import NOT_DRAWN, VARIABLE
from kb.models import SearchDocument
from kb.text import Language

MAX_QUERY = 200  # characters
MAX_WORDS = 12
SNIPPET = 160  # characters
CLAIM = re.compile(r"\[\[claim:[a-z0-9-]+\]\]")  # its value changes without the text that shows it
LONGEST_FORMULA = 8  # characters of a formula that still reads well in a line of text
# How much more a word in the title counts than one in the text, and a title that is the query itself.
TITLE_WEIGHT = 8.0
WHOLE_TITLE_WEIGHT = 4.0
# A title that begins with the query is about it; one that only has it in passing may not be.
FIRST_IN_TITLE_WEIGHT = 2.0
# PostgreSQL's weights of body and title: its rank falls off so fast with every further occurrence that a larger
# difference would let no text outweigh a title.
POSTGRES_WEIGHTS = "{0.3, 0.3, 0.3, 1.0}"
# Points explain, questions drill, claims prove: who searches for a term wants them in this order.
KIND_WEIGHTS = {"point": 2.0, "lab": 1.2, "question": 1.0, "claim": 0.6}


@dataclass(frozen=True)
class Document:
    """One item in one language, as an app offers it. `title` and `body` are Markdown."""

    kind: str  # point, question, claim, lab
    slug: str
    language: Language
    url: str
    title: str
    body: str
    topic: str = ""
    difficulty: int | None = None
    facet: str = ""  # a question's kind, a claim's verdict


@dataclass(frozen=True)
class Hit:
    kind: str
    slug: str
    url: str
    topic: str
    facet: str
    title: SafeString
    snippet: SafeString


# By kind, what gives all its documents, or those of some slugs. Each app adds its own in AppConfig.ready().
sources: dict[str, Callable[..., Iterable[Document]]] = {}

# What a search can be narrowed to within a kind: (heading, {facet: title}). Filled in AppConfig.ready() as well.
facets: list[tuple[Any, dict[str, Any]]] = []


# --- text -------------------------------------------------------------------------------------------------------------

_GREEK_NAMES = "alpha beta gamma delta epsilon eta theta lambda mu nu pi rho sigma tau phi psi omega Delta Sigma Omega"
_GREEK = dict(zip(_GREEK_NAMES.split(), "αβγδεηθλμνπρστφψωΔΣΩ", strict=True))
_MARKUP: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\[\[plain:([^|\]]+)\|[^\]]*\]\]"), r"\1"),
    (re.compile(r"\[\[[a-z]+:[a-z0-9-]+\]\]|\[@[a-z0-9-]+\]"), " "),
    (re.compile(r"\]\([^)]*\)"), "] "),
    (re.compile(r"```\w*"), " "),
    (VARIABLE, NOT_DRAWN),
    (re.compile(r"\\([A-Za-z]+)"), lambda m: _GREEK.get(m[1], " ")),
    (re.compile(r"[*_`#>|${}\\\[\]~^]+"), " "),
    (re.compile(r"\s+"), " "),
]
_HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff])")
_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+")


def plain_text(source: str) -> str:
    """Markdown and LaTeX as words to read and to search."""
    for pattern, replacement in _MARKUP:
        source = pattern.sub(replacement, source)
    return source.strip()


def readable_text(source: str) -> str:
    """The words to show in a result: formulas longer than a symbol or two are left out, and values of claims too."""
    shown = MATH.sub(lambda m: m[0] if len(plain_text(m[0])) <= LONGEST_FORMULA else " … ", source)
    return plain_text(CLAIM.sub(" … ", shown))


def words_of(text: str) -> str:
    """The words that the engines index: lower case, every Chinese character one of them."""
    return " ".join(_HAN.sub(r" \1 ", " ".join(_WORD.findall(text.lower()))).split())


def query_phrases(query: str) -> list[list[str]]:
    """The words of a query; a run of Chinese characters is a phrase of several."""
    found = _WORD.findall(plain_text(query[:MAX_QUERY]).lower())[:MAX_WORDS]
    return [list(word) if _HAN.match(word) else [word] for word in found]


def mark(text: str, query: str) -> SafeString:
    """The text with what was searched for in <mark>."""
    words = sorted({"".join(phrase) for phrase in query_phrases(query)}, key=len, reverse=True)
    if not words:
        return escape(text)
    pattern = re.compile("|".join(_as_pattern(word) for word in words), re.IGNORECASE)
    parts, end = [], 0
    for match in pattern.finditer(text):
        parts += [escape(text[end : match.start()]), "<mark>", escape(match[0]), "</mark>"]
        end = match.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 (every part is escaped)


def _as_pattern(word: str) -> str:
    """Latin words match from their beginning, and short ones only whole: `r` is not in `rank`."""
    if _HAN.match(word):
        return re.escape(word)
    return rf"(?<!\w){re.escape(word)}" + (r"(?!\w)" if len(word) < 3 else "")


def snippet(text: str, query: str) -> SafeString:
    """The neighbourhood of the first word found."""
    places = [text.lower().find("".join(phrase)) for phrase in query_phrases(query)]
    first = min((place for place in places if place >= 0), default=0)
    start = max(0, first - SNIPPET // 3)
    cut = text[start : start + SNIPPET]
    shown = mark(cut, query)
    before, after = "…" if start else "", "…" if start + SNIPPET < len(text) else ""
    return mark_safe(f"{before}{shown}{after}")  # noqa: S308 (mark() escapes)


# --- index ------------------------------------------------------------------------------------------------------------


@transaction.atomic
def rebuild_index() -> int:
    """Index everything anew; returns the number of documents. About 10,000 a second."""
    SearchDocument.objects.all().delete()
    documents = [document for source in sources.values() for document in source()]
    SearchDocument.objects.bulk_create([_row(document) for document in documents], batch_size=500)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO kb_search(kb_search) VALUES ('rebuild')")
    return len(documents)


@transaction.atomic
def refresh_index(kind: str, slugs: Collection[str]) -> None:
    """Index some items anew, after an edit."""
    old = SearchDocument.objects.filter(kind=kind, slug__in=slugs)
    if connection.vendor == "sqlite":
        # The FTS5 table holds no text of its own: to forget a row it has to be told what it had indexed.
        _tell_fts5(
            "INSERT INTO kb_search(kb_search, rowid, title_words, body_words) VALUES ('delete', %s, %s, %s)", old
        )
    old.delete()
    new = SearchDocument.objects.bulk_create([_row(document) for document in _offered(kind, slugs)], batch_size=500)
    if connection.vendor == "sqlite":
        _tell_fts5("INSERT INTO kb_search(rowid, title_words, body_words) VALUES (%s, %s, %s)", new)


def _offered(kind: str, slugs: Collection[str]) -> Iterable[Document]:
    return sources[kind](slugs) if kind in sources else []


def _tell_fts5(statement: str, rows: Iterable[SearchDocument]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, [(row.pk, row.title_words, row.body_words) for row in rows])


def _row(document: Document) -> SearchDocument:
    title, body = readable_text(document.title), readable_text(document.body)
    return SearchDocument(
        kind=document.kind,
        slug=document.slug,
        language=document.language,
        url=document.url,
        topic=document.topic,
        difficulty=document.difficulty,
        facet=document.facet,
        title=title,
        body=body,
        title_words=words_of(f"{plain_text(document.title)} {document.slug}"),
        body_words=words_of(plain_text(document.body)),
    )


# --- search -----------------------------------------------------------------------------------------------------------


def search(query: str, language: Language, *, limit: int = 20, offset: int = 0, **filters: str | int) -> list[Hit]:
    """The best documents in a language, best first. `filters` are columns: kind, topic, difficulty, facet.

    All words have to occur; the last one may be unfinished, so that results can be shown as one types.
    """
    phrases = query_phrases(query)
    if not phrases:
        return []
    chosen = SearchDocument.objects.filter(language=language, **{k: v for k, v in filters.items() if v})
    engine = _sqlite if connection.vendor == "sqlite" else _postgres
    found = engine(chosen, phrases).annotate(order=F("score") * _boost(phrases)).order_by("-order", "id")
    return [_hit(row, query) for row in found[offset : offset + limit]]


def _boost(phrases: list[list[str]]) -> models.Expression:
    """The weight of the kind, and more the larger a share of the title the query is."""
    query = " ".join(word for phrase in phrases for word in phrase)
    kind = Case(*(When(kind=k, then=Value(w)) for k, w in KIND_WEIGHTS.items()), default=Value(1.0))
    share = Value(float(len(query))) / Cast(Length("title_words"), FloatField())
    title = Case(
        When(title_words__startswith=query, then=FIRST_IN_TITLE_WEIGHT + WHOLE_TITLE_WEIGHT * share),
        When(title_words__contains=query, then=1.0 + WHOLE_TITLE_WEIGHT * share),
        default=Value(1.0),
    )
    return ExpressionWrapper(kind * title, output_field=FloatField())


def _sqlite(rows: models.QuerySet[SearchDocument], phrases: list[list[str]]) -> models.QuerySet[SearchDocument]:
    match = " AND ".join('"' + " ".join(phrase) + '"' for phrase in phrases) + " *"
    where = ["kb_search.rowid = kb_searchdocument.id", "kb_search MATCH %s"]
    joined = rows.extra(tables=["kb_search"], where=where, params=[match])  # noqa: S610 (the query is a parameter)
    score = RawSQL(f"-bm25(kb_search, {TITLE_WEIGHT}, 1.0)", [], output_field=FloatField())  # noqa: S611 (constants)
    return joined.annotate(score=score)


def _postgres(rows: models.QuerySet[SearchDocument], phrases: list[list[str]]) -> models.QuerySet[SearchDocument]:
    *whole, last = [" <-> ".join(_quoted(word) for word in phrase) for phrase in phrases]
    query = " & ".join([f"({phrase})" for phrase in whole] + [f"({last}:*)"])
    where = "kb_searchdocument.vector @@ to_tsquery('english', %s)"
    rank = f"ts_rank('{POSTGRES_WEIGHTS}', kb_searchdocument.vector, to_tsquery('english', %s))"
    score = RawSQL(rank, [query], output_field=FloatField())  # noqa: S611 (the query is a parameter)
    return rows.extra(where=[where], params=[query]).annotate(score=score)  # noqa: S610


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "''").replace("\\", "") + "'"


def _hit(row: SearchDocument, query: str) -> Hit:
    return Hit(
        kind=row.kind,
        slug=row.slug,
        url=row.url,
        topic=row.topic,
        facet=row.facet,
        title=mark(row.title, query),
        snippet=snippet(row.body, query),
    )
