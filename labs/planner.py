"""The memory planner: recipes side by side, from runs of the simulator that are there already.

A recipe is a question, and the simulator's answer to it does not depend on who asked: whatever run answered it shows
its numbers to everybody. The web process looks answers up; only a worker simulates.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from pydantic import ValidationError

from kb.text import Text
from labs.catalog import get_lab
from labs.catalog.memory_simulator import CATEGORIES
from labs.charts import Across, PlotPoint, Series, StackedBar, line_chart, stacked_chart
from labs.memory.closed_form import closed_form_parts
from labs.memory.context import CONTEXT
from labs.memory.recipe import Recipe
from labs.models import MetricValue, Run
from labs.parameters import ParameterErrors
from labs.points import parse_point
from labs.services import Request, question_key, run_request

SLUG = "memory-simulator"
MOST = 4  # recipes beside each other
SEEDS = [0]  # nothing in it is left to chance
EVIDENCE_SEEDS = [0, 1, 2]  # of the reference run, which has the same numbers three times
LETTERS = "ABCD"  # recipes are too long for a chart's labels
GIB = 2**30
# Memory that is sold as so many GB is so many GiB.
GPUS = (8, 12, 16, 24, 40, 48, 80, 141)
Changes = dict[str, Any]

# What may lower the peak, by what most of it is spent on; most helpful first. Each is tried, not promised.
REMEDIES: tuple[tuple[Text, Changes], ...] = (
    (Text(en="turn on gradient checkpointing", zh="打开梯度检查点"), {"checkpointing": "non-reentrant"}),
    (Text(en="compute the loss in a fused kernel", zh="改用融合的损失"), {"loss": "fused"}),
    (Text(en="train an adapter instead of all weights", zh="只训练适配器"), {"method": "lora", "rank": 16}),
    (Text(en="keep the base in NF4 (QLoRA)", zh="基座用 NF4 存储（QLoRA）"), {"weights": "nf4", "method": "lora"}),
    (Text(en="keep optimizer states in 8 bits", zh="优化器状态用 8 位"), {"optimizer": "adamw-8bit"}),
    (Text(en="use the fused optimizer", zh="改用融合的优化器"), {"optimizer": "adamw-fused"}),
)
HELPFUL: dict[str, tuple[int, ...]] = {
    "parameters": (3, 2),
    "quantised_parameters": (0, 1),
    "gradients": (2, 3),
    "optimizer_states": (4, 2),
    "activations": (0,),
    "logits_and_loss": (1,),
    "temporaries": (5, 1, 2),
}


class BadRecipe(ValueError):
    """A recipe of the address cannot be read; the message says why."""


def recipe_of(text: str) -> Recipe:
    """The recipe written in an address; BadRecipe names what is wrong."""
    try:
        raw = json.loads(text)
        return Recipe.model_validate(run_request(lab_slug=SLUG, params=raw, seeds=SEEDS).params)
    except (ParameterErrors, ValueError, RecursionError) as error:
        raise BadRecipe(str(error)) from error


def text_of(recipe: Recipe) -> str:
    """A recipe for an address: what differs from the defaults, as JSON."""
    return json.dumps(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))


def address_of(recipes: list[Recipe]) -> str:
    return f"{reverse('labs-planner')}?{urlencode([('recipe', text_of(recipe)) for recipe in recipes])}"


def request_of(recipe: Recipe) -> Request:
    return run_request(lab_slug=SLUG, params=recipe.model_dump(mode="json"), seeds=SEEDS)


@dataclass
class Answer:
    """A recipe with what is known of it: sizes in GiB."""

    letter: str
    recipe: Recipe
    run: Run | None  # which succeeded
    totals: dict[str, float] = field(default_factory=dict)  # by metric
    by_category: dict[str, float] = field(default_factory=dict)
    course: list[PlotPoint] = field(default_factory=list)

    @property
    def title(self) -> str:
        return title_of(self.recipe)

    @property
    def text(self) -> str:
        return text_of(self.recipe)

    @cached_property
    def closed_form(self) -> float | None:
        """GiB by the sum that one can do on a whiteboard, where there is one."""
        parts = closed_form_parts(self.recipe)
        return None if parts is None else sum(parts.values()) / GIB

    @property
    def smallest_gpu(self) -> int | None:
        """GiB of the smallest common GPU that holds what is reserved beside the CUDA context."""
        needed = self.totals["reserved"] + CONTEXT / GIB
        return next((size for size in GPUS if size >= needed), None)


def title_of(recipe: Recipe) -> str:
    """`llama-2-7b, lora r=16 on nf4, 1 × 512`, with what else is not the default."""
    model = _("own config") if recipe.config else recipe.model
    ranked = "" if recipe.method == "full" else f" r={recipe.rank}"
    parts = [model, f"{recipe.method}{ranked}, {recipe.weights}", f"{recipe.batch_size} × {recipe.sequence_length}"]
    told = {"model", "config", "method", "rank", "weights", "batch_size", "sequence_length", "exact"}
    others = recipe.model_dump(mode="json", exclude_defaults=True, exclude=told)
    parts += [f"{name} {value}" if not isinstance(value, bool) else name for name, value in others.items()]
    return ", ".join(part.replace("_", " ") for part in parts)


def answers(recipes: list[Recipe]) -> list[Answer]:
    """Two queries, however many recipes."""
    keys = [_keys(recipe) for recipe in recipes]
    runs = Run.objects.filter(question_key__in=[key for some in keys for key in some], status=Run.SUCCEEDED)
    found = {run.question_key: run for run in runs.order_by("pk")}
    answers = [
        Answer(letter, recipe, next((found[key] for key in some if key in found), None))
        for letter, recipe, some in zip(LETTERS, recipes, keys, strict=False)
    ]
    _fill(answers)
    return answers


def _keys(recipe: Recipe) -> list[str]:
    """Of the questions that have the same answer: every block simulated or not, once or for several seeds."""
    lab, params = get_lab(SLUG), recipe.model_dump(mode="json")
    return [
        question_key(lab, params | {"exact": exact}, seeds)
        for exact in (recipe.exact, not recipe.exact)
        for seeds in (SEEDS, EVIDENCE_SEEDS)
    ]


def _fill(answers: list[Answer]) -> None:
    by_run: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.run:
            by_run[answer.run.pk].append(answer)
    courses: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for value in MetricValue.objects.filter(run__in=by_run, seed=SEEDS[0]):
        category = parse_point(value.point).get("category", "")
        if value.step is not None:
            courses[value.run_id][value.step] += value.value if value.name == "alive" else 0.0
            continue
        for answer in by_run[value.run_id]:
            if not category:
                answer.totals[value.name] = value.value
            elif value.name == "at_peak":
                answer.by_category[category] = value.value
    for run, course in courses.items():
        points = [PlotPoint(float(step), size) for step, size in sorted(course.items())]
        for answer in by_run[run]:
            answer.course = points


def stacked_figure(known: list[Answer]) -> SafeString:
    bars = [StackedBar(answer.letter, answer.by_category) for answer in known]
    return stacked_chart(
        bars,
        parts={name: str(title) for name, title in CATEGORIES.items()},
        title=_("What the peak consists of"),
        x_title=_("GiB at the peak; lines are common GPUs"),
        marks=[Across(size, f"{size}") for size in GPUS],
    )


def course_figure(known: list[Answer]) -> SafeString:
    highest = max(known, key=lambda answer: answer.totals["peak"])
    return line_chart(
        [Series(answer.letter, answer.course) for answer in known if answer.course],
        title=_("In the course of a step"),
        x_title=_("from the start of the step to its end"),
        y_title=_("GiB alive"),
        y_line=Across(highest.totals["peak"], _("peak of %(letter)s") % {"letter": highest.letter}),
    )


def remedies(answer: Answer, beside: list[Recipe]) -> Iterator[tuple[str, str]]:
    """What to try against the two largest parts of the peak: words, and the address that compares it."""
    largest = sorted(answer.by_category, key=lambda name: -answer.by_category[name])[:2]
    indices = dict.fromkeys(index for name in largest for index in HELPFUL.get(name, ()))
    tried = [REMEDIES[index] for index in indices]
    if answer.recipe.batch_size > 1:
        half = {"batch_size": answer.recipe.batch_size // 2, "accumulation": 2 * answer.recipe.accumulation}
        tried.append((Text(en="halve the micro-batch and accumulate twice", zh="微批减半，累积加倍"), half))
    for words, changes in tried:
        recipe = changed(answer.recipe, changes)
        if recipe and recipe != answer.recipe:
            yield str(words), address_of([*beside[: MOST - 1], recipe])


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe | None:
    """The recipe with these changes; None where they do not go together."""
    try:
        return Recipe.model_validate(recipe.model_dump(mode="json") | dict(changes))
    except ValidationError:
        return None
