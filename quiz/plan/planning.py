"""The plan towards the interview date: which policy gives the most expected recall on that day, and what to cut.

Pure: cards come in as arrays, the plan goes out as numbers. A policy is what a learner can set: a desired retention
and a number of new cards a day. All are simulated with the same draws, and the best within the day's minutes is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from quiz.plan.memory import Floats, Memory
from quiz.plan.simulation import SEED, Course, Deck, Habits, Policy, idle_recall, simulate

RETENTIONS = (0.8, 0.83, 0.85, 0.87, 0.9, 0.93, 0.95, 0.97)
# By which share of the days the last new card is shown.
PACES = (0.5, 0.75, 1.0)
# Minutes a day that are tried when the learner's own are too few, as multiples of them.
MORE_TIME = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
# Of policies whose recall differs by less than this, the one that takes less time is taken.
ALIKE = 0.005
# Topics whose gain an hour differs by less than this share are equally worth it: so much is noise of the draws.
ALIKE_VALUE = 0.15
# A larger deck is thinned evenly: its plan is that of every so-manieth card, with as much less time.
MAX_CARDS = 2000
OWN_CARDS = -1  # the topic of cards without one; never cut


@dataclass(frozen=True)
class Choice:
    """What one policy comes to."""

    retention: float
    new_per_day: int
    recall: float  # mean over all cards on the date
    introduced: int  # of the new cards
    waiting: int  # due and not answered on the last day
    minutes: float  # a day, on average
    peak_minutes: float


@dataclass(frozen=True)
class Cut:
    topic: int
    cards: int
    gain_per_hour: float  # cards more recalled on the date for an hour of study


@dataclass(frozen=True)
class Plan:
    days: int
    cards: int
    new: int
    one_of: int  # the simulation took every so-manieth card
    recall_idle: float  # without any more study
    current: Choice
    best: Choice
    complete: Choice | None  # the best of those that reach every new card and leave no review waiting
    choices: list[Choice]  # the best for each retention, and the complete one
    rows: list[dict[str, float]]  # of the best: day, new, reviews, minutes, recall on the date if study ended then
    is_feasible: bool  # some policy is complete
    minutes_needed: float | None  # a day, where it is not feasible; None where even 16 times the minutes are too few
    cuts: list[Cut]  # in the order of least value, enough to make the rest feasible
    recall_after_cuts: float | None  # over all cards, those cut too
    topics: dict[int, dict[str, float]]  # cards, new, and recall on the date by the best policy

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Problem:
    """Everything a plan follows from."""

    deck: Deck
    days: int
    minutes: float
    memory: Memory
    habits: Habits
    retention: float  # in use
    new_per_day: int  # in use

    def run(self, policies: Sequence[Policy], deck: Deck | None = None, *, with_outlook: bool = False) -> Course:
        known = {"days": self.days, "memory": self.memory, "habits": self.habits}
        return simulate(self.deck if deck is None else deck, policies, **known, with_outlook=with_outlook)  # type: ignore[arg-type]

    def policy(self, retention: float, new_per_day: int, minutes: float | None = None) -> Policy:
        is_in_use = math.isclose(retention, self.retention)
        return Policy(retention, new_per_day, self.minutes if minutes is None else minutes, keeps_due=is_in_use)


def thinned(problem: Problem) -> tuple[Problem, int]:
    """The problem with at most MAX_CARDS cards, and which share of the cards is left: one of so many."""
    step = math.ceil(len(problem.deck) / MAX_CARDS)
    if step <= 1:
        return problem, 1
    kept = np.zeros(len(problem.deck), dtype=bool)
    kept[::step] = True
    fewer = max(problem.new_per_day // step, 1 if problem.new_per_day else 0)
    thin = replace(problem, deck=problem.deck.only(kept), minutes=problem.minutes / step, new_per_day=fewer)
    return thin, step


def paces(new: int, days: int) -> list[int]:
    """New cards a day that show the last one after each share of the days."""
    return sorted({math.ceil(new / max(share * days, 1)) for share in PACES})


def make_plan(problem: Problem) -> Plan:
    """The same problem gives the same plan. ValueError without days or cards."""
    if problem.days < 1 or not len(problem.deck):
        raise ValueError(f"Invalid plan: {problem.days} days, {len(problem.deck)} cards (both from 1)")
    cards, new = len(problem.deck), int(problem.deck.is_new.sum())
    problem, one_of = thinned(problem)
    choices = _sweep(problem)
    current, *found = choices
    best = _best(found)
    course = problem.run([problem.policy(best.retention, best.new_per_day)], with_outlook=True)
    complete = _complete(found, int(problem.deck.is_new.sum()))
    needed, cuts, after_cuts = (None, [], None) if complete else _shortfall(problem, best)
    return Plan(
        days=problem.days,
        cards=cards,
        new=new,
        one_of=one_of,
        recall_idle=float(idle_recall(problem.deck, days=problem.days, memory=problem.memory).mean()),
        current=_scaled(current, one_of),
        best=_scaled(best, one_of),
        complete=_scaled(complete, one_of) if complete else None,
        choices=[_scaled(choice, one_of) for choice in _listed(found, best, complete)],
        rows=_rows(course, one_of),
        is_feasible=complete is not None,
        minutes_needed=needed and needed * one_of,
        cuts=[replace(cut, cards=cut.cards * one_of) for cut in cuts],
        recall_after_cuts=after_cuts,
        topics=_topics(problem.deck, course.recall[0], one_of),
    )


def _sweep(problem: Problem) -> list[Choice]:
    """The settings in use, then every retention with every pace."""
    new = int(problem.deck.is_new.sum())
    retentions = sorted({*RETENTIONS, problem.retention})
    policies = [problem.policy(problem.retention, problem.new_per_day)]
    policies += [problem.policy(r, pace) for r in retentions for pace in paces(new, problem.days)]
    return _choices(policies, problem.run(policies))


def _choices(policies: Sequence[Policy], course: Course) -> list[Choice]:
    return [
        Choice(
            retention=policy.retention,
            new_per_day=policy.new_per_day,
            recall=float(course.recall[i].mean()),
            introduced=int(course.new[i].sum()),
            waiting=int(course.waiting[i, -1]),
            minutes=float(course.spent[i].mean() / 60),
            peak_minutes=float(course.spent[i].max() / 60),
        )
        for i, policy in enumerate(policies)
    ]


def _best(choices: Sequence[Choice]) -> Choice:
    """The most recall; of those about alike the one that takes the least time."""
    most = max(choice.recall for choice in choices)
    return min((c for c in choices if c.recall >= most - ALIKE), key=lambda c: (c.minutes, -c.recall))


def _complete(choices: Sequence[Choice], new: int) -> Choice | None:
    found = [choice for choice in choices if choice.introduced == new and not choice.waiting]
    return _best(found) if found else None


def _listed(choices: Sequence[Choice], *always: Choice | None) -> list[Choice]:
    retentions = {choice.retention for choice in choices}
    best = {_best([choice for choice in choices if choice.retention == retention]) for retention in retentions}
    listed = best | {choice for choice in always if choice}
    return sorted(listed, key=lambda choice: (choice.retention, choice.new_per_day))


def _scaled(choice: Choice, one_of: int) -> Choice:
    """In cards and minutes of the whole deck."""
    values = {name: getattr(choice, name) * one_of for name in ("introduced", "waiting", "minutes", "peak_minutes")}
    return replace(choice, new_per_day=choice.new_per_day * one_of, **values)


def _rows(course: Course, one_of: int) -> list[dict[str, float]]:
    columns = zip(course.new[0], course.reviews[0], course.spent[0] / 60, course.outlook[0], strict=True)
    return [
        {"new": int(n) * one_of, "reviews": int(r) * one_of, "minutes": float(m) * one_of, "recall": float(outlook)}
        for n, r, m, outlook in columns
    ]


def _topics(deck: Deck, recall: Floats, one_of: int) -> dict[int, dict[str, float]]:
    found = {}
    for topic in np.unique(deck.topic):
        here = deck.topic == topic
        new = int(deck.is_new[here].sum())
        found[int(topic)] = {
            "cards": int(here.sum()) * one_of,
            "new": new * one_of,
            "recall": float(recall[here].mean()),
        }
    return found


# What to do when there is too little time ----------------------------------------------------------------------------


def _shortfall(problem: Problem, best: Choice) -> tuple[float | None, list[Cut], float | None]:
    """Minutes a day that are enough, topics to cut at the learner's minutes, and the recall over all cards then."""
    new = int(problem.deck.is_new.sum())
    pace = max(paces(new, problem.days)[0], 1)
    policies = [problem.policy(best.retention, pace, problem.minutes * times) for times in MORE_TIME]
    mixed = replace(problem, deck=_mixed(problem.deck))
    course = mixed.run(policies)
    enough = [
        i for i, choice in enumerate(_choices(policies, course)) if choice.introduced == new and not choice.waiting
    ]
    with_time = enough[0] if enough else len(policies) - 1
    candidates = _least_value_first(mixed, course.recall[with_time], course.seconds[with_time])
    cuts, recall = _enough_cuts(problem, candidates)
    return (policies[enough[0]].minutes if enough else None), cuts, recall


def _mixed(deck: Deck) -> Deck:
    """New cards of all topics in turn, so that no topic looks worth more for being shown late, with fewer reviews."""
    return deck.only(np.random.default_rng(SEED + 1).permutation(len(deck)))


def _least_value_first(problem: Problem, recall: Floats, seconds: Floats) -> list[Cut]:
    """Topics by what an hour on them adds to the recall on the date, had there been time for all of them."""
    deck = problem.deck
    gain = recall - idle_recall(deck, days=problem.days, memory=problem.memory)
    cuts = []
    for topic in np.unique(deck.topic):
        here = deck.topic == topic
        if topic != OWN_CARDS and seconds[here].sum():
            cuts.append(Cut(int(topic), int(here.sum()), float(gain[here].sum() / seconds[here].sum() * 3600)))
    return _later_first(sorted(cuts, key=lambda cut: cut.gain_per_hour))


def _later_first(cuts: list[Cut]) -> list[Cut]:
    """Of topics about alike in value the later one goes first: the first ones are the foundations."""
    groups: list[list[Cut]] = []
    for cut in cuts:
        if groups and cut.gain_per_hour <= groups[-1][0].gain_per_hour * (1 + ALIKE_VALUE):
            groups[-1].append(cut)
        else:
            groups.append([cut])
    return [cut for group in groups for cut in sorted(group, key=lambda cut: -cut.topic)]


def _enough_cuts(problem: Problem, candidates: list[Cut]) -> tuple[list[Cut], float | None]:
    """As few of the candidates as make the rest feasible, found by bisection; at least one topic is left."""
    low, high, found = 1, len(candidates) - 1, None
    while low <= high:
        middle = (low + high) // 2
        recall = _recall_without(problem, {cut.topic for cut in candidates[:middle]})
        if recall is None:
            low = middle + 1
        else:
            high, found = middle - 1, (candidates[:middle], recall)
    return found or ([], None)


def _recall_without(problem: Problem, topics: set[int]) -> float | None:
    """The recall over all cards when these topics are not studied; None where the rest is still too much."""
    idle = idle_recall(problem.deck, days=problem.days, memory=problem.memory)
    kept = ~np.isin(problem.deck.topic, list(topics))
    rest = replace(problem, deck=problem.deck.only(kept))
    new = int(rest.deck.is_new.sum())
    complete = _complete(_sweep(rest)[1:], new)
    return float((complete.recall * kept.sum() + idle[~kept].sum()) / len(kept)) if complete else None
