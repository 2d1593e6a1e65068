"""The ledger as data: what each claim states, what was found, and which statements of the source notes it settles."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kb.content.inventory import ids_in
from labs.models import Claim
from labs.schema import CheckSource
from labs.verdicts import Finding

STATEMENTS = "statements.yaml"  # the ids that the claims have to settle
VERDICTS = "verdicts.yaml"  # the verdicts that were accepted last


def entries(claims: Iterable[Claim]) -> list[dict[str, Any]]:
    return [entry(claim) for claim in claims]


def entry(claim: Claim) -> dict[str, Any]:
    """One claim: the first check decides what its chip shows, so its numbers stand beside the verdict."""
    checks = [_check_entry(check, finding) for check, finding in zip(claim.checks, claim.findings, strict=True)]
    nothing = {"expected": claim.cited, "found": None, "n": 0, "interval": None}
    first = checks[0] if checks else nothing
    return {
        "slug": claim.slug,
        "settles": claim.settles,
        "method": claim.method,
        "verdict": claim.verdict,
        "unit": claim.unit,
        **{name: first[name] for name in nothing},
        "checks": checks,
    }


def _check_entry(check: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    source, finding = CheckSource.model_validate(check), Finding(**found)
    place = {"formula": source.formula} if source.formula else {"lab": source.lab, "metric": source.metric}
    return {
        **place,
        "point": source.point,
        "expected": expectation(source),
        "found": finding.value,
        "n": finding.n,
        "interval": None if finding.low is None or finding.n < 2 else [finding.low, finding.high],
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def expectation(check: CheckSource) -> float | dict[str, float]:
    """A plain number where exactly that is expected, else its tolerance or the bounds."""
    fields = ("expected", "absolute", "relative", "at_least", "at_most")
    given = {name: getattr(check, name) for name in fields if getattr(check, name) is not None}
    return given["expected"] if list(given) == ["expected"] else given


def unsettled(folder: Path, claims: Iterable[Claim]) -> tuple[list[str], list[str]]:
    """All ids that have to be settled, and those that no claim settles."""
    wanted = ids_in(folder / STATEMENTS)
    settled = {i for claim in claims for i in claim.settles}
    return wanted, [i for i in wanted if i not in settled]


def accepted_verdicts(folder: Path) -> dict[str, str]:
    """By slug; empty where none were ever accepted."""
    path = folder / VERDICTS
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def accept_verdicts(folder: Path, claims: Iterable[Claim]) -> None:
    """Write down the verdicts as they are now; the commit that changes the file says why."""
    lines = [f"{claim.slug}: {claim.verdict}\n" for claim in sorted(claims, key=lambda claim: claim.slug)]
    (folder / VERDICTS).write_text("".join(lines), encoding="utf-8")


def changes(folder: Path, claims: Iterable[Claim]) -> list[dict[str, str]]:
    """Verdicts that differ from the accepted ones; a claim that came or went counts, with an empty verdict."""
    before, after = accepted_verdicts(folder), {claim.slug: claim.verdict for claim in claims}
    return [
        {"slug": slug, "before": before.get(slug, ""), "after": after.get(slug, "")}
        for slug in sorted(before.keys() | after.keys())
        if before.get(slug) != after.get(slug)
    ]
