"""Searching 10,000 items in both languages: time of a query, and how it compares with scanning the same rows."""

import random
import statistics
import time
from collections.abc import Callable, Iterator

from django.db import connection
from django.db.models import Q

from bench.timing import temporary_database
from kb import search
from kb.models import SearchDocument
from kb.text import LANGUAGES

ITEMS = 10_000
QUERIES = [
    *[(query, "en") for query in ("rank", "merge latency", "double quant", "α/r", "intruder")],
    *[(query, "zh") for query in ("秩", "合并", "双重量化", "学习率 秩", "α/r")],
]
ROUNDS = 20
WORDS = 120  # in a text
# The field's terms are the most frequent words, the rest of the vocabulary follows Zipf's law behind them.
TERMS = {
    "en": [
        "rank",
        "adapter",
        "merge",
        "latency",
        "memory",
        "quantisation",
        "double",
        "scale",
        "α",
        "r",
        "gradient",
        "loss",
        "intruder",
        "token",
        "base",
    ],
    "zh": [
        "秩",
        "适配器",
        "合并",
        "延迟",
        "显存",
        "双重量化",
        "缩放",
        "α",
        "r",
        "学习率",
        "基座",
        "训练",
        "参数",
        "损失",
        "层",
    ],
}
VOCABULARY = 5_000


def vocabulary(language: str) -> list[str]:
    first = ord("一")
    rest = range(VOCABULARY - len(TERMS[language]))
    made = [f"w{n}" for n in rest] if language == "en" else [chr(first + n) + chr(first + 2 * n) for n in rest]
    return TERMS[language] + made


def documents() -> Iterator[search.Document]:
    """Texts drawn with a fixed seed."""
    chance = random.Random(0)  # noqa: S311 (text to search in)
    weights = [1 / (place + 10) for place in range(VOCABULARY)]
    words = {language: vocabulary(language) for language in LANGUAGES}
    for number in range(ITEMS):
        for language in LANGUAGES:
            drawn = chance.choices(words[language], weights, k=WORDS)
            title, body = " ".join(drawn[:5]), " ".join(drawn)
            yield search.Document("point", f"item-{number}", language, f"/points/item-{number}/", title, body)


def p95_ms(work: Callable[[str, str], object]) -> float:
    """The 95th percentile over all queries and rounds, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        for query, language in QUERIES:
            began = time.perf_counter()
            work(query, language)
            times.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(times, n=20)[-1]


def scan(query: str, language: str) -> object:
    """What a search without an index would do."""
    contains = Q(body__contains=query) | Q(title__contains=query)
    return list(SearchDocument.objects.filter(contains, language=language)[:20])


def run() -> dict[str, float]:
    with temporary_database():
        search.sources = {"point": documents}
        began = time.perf_counter()
        search.rebuild_index()
        built = time.perf_counter() - began
        indexed = p95_ms(search.search)  # type: ignore[arg-type]
        return {
            "items": ITEMS,
            "engine": connection.vendor,  # type: ignore[dict-item]
            "index_seconds": round(built, 1),
            "p95_ms": round(indexed, 2),
            "scan_p95_ms": round(p95_ms(scan), 2),
        }
