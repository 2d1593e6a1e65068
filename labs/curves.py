"""What a run logged step by step, drawn: while it trains, and afterwards.

A chart shows the newest curves only, each thinned out, so that it costs the same however long the run is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import F, Max, Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import PlotPoint, Series, line_chart
from labs.declaration import Lab
from labs.figures import value_title
from labs.models import MetricValue, Run
from labs.titles import compared_title, point_title

SHOWN = 6  # curves a chart: as many as there are colours
POINTS = 200  # at most, of a curve


@dataclass(frozen=True)
class Curve:
    """Which values belong together, and how far they reach."""

    run: int
    name: str
    point: str
    seed: int
    last_step: int

    @property
    def stride(self) -> int:
        """Of so many steps one is shown, and the last."""
        return -(-(self.last_step + 1) // (POINTS - 1))

    @property
    def shown(self) -> Q:
        """The values to draw, of rows annotated with the step's remainder by each stride."""
        is_drawn = Q(**{remainder(self.stride): 0}) | Q(step=self.last_step)
        return Q(run=self.run, name=self.name, point=self.point, seed=self.seed) & is_drawn


def remainder(stride: int) -> str:
    return f"step_mod_{stride}"


def curve_figures(lab: Lab, runs: Sequence[Run]) -> list[SafeString]:
    """One chart a metric that has curves, in the lab's order. Two queries, whatever there is."""
    newest = newest_curves(runs)
    values = drawn_values([curve for curves in newest.values() for curve in curves])
    titles = {run.pk: compared_title(run) for run in runs} if len(runs) > 1 else {}
    return [
        line_chart(
            [Series(_label(curve, lab, titles, newest[metric.name]), values[curve]) for curve in newest[metric.name]],
            title=str(metric.title),
            x_title=_("step"),
            y_title=value_title(metric),
        )
        for metric in lab.metrics
        if metric.name in newest
    ]


def newest_curves(runs: Iterable[Run]) -> dict[str, list[Curve]]:
    """By metric, the curves that were added to last, in the order in which they were."""
    groups = MetricValue.objects.filter(run__in=runs, step__isnull=False).order_by()
    rows = groups.values_list("run", "name", "point", "seed").annotate(Max("step"), last=Max("pk")).order_by("-last")
    newest: dict[str, list[Curve]] = defaultdict(list)
    for run, name, point, seed, last_step, _last in rows:
        if len(newest[name]) < SHOWN:
            newest[name].insert(0, Curve(run, name, point, seed, last_step))
    return dict(newest)


def drawn_values(curves: Sequence[Curve]) -> dict[Curve, list[PlotPoint]]:
    """What is drawn of each curve: from its first step to its last."""
    by_key = {(curve.run, curve.name, curve.point, curve.seed): curve for curve in curves}
    points: dict[Curve, list[PlotPoint]] = {curve: [] for curve in curves}
    if not curves:
        return points
    strides = {remainder(curve.stride): F("step") % curve.stride for curve in curves}
    rows = MetricValue.objects.alias(**strides).filter(reduce(or_, (curve.shown for curve in curves)))
    fields = ("run", "name", "point", "seed", "step", "value")
    for run, name, point, seed, step, value in rows.order_by("step").values_list(*fields):
        points[by_key[run, name, point, seed]].append(PlotPoint(float(step or 0), value))
    return points


def _label(curve: Curve, lab: Lab, titles: dict[int, str], beside: Sequence[Curve]) -> str:
    """Run, point and seed, as far as they are needed to tell the curves of a chart apart."""
    parts = [titles.get(curve.run, ""), point_title(curve.point, lab)]
    if len({other.seed for other in beside}) > 1:
        parts.append(_("seed %(seed)s") % {"seed": curve.seed})
    return " · ".join(part for part in parts if part) or _("measured")
