"""Writes of the review: one function an action, each one transaction, each counted once for its token.

Every action appends to the log, and the card's row follows from it in the same transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from kb.models import Status, Topic
from kb.rows import read, read_one
from quiz.models import Attempt, Card, OwnCard, Question, ReviewEvent, Scheduling, StudySettings
from quiz.review.days import day_of, day_start, tomorrow_start
from quiz.review.queries import is_asked_today
from quiz.review.scheduling import DEFAULTS, scheduling_for, scheduling_values
from quiz.review.states import LOOKING_BACK, STATE_FIELDS, CardState, apply, replay
from quiz.review.tallies import tally_add, tally_take_back

# How many actions can be taken back.
MAX_UNDO = 50
# A pause over a card counts as at most this long, as in Anki.
MAX_MILLISECONDS = 10 * 60 * 1000
# The name, under a grade's token, of the suspension that the grade led to.
LEECH = "leech"
# Cards rescheduled in one transaction: others who want to write wait for a fifth of a second.
BATCH = 50


class StaleCard(RuntimeError):
    """The card changed since the form was shown: another tab or device was there first."""


class NotYourToken(ValueError):
    """The form's token belongs to another action."""


class NothingToUndo(RuntimeError):
    """No action is left that can be taken back."""


def study_settings(user: User) -> StudySettings:
    """The learner's settings, made with FSRS-6's defaults on first use; with their `scheduling`."""
    found = _kept_settings(user.pk)
    if found is None:
        with transaction.atomic():
            found, _made = StudySettings.objects.get_or_create(
                owner=user, defaults={"scheduling": scheduling_for(user)}
            )
    return found


def _kept_settings(owner_id: int) -> StudySettings | None:
    """Read on every page of the review."""
    found = read(StudySettings, "WHERE owner_id = %s", [owner_id])
    if not found:
        return None
    found[0].scheduling = read_one(Scheduling, found[0].scheduling_id)
    return found[0]


@transaction.atomic
def settings_change(user: User, *, topics: Iterable[Topic] | None = None, **values: Any) -> StudySettings:
    """Change fields of the settings or of the scheduling; ValidationError or ValueError for what is not allowed."""
    settings = study_settings(user)
    scheduler_values = {name: values.pop(name) for name in DEFAULTS if name in values}
    if scheduler_values:
        settings.scheduling = scheduling_for(user, **scheduling_values(settings.scheduling) | scheduler_values)
    for name, value in values.items():
        setattr(settings, name, value)
    settings.full_clean()
    settings.save()
    if topics is not None:
        settings.topics.set(topics)
    return settings


# Cards ----------------------------------------------------------------------------------------------------------------


def cards_sync(user: User) -> int:
    """Make a card for every published question of the chosen topics that has none; how many were made.

    Positions follow the reading order: topic by topic, each question before its follow-ups.
    """
    chosen = list(study_settings(user).topics.values_list("pk", flat=True))
    questions = Question.objects.filter(status=Status.PUBLISHED)
    wanted = questions.filter(topic__in=chosen) if chosen else questions
    missing = set(wanted.exclude(cards__owner=user).values_list("pk", flat=True))
    if not missing:
        return 0
    positions = _positions()
    ordered = sorted(missing & positions.keys(), key=positions.__getitem__)
    with transaction.atomic():
        made = [Card(owner=user, question_id=pk, position=positions[pk]) for pk in ordered]
        # Another tab may be doing the same.
        Card.objects.bulk_create(made, batch_size=1000, ignore_conflicts=True)
        _place_new_cards(user, positions)
    return len(made)


def _positions() -> dict[int, int]:
    """The place of every published question in the reading order, by its id."""
    children: dict[int | None, list[int]] = defaultdict(list)
    ordered = Question.objects.filter(status=Status.PUBLISHED).order_by("topic__position", "position", "slug")
    for pk, parent in ordered.values_list("pk", "parent_id"):
        children[parent].append(pk)
    return {pk: place for place, pk in enumerate(_depth_first(children))}


def _depth_first(children: dict[int | None, list[int]]) -> Iterator[int]:
    waiting = children[None][::-1]
    while waiting:
        pk = waiting.pop()
        yield pk
        waiting += children[pk][::-1]


def _place_new_cards(user: User, positions: dict[int, int]) -> None:
    """New content moves the places of what stands behind it."""
    new = Card.objects.filter(owner=user, state=Card.NEW, own_card=None).only("position", "question_id")
    moved = [card for card in new if card.position != positions.get(card.question_id or 0, card.position)]
    for card in moved:
        card.position = positions[card.question_id or 0]
    Card.objects.bulk_update(moved, ["position"], batch_size=1000)


def own_card_add(own_card: OwnCard, *, position: int = 0) -> Card:
    """The card that reviews an own card; made once."""
    card, _made = Card.objects.get_or_create(
        owner_id=own_card.owner_id, own_card=own_card, defaults={"position": position}
    )
    return card


def _settings_of(card: Card) -> StudySettings:
    """The settings of the card's owner, without loading the owner."""
    return _kept_settings(card.owner_id) or study_settings(card.owner)


# Actions --------------------------------------------------------------------------------------------------------------


def _locked(card: Card) -> Card:
    """The card as it is now, until the end of the transaction nobody else's."""
    return Card.objects.select_for_update().get(pk=card.pk)


def _seen_before(card: Card, token: UUID, action: str) -> bool:
    """Whether the token was used for this very action. NotYourToken if it was used for another one."""
    used = list(ReviewEvent.objects.order_by().filter(token=token).values_list("card_id", "action"))
    if used and used != [(card.pk, action)]:
        raise NotYourToken(_("This form belongs to another action; load the page again."))
    return bool(used)


def _append(
    card: Card, settings: StudySettings, *, action: str, token: UUID, at: datetime, **values: Any
) -> ReviewEvent:
    """Log the action and let the locked card follow. An action that looks back is replayed, any other is applied."""
    event = ReviewEvent(
        owner_id=card.owner_id,
        card=card,
        action=action,
        token=token,
        at=at,
        day=day_of(at, settings),
        state_before=card.state,
        stability_before=card.stability,
        days_before=(at - card.last_review).total_seconds() / 86_400 if card.last_review else None,
        **values,
    )
    event.save(force_insert=True)
    if action in LOOKING_BACK:
        state = replay(card.events.select_related("scheduling").order_by("pk"))
    else:
        state = apply(CardState.of(card), event, event.scheduling)
    state.write_to(card)
    card.save(update_fields=STATE_FIELDS)
    return event


@transaction.atomic
def card_grade(
    *,
    card: Card,
    rating: int,
    token: UUID,
    milliseconds: int = 0,
    attempt: Attempt | None = None,
    at: datetime | None = None,
    seen: str | None = None,
    settings: StudySettings | None = None,
) -> Card:
    """Grade the card, once for a token; `seen` is the `CardState.digest` that the form was shown with.

    `settings` are those of the card's owner, where they are known already.
    ValueError for a rating that does not exist; StaleCard when the card is not as it was seen.
    """
    if rating not in (1, 2, 3, 4):
        raise ValueError(f"Invalid rating {rating}; allowed: 1 (again), 2 (hard), 3 (good), 4 (easy)")
    card = _locked(card)
    if _seen_before(card, token, ReviewEvent.GRADE):
        return card
    if seen is not None and seen != CardState.of(card).digest():
        raise StaleCard(
            _("This card changed meanwhile, in another tab or on another device. This grade was not counted.")
        )
    settings = settings or _settings_of(card)
    event = _append(
        card,
        settings,
        action=ReviewEvent.GRADE,
        token=token,
        at=at or timezone.now(),
        rating=rating,
        milliseconds=min(max(milliseconds, 0), MAX_MILLISECONDS),
        attempt=attempt,
        scheduling=settings.scheduling,
    )
    tally_add(event)
    if attempt:
        Attempt.objects.filter(pk=attempt.pk, grade=None).update(grade=rating, graded_at=event.at)
    if event.state_before == Card.REVIEW and rating == ReviewEvent.AGAIN and is_leech_now(card, settings):
        _append(card, settings, action=ReviewEvent.SUSPEND, token=uuid5(token, LEECH), at=event.at)
    return card


def is_leech_now(card: Card, settings: StudySettings) -> bool:
    """Whether the lapse just made calls for a pause: at the setting, and then each time half as many come on top."""
    more = card.lapses - settings.leech_lapses
    return more >= 0 and more % max(settings.leech_lapses // 2, 1) == 0


def _act(
    card: Card,
    action: str,
    token: UUID | None,
    *,
    is_needed: Callable[[Card], object] = bool,
    until: datetime | None = None,
) -> Card:
    """One action that is not a grade; left out where the card is as it would be already."""
    token = token or uuid4()
    with transaction.atomic():
        card = _locked(card)
        if not _seen_before(card, token, action) and is_needed(card):
            settings = _settings_of(card)
            _append(card, settings, action=action, token=token, at=timezone.now(), until=until)
    return card


def card_bury(card: Card, token: UUID | None = None) -> Card:
    """Not today: the card comes back tomorrow."""
    until = tomorrow_start(timezone.now(), study_settings(card.owner))
    return _act(card, ReviewEvent.BURY, token, is_needed=lambda c: c.buried_until != until, until=until)


def card_unbury(card: Card, token: UUID | None = None) -> Card:
    return _act(card, ReviewEvent.UNBURY, token, is_needed=lambda c: c.buried_until)


def card_suspend(card: Card, token: UUID | None = None) -> Card:
    """Out of the review until it is taken back in."""
    return _act(card, ReviewEvent.SUSPEND, token, is_needed=lambda c: not c.is_suspended)


def card_unsuspend(card: Card, token: UUID | None = None) -> Card:
    return _act(card, ReviewEvent.UNSUSPEND, token, is_needed=lambda c: c.is_suspended)


def card_set_due(card: Card, until: datetime, token: UUID | None = None) -> Card:
    """Due at that moment, whatever the schedule says; what is remembered of the card stays. Ends a burial."""
    return _act(card, ReviewEvent.SET_DUE, token, is_needed=lambda c: c.due != until or c.buried_until, until=until)


def card_reset(card: Card, token: UUID | None = None) -> Card:
    """A new card again; its log stays."""
    return _act(card, ReviewEvent.RESET, token)


@transaction.atomic
def undo(user: User, token: UUID) -> Card:
    """Take back the learner's last action, up to MAX_UNDO of them; the card. NothingToUndo when none is left.

    Rescheduling is no single action of a day's work: it is taken back by the settings it came from.
    """
    User.objects.select_for_update().get(pk=user.pk)  # two tabs undo one after the other
    done = ReviewEvent.objects.select_related("card").filter(token=token, owner=user).first()
    if done:
        return done.card
    event = _last_action(user)
    card = _take_back(event, token)
    grade = _grade_behind(event)
    return _take_back(grade, uuid5(token, LEECH)) if grade else card


def _last_action(user: User) -> ReviewEvent:
    actions = ReviewEvent.objects.filter(owner=user).exclude(action__in=LOOKING_BACK)
    newest = actions.select_related("card", "undone_by").order_by("-pk")[:MAX_UNDO]
    for event in newest:
        if not hasattr(event, "undone_by"):
            return event
    raise NothingToUndo(_("There is nothing left to undo. The last %(n)s actions can be taken back.") % {"n": MAX_UNDO})


def _grade_behind(event: ReviewEvent) -> ReviewEvent | None:
    """The grade that suspended its card as a leech: one press of a button, so one undo."""
    if event.action != ReviewEvent.SUSPEND:
        return None
    grade = event.card.events.filter(pk__lt=event.pk, action=ReviewEvent.GRADE).order_by("-pk").first()
    return grade if grade and uuid5(grade.token, LEECH) == event.token else None


def _take_back(event: ReviewEvent, token: UUID) -> Card:
    card = _locked(event.card)
    _append(card, _settings_of(card), action=ReviewEvent.UNDO, token=token, at=timezone.now(), undoes=event)
    if event.action == ReviewEvent.GRADE:
        tally_take_back(event)
    return card


def cards_reschedule(user: User, scheduling: Scheduling) -> int:
    """Redo all grades as if these settings had always been in force; how many cards moved.

    In batches of one transaction each: a learner with a long log must not keep others from writing. Done again, it
    goes on where it was interrupted.
    """
    ids = list(studied_cards(user.pk).values_list("pk", flat=True))
    return sum(reschedule_batch(user, ids[start : start + BATCH], scheduling) for start in range(0, len(ids), BATCH))


def studied_cards(owner_id: int) -> QuerySet[Card]:
    """Those that other settings may move."""
    return Card.objects.filter(owner=owner_id, last_review__isnull=False).order_by("pk")


@transaction.atomic
def reschedule_batch(user: User, ids: list[int], scheduling: Scheduling) -> int:
    """Redo all grades of these cards; how many of them moved."""
    settings, now = study_settings(user), timezone.now()
    cards = Card.objects.select_for_update().prefetch_related("events__scheduling").in_bulk(ids)
    events, moved = [], []
    for card in cards.values():
        event = ReviewEvent(
            owner=user,
            card=card,
            action=ReviewEvent.RESCHEDULE,
            at=now,
            day=day_of(now, settings),
            state_before=card.state,
            stability_before=card.stability,
            scheduling=scheduling,
        )
        state = replay([*card.events.all(), event])
        if state != CardState.of(card):
            state.write_to(card)
            events.append(event)
            moved.append(card)
    ReviewEvent.objects.bulk_create(events)
    Card.objects.bulk_update(moved, STATE_FIELDS)
    return len(moved)


def question_to_review(user: User, question: Question) -> Card:
    """The question's card, made if need be, due today."""
    with transaction.atomic():
        card, made = Card.objects.get_or_create(owner=user, question=question)
        if made:
            card.position = _positions().get(question.pk, 0)
            card.save(update_fields=["position"])
        settings, now = study_settings(user), timezone.now()
        if card.is_suspended:
            card = card_unsuspend(card)
        if not is_asked_today(card, now, settings):
            card = card_set_due(card, day_start(day_of(now, settings), settings))
    return card
