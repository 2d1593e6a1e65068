"""Two to four runs of one lab beside each other: charts, parameters and results, with what differs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.curves import curve_figures
from labs.declaration import Lab
from labs.figures import compared_figures
from labs.models import Run
from labs.queries import results, table_of, visible_runs
from labs.statistics import Summary
from labs.titles import compared_title

FEWEST, MOST = 2, 4


class NotComparable(ValueError):
    """The choice of runs cannot be compared; the message says why."""


@dataclass(frozen=True)
class Cell:
    """A result of a run, and how far it is from the first run's."""

    interval: Summary | None
    difference: float | None = None
    percent: float | None = None


def runs_to_compare(user: User, ids: Iterable[str]) -> list[Run]:
    """The runs in the order in which they were chosen, each once."""
    chosen = list(dict.fromkeys(int(one) for one in ids if one.isdecimal() and len(one) < 10))
    found = visible_runs(user).select_related("owner").in_bulk(chosen)
    runs = [found[one] for one in chosen if one in found]
    if not FEWEST <= len(runs) <= MOST:
        raise NotComparable(_("Choose two to four runs."))
    if len({run.lab_slug for run in runs}) > 1:
        raise NotComparable(_("Only runs of the same lab can be compared."))
    return runs


def parameter_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What was set in each run, those that differ first."""
    names = dict.fromkeys(name for run in runs for name in run.params)
    rows = [{"name": name, "values": [run.params.get(name) for run in runs]} for name in names]
    rows.append({"name": "seeds", "values": [run.seeds for run in runs]})
    for row in rows:
        row["differs"] = any(value != row["values"][0] for value in row["values"])
    return sorted(rows, key=lambda row: not row["differs"])


def result_rows(lab: Lab, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """As `table_of`, with the distance of each run from the first."""
    rows = table_of(lab, runs)
    return [row | {"cells": [cell(row["intervals"][0], other) for other in row["intervals"]]} for row in rows]


def cell(first: Summary | None, other: Summary | None) -> Cell:
    if first is None or other is None or first is other:
        return Cell(other)
    difference = other.mean - first.mean
    return Cell(other, difference, 100 * difference / abs(first.mean) if first.mean else None)


def comparison_figures(lab: Lab, runs: Sequence[Run]) -> list[SafeString]:
    """The lab's charts and the newest curves, overlaid."""
    found = {compared_title(run): results(run) for run in runs}
    return compared_figures(lab, found) + curve_figures(lab, runs)
