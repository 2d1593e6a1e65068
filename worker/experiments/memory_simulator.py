"""Simulate a recipe, and hand over the peak, what it consists of, and the course of a step."""

import json

from kb.text import Text
from labs.memory.recipe import Recipe
from worker.context import Point, RunContext
from worker.memory.account import thinned
from worker.memory.simulate import Simulation, simulate

GIB = 2**30
CURVE = 80  # points of a drawn course; the file has them all
FILE = "simulation.json"


def run(params: Recipe, lab: RunContext) -> None:
    lab.progress(0, 1, Text(en="simulating", zh="正在模拟"))
    simulation = simulate(params)
    for seed in lab.seeds:
        with lab.point(seed=seed) as point:
            if point.is_due:
                log_totals(point, simulation)
        log_categories(lab, seed, simulation)
    path = lab.scratch / FILE
    path.write_text(json.dumps(simulation.to_json(), indent=1), encoding="utf-8")
    lab.artifact(FILE, path)
    lab.progress(1, 1)


def log_totals(point: Point, simulation: Simulation) -> None:
    point.log("peak", simulation.peak_bytes / GIB)
    point.log("allocated", simulation.allocated_bytes / GIB)
    point.log("reserved", simulation.reserved_bytes / GIB)
    point.log("steady", simulation.steady_bytes / GIB)
    point.log("on_host", simulation.host_bytes / GIB)
    point.log("trainable", simulation.trainable_parameters)
    point.log("parameters", simulation.total_parameters)


def log_categories(lab: RunContext, seed: int, simulation: Simulation) -> None:
    """A point a category: its part of the peak, and its course."""
    for category, size in simulation.by_category.items():
        with lab.point(seed=seed, category=category) as point:
            if not point.is_due:
                continue
            point.log("at_peak", size / GIB)
            point.log("share", 100 * size / simulation.peak_bytes)
            # The course is drawn once: every seed has the same.
            for step, moment in enumerate(thinned(simulation.timeline, CURVE) if seed == lab.seeds[0] else []):
                point.log("alive", moment.by_category[category] / GIB, step=step)
