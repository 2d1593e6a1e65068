"""The record of a run: one JSON document that says what was asked, what came out, and on what.

`run_lab` prints it, and `content/evidence/` is full of it. The digest makes a change by hand visible.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from labs.declaration import Lab
from labs.statistics import mean_interval


class EvidenceError(ValueError):
    """A record cannot be trusted: unreadable, or changed after it was written."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricRecord(Part):
    name: str
    unit: str
    point: str
    seed: int
    step: int | None = None  # a value with a step belongs to a curve
    value: FiniteFloat


class SummaryRecord(Part):
    """Mean and 95 % t-interval over seeds; without an interval for a single seed."""

    name: str
    point: str
    n: int
    mean: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    unit: str


class ArtifactRecord(Part):
    name: str
    bytes: int
    sha256: str


class RunRecord(Part):
    """The whole document; `digest` is the SHA-256 of the canonical JSON of everything else."""

    lab: str
    lab_version: int
    params: dict[str, Any]
    preset: str
    seeds: list[int]
    metrics: list[MetricRecord]
    summary: list[SummaryRecord]
    environment: dict[str, Any]
    durations: dict[str, FiniteFloat]  # seconds
    artifacts: list[ArtifactRecord]
    created: str  # ISO 8601, UTC
    command: str  # repeats the run
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @field_validator("created")
    @classmethod
    def _is_utc(cls, created: str) -> str:
        if datetime.fromisoformat(created).utcoffset() != UTC.utcoffset(None):
            raise ValueError("created has to be a time in UTC with its offset")
        return created


def run_lab_arguments(lab: str, preset: str, params: dict[str, Any], seeds: Iterable[int]) -> list[str]:
    """What follows `python` in the command that asks the same again."""
    words = ["manage.py", "run_lab", lab]
    if preset:
        return [*words, "--preset", preset]
    return [*words, "--params", json.dumps(params), "--seeds", ",".join(map(str, seeds))]


def summarise(lab: Lab, metrics: Iterable[MetricRecord]) -> list[SummaryRecord]:
    """One row per result and point, in the order of their first appearance."""
    values: dict[tuple[str, str], list[float]] = {}
    for metric in metrics:
        if metric.step is None:
            values.setdefault((metric.name, metric.point), []).append(metric.value)
    rows = []
    for (name, point), found in values.items():
        summary = mean_interval(found)
        rows.append(
            SummaryRecord(
                name=name,
                point=point,
                n=summary.n,
                mean=summary.mean,
                low=summary.low,
                high=summary.high,
                unit=lab.metric(name).unit,
            )
        )
    return rows


def seal(record: RunRecord) -> RunRecord:
    """The record with its digest."""
    return record.model_copy(update={"digest": digest_of(record.model_dump())})


def digest_of(document: dict[str, Any]) -> str:
    """The SHA-256 of the canonical JSON of a record without its digest; ValueError for NaN and infinity."""
    rest = {name: value for name, value in document.items() if name != "digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def verify_digest(document: dict[str, Any]) -> None:
    """EvidenceError unless the document is as it was when it was sealed."""
    written, found = document.get("digest"), digest_of(document)
    if written != found:
        raise EvidenceError(f"digest is {written}, but the content has {found}: it was changed after the run wrote it")


def to_json(record: RunRecord) -> str:
    """The document as it is printed and kept: one line a field and a row of a table, so that diffs can be read."""
    fields = record.model_dump().items()
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_to_line(value)}" for name, value in fields) + "\n}\n"


def _to_line(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(_to_line(row) for row in value) + "\n]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_record(path: Path) -> RunRecord:
    """The record in a file; EvidenceError names the file and what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        record = RunRecord.model_validate(document)
        verify_digest(document)
    except (ValidationError, ValueError) as error:
        raise EvidenceError(f"{path.name}: {error}") from error
    return record


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
