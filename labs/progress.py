"""How far a run is, and how long it may still take."""

from datetime import datetime

from labs.models import Run

MIN_SECONDS = 5  # below this the pace is not known yet
MIN_SHARE = 0.02  # of the way


def seconds_left(run: Run, now: datetime) -> float | None:
    """A rough figure, from the pace of this attempt so far; None when it cannot be told."""
    since, moved = run.progress_since, run.progress_at
    if run.status != Run.RUNNING or run.cancel_requested or since is None or moved is None:
        return None
    way = run.progress_total - run.progress_from
    gone = run.progress_done + run.progress_within - run.progress_from
    spent = (moved - since).total_seconds()
    if spent < MIN_SECONDS or gone < MIN_SHARE * way or gone <= 0:
        return None
    left = spent / gone * (way - gone) - (now - moved).total_seconds()
    return left if left > 0 else None
