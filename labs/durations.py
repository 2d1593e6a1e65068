"""How long presets take: from this site's own history where it has one, else from the reference run that ships with the
lab, else the declaration's first guess."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from labs.declaration import Lab, PresetName
from labs.models import Run

# How many past runs tell how long the next one takes.
HISTORY = 10

History = dict[tuple[str, int, str, str], list[float]]


@dataclass(frozen=True)
class Duration:
    seconds: int
    is_measured: bool  # here; else elsewhere, or guessed by the lab's author


def expected_durations(labs: Iterable[Lab]) -> dict[tuple[str, str], Duration]:
    """{(lab, preset): its duration}, in one query: the median of the last runs of the same version on the same kind of
    device. Before there are any here, what the reference run took; before that, the author's guess."""
    labs = list(labs)
    rows = list(_ended(labs))
    history = _history(row for row in rows if row.origin == Run.SITE)
    references = {(row.lab_slug, row.preset): row for row in rows if row.origin == Run.REFERENCE}
    return {
        (lab.slug, name): _expected(lab, name, history, references.get((lab.slug, name)))
        for lab in labs
        for name in lab.presets
    }


def _expected(lab: Lab, preset: PresetName, history: History, reference: Run | None) -> Duration:
    queue = Run.GPU if lab.needs(preset).gpu else Run.CPU
    if seconds := history.get((lab.slug, lab.version, preset, queue)):
        return Duration(round(median(seconds)), is_measured=True)
    if reference and _is_current(lab, preset, reference):
        return Duration(max(1, round(reference.durations["total"])), is_measured=False)
    return Duration(lab.presets[preset].expected_seconds, is_measured=False)


def _is_current(lab: Lab, preset: PresetName, reference: Run) -> bool:
    """Whether the reference run did what the preset asks for today."""
    asked = lab.parameters(**lab.presets[preset].params).model_dump(mode="json")
    is_same = (reference.lab_version, reference.params) == (lab.version, asked)
    return is_same and reference.seeds == list(lab.presets[preset].seeds) and "total" in reference.durations


def _ended(labs: list[Lab]) -> QuerySet[Run]:
    """The last runs of each kind. One that was resumed says nothing: only its last attempt's start is known."""
    here = Q(origin=Run.SITE, attempt__lte=1, started_at__isnull=False, finished_at__isnull=False)
    newest = Window(
        RowNumber(),
        partition_by=[F(field) for field in ("origin", "lab_slug", "lab_version", "preset", "queue")],
        order_by=F("pk").desc(),
    )
    runs = Run.objects.filter(here | Q(origin=Run.REFERENCE), status=Run.SUCCEEDED).exclude(preset="")
    return (
        runs.filter(lab_slug__in=[lab.slug for lab in labs])
        .annotate(newest=newest)
        .filter(newest__lte=HISTORY)
        .order_by()
        .only(
            *("origin", "lab_slug", "lab_version", "preset", "queue", "started_at", "finished_at"),
            *("durations", "params", "seeds"),
        )
    )


def _history(runs: Iterable[Run]) -> History:
    """Seconds that runs took, by lab, version, preset and queue."""
    found = defaultdict(list)
    for run in runs:
        if run.started_at and run.finished_at:
            seconds = (run.finished_at - run.started_at).total_seconds()
            found[run.lab_slug, run.lab_version, run.preset, run.queue].append(seconds)
    return dict(found)
