"""Both databases find the same things in the shipped content, best first."""

import re
import urllib.parse
import urllib.request

import pytest

from tests.stack.processes import Stack

FIRST_HITS = [
    ("双重量化", "zh-hans", {"nf4-and-double-quantisation"}),
    ("合并", "zh-hans", {"merging"}),
    ("秩", "zh-hans", {"rank-and-capacity", "rank-bound"}),
    ("rank", "en", {"rank-and-capacity", "rank-bound"}),
    ("α/r", "en", {"alpha-scaling"}),
    ("intruder", "en", {"intruders-over-sequences", "intruder-dimensions"}),
]


def hits(stack: Stack, query: str, language: str) -> list[str]:
    """The slugs on the result page, in order."""
    url = f"{stack.url}search/?{urllib.parse.urlencode({'q': query})}"
    request = urllib.request.Request(url, headers={"Accept-Language": language})  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        page = response.read().decode()
    return re.findall(r'<li>\s*<a href="/[a-z]+/([a-z0-9-]+)/"', page)


@pytest.mark.parametrize(("query", "language", "expected"), FIRST_HITS)
def test_the_first_hit_is_the_right_one(stack: Stack, query: str, language: str, expected: set[str]) -> None:
    assert hits(stack, query, language)[0] in expected
