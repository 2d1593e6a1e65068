"""Asking for a run: what exactly, whether it is there already, and into the queue."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from labs import broker
from labs.catalog import get_lab
from labs.declaration import ANYWHERE, Lab, Needs
from labs.guessing import Answer
from labs.models import Run
from labs.parameters import ParameterError, ParameterErrors, validate, validate_seeds
from labs.services.limits import check_limits
from labs.services.predictions import predictions_commit


@dataclass(frozen=True)
class Expected:
    """What a learner predicts: an answer to some of the lab's guesses, and how sure they are (1 to 3)."""

    answers: dict[str, Answer]
    certainty: int


def question_key(lab: Lab, params: dict[str, Any], seeds: list[int]) -> str:
    """SHA-256 of what was asked: lab, its version, parameters, seeds."""
    question = {"lab": lab.slug, "version": lab.version, "params": params, "seeds": sorted(seeds)}
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """A validated wish for a run."""

    lab: Lab
    params: dict[str, Any]
    seeds: list[int]
    preset: str
    needs: Needs = ANYWHERE

    @property
    def queue(self) -> str:
        return Run.GPU if self.needs.gpu else Run.CPU

    @property
    def key(self) -> str:
        return question_key(self.lab, self.params, self.seeds)


def run_request(
    *, lab_slug: str, params: dict[str, Any] | None = None, preset: str = "", seeds: list[int] | None = None
) -> Request:
    """Preset, then `params` over it, then the lab's defaults. UnknownLab and ParameterErrors say what is wrong.

    The request keeps the preset's name only while it asks for exactly what the preset says; what is changed in a preset
    still needs the machine that the preset needs.
    """
    lab = get_lab(lab_slug)
    if preset and preset not in lab.presets:
        raise ParameterErrors([ParameterError("preset", preset, f"allowed: {', '.join(lab.presets)}")])
    if params is not None and not isinstance(params, dict):
        raise ParameterErrors([ParameterError("params", params, "allowed: a JSON object of parameters")])
    base = lab.presets[preset or "quick"]
    validated = validate(lab, (base.params if preset else {}) | (params or {})).model_dump(mode="json")
    chosen = validate_seeds(list(base.seeds) if seeds is None else seeds)
    exact = _preset_of(lab, validated, chosen)
    return Request(lab, validated, chosen, preset=exact, needs=lab.needs(exact or preset))


def _preset_of(lab: Lab, params: dict[str, Any], seeds: list[int]) -> str:
    for name, preset in lab.presets.items():
        if list(preset.seeds) == seeds and lab.parameters(**preset.params).model_dump(mode="json") == params:
            return name
    return ""


def run_twin(*, user: User, request: Request) -> Run | None:
    """The user's newest run that asks the same and succeeded or may still succeed."""
    wanted = Run.objects.filter(owner=user, question_key=request.key, status__in=[*Run.LIVE, Run.SUCCEEDED])
    return wanted.order_by("-pk").first()


def run_evidence(*, user: User, request: Request) -> Run | None:
    """The newest succeeded run of anybody else that asked the same: its numbers are evidence, its owner nobody's
    business."""
    others = Run.objects.filter(question_key=request.key, status=Run.SUCCEEDED).exclude(owner=user)
    return others.order_by("-pk").first()


def run_submit(*, user: User, request: Request, expected: Expected | None = None) -> Run:
    """Queue a run, with what its owner expects of it, and ring for a worker. LimitReached when the user, or all
    together, have asked for enough.

    A broker that is down does not lose the run: the row waits, and the workers ring for it when the broker is back.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # two submissions of one user count one after the other
        params = request.lab.parameters(**request.params)
        check_limits(user=user, lab=request.lab, params=params, seeds=request.seeds, queue=request.queue)
        run = Run.objects.create(
            owner=user,
            lab_slug=request.lab.slug,
            lab_version=request.lab.version,
            preset=request.preset,
            params=request.params,
            seeds=request.seeds,
            question_key=request.key,
            queue=request.queue,
            needs=request.needs.document(),
            created_at=timezone.now(),
        )
        if expected:
            predictions_commit(run, expected.answers, expected.certainty)
    try:
        broker.ring(run.pk, queue=run.queue)
    except broker.BrokerDown:
        Run.objects.filter(pk=run.pk, status=Run.QUEUED).update(reason_code="broker-down")
        run.refresh_from_db()
    return run
