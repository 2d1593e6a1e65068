"""Claims: from content files to the database, and the checks that a schema cannot make."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.db.models import Model

from kb.content.checks import Finding, Known, check_known
from kb.content.registry import ContentType, Problem
from kb.markup import inline_references
from kb.models import Point, Topic
from kb.sources import ids_by_slug, text_columns, texts_of_row, write_columns
from kb.text import LANGUAGES
from labs.catalog import UnknownLab, get_lab
from labs.formulas import FORMULAS
from labs.models import Claim
from labs.records import EvidenceError, RunRecord, read_record
from labs.schema import CheckSource, ClaimSource

FOLKLORE = "folklore"


def save_claims(sources: list[ClaimSource]) -> None:
    topics, rows = ids_by_slug(Topic), Claim.objects.in_bulk(field_name="slug")
    for source in sources:
        _write_claim(rows.get(source.slug) or Claim(slug=source.slug), source, topics)


def _write_claim(row: Claim, source: ClaimSource, topics: dict[str, int]) -> None:
    values: dict[str, Any] = text_columns(source, "statement", "often_said", "note", "assumptions")
    values |= source.model_dump(include={"method", "unit", "source", "place", "cited", "settles"})
    values |= {"checks": [check.model_dump(exclude_defaults=True) for check in source.checks]}
    write_columns(row, values | {"topic_id": topics[source.topic]})


def apply_claim(row: Claim, source: ClaimSource) -> None:
    _write_claim(row, source, ids_by_slug(Topic))


def load_claims() -> list[ClaimSource]:
    return [claim_source(row) for row in Claim.objects.select_related("topic")]


def claim_source(row: Claim) -> ClaimSource:
    plain = ("slug", "method", "unit", "source", "place", "cited", "settles", "checks")
    return ClaimSource(
        topic=row.topic.slug,
        **{field: getattr(row, field) for field in plain},
        **texts_of_row(row, "statement", "often_said", "note", "assumptions"),
    )


def remove_claims(slugs: list[str]) -> None:
    Claim.objects.filter(slug__in=slugs).delete()


def link_points(points: Iterable[Point] | None = None) -> None:
    """Remember which points show which claims, so that a claim's page can list them."""
    fields = [f"{part}_{language}" for part in Point.PARTS for language in LANGUAGES]
    chosen = Point.objects.all() if points is None else points
    link_mentions(Claim.points.through, "point", {p.pk: [getattr(p, field) for field in fields] for p in chosen})


def link_mentions(through: type[Model], owner: str, texts: dict[int, list[str]]) -> None:
    """Make a many-to-many table between claims and `owner` say which claims each owner's texts show. Three queries."""
    claims, rows = ids_by_slug(Claim), through._default_manager
    wanted = {(pk, claim) for pk, shown in texts.items() for claim in mentioned_claims(shown, claims)}
    linked = rows.filter(**{f"{owner}_id__in": list(texts)}).values_list(f"{owner}_id", "claim_id", "pk")
    found = {(pk, claim): link for pk, claim, link in linked}
    rows.filter(pk__in=[link for pair, link in found.items() if pair not in wanted]).delete()
    links = [through(**{f"{owner}_id": pk, "claim_id": claim}) for pk, claim in sorted(wanted - found.keys())]
    rows.bulk_create(links)


def mentioned_claims(texts: Iterable[str], claims: dict[str, int]) -> list[int]:
    """Ids of the claims that the texts show as chips."""
    slugs = {slug for text in texts for kind, slug in inline_references(text) if kind == "claim"}
    return [claims[slug] for slug in slugs if slug in claims]


def check_claim(source: ClaimSource, known: Known) -> Iterator[Finding]:
    yield from check_known(known, "topic", source.topic, "topic")
    if source.source != FOLKLORE:
        yield from check_known(known, "source", source.source, "reference")
    for index, check in enumerate(source.checks):
        if message := _check_place(check):
            yield Finding("dead-evidence", f"checks.{index}", message)


def _check_place(check: CheckSource) -> str:
    """Why a check's value cannot be had, or an empty string."""
    return _formula_problem(check) if check.formula else _metric_problem(check)


def _formula_problem(check: CheckSource) -> str:
    if check.formula not in FORMULAS:
        return f"formula = {check.formula!r}: allowed: {', '.join(FORMULAS)}"
    try:
        value = FORMULAS[check.formula](**check.arguments)
    except (TypeError, ValueError, KeyError, ArithmeticError) as e:
        return f"formula {check.formula} with {check.arguments}: {e}"
    return "" if math.isfinite(value) else f"formula {check.formula} gives {value}, which is not a number to claim"


def _metric_problem(check: CheckSource) -> str:
    try:
        get_lab(check.lab).metric(check.metric)
    except (UnknownLab, KeyError) as e:
        return str(e.args[0])
    return ""


def check_evidence(folder: Path) -> Iterator[Problem]:
    """Evidence records that were edited, cannot be read, belong to no lab or metric, or repeat another one."""
    first: dict[tuple[str, str], str] = {}
    for path in sorted((folder / "evidence").glob("*.json")):
        try:
            record = read_record(path)
            _check_record(record)
            other = first.setdefault((record.lab, record.preset), path.name)
            if other != path.name:
                raise EvidenceError(f"{other} is another record of {record.lab} with preset {record.preset!r}")
        except (EvidenceError, UnknownLab) as e:
            yield Problem(path.relative_to(folder).as_posix(), 1, "evidence", str(e))


def _check_record(record: RunRecord) -> None:
    """EvidenceError for a metric that the lab does not have; a record of another version may have others."""
    lab = get_lab(record.lab)
    names = {metric.name for metric in lab.metrics}
    unknown = {metric.name for metric in record.metrics} - names
    if unknown and record.lab_version == lab.version:
        raise EvidenceError(f"{lab.slug} has no metric {', '.join(sorted(unknown))}; it has {', '.join(sorted(names))}")


CONTENT_TYPES = [
    ContentType(
        "claims",
        ClaimSource,
        save_claims,
        load_claims,
        remove_claims,
        model=Claim,
        source_of=claim_source,
        apply=apply_claim,
        folder="claims",
        path=lambda source: f"claims/{source.topic}/{source.slug}.yaml",
        check_one=check_claim,
        order=40,
    ),
]
