"""Reads that pages, charts and the API share."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, Q, QuerySet
from django.http import Http404

from labs.catalog import UnknownLab, get_lab
from labs.declaration import Lab
from labs.models import Claim, Run
from labs.points import parse_point
from labs.statistics import Summary, mean_interval


@dataclass(frozen=True)
class Result:
    """One metric of a run at one point, over its seeds."""

    name: str
    point: str
    settings: dict[str, str]
    interval: Summary


def visible_runs(user: User | AnonymousUser) -> QuerySet[Run]:
    """Reference runs for everybody, site runs for their owner and for staff."""
    if user.is_staff:
        return Run.objects.all()
    return Run.objects.filter(Q(origin=Run.REFERENCE) | Q(owner=user.pk, owner__isnull=False))


def may_see(user: User | AnonymousUser, run: Run) -> bool:
    """The rule of `visible_runs` for a run at hand."""
    return user.is_staff or run.origin == Run.REFERENCE or (run.owner_id is not None and run.owner_id == user.pk)


def run_for_user(user: User | AnonymousUser, run_id: int) -> Run:
    """The run if the user may see it, else Http404."""
    run = visible_runs(user).select_related("owner").filter(pk=run_id).first()
    if run is None:
        raise Http404(f"No run {run_id} that you may see")
    return run


def own_run(user: User, run_id: int) -> Run:
    """A run that the user may change: their own, or any for staff. Http404 otherwise."""
    runs = Run.objects.filter(pk=run_id, origin=Run.SITE)
    run = runs.first() if user.is_staff else runs.filter(owner=user).first()
    if run is None:
        raise Http404(f"No run {run_id} of yours")
    return run


def lab_or_404(slug: str) -> Lab:
    try:
        return get_lab(slug)
    except UnknownLab as e:
        raise Http404(str(e)) from e


def reference_run(lab: Lab) -> Run | None:
    """The shipped run of a lab: the standard preset where there is one."""
    runs = {run.preset: run for run in Run.objects.filter(origin=Run.REFERENCE, lab_slug=lab.slug)}
    return runs.get("standard") or next(iter(runs.values()), None)


def results(run: Run) -> list[Result]:
    """All results of a run (values without a step), over seeds, in the order in which they were logged."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, point, value in run.values.filter(step=None).values_list("name", "point", "value"):
        values[name, point].append(value)
    return [Result(name, point, parse_point(point), mean_interval(found)) for (name, point), found in values.items()]


def claims_of_lab(lab: Lab) -> list[Claim]:
    """The claims that rest on a lab's metrics."""
    claims = Claim.objects.filter(method__in=["measurement", "simulation"])
    return [claim for claim in claims if any(check["lab"] == lab.slug for check in claim.checks)]


def labs_of_claim(claim: Claim) -> list[Lab]:
    """The labs whose runs bear on a claim."""
    slugs = {check["lab"] for check in claim.checks if check.get("lab")}
    return [get_lab(slug) for slug in sorted(slugs)]


def runs_on_claim(claim: Claim, user: User | AnonymousUser) -> list[Run]:
    """Succeeded runs of the claim's labs that the user may see: reference first, then the newest."""
    slugs = [lab.slug for lab in labs_of_claim(claim)]
    runs = visible_runs(user).filter(lab_slug__in=slugs, status=Run.SUCCEEDED).select_related("owner")
    return sorted(runs[:50], key=lambda run: run.origin != Run.REFERENCE)


def claims_by(**filters: Any) -> QuerySet[Claim]:
    return Claim.objects.filter(**{k: v for k, v in filters.items() if v}).select_related("topic")


def counts_by(field: str, choices: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many claims have each value of `verdict` or `method`, in the order of the choices."""
    found = dict(Claim.objects.order_by().values_list(field).annotate(Count("pk")))
    return {value: found.get(value, 0) for value, _ in choices}


def table_of(lab: Lab, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Rows of the numbers of several runs side by side: metric, point, and one interval (or None) a run.

    What an older version of the lab logged and this one does not know is left out.
    """
    order = [metric.name for metric in lab.metrics]
    columns = [{(r.name, r.point): r for r in results(run)} for run in runs]
    keys = list(dict.fromkeys(key for column in columns for key in column if key[0] in order))
    keys.sort(key=lambda key: order.index(key[0]))
    return [
        {
            "metric": lab.metric(name),
            "point": point,
            "intervals": [column[name, point].interval if (name, point) in column else None for column in columns],
        }
        for name, point in keys
    ]
