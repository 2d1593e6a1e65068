"""Writes of quizzes and interviews: one function an action, each one transaction.

Turns are asked in the order of their position and step. Whatever is sent twice counts once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from kb.models import Status
from quiz.grading import rubric_score
from quiz.models import Attempt, Question, Sitting, Turn
from quiz.services import MAX_TYPED, attempt_start
from quiz.sittings.follow_ups import FollowUp, Outcome, choose
from quiz.sittings.marks import RIGHT, certainty_marks
from quiz.sittings.matching import proposed_points

# Somebody who comes back the next day did not think all night.
MAX_MILLISECONDS = 3_600_000


class SittingFinished(RuntimeError):
    """The sitting has its report, which does not change any more."""


class AlreadyAnswered(RuntimeError):
    """The turn has another answer already, and the first one counts."""


class NotAnswered(RuntimeError):
    """Only an answer can be marked."""


class NotYourSitting(ValueError):
    """The token belongs to somebody else's sitting."""


class TooLong(ValueError):
    """More than MAX_TYPED characters."""


# --- sittings ---------------------------------------------------------------------------------------------------------


@transaction.atomic
def sitting_start(
    *, user: User, kind: str, options: dict[str, Any], questions: Sequence[Question], token: UUID
) -> Sitting:
    """A sitting with its planned turns; an interview may begin with none and add them. The same token, the same one."""
    sitting, is_new = Sitting.objects.get_or_create(
        token=token, defaults={"owner": user, "kind": kind, "options": options}
    )
    if sitting.owner_id != user.pk:
        raise NotYourSitting(_("This form belongs to somebody else; load the page again."))
    if is_new:
        turns = [Turn(sitting=sitting, position=place, question=q) for place, q in enumerate(questions, start=1)]
        Turn.objects.bulk_create(turns)
    return sitting


@transaction.atomic
def turn_add(*, sitting: Sitting, question: Question, reason: str = "planned", seconds: int | None = None) -> Turn:
    """One more question at the end."""
    _refuse_finished(Sitting.objects.select_for_update().get(pk=sitting.pk))
    last = sitting.turns.aggregate(last=Max("position"))["last"] or 0
    return Turn.objects.create(sitting=sitting, position=last + 1, question=question, reason=reason, seconds=seconds)


@transaction.atomic
def sitting_finish(sitting: Sitting) -> Sitting:
    """Close it; what was not answered stays without an answer. Finished twice is finished once."""
    now = timezone.now()
    Sitting.objects.filter(pk=sitting.pk, finished_at=None).update(finished_at=now)
    sitting.refresh_from_db()
    return sitting


# --- turns ------------------------------------------------------------------------------------------------------------


def turn_asked(turn: Turn) -> None:
    """Start the clock when the question is seen for the first time."""
    if turn.asked_at is None:
        Turn.objects.filter(pk=turn.pk, asked_at=None).update(asked_at=timezone.now())
        turn.refresh_from_db(fields=["asked_at"])


@transaction.atomic
def turn_draft(turn: Turn, data: Mapping[str, list[str]]) -> None:
    """Keep the form's fields as they are now; an answered turn keeps its answer."""
    letters = sum(len(value) for values in data.values() for value in values)
    if letters > MAX_TYPED:
        raise TooLong(
            _("Not saved: the text has %(letters)s characters, at most %(most)s are kept. Shorten it.")
            % {"letters": letters, "most": MAX_TYPED}
        )
    _refuse_finished(turn.sitting)
    Turn.objects.filter(pk=turn.pk, attempt=None).update(draft={name: list(values) for name, values in data.items()})


@transaction.atomic
def turn_answer(
    *, turn: Turn, typed: str = "", given: Any = None, certainty: int | None = None, milliseconds: int = 0
) -> Attempt:
    """Make the answer an attempt, with its score and marks where a machine can tell.

    ValueError for an answer that cannot be read or an unknown certainty; AlreadyAnswered when another answer is there.
    """
    if certainty is not None and certainty not in RIGHT:
        raise ValueError(f"Invalid certainty {certainty}; allowed: 1 (a guess), 2 (fairly sure), 3 (certain)")
    row = _locked(turn)
    if row.attempt:
        if (row.attempt.typed, row.attempt.given, row.certainty) != (typed, given, certainty):
            raise AlreadyAnswered(_("This question has an answer already, and the first one counts."))
        return row.attempt
    _refuse_finished(row.sitting)
    attempt = attempt_start(
        user=row.sitting.owner,
        question=row.question,
        token=row.token,
        typed=typed,
        given=given,
        after=row.after.attempt if row.after else None,
    )
    attempt.milliseconds = min(milliseconds, MAX_MILLISECONDS)
    attempt.save(update_fields=["milliseconds"])
    marks = _marks(attempt.score, certainty)
    Turn.objects.filter(pk=row.pk).update(
        attempt=attempt, certainty=certainty, marks=marks, draft={}, answered_at=timezone.now()
    )
    turn.refresh_from_db()
    return attempt


@transaction.atomic
def turn_mark(*, turn: Turn, made: Iterable[int]) -> Turn:
    """Store which rubric points an open answer made. The learner may correct it until the sitting is finished.

    ValueError names a rubric point that does not exist.
    """
    row = _locked(turn)
    if row.attempt is None:
        raise NotAnswered(_("Answer the question first; then mark the points."))
    if row.question.kind != Question.OPEN:
        raise ValueError(_("This question is graded by the machine; there are no points to mark."))
    points = sorted(set(made))
    if row.attempt.score is not None and row.attempt.made_points == points:
        return row
    _refuse_finished(row.sitting)
    row.attempt.score = rubric_score(dict(row.question.rubric.values_list("position", "weight")), points)
    row.attempt.made_points = points
    row.attempt.graded_at = timezone.now()
    row.attempt.save(update_fields=["score", "made_points", "graded_at"])
    row.marks = _marks(row.attempt.score, row.certainty)
    row.save(update_fields=["marks"])
    turn.refresh_from_db()
    return row


# --- follow-ups -------------------------------------------------------------------------------------------------------


@transaction.atomic
def follow_up_after(turn: Turn, *, limit: int | None = None, seconds: int | None = None) -> Turn | None:
    """The follow-up that an interviewer asks after this answer, as the next turn; None when there is none to ask.

    At most `limit` a question (by default what `sitting.options["follow_ups"]` says). Where the follow-ups of the
    answer are used up, those of the question before it come, by what its answer was.
    """
    asked = next(iter(Turn.objects.filter(after=turn)), None)
    if asked or turn.sitting.finished_at:
        return asked
    limit = int(turn.sitting.options.get("follow_ups", 0)) if limit is None else limit
    turns = {t.pk: t for t in _tree_turns(turn)}
    if max(t.step for t in turns.values()) >= limit:
        return None
    found = _next_follow_up(turns, turn.pk)
    if found is None:
        return None
    return Turn.objects.create(
        sitting=turn.sitting,
        position=turn.position,
        step=max(t.step for t in turns.values()) + 1,
        question=found.question,
        after=turn,
        reason=found.reason,
        missed=found.missed,
        seconds=seconds,
    )


def _tree_turns(turn: Turn) -> list[Turn]:
    """The question's turn and those of its follow-ups so far."""
    turns = Turn.objects.filter(sitting=turn.sitting_id, position=turn.position)
    return list(turns.select_related("question", "attempt").prefetch_related("question__rubric"))


def _next_follow_up(turns: dict[int, Turn], pk: int | None) -> FollowUp | None:
    asked = {t.question_id for t in turns.values()}
    by_question = {t.question_id: t for t in turns.values()}
    turn = turns[pk] if pk else None
    while turn is not None:
        children = turn.question.follow_ups.filter(status=Status.PUBLISHED).exclude(pk__in=asked).order_by("position")
        if found := choose(list(children), outcome_of(turn)):
            return found
        turn = by_question.get(turn.question.parent_id) if turn.question.parent_id else None
    return None


def outcome_of(turn: Turn) -> Outcome:
    """What the answer came to; before an open one is marked, what its text seems to make."""
    attempt, question = turn.attempt, turn.question
    if attempt is None:
        return Outcome(score=None, certainty=turn.certainty)
    if question.kind != Question.OPEN:
        return Outcome(attempt.score, turn.certainty)
    rubric = list(question.rubric.all())
    made = attempt.made_points if attempt.score is not None else proposed_points(question, attempt.typed)
    score = attempt.score
    if score is None and attempt.typed:
        score = rubric_score({point.position: point.weight for point in rubric}, made)
    # Without a text and before marking nothing is known of what was missed.
    missed = [p for p in rubric if p.position not in made] if score is not None else []
    return Outcome(score, turn.certainty, sorted(missed, key=lambda p: -p.weight), attempt.typed)


# --- parts ------------------------------------------------------------------------------------------------------------


def _locked(turn: Turn) -> Turn:
    rows = Turn.objects.select_for_update(of=("self",))
    return rows.select_related("sitting__owner", "question", "attempt", "after__attempt").get(pk=turn.pk)


def _refuse_finished(sitting: Sitting) -> None:
    if sitting.finished_at:
        raise SittingFinished(_("This one is finished; its result does not change any more."))


def _marks(score: float | None, certainty: int | None) -> float | None:
    return certainty_marks(score, certainty) if score is not None and certainty else None
