"""Rows for tests, each with what it needs and nothing else."""

import itertools
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from kb.models import Point, Topic
from labs.models import Claim, Machine, MetricValue, Run
from labs.services import run_request
from quiz.models import Question, RubricPoint

numbers = itertools.count(1)


def make_topic(slug: str = "math", **values: Any) -> Topic:
    topic, _ = Topic.objects.get_or_create(
        slug=slug, defaults={"title_en": slug.title(), "title_zh": "数学", "summary_en": "Sizes.", **values}
    )
    return topic


def make_point(**values: Any) -> Point:
    n = next(numbers)
    values = {"slug": f"point-{n}", "title_en": f"Point {n}", "definition_en": f"Definition {n}.", **values}
    return Point.objects.create(topic=values.pop("topic", None) or make_topic(), position=n, **values)


def make_question(**values: Any) -> Question:
    """A question with a rubric of weights 3 and 1."""
    n = next(numbers)
    values = {
        "slug": f"question-{n}",
        "difficulty": 2,
        "position": n,
        "prompt_en": f"Prompt {n}?",
        "short_en": f"Short {n}.",
        "answer_en": f"Answer {n}.",
        **values,
    }
    question = Question.objects.create(topic=values.pop("topic", None) or make_topic(), **values)
    for position, weight in enumerate([3, 1]):
        RubricPoint.objects.create(
            question=question, position=position, weight=weight, dimension="concept", text_en=f"Rubric {n}.{position}"
        )
    return question


def make_follow_up(parent: Question, **values: Any) -> Question:
    return make_question(parent=parent, root=parent.root or parent, topic=parent.topic, **values)


FORMULA_CHECK = {
    "expected": 256.0,
    "formula": "lora_layer_parameters",
    "arguments": {"d_in": 16, "d_out": 16, "rank": 8},
}
LOSS_CHECK = {"at_most": 1.0, "lab": "rank-sweep", "metric": "validation_loss", "point": "rank=64,scaling=double"}
COUNT_CHECK = {
    "expected": 1000.0,
    "lab": "rank-sweep",
    "metric": "trainable_parameters",
    "point": "rank=64,scaling=double",
}


def make_claim(**values: Any) -> Claim:
    n = next(numbers)
    values = {
        "slug": f"claim-{n}",
        "method": "formula",
        "statement_en": f"Statement {n}.",
        "source": "folklore",
        "checks": [FORMULA_CHECK],
        **values,
    }
    return Claim.objects.create(topic=values.pop("topic", None) or make_topic(), **values)


def make_measured_claim(**values: Any) -> Claim:
    return make_claim(**{"method": "measurement", "unit": "nats", "checks": [LOSS_CHECK], **values})


def make_run(owner: User | None = None, *, lab: str = "rank-sweep", preset: str = "quick", **values: Any) -> Run:
    """A succeeded run of that preset; without an owner the reference run."""
    request = run_request(lab_slug=lab, preset=preset)
    values = {
        "origin": Run.SITE if owner else Run.REFERENCE,
        "status": Run.SUCCEEDED,
        "lab_version": request.lab.version,
        "params": request.params,
        "seeds": request.seeds,
        "question_key": request.key,
        "created_at": timezone.now(),
        **values,
    }
    return Run.objects.create(owner=owner, lab_slug=lab, preset=preset, **values)


def make_machine(name: str = "cpu@a", **values: Any) -> Machine:
    """A worker that has just been seen."""
    now = timezone.now()
    values = {"host": "a", "queues": ["cpu"], "cores": 2, "memory_mb": 4096, "last_seen": now, **values}
    return Machine.objects.create(name=name, started_at=now, **values)


def add_values(run: Run, name: str, point: str, *values: float) -> Run:
    """Results of a metric at a point: one a seed, from seed 0 on."""
    MetricValue.objects.bulk_create(
        [MetricValue(run=run, name=name, point=point, seed=seed, value=value) for seed, value in enumerate(values)]
    )
    return run


POINTS = [f"rank={rank},scaling={scaling}" for scaling in ("constant", "double") for rank in (1, 8, 64)]


def with_losses(run: Run, *losses: float) -> Run:
    """The run with a validation loss a seed at every point of the quick preset."""
    for place, point in enumerate(POINTS):
        add_values(run, "validation_loss", point, *(loss + place / 10 for loss in losses))
    return run
