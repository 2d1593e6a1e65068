"""The record of a run and its digest."""

import json

import pytest
from pydantic import ValidationError

from labs.catalog import get_lab
from labs.records import (
    EvidenceError,
    MetricRecord,
    RunRecord,
    digest_of,
    read_record,
    seal,
    summarise,
    to_json,
    verify_digest,
)

UNIT = "nats per answer token"


def metric(value: float, *, seed: int = 0, step: int | None = None, point: str = "rank=8") -> MetricRecord:
    name = "validation_loss" if step is None else "loss"
    return MetricRecord(name=name, unit=UNIT, point=point, seed=seed, step=step, value=value)


@pytest.fixture
def record() -> RunRecord:
    metrics = [metric(5.0, step=0), metric(1.0), metric(2.0, seed=1), metric(3.0, seed=2), metric(4.0, point="")]
    return seal(
        RunRecord(
            lab="rank-sweep",
            lab_version=1,
            params={"ranks": [8]},
            preset="quick",
            seeds=[0, 1, 2],
            metrics=metrics,
            summary=summarise(get_lab("rank-sweep"), metrics),
            environment={"hardware": {"cpu": "处理器"}},
            durations={"total": 1.5},
            artifacts=[],
            created="2026-01-02T03:04:05+00:00",
            command="python manage.py run_lab rank-sweep --preset quick",
        )
    )


def test_the_summary_leaves_curves_out(record):
    assert [(row.name, row.point, row.n, row.mean, row.unit) for row in record.summary] == [
        ("validation_loss", "rank=8", 3, 2.0, UNIT),
        ("validation_loss", "", 1, 4.0, UNIT),
    ]
    assert record.summary[0].low == pytest.approx(2 - 2.4841, abs=1e-4)
    assert record.summary[1].low is None


def test_it_can_be_read_back(record, tmp_path):
    path = tmp_path / "rank-sweep-quick.json"
    path.write_text(to_json(record), encoding="utf-8")
    assert read_record(path) == record
    assert "处理器" in path.read_text(encoding="utf-8")


def test_a_row_of_a_table_is_one_line(record):
    lines = to_json(record).splitlines()
    assert sum('"name": ' in line for line in lines) == len(record.metrics) + len(record.summary)


def test_the_digest_does_not_depend_on_the_order_of_keys(record):
    document = record.model_dump(mode="json")
    assert digest_of(dict(reversed(document.items()))) == record.digest


@pytest.mark.parametrize(("field", "value"), [("seeds", [0, 1]), ("created", "2026-01-02T03:04:06+00:00")])
def test_a_change_by_hand_is_found(record, field, value):
    document = record.model_dump(mode="json")
    verify_digest(document)
    document[field] = value
    with pytest.raises(EvidenceError, match=f"digest is {record.digest}, but the content has"):
        verify_digest(document)


def test_a_changed_metric_is_found_on_reading(record, tmp_path):
    path = tmp_path / "changed.json"
    path.write_text(to_json(record).replace('"value": 1.0', '"value": 0.9'), encoding="utf-8")
    with pytest.raises(EvidenceError, match=r"changed\.json: digest is"):
        read_record(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_something_that_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=r"broken\.json"):
        read_record(path)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused(record, tmp_path, constant):
    path = tmp_path / "nan.json"
    path.write_text(to_json(record).replace('"value": 1.0', f'"value": {constant}'), encoding="utf-8")
    with pytest.raises(EvidenceError, match=f"{constant} is not a number"):
        read_record(path)


def test_nan_cannot_be_recorded(record):
    with pytest.raises(ValidationError):
        metric(float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        seal(record.model_copy(update={"environment": {"load": float("inf")}}))


@pytest.mark.parametrize("created", ["2026-01-02T03:04:05", "2026-01-02T03:04:05+08:00", "yesterday"])
def test_the_time_is_utc(record, created):
    with pytest.raises(ValidationError):
        RunRecord.model_validate(json.loads(to_json(record)) | {"created": created})
