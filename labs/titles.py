"""How runs and points are called on pages and in charts."""

from collections import defaultdict
from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from kb.text import Text
from labs.catalog import get_lab
from labs.declaration import Lab
from labs.models import Run
from labs.points import parse_point, point_key


def run_title(run: Run) -> str:
    """`Reference` for shipped evidence, `Run 12` for a run of this site."""
    return _("Reference") if run.origin == Run.REFERENCE else _("Run %(id)s") % {"id": run.pk}


def preset_title(name: str) -> str:
    titles = {"quick": _("Quick"), "standard": _("Standard"), "gpu": _("GPU")}
    return titles.get(name) or pgettext("parameters that are no preset", "Own parameters")


def compared_title(run: Run) -> str:
    """Beside other runs of its lab, of which several may be reference runs: `Reference (Quick)`."""
    return f"{run_title(run)} ({preset_title(run.preset)})" if run.origin == Run.REFERENCE else run_title(run)


def point_title(point: str, lab: Lab | str) -> str:
    """`rank=8,scaling=double` in the words of the lab's charts: `rank r = 8 · α = 2r`."""
    charts = (get_lab(lab) if isinstance(lab, str) else lab).charts
    names = {chart.x: str(chart.x_title) for chart in charts if str(chart.x_title)}
    values: dict[str, dict[str, Text]] = defaultdict(dict)
    for chart in charts:
        values[chart.series] |= chart.series_titles
        values[chart.x] |= chart.x_titles
    return " · ".join(
        str(values[name][value]) if value in values.get(name, {}) else f"{names.get(name, name)} = {value}"
        for name, value in parse_point(point).items()
    )


def titles_apart(points: Sequence[str], lab: Lab) -> dict[str, str]:
    """A title for each point, without the settings that all of them share."""
    parsed = [parse_point(point) for point in points]
    shared = set.intersection(*(set(settings.items()) for settings in parsed)) if len(points) > 1 else set()
    apart = [point_key(**{k: v for k, v in settings.items() if (k, v) not in shared}) for settings in parsed]
    return {point: point_title(short, lab) for point, short in zip(points, apart, strict=True)}
