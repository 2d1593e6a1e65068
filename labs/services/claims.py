"""Verdicts of the claims, computed from formulas and runs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from django.db import transaction
from django.utils import timezone

from labs.catalog import get_lab
from labs.formulas import FORMULAS
from labs.models import Claim, MetricValue, Run
from labs.schema import CheckSource
from labs.verdicts import Finding, combine, judge_citation, judge_metric, judge_value


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
    findings = [finding_from_run(check, run) for run in runs if not run.is_stale]
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
