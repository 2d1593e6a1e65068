"""Template tags for numbers, verdicts, runs and claims."""

import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kb.text import active_language
from labs import chips, waiting
from labs.exports import repeat_command, shell_command
from labs.models import Claim, Run
from labs.numbers import format_number, format_quantity, format_unit
from labs.schema import CheckSource
from labs.titles import compared_title, point_title, preset_title, run_title

register = template.Library()
for title in (compared_title, point_title, preset_title, run_title):
    register.filter(title)


@register.filter
def number(value: float | None) -> str:
    """`{{ interval.mean|number }}`: a number as every page writes it; a dash where there is none."""
    return chips.NO_VALUE if value is None else format_number(value)


@register.filter
def signed(value: float) -> str:
    """A difference: `+0.012`, `−3`."""
    return f"{'−' if value < 0 else '+'}{format_number(abs(value))}"


@register.filter
def quantity(value: float | None, unit: str) -> str:
    """`{{ value|quantity:claim.unit }}`: a number with its unit."""
    return chips.NO_VALUE if value is None else format_quantity(value, unit)


@register.filter
def unit(name: str) -> str:
    return format_unit(name)


@register.filter
def span(seconds: float) -> str:
    """A duration for people: `45 s`, `3 min`, `1 h`, `1 h 20 min`."""
    whole = round(seconds)
    if whole < 90:
        return _("%(n)s s") % {"n": whole}
    minutes = round(whole / 60)
    if minutes < 60:
        return _("%(n)s min") % {"n": minutes}
    if minutes % 60 == 0:
        return _("%(n)s h") % {"n": minutes // 60}
    return _("%(h)s h %(n)s min") % {"h": minutes // 60, "n": minutes % 60}


@register.filter
def gigabytes(megabytes: int) -> str:
    """Memory of a machine: `15.6 GB`."""
    return f"{waiting.gigabytes(megabytes)} GB"


@register.filter
def rough_span(seconds: float) -> str:
    """An estimate, no finer than it is good: `about 40 s`."""
    step = 10 if seconds < 85 else 60
    return _("about %(span)s") % {"span": span(max(step, step * round(seconds / step)))}


@register.filter
def megabytes(count: int) -> str:
    """`640 MB`, `2.3 GB`."""
    return f"{count} MB" if count < 1000 else f"{count / 1024:.1f} GB"


@register.filter
def duration(run: Run) -> str:
    """How long a run took, empty while that is not known."""
    if run.durations.get("total"):
        return span(run.durations["total"])
    if run.started_at and run.finished_at:
        elapsed: timedelta = run.finished_at - run.started_at
        return span(elapsed.total_seconds())
    return ""


@register.simple_tag
def claim_chip(claim: Claim) -> SafeString:
    """The claim's value with its verdict, leading to its page."""
    return mark_safe(chips.claim_chip(claim, active_language()))  # noqa: S308 - built with format_html


@register.filter
def verdict_title(verdict: str) -> str:
    return chips.verdict_title(verdict)


@register.filter
def method_title(method: str) -> str:
    titles = {
        "formula": _("formula"),
        "simulation": _("simulation"),
        "measurement": _("measurement"),
        "citation": _("citation"),
    }
    return titles[method]


@register.filter
def method_meaning(method: str) -> str:
    """What settles a claim of this method."""
    meanings = {
        "formula": _("Computed by a formula, exactly."),
        "simulation": _("Counted by simulating the run operation by operation, without weights."),
        "measurement": _("Measured by a lab run on a real model."),
        "citation": _("Only its source can say it: cited, never reproduced here."),
    }
    return meanings[method]


@register.filter
def state_title(status: str) -> str:
    titles = {
        Run.QUEUED: _("waiting"),
        Run.RUNNING: _("running"),
        Run.SUCCEEDED: _("succeeded"),
        Run.FAILED: _("failed"),
        Run.CANCELLED: _("cancelled"),
        Run.TIMED_OUT: _("timed out"),
    }
    return titles[status]


@register.filter
def status_title(run: Run) -> str:
    return _("stopping") if run.cancel_requested and run.status == Run.RUNNING else state_title(run.status)


@register.filter
def expectation(check: CheckSource, unit: str) -> str:
    """What a check accepts: `0.697 ± 0.01 nats`, `≥ 2 ×`."""
    if check.expected is not None:
        margin = ""
        if check.absolute:
            margin = f" ± {format_number(check.absolute)}"
        if check.relative:
            margin = f" ± {format_number(100 * check.relative)} %"
        return f"{format_quantity(check.expected, unit)}{margin}"
    if check.at_least is None:
        return f"≤ {quantity(check.at_most, unit)}"
    if check.at_most is None:
        return f"≥ {quantity(check.at_least, unit)}"
    return f"{format_number(check.at_least)} – {format_quantity(check.at_most, unit)}"


@register.filter
def finding_reason(reason: str) -> str:
    """Why a check decides nothing."""
    reasons = {
        "no-run": _("No run has measured this yet."),
        "one-seed": _("One seed decides nothing: run it with three or more."),
        "undecided": _("The interval reaches across the limit: more seeds are needed."),
        "stale": _("The lab has changed since: run it again."),
    }
    return reasons.get(reason, reason)


@register.filter
def seeds_count(n: int) -> str:
    return ngettext("%(n)s seed", "%(n)s seeds", n) % {"n": n}


register.filter("command", repeat_command)


@register.filter
def commands(claim: Claim) -> list[str]:
    """Shell commands that give the numbers of a claim again: a formula's value, or a lab's standard run."""
    found = (
        _formula_command(check) if check.get("formula") else shell_command(check["lab"], "standard")
        for check in claim.checks
    )
    return list(dict.fromkeys(found))


def _formula_command(check: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in check.get("arguments", {}).items())
    code = f"from labs.formulas import FORMULAS; print(FORMULAS[{check['formula']!r}]({arguments}))"
    return shlex.join([".venv/bin/python", "-c", code])


@register.filter
def flat(value: Any) -> str:
    """Parameters, versions and hardware as text: lists with commas, mappings as `name value`."""
    if isinstance(value, Mapping):
        return " · ".join(f"{name} {flat(item)}" for name, item in value.items() if item not in (None, ""))
    if isinstance(value, list):
        return ", ".join(flat(item) for item in value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


@register.filter
def environment_title(name: str) -> str:
    """The heading of a part of a run's environment; parts that a lab adds keep their own name."""
    titles = {
        "versions": _("Versions"),
        "hardware": _("Hardware"),
        "revision": _("Source revision"),
        "model": _("Model"),
        "data": _("Data"),
        "threads": _("Threads"),
    }
    return titles.get(name, name)
