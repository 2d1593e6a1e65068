"""A card's state as a replay of its events gives it. Pure: nothing here reads or writes the database."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from quiz.models import Card, ReviewEvent, Scheduling
from quiz.review.scheduling import graded, library_card


@dataclass(frozen=True)
class CardState:
    """The fields of a `Card` that its events give; the defaults are those of a new card."""

    state: int = Card.NEW
    step: int | None = None
    stability: float | None = None
    difficulty: float | None = None
    due: datetime | None = None
    last_review: datetime | None = None
    reviews: int = 0
    lapses: int = 0
    is_suspended: bool = False
    buried_until: datetime | None = None

    @classmethod
    def of(cls, card: Card) -> "CardState":
        return cls(**{name: getattr(card, name) for name in STATE_FIELDS})

    def write_to(self, card: Card) -> None:
        for name, value in self.values().items():
            setattr(card, name, value)

    def values(self) -> dict[str, Any]:
        return asdict(self)

    def digest(self) -> str:
        """Comes with a form, so that a grade for a card that changed meanwhile is recognised."""
        return sha256(repr(self).encode()).hexdigest()[:16]


STATE_FIELDS = tuple(field.name for field in fields(CardState))

# These look back at other events, so that one state does not tell what they do; `replay` does.
LOOKING_BACK = (ReviewEvent.UNDO, ReviewEvent.RESCHEDULE)


def apply(state: CardState, event: ReviewEvent, scheduling: Scheduling | None) -> CardState:
    """The state after one event; `scheduling` is the one of a grade. ValueError for an undo or a reschedule."""
    if event.action in LOOKING_BACK:
        raise ValueError(f"{event.action} has to be replayed")
    if event.action == ReviewEvent.RESET:
        return CardState(is_suspended=state.is_suspended)
    if event.action == ReviewEvent.GRADE and event.rating and scheduling:
        return _graded(state, event, event.rating, scheduling)
    changed: dict[str, dict[str, Any]] = {
        ReviewEvent.BURY: {"buried_until": event.until},
        ReviewEvent.UNBURY: {"buried_until": None},
        ReviewEvent.SUSPEND: {"is_suspended": True},
        ReviewEvent.UNSUSPEND: {"is_suspended": False},
        ReviewEvent.SET_DUE: {"due": event.until, "buried_until": None},
    }
    return replace(state, **changed[event.action])


def _graded(state: CardState, event: ReviewEvent, rating: int, scheduling: Scheduling) -> CardState:
    after = graded(library_card(state), rating, event.at, scheduling, event.token)
    forgot = state.state == Card.REVIEW and rating == ReviewEvent.AGAIN
    return replace(
        state,
        state=after.state.value,
        step=after.step,
        stability=after.stability,
        difficulty=after.difficulty,
        due=after.due,
        last_review=after.last_review,
        reviews=state.reviews + 1,
        lapses=state.lapses + forgot,
        buried_until=None,
    )


def in_effect(events: Iterable[ReviewEvent]) -> list[ReviewEvent]:
    """One card's events without those undone and the undoing ones."""
    listed = list(events)
    undone = {event.undoes_id for event in listed if event.action == ReviewEvent.UNDO}
    return [event for event in listed if event.action != ReviewEvent.UNDO and event.pk not in undone]


def replay(events: Iterable[ReviewEvent]) -> CardState:
    """The state that one card's events give, oldest first.

    Rescheduling redoes every grade before it as if its settings had always been in force, as the library's
    `reschedule_card` does; the last one counts.
    """
    effective = in_effect(events)
    redone = max((i for i, event in enumerate(effective) if event.action == ReviewEvent.RESCHEDULE), default=-1)
    state = CardState()
    for i, event in enumerate(effective):
        if event.action != ReviewEvent.RESCHEDULE:
            state = apply(state, event, effective[redone].scheduling if i < redone else event.scheduling)
    return state
