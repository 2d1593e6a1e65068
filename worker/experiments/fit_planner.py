"""Simulate common recipes for a GPU, double the rows while they fit, and put what fits in order."""

from kb.text import Text
from labs.catalog.fit_planner import QUALITY, RECIPES, FitPlannerParameters, RecipeName, passes, recipe_of
from labs.memory.context import CONTEXT
from worker.context import Point, RunContext, compute_once
from worker.experiments.memory_simulator import GIB
from worker.memory.simulate import simulate


def run(params: FitPlannerParameters, lab: RunContext) -> None:
    """No seed changes a byte: the first is computed, the others repeat it."""
    total, done = len(params.models) * len(RECIPES), 0
    for model in params.models:
        for name in RECIPES:
            lab.progress(done, total, Text(en=f"{model}: {name}", zh=f"{model}：{name}"))
            points = [lab.point(seed=seed, model=model, recipe=name) for seed in lab.seeds]
            compute_once(points, lambda point: log_fit(params, point, model, name))  # noqa: B023 (called at once)
            done += 1
        for seed in lab.seeds:
            log_places(lab, model, seed)
    lab.progress(total, total)


def log_fit(params: FitPlannerParameters, point: Point, model: str, name: RecipeName) -> None:
    room = params.gpu_gib - CONTEXT / GIB
    reserved = reserved_gib(params, model, name, 1)
    point.log("reserved", reserved)
    point.log("headroom", room - reserved)
    point.log("fits", float(reserved <= room))
    point.log("rows", most_rows(params, model, name, room) if reserved <= room else 0)
    point.log("passes", passes(name))


def most_rows(params: FitPlannerParameters, model: str, name: RecipeName, room: float) -> int:
    """The largest power of two that fits, of which one row does."""
    rows = 1
    while 2 * rows <= params.most_rows and reserved_gib(params, model, name, 2 * rows) <= room:
        rows *= 2
    return rows


def reserved_gib(params: FitPlannerParameters, model: str, name: RecipeName, rows: int) -> float:
    return simulate(recipe_of(name, model, params.rank, rows, params.sequence_length)).reserved_bytes / GIB


def log_places(lab: RunContext, model: str, seed: int) -> None:
    """The order of those that fit: better results first, then fewer FLOPs, then more rows."""
    points = {name: lab.point(seed=seed, model=model, recipe=name) for name in RECIPES}
    fitting = [name for name in RECIPES if points[name].value("fits")]
    fitting.sort(key=lambda name: (QUALITY[name], passes(name), -points[name].value("rows")))
    for place, name in enumerate(fitting, start=1):
        with lab.point(seed=seed, model=model, recipe=name, order="tried") as point:
            if point.is_due:
                point.log("place", place)
