"""Run again what claims rest on, and compare: simulations to the last digit, measurements by their verdicts."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from labs.catalog import get_lab
from labs.models import Claim, Run
from labs.records import RunRecord
from labs.schema import CheckSource
from labs.services import Request, run_request
from labs.verdicts import judge_metric
from worker.recording import record_run

CONTRARY = {frozenset((Claim.REPRODUCED, Claim.REFUTED))}


class Repeater:
    """Makes runs anew, says which, and keeps how long each took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.runs: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> RunRecord:
        slug, preset = request.lab.slug, request.preset
        self.say(f"{slug}: again, {preset or 'with its own parameters'}")
        record = record_run(request, self.say)
        self.runs.append({"lab": slug, "preset": preset, "seconds": round(record.durations["total"], 1)})
        return record


def simulations_again(claims: Iterable[Claim], repeat: Repeater) -> list[dict[str, Any]]:
    """Repeat the reference runs behind the simulated claims; gives every result that is not what it was."""
    differences = []
    for run in Run.objects.filter(origin=Run.REFERENCE, lab_slug__in=labs_behind(claims, "simulation")):
        request = run_request(lab_slug=run.lab_slug, params=run.params, preset=run.preset, seeds=run.seeds)
        differences += _differences(run, repeat(request))
    return differences


def _differences(run: Run, record: RunRecord) -> list[dict[str, Any]]:
    """Of the metrics that depend on nothing but the parameters."""
    fixed = {metric.name for metric in get_lab(run.lab_slug).metrics if not metric.stochastic}
    stored = run.values.filter(step=None, name__in=fixed).values_list("name", "point", "seed", "value")
    before = {(name, point, seed): value for name, point, seed, value in stored}
    after = {(m.name, m.point, m.seed): m.value for m in record.metrics if m.step is None and m.name in fixed}
    return [
        {"lab": run.lab_slug, "metric": key[0], "point": key[1], "before": before.get(key), "after": after.get(key)}
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def quick_again(claims: Iterable[Claim], repeat: Repeater) -> list[dict[str, Any]]:
    """Run the quick preset of every lab behind a measured claim; gives what it says to each check that it reaches.

    Of a stochastic metric one seed decides nothing, so that most of these verdicts are `awaiting`.
    """
    claims = list(claims)
    verdicts = []
    for slug in labs_behind(claims, "measurement"):
        verdicts += _verdicts_by(repeat(run_request(lab_slug=slug, preset="quick")), claims)
    return verdicts


def _verdicts_by(record: RunRecord, claims: Iterable[Claim]) -> list[dict[str, Any]]:
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for metric in record.metrics:
        if metric.step is None:
            values[metric.name, metric.point].append(metric.value)
    return [
        _verdict(claim, check, finding["verdict"], values[check.metric, check.point])
        for claim in claims
        for check, finding in zip(map(CheckSource.model_validate, claim.checks), claim.findings, strict=True)
        if check.lab == record.lab and values.get((check.metric, check.point))
    ]


def _verdict(claim: Claim, check: CheckSource, reference: str, values: list[float]) -> dict[str, Any]:
    finding = judge_metric(check, values, is_stochastic=get_lab(check.lab).metric(check.metric).stochastic)
    return {
        "slug": claim.slug,
        "lab": check.lab,
        "point": check.point,
        "by_reference": reference,
        "by_this_run": finding.verdict,
        "found": finding.value,
        "contradicts": frozenset((reference, finding.verdict)) in CONTRARY,
    }


def labs_behind(claims: Iterable[Claim], method: str) -> list[str]:
    """Slugs of the labs whose metrics the claims of a method rest on."""
    return sorted({check["lab"] for claim in claims if claim.method == method for check in claim.checks})
