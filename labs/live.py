"""What the page of a run shows, in two parts: its state, which changes each second, and its numbers."""

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from labs.curves import curve_figures
from labs.figures import figures
from labs.models import Run, RunPart
from labs.predicting import predicted_rows
from labs.progress import seconds_left
from labs.queries import reference_run, table_of
from labs.waiting import Site

LOG_LINES = 30  # of a log while it is written


def state_context(run: Run, user: User | AnonymousUser) -> dict[str, Any]:
    """The part to ask for each second: few queries, the same number however large the run is."""
    is_running = run.status == Run.RUNNING
    may_change = run.origin == Run.SITE and (user.is_staff or run.owner == user)
    has_log = may_change and run.is_live
    return {
        "run": run,
        "lab": run.lab,
        "waiting": Site().why_waiting(run),
        "seconds_left": seconds_left(run, timezone.now()),
        "parts": run.parts.filter(status=RunPart.RUNNING) if is_running else [],
        "curves": [] if run.status == Run.QUEUED else curve_figures(run.lab, [run]),
        "may_cancel": may_change and run.is_live and not run.cancel_requested,
        "log": "\n".join(run.log_tail.splitlines()[-LOG_LINES:]) if has_log else "",
        "has_log": has_log,
    }


def numbers_context(run: Run) -> dict[str, Any]:
    """The part that changes when a point is finished: figures and table, beside the reference."""
    lab = run.lab
    own = None if run.origin == Run.REFERENCE else run
    reference = reference_run(lab) if own else run
    compared = [r for r in (reference, own) if r]
    is_shown = run.status != Run.QUEUED
    return {
        "has_numbers": True,
        "reference": reference,
        "own": own,
        "compared": compared,
        "figures": figures(lab, reference, own, _expected(run)) if is_shown else [],
        "predictions": predicted_rows(run),
        "table": table_of(lab, compared) if is_shown else [],
    }


def _expected(run: Run) -> dict[str, float]:
    """The predicted numbers; orders and choices have no place in a chart."""
    return {p.guess: p.answer for p in run.predictions.all() if isinstance(p.answer, int | float)}
