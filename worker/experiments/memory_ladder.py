"""Simulate one recipe after the other, each with one change more."""

from kb.text import Text
from labs.catalog.memory_ladder import RUNGS, MemoryLadderParameters, Rung, recipe_of
from worker.context import Point, RunContext, compute_once
from worker.experiments.memory_simulator import GIB
from worker.memory.simulate import simulate


def run(params: MemoryLadderParameters, lab: RunContext) -> None:
    """No seed changes a byte: the first is computed, the others repeat it."""
    for i, rung in enumerate(RUNGS):
        lab.progress(i, len(RUNGS), Text(en=f"simulating {rung}", zh=f"正在模拟 {rung}"))
        points = [lab.point(seed=seed, rung=rung) for seed in lab.seeds]
        compute_once(points, lambda point: log_rung(params, lab, point, rung))  # noqa: B023 (called at once)
    for seed in lab.seeds:
        log_savings(lab, seed)
    lab.progress(len(RUNGS), len(RUNGS))


def log_rung(params: MemoryLadderParameters, lab: RunContext, point: Point, rung: Rung) -> None:
    found = simulate(recipe_of(rung, params.model, params.rank, params.batch_size, params.sequence_length))
    point.log("reserved", found.reserved_bytes / GIB)
    point.log("peak", found.peak_bytes / GIB)
    for seed in lab.seeds:
        for category, size in found.by_category.items():
            with lab.point(seed=seed, rung=rung, category=category) as part:
                if part.is_due:
                    part.log("at_peak", size / GIB)


def log_savings(lab: RunContext, seed: int) -> None:
    peaks = [lab.point(seed=seed, rung=rung).value("peak") for rung in RUNGS]
    for before, rung, peak in zip(peaks, RUNGS[1:], peaks[1:], strict=False):
        with lab.point(seed=seed, rung=rung, against="before") as point:
            if point.is_due:
                point.log("saving", 100 * (1 - peak / before))
                point.log("share_of_first", 100 * peak / peaks[0])
