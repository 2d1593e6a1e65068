"""How to cite a claim of this site, with its verdict and the date on which it was computed."""

import re
from dataclasses import dataclass

from kb.text import active_language, pick
from labs.chips import verdict_title
from labs.models import Claim

_BIBTEX_SPECIAL = re.compile(r"([#$%&_{}])")


@dataclass(frozen=True)
class Citation:
    bibtex: str
    markdown: str


def citation(claim: Claim, address: str) -> Citation:
    """In the reader's language; the statement keeps its Markdown, in which its mathematics is readable."""
    statement, verdict = pick(claim, "statement", active_language()), verdict_title(claim.verdict)
    date = claim.decided_at.date().isoformat() if claim.decided_at else ""
    title = _BIBTEX_SPECIAL.sub(r"\\\1", statement)
    fields = {
        "title": f"{{{title}}}",  # braces keep its capitals
        "author": "{Proofdeck}",
        "year": date[:4],
        "howpublished": rf"\url{{{address}}}",
        "note": ", ".join(filter(None, (verdict, claim.method, date))),
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return Citation(
        bibtex=f"@misc{{proofdeck-{claim.slug},\n{body}\n}}",
        markdown=f"[{statement}]({address}) ({', '.join(filter(None, (verdict, date)))})",
    )
