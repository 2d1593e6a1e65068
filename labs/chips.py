"""`[[claim:slug]]` in a text: the value with its verdict, leading to the evidence."""

from collections.abc import Iterable

from django.utils.html import format_html, strip_tags
from django.utils.translation import gettext_lazy as _

from kb.text import Language, pick
from labs.models import Claim
from labs.numbers import format_quantity

# What tables show instead of a number while there is none.
NO_VALUE = "—"


def claim_value(claim: Claim) -> float | None:
    """What was found; before anything was found, what is expected; for a citation, what the source says."""
    if claim.method == "citation":
        return claim.cited
    finding = claim.findings[0] if claim.findings else {}
    if finding.get("value") is not None:
        return float(finding["value"])
    expected = claim.checks[0].get("expected") if claim.checks else None
    return None if expected is None else float(expected)


VERDICT_TITLES = {
    Claim.REPRODUCED: _("reproduced"),
    Claim.REFUTED: _("refuted"),
    Claim.PARTLY: _("partly true"),
    Claim.CITED: _("cited"),
    Claim.UNSUPPORTED: _("unsupported"),
    Claim.UNDECIDED: _("undecided"),
    Claim.AWAITING: _("awaiting run"),
}


def verdict_title(verdict: str) -> str:
    return str(VERDICT_TITLES[verdict])


def claim_chip(claim: Claim, language: Language) -> str:
    return format_html(
        '<a class="chip chip-{verdict}" href="{url}" title="{statement}" data-card>{label}</a>',
        verdict=claim.verdict,
        url=claim.get_absolute_url(),
        statement=strip_tags(pick(claim, "statement", language)),
        label=_chip_label(claim_value(claim), claim),
    )


def _chip_label(value: float | None, claim: Claim) -> str:
    """The value and, for those who cannot see the colour, the verdict; without a value the verdict in full sight."""
    title = verdict_title(claim.verdict)
    if value is None:
        return format_html('<span class="chip-value">{}</span>', title)
    shown = format_quantity(value, claim.unit)
    return format_html('<span class="chip-value">{}</span><span class="visually-hidden"> ({})</span>', shown, title)


def claim_chips(slugs: Iterable[str], language: Language) -> dict[str, str]:
    return {claim.slug: claim_chip(claim, language) for claim in Claim.objects.filter(slug__in=list(slugs))}
