"""Writes of the labs: runs through their life, evidence, verdicts. One function an action, each one transaction."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from labs import broker, formulas
from labs.catalog import all_labs, get_lab
from labs.declaration import Lab
from labs.formulas import FORMULAS
from labs.models import Artifact, Claim, MetricValue, Run
from labs.parameters import ParameterError, ParameterErrors, validate, validate_seeds
from labs.records import RunRecord, read_record
from labs.schema import CheckSource
from labs.verdicts import Finding, combine, judge_citation, judge_metric, judge_value

# A running run whose worker has been silent for longer than this may be taken over.
LEASE = timedelta(seconds=15)

# Runs of one user that may wait or run at the same time.
MAX_LIVE_RUNS = 5


class TooManyRuns(RuntimeError):
    """The user's runs already fill what one user may have."""


# --- a run's life -----------------------------------------------------------------------------------------------------


def question_key(lab: Lab, params: dict[str, Any], seeds: list[int]) -> str:
    """SHA-256 of what was asked: lab, its version, parameters, seeds."""
    question = {"lab": lab.slug, "version": lab.version, "params": params, "seeds": sorted(seeds)}
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """A validated wish for a run."""

    lab: Lab
    params: dict[str, Any]
    seeds: list[int]
    preset: str

    @property
    def key(self) -> str:
        return question_key(self.lab, self.params, self.seeds)


def run_request(
    *, lab_slug: str, params: dict[str, Any] | None = None, preset: str = "", seeds: list[int] | None = None
) -> Request:
    """Preset, then `params` over it, then the lab's defaults. UnknownLab and ParameterErrors say what is wrong.

    The request keeps the preset's name only while it asks for exactly what the preset says.
    """
    lab = get_lab(lab_slug)
    if preset and preset not in lab.presets:
        raise ParameterErrors([ParameterError("preset", preset, f"allowed: {', '.join(lab.presets)}")])
    if params is not None and not isinstance(params, dict):
        raise ParameterErrors([ParameterError("params", params, "allowed: a JSON object of parameters")])
    base = lab.presets[preset or "quick"]
    validated = validate(lab, (base.params if preset else {}) | (params or {})).model_dump(mode="json")
    chosen = validate_seeds(list(base.seeds) if seeds is None else seeds)
    return Request(lab, validated, chosen, preset=_preset_of(lab, validated, chosen))


def _preset_of(lab: Lab, params: dict[str, Any], seeds: list[int]) -> str:
    for name, preset in lab.presets.items():
        if list(preset.seeds) == seeds and lab.parameters(**preset.params).model_dump(mode="json") == params:
            return name
    return ""


def run_twin(*, user: User, request: Request) -> Run | None:
    """The user's newest run that asks the same and succeeded or may still succeed."""
    wanted = Run.objects.filter(owner=user, question_key=request.key, status__in=[*Run.LIVE, Run.SUCCEEDED])
    return wanted.order_by("-pk").first()


def run_submit(*, user: User, request: Request) -> Run:
    """Queue a run and ring for a worker. TooManyRuns above the user's limit.

    A broker that is down does not lose the run: the row waits, and `runs_ring_waiting` rings again.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # two submissions of one user count one after the other
        live = Run.objects.filter(owner=user, status__in=Run.LIVE).count()
        if live >= MAX_LIVE_RUNS:
            raise TooManyRuns(f"{live} of your runs are waiting or running; allowed: {MAX_LIVE_RUNS}")
        run = Run.objects.create(
            owner=user,
            lab_slug=request.lab.slug,
            lab_version=request.lab.version,
            preset=request.preset,
            params=request.params,
            seeds=request.seeds,
            question_key=request.key,
            created_at=timezone.now(),
        )
    try:
        broker.ring(run.pk)
    except broker.BrokerDown:
        Run.objects.filter(pk=run.pk).update(reason="Waiting for the queue: the broker does not answer.")
        run.refresh_from_db()
    return run


def runs_ring_waiting() -> list[int]:
    """Ring for every run that has not ended. Called when a worker starts; a bell too many does no harm.

    Also for runs that look alive: their worker may have died a moment ago and taken the message along. Where it lives,
    the task that hears the bell comes back when the lease has ended.
    """
    ids = list(Run.objects.filter(status__in=Run.LIVE).order_by("pk").values_list("pk", flat=True))
    for run_id in ids:
        broker.ring(run_id)
    return ids


def run_claim(run_id: int) -> Run | None:
    """Take a run for execution by conditional update; None when it is not to be had (finished, or alive elsewhere)."""
    now = timezone.now()
    free = Q(status=Run.QUEUED) | Q(status=Run.RUNNING, heartbeat_at__lt=now - LEASE)
    taken = Run.objects.filter(free, pk=run_id).update(
        status=Run.RUNNING, heartbeat_at=now, started_at=now, attempt=F("attempt") + 1, reason=""
    )
    return Run.objects.get(pk=run_id) if taken else None


def run_lease_ends_in(run_id: int) -> float | None:
    """Seconds until a running run may be taken over; None when it is not running."""
    run = Run.objects.filter(pk=run_id, status=Run.RUNNING).first()
    if run is None or run.heartbeat_at is None:
        return None
    return max(0.0, (run.heartbeat_at + LEASE - timezone.now()).total_seconds())


def run_heartbeat(run: Run) -> bool:
    """Renew the lease. False when the run is no longer ours to work on: cancelled, taken over, gone."""
    ours = Run.objects.filter(pk=run.pk, status=Run.RUNNING, attempt=run.attempt)
    return bool(ours.filter(cancel_requested=False).update(heartbeat_at=timezone.now()))


def run_progress(run: Run, *, done: float, total: float, note: str) -> None:
    Run.objects.filter(pk=run.pk, status=Run.RUNNING, attempt=run.attempt).update(
        progress_done=done, progress_total=total, progress_note=note[:200], heartbeat_at=timezone.now()
    )


def run_environment(run: Run, environment: dict[str, Any]) -> None:
    Run.objects.filter(pk=run.pk, attempt=run.attempt).update(environment=environment)


def run_record_values(run: Run, values: Iterable[dict[str, Any]]) -> None:
    """Store curve values as they come; one that is already there stays as it is."""
    MetricValue.objects.bulk_create([MetricValue(run=run, **value) for value in values], ignore_conflicts=True)


@transaction.atomic
def run_finish_point(run: Run, *, key: str, seed: int, metrics: list[dict[str, Any]]) -> None:
    """Store a finished point and its results together; a point delivered twice is stored once."""
    locked = Run.objects.select_for_update().get(pk=run.pk)
    if locked.attempt != run.attempt or [key, seed] in locked.finished_points:
        return
    MetricValue.objects.filter(run=run, point=key, seed=seed).delete()
    run_record_values(run, ({"point": key, "seed": seed, **metric} for metric in metrics))
    locked.finished_points.append([key, seed])
    locked.save(update_fields=["finished_points"])


def run_keep_artifact(run: Run, *, name: str, size: int, sha256: str) -> None:
    Artifact.objects.update_or_create(run=run, name=name, defaults={"size": size, "sha256": sha256})


def run_finish(
    run: Run,
    *,
    status: str,
    reason: str = "",
    traceback: str = "",
    log_tail: str = "",
    durations: dict[str, float] | None = None,
) -> bool:
    """Move a run to its final state. False when somebody else already did, or took the run over."""
    return bool(
        Run.objects.filter(pk=run.pk, status=Run.RUNNING, attempt=run.attempt).update(
            status=status,
            reason=reason,
            traceback=traceback,
            log_tail=log_tail,
            durations=durations or {},
            finished_at=timezone.now(),
        )
    )


def run_cancel(run: Run) -> bool:
    """Cancel a waiting run at once, ask a running one to stop. False when it has already ended."""
    now = timezone.now()
    if Run.objects.filter(pk=run.pk, status=Run.QUEUED).update(
        status=Run.CANCELLED, cancel_requested=True, finished_at=now, reason="Cancelled before it started."
    ):
        return True
    return bool(Run.objects.filter(pk=run.pk, status=Run.RUNNING).update(cancel_requested=True))


# --- evidence ---------------------------------------------------------------------------------------------------------


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
    """Changes when a formula's code or a lab's version does, and with them the verdicts."""
    sources = sorted(Path(formulas.__file__).parent.glob("*.py"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return " ".join(digests + [f"{lab.slug}:{lab.version}" for lab in all_labs().values()])


# --- verdicts ---------------------------------------------------------------------------------------------------------


@transaction.atomic
def claims_recompute(claims: Iterable[Claim] | None = None) -> dict[str, tuple[str, str]]:
    """Compute the verdicts anew; returns the changed ones as slug → (before, after)."""
    changes = {}
    for claim in Claim.objects.all() if claims is None else claims:
        before = claim.verdict
        findings = [_find(claim, CheckSource.model_validate(check)) for check in claim.checks]
        claim.verdict = combine(findings) if findings else judge_citation(has_source=claim.source != "folklore")
        claim.findings = [finding.as_json() for finding in findings]
        claim.decided_at = timezone.now()
        claim.save(update_fields=["verdict", "findings", "decided_at"])
        claim.decided_by.set([finding.run for finding in findings if finding.run])
        if claim.verdict != before:
            changes[claim.slug] = (before, claim.verdict)
    return changes


def _find(claim: Claim, check: CheckSource) -> Finding:
    if claim.method == "formula":
        return judge_value(check, FORMULAS[check.formula](**check.arguments))
    return finding_from_reference(check)


def finding_from_reference(check: CheckSource) -> Finding:
    """Judge by the reference run that has the most seeds for the metric at the point."""
    lab = get_lab(check.lab)
    runs = Run.objects.filter(origin=Run.REFERENCE, lab_slug=lab.slug, status=Run.SUCCEEDED)
    findings = [finding_from_run(check, run) for run in runs if run.lab_version == lab.version]
    nothing = Finding(Claim.AWAITING, reason="stale" if runs and not findings else "no-run")
    return max(findings, key=lambda finding: finding.n, default=nothing)


def finding_from_run(check: CheckSource, run: Run) -> Finding:
    """Judge by one run alone, so that a reader sees what their own run says."""
    return findings_of_runs([check], [run])[run.pk][0][1]


def findings_of_runs(checks: list[CheckSource], runs: list[Run]) -> dict[int, list[tuple[CheckSource, Finding]]]:
    """By the run's id, what each run alone says to the checks of its lab. One query for all runs."""
    names, points = [check.metric for check in checks], [check.point for check in checks]
    found = MetricValue.objects.filter(run__in=runs, step=None, name__in=names, point__in=points).order_by("seed")
    values: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for run_id, name, point, value in found.values_list("run_id", "name", "point", "value"):
        values[run_id, name, point].append(value)
    return {
        run.pk: [
            (check, _judge_run(check, run, values[run.pk, check.metric, check.point]))
            for check in checks
            if check.lab == run.lab_slug
        ]
        for run in runs
    }


def _judge_run(check: CheckSource, run: Run, values: list[float]) -> Finding:
    metric = get_lab(check.lab).metric(check.metric)
    return replace(judge_metric(check, values, is_stochastic=metric.stochastic), run=run.pk)
