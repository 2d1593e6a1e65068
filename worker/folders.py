"""The folders of a run's files.

    RUNS_DIR/7/artifacts/           what it keeps
             7/scratch-2/           of its second attempt, while that lasts
             7/part-31-1/           scratch of the first attempt at its part 31
             checkpoints/7/run-2/   of points under way, a folder each: the next attempt takes them over
             checkpoints/7/part-31-1/

An attempt has folders of its own, because one that lost its lease may write for another moment.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from labs.models import Run, RunPart
from worker.protocol import PointName


def run_folder(run_id: int) -> Path:
    return Path(settings.RUNS_DIR) / str(run_id)


@contextmanager
def scratch_folder(work: Run | RunPart) -> Iterator[Path]:
    """An empty folder of this attempt; those that earlier attempts left behind go first."""
    folder = scratch_of(work)
    # A run that is not shared has no parts any more.
    patterns = [f"part-{work.pk}-*"] if isinstance(work, RunPart) else ["scratch-*", "part-*"]
    for left in (path for pattern in patterns for path in folder.parent.glob(pattern)):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_of(work: Run | RunPart) -> Path:
    if isinstance(work, RunPart):
        return run_folder(work.run_id) / f"part-{work.pk}-{work.attempt}"
    return run_folder(work.pk) / f"scratch-{work.attempt}"


# --- checkpoints ------------------------------------------------------------------------------------------------------


def all_checkpoints() -> Path:
    return Path(settings.RUNS_DIR) / "checkpoints"


def checkpoints_of(work: Run | RunPart) -> Path:
    if isinstance(work, RunPart):
        return all_checkpoints() / str(work.run_id) / f"part-{work.pk}-{work.attempt}"
    return all_checkpoints() / str(work.pk) / f"run-{work.attempt}"


def take_over_checkpoints(work: Run | RunPart) -> Path:
    """This attempt's folder, with what earlier attempts left of the points that it may compute."""
    folder = checkpoints_of(work)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = PointName(key=work.key, seed=work.seed).folder if isinstance(work, RunPart) else "*"
    for left in sorted(folder.parent.glob(f"*/{wanted}"), key=lambda path: path.stat().st_mtime):
        if left.parent != folder:
            shutil.rmtree(folder / left.name, ignore_errors=True)
            left.rename(folder / left.name)
    return folder


def clear_checkpoints_of_ended_runs() -> None:
    """Whoever ended them: this machine's folder is looked through for what no run will take over."""
    folder = all_checkpoints()
    ids = {int(path.name) for path in folder.iterdir()} if folder.exists() else set()
    live = set(Run.objects.filter(pk__in=ids, status__in=Run.LIVE).values_list("pk", flat=True)) if ids else set()
    for run_id in ids - live:
        shutil.rmtree(folder / str(run_id), ignore_errors=True)
