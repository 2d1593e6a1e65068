"""Runs as TensorBoard event files, for operators who look at all their trainings there (setting TENSORBOARD_DIR)."""

import logging
import re
from collections import defaultdict
from pathlib import Path

from django.conf import settings

from labs.exports import json_of
from labs.models import Run

logger = logging.getLogger(__name__)


def track(run: Run) -> None:
    """Write a run that succeeded; a fault here is logged and harms nobody's run."""
    if not settings.TENSORBOARD_DIR:
        return
    try:
        write_events(run, Path(settings.TENSORBOARD_DIR))
    except Exception:
        logger.exception("Run %s could not be written for TensorBoard", run.pk, extra={"run": run.pk})


def write_events(run: Run, root: Path) -> None:
    """One folder a point and seed, `<lab>/run-<id>/<point>-seed<seed>`: its curves, and its results at step 0.

    From the database after the end, so that a run of several attempts or workers is there once and whole.
    """
    from tensorboardX import SummaryWriter  # which loads torch where it is installed: only for those who want it

    folder = root / run.lab_slug / f"run-{run.pk}"
    values: dict[tuple[str, int], list[tuple[str, int | None, float]]] = defaultdict(list)
    for name, point, seed, step, value in run.values.values_list("name", "point", "seed", "step", "value"):
        values[point, seed].append((name, step, value))
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("record", f"```json\n{json_of(run)}\n```")
    for (point, seed), found in values.items():
        with SummaryWriter(str(folder / f"{_folder_name(point)}-seed{seed}")) as writer:
            for name, step, value in found:
                writer.add_scalar(name, value, step or 0)


def _folder_name(point: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=_]+", "_", point) or "all"
