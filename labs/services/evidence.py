"""The shipped evidence becomes the reference runs."""

import hashlib
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from labs import formulas
from labs.catalog import all_labs, get_lab
from labs.models import MetricValue, Run
from labs.records import RunRecord, read_record
from labs.services.requests import question_key
from labs.staleness import MARKER


@transaction.atomic
def evidence_import(folder: Path) -> int:
    """Make the shipped records the reference runs; those whose file is gone go too. EvidenceError names a bad file."""
    records = [read_record(path) for path in sorted((folder / "evidence").glob("*.json"))]
    kept = [_evidence_save(record).pk for record in records]
    Run.objects.filter(origin=Run.REFERENCE).exclude(pk__in=kept).delete()
    return len(kept)


def _evidence_save(record: RunRecord) -> Run:
    same = Run.objects.filter(origin=Run.REFERENCE, lab_slug=record.lab, preset=record.preset)
    unchanged = same.filter(evidence_digest=record.digest).first()
    if unchanged:
        return unchanged
    same.delete()
    created = datetime.fromisoformat(record.created)
    run = Run.objects.create(
        origin=Run.REFERENCE,
        lab_slug=record.lab,
        lab_version=record.lab_version,
        preset=record.preset,
        params=record.params,
        seeds=record.seeds,
        question_key=question_key(get_lab(record.lab), record.params, record.seeds),
        status=Run.SUCCEEDED,
        environment=record.environment,
        durations=record.durations,
        evidence_digest=record.digest,
        created_at=created,
        finished_at=created,
    )
    values = (v.model_dump(exclude={"unit"}) for v in record.metrics)
    MetricValue.objects.bulk_create([MetricValue(run=run, **value) for value in values])
    return run


def evidence_code() -> str:
    """Changes when a formula's code, a lab's version or a model's weights do, and with them the verdicts."""
    sources = sorted(Path(formulas.__file__).parent.glob("*.py")) + sorted(settings.MODELS_DIR.glob(f"*/{MARKER}"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return " ".join(digests + [f"{lab.slug}:{lab.version}" for lab in all_labs().values()])
