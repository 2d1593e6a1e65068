"""Rendering every text of the shipped content from Markdown, without and with what the cache keeps."""

from collections.abc import Iterator
from pathlib import Path

import yaml
from django.conf import settings
from django.core.cache import cache

from bench.timing import median_ms
from kb.markup import render

# Shorter strings are titles, slugs and terms, not Markdown.
MARKDOWN_FROM = 120


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) >= MARKDOWN_FROM:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


def content_texts(folder: Path) -> list[str]:
    return [text for path in sorted(folder.rglob("*.yaml")) for text in texts(yaml.safe_load(path.read_text()))]


def run() -> dict[str, float]:
    sources = content_texts(settings.CONTENT_DIR)

    def work() -> None:
        for source in sources:
            render(source)

    cold = median_ms(work, rounds=3, before=cache.clear)
    warm = median_ms(work, rounds=5)
    return {
        "texts": len(sources),
        "kilobytes": round(sum(len(source.encode()) for source in sources) / 1000, 1),
        "cold_ms": round(cold, 2),
        "cached_ms": round(warm, 2),
        "ratio": round(cold / warm, 1),
    }
