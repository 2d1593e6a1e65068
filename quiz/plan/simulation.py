"""Days of study, simulated for several policies at once.

Every day the cards that are due are answered, oldest first, then new ones in their order, until the day's minutes
are spent. Whether an answer is right is drawn by the card's retrievability. The draws come from a fixed seed and are
the same for every policy, so that policies differ by what they do and not by luck, and the same inputs give the same
plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quiz.plan.memory import AGAIN, EASY, GOOD, HARD, Floats, Ints, Memory

SEED = 0
DRAWS = 32  # draws a card; a card that is answered more often begins again with the first
NEVER = np.inf


@dataclass(frozen=True)
class Habits:
    """How a learner answers: shares and seconds, measured where there are enough answers, else assumed."""

    seconds: float = 30.0  # an answer takes
    # Shares of again, hard, good, easy at first sight; of hard, good, easy when a card was recalled.
    first: Sequence[float] = (0.24, 0.094, 0.495, 0.171)
    recalled: Sequence[float] = (0.224, 0.631, 0.145)
    learning_steps: int = 2
    relearning_steps: int = 1

    def goods(self, rating: Ints) -> Ints:
        """How many times Good ends the first day of a new card after its first rating."""
        after = {AGAIN: self.learning_steps, HARD: self.learning_steps, GOOD: self.learning_steps - 1, EASY: 0}
        return np.maximum(np.array([after[r] for r in (AGAIN, HARD, GOOD, EASY)]), 0)[rating - 1]

    @cached_property
    def new_seconds(self) -> float:
        """What a new card takes on its first day, on average."""
        goods = self.goods(np.array([AGAIN, HARD, GOOD, EASY]))
        return float(self.seconds * (1 + np.dot(self.first, goods) / sum(self.first)))


@dataclass(frozen=True)
class Deck:
    """Cards in the order in which new ones are shown. Day 0 is today; a new card has no stability (NaN)."""

    stability: Floats
    difficulty: Floats
    last: Floats  # the day of the last review, 0 or negative
    due: Floats  # the day, by the settings in use
    topic: Ints

    def __len__(self) -> int:
        return len(self.stability)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        return np.isnan(self.stability)

    def only(self, chosen: NDArray[np.bool_] | Ints) -> "Deck":
        stability, difficulty, last, due = (v[chosen] for v in (self.stability, self.difficulty, self.last, self.due))
        return Deck(stability, difficulty, last, due, self.topic[chosen])


@dataclass(frozen=True)
class Policy:
    retention: float
    new_per_day: int
    minutes: float
    keeps_due: bool = False  # cards stay due when they are, because the retention is the one in use


@dataclass(frozen=True)
class Course:
    """What a simulation found, for each policy."""

    recall: Floats  # (policies, cards) on the date; 0 for a card that was never seen
    seconds: Floats  # (policies, cards) spent
    new: Ints  # (policies, days)
    reviews: Ints  # (policies, days)
    spent: Floats  # (policies, days), seconds
    waiting: Ints  # (policies, days) due and not answered at the end of the day
    outlook: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # (policies, days): see simulate


@dataclass
class _State:
    """Flat arrays over policies × cards, changed from day to day."""

    stability: Floats
    difficulty: Floats
    last: Floats
    due: Floats
    answers: Ints
    seconds: Floats


def draws(cards: int) -> Floats:
    """(DRAWS, cards) numbers in 0 … 1, spread evenly over the cards in every row, which halves the noise."""
    chance = np.random.default_rng(SEED)
    places = chance.permuted(np.tile(np.arange(cards), (DRAWS, 1)), axis=1)
    return np.asarray((places + 0.5) / max(cards, 1))


def simulate(
    deck: Deck, policies: Sequence[Policy], *, days: int, memory: Memory, habits: Habits, with_outlook: bool = False
) -> Course:
    """Study from day 0 to day `days` - 1; the interview is on day `days`.

    With `with_outlook` also the mean recall on the date as it would be if study ended after each day.
    """
    study = _Study(deck, policies, days, memory, habits)
    outlook = np.zeros((len(policies), days))
    for day in range(days):
        study.live(day)
        if with_outlook:
            outlook[:, day] = study.recall().mean(axis=1)
    by_policy = (len(policies), len(deck))
    seconds = study.state.seconds.reshape(by_policy)
    return Course(study.recall(), seconds, study.new, study.reviews, study.spent, study.waiting, outlook)


class _Study:
    """One simulation. Policy p's card c is at p × cards + c in the flat arrays."""

    def __init__(self, deck: Deck, policies: Sequence[Policy], days: int, memory: Memory, habits: Habits) -> None:
        self.days, self.memory, self.habits = days, memory, habits
        self.policies, self.cards = len(policies), len(deck)
        self.retention = np.array([p.retention for p in policies])
        self.capacity = np.array([p.minutes * 60 for p in policies])
        self.pace = np.array([p.new_per_day for p in policies])
        self.draws = draws(self.cards)
        self.unseen = np.flatnonzero(deck.is_new)
        self.seen = np.zeros(self.policies, dtype=np.int64)  # how many of the unseen each policy has shown
        self.first, self.recalled = (np.cumsum(shares) / sum(shares) for shares in (habits.first, habits.recalled))
        self.state = self._begin(deck, policies)
        self.new, self.reviews, self.waiting = (np.zeros((self.policies, days), dtype=np.int64) for _ in range(3))
        self.spent = np.zeros((self.policies, days))

    def _begin(self, deck: Deck, policies: Sequence[Policy]) -> _State:
        stability, difficulty, last = (np.tile(v, self.policies) for v in (deck.stability, deck.difficulty, deck.last))
        due = np.concatenate([self._due_of(deck, p) for p in policies])
        return _State(stability, difficulty, last, due, np.zeros(len(due), np.int64), np.zeros(len(due)))

    def _due_of(self, deck: Deck, policy: Policy) -> Floats:
        due = deck.due
        if not policy.keeps_due:
            due = deck.last + self.memory.interval(np.nan_to_num(deck.stability, nan=1), policy.retention)
        return np.where(deck.is_new, NEVER, due)

    def live(self, day: int) -> None:
        due = np.flatnonzero(self.state.due <= day)
        if due.size:
            self._review(due, day)
        self._learn(day)

    def recall(self) -> Floats:
        """(policies, cards) on the date."""
        state = self.state
        recall = self.memory.recall(self.days - state.last, np.nan_to_num(state.stability, nan=1))
        return np.where(np.isnan(state.stability), 0, recall).reshape(self.policies, self.cards)

    def _review(self, due: Ints, day: int) -> None:
        state, habits = self.state, self.habits
        policy = due // self.cards
        recall = self.memory.recall(day - state.last[due], state.stability[due])
        draw = self.draws[state.answers[due] % DRAWS, due % self.cards]
        lapsed = draw >= recall
        seconds = habits.seconds * np.where(lapsed, 1.0 + min(habits.relearning_steps, 1), 1.0)
        done = self._within(policy, state.due[due], seconds)
        self.waiting[:, day] = np.bincount(policy, minlength=self.policies)
        due, policy = due[done], policy[done]
        recall, draw, seconds = recall[done], draw[done], seconds[done]
        self.reviews[:, day] = np.bincount(policy, minlength=self.policies)
        self.waiting[:, day] -= self.reviews[:, day]
        self.spent[:, day] += np.bincount(policy, seconds, minlength=self.policies)
        state.seconds[due] += seconds
        # Of the draws below the recall, where it lies tells hard, good and easy apart.
        passed = HARD + np.searchsorted(self.recalled, np.minimum(draw / recall, 1 - 1e-12), side="right")
        self._answer(due, np.where(draw < recall, passed, AGAIN), recall, day)

    def _within(self, policy: Ints, due: Floats, seconds: Floats) -> Ints:
        """Which of the due cards the day has time for, the oldest first."""
        order = np.lexsort((due, policy))
        sums = np.cumsum(seconds[order])
        begins = np.searchsorted(policy[order], np.arange(self.policies))
        before = np.concatenate([[0.0], sums])[begins]
        return order[sums - before[policy[order]] <= self.capacity[policy[order]] + 1e-9]

    def _answer(self, cards: Ints, rating: Ints, recall: Floats, day: int) -> None:
        state, memory = self.state, self.memory
        stability = memory.stability(state.stability[cards], state.difficulty[cards], recall, rating)
        difficulty = memory.difficulty(state.difficulty[cards], rating)
        if self.habits.relearning_steps:
            good, lapsed = np.full(rating.shape, GOOD), rating == AGAIN
            stability = np.where(lapsed, memory.same_day_stability(stability, good), stability)
            difficulty = np.where(lapsed, memory.difficulty(difficulty, good), difficulty)
        self._store(cards, stability, difficulty, day)

    def _learn(self, day: int) -> None:
        left = np.maximum(self.capacity - self.spent[:, day], 0)
        fits = (left / self.habits.new_seconds + 1e-9).astype(np.int64)
        count = np.minimum(np.minimum(self.pace, fits), len(self.unseen) - self.seen)
        if not count.any():
            return
        policy = np.repeat(np.arange(self.policies), count)
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        card = self.unseen[self.seen[policy] + place]
        flat = policy * self.cards + card
        rating = AGAIN + np.minimum(np.searchsorted(self.first, self.draws[0, card], side="right"), 3)
        goods = self.habits.goods(rating)
        self._store(flat, *self.memory.first_day(rating, goods), day)
        self.state.seconds[flat] += self.habits.seconds * (1 + goods)
        self.spent[:, day] += count * self.habits.new_seconds
        self.new[:, day] = count
        self.seen += count

    def _store(self, cards: Ints, stability: Floats, difficulty: Floats, day: int) -> None:
        state = self.state
        state.stability[cards], state.difficulty[cards], state.last[cards] = stability, difficulty, day
        state.due[cards] = day + self.memory.interval(stability, self.retention[cards // self.cards])
        state.answers[cards] += 1


def idle_recall(deck: Deck, *, days: int, memory: Memory) -> Floats:
    """Each card's recall on the date without any more study."""
    recall = memory.recall(days - deck.last, np.nan_to_num(deck.stability, nan=1))
    return np.where(deck.is_new, 0, recall)
