"""How long presets take: from this site's own history where it has one, else the declaration's first guess."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from labs.declaration import Lab
from labs.models import Run

# How many past runs tell how long the next one takes.
HISTORY = 10


@dataclass(frozen=True)
class Duration:
    seconds: int
    is_measured: bool  # here; else guessed by the lab's author


def expected_durations(labs: Iterable[Lab]) -> dict[tuple[str, str], Duration]:
    """{(lab, preset): its duration}, in one query: the median of the last runs of the same version on the same kind of
    device."""
    labs = list(labs)
    history = _history(labs)
    return {(lab.slug, name): _expected(lab, name, history) for lab in labs for name in lab.presets}


def _expected(lab: Lab, preset: str, history: dict[tuple[str, int, str, str], list[float]]) -> Duration:
    queue = Run.GPU if lab.needs(preset).gpu else Run.CPU
    seconds = history.get((lab.slug, lab.version, preset, queue))
    if seconds:
        return Duration(round(median(seconds)), is_measured=True)
    return Duration(lab.presets[preset].expected_seconds, is_measured=False)  # type: ignore[index]


def _history(labs: list[Lab]) -> dict[tuple[str, int, str, str], list[float]]:
    """Seconds of the last runs. One that was resumed says nothing: only its last attempt's start is known."""
    kind = ("lab_slug", "lab_version", "preset", "queue")
    ended = Run.objects.filter(origin=Run.SITE, status=Run.SUCCEEDED, attempt__lte=1).exclude(preset="")
    spans = ended.filter(
        lab_slug__in=[lab.slug for lab in labs], started_at__isnull=False, finished_at__isnull=False
    ).annotate(
        span=F("finished_at") - F("started_at"),
        newest=Window(RowNumber(), partition_by=[F(field) for field in kind], order_by=F("pk").desc()),
    )
    found = defaultdict(list)
    for *key, span in spans.filter(newest__lte=HISTORY).order_by().values_list(*kind, "span"):
        found[tuple(key)].append(span.total_seconds())
    return dict(found)
