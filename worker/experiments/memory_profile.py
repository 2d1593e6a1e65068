"""Train two steps with each method, once on fake tensors and once really, and compare the bytes."""

from kb.text import Text
from labs.catalog.memory_profile import MemoryProfileParameters, ProfiledMethod
from labs.memory.recipe import Recipe
from worker.context import Point, RunContext, compute_once
from worker.experiments.memory_simulator import CURVE, GIB
from worker.memory.account import Account, account, thinned
from worker.memory.measure import measure
from worker.memory.simulate import simulate_record
from worker.training.examples import encode_facts


def run(params: MemoryProfileParameters, lab: RunContext) -> None:
    """No seed changes a byte: the first is computed, the others repeat it."""
    total = len(params.methods)
    for i, method in enumerate(params.methods):
        lab.progress(i, total, Text(en=f"measuring {method}", zh=f"正在测量 {method}"))
        points = [lab.point(seed=seed, method=method) for seed in lab.seeds]
        compute_once(points, lambda point: profile(params, lab, point, method), repeat_results)  # noqa: B023 (at once)
    for seed in lab.seeds:
        log_comparisons(params, lab, seed)
    lab.progress(total, total)


def repeat_results(point: Point, first: Point) -> None:
    """What the first seed found, without the curve."""
    for value in first.values:
        if value.step is None:
            point.log(value.name, value.value)


def recipe_of(params: MemoryProfileParameters, config: str, method: ProfiledMethod) -> Recipe:
    """The same step as a recipe; computed in bfloat16 where the weights are in 4 bits."""
    return Recipe(
        config=config,
        method=method,
        weights="nf4" if method == "qlora" else "float32",
        rank=params.rank,
        batch_size=params.batch_size,
        sequence_length=params.sequence_length,
        checkpointing=params.checkpointing,
    )


def profile(params: MemoryProfileParameters, lab: RunContext, point: Point, method: ProfiledMethod) -> None:
    base = lab.model(params.model)
    recipe = recipe_of(params, base.config.to_json_string(use_diff=False), method)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model)).training
    simulated = simulate_record(recipe, "cpu")
    measured = account(measure(recipe, base, examples))
    peak = account(simulated.record).peak_bytes
    point.log("peak", measured.peak_bytes / GIB)
    point.log("simulated_peak", peak / GIB)
    point.log("difference", 100 * (peak - measured.peak_bytes) / measured.peak_bytes)
    point.log("steady", measured.steady_bytes / GIB)
    point.log("trainable", simulated.trainable)
    for step, moment in enumerate(thinned(measured.timeline, CURVE)):
        point.log("alive", moment.bytes / GIB, step=step)
    log_categories(lab, method, measured)


def log_categories(lab: RunContext, method: ProfiledMethod, measured: Account) -> None:
    for seed in lab.seeds:
        for category, size in measured.by_category.items():
            with lab.point(seed=seed, method=method, category=category) as point:
                if point.is_due:
                    point.log("at_peak", size / GIB)


def log_comparisons(params: MemoryProfileParameters, lab: RunContext, seed: int) -> None:
    points = {method: lab.point(seed=seed, method=method) for method in params.methods}
    with lab.point(seed=seed) as point:
        if point.is_due:
            point.log("largest_difference", max(abs(p.value("difference")) for p in points.values()))
    if "full" in points:
        for method, other in points.items():
            with lab.point(seed=seed, method=method, against="full") as point:
                if point.is_due:
                    point.log("ratio_to_full", other.value("peak") / points["full"].value("peak"))
