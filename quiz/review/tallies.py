"""The sums of a day's grades, kept in the transaction of each grade."""

from collections import Counter
from collections.abc import Iterable
from datetime import date

from django.db import connection
from django.db.models import F

from quiz.models import Card, DayTally, ReviewEvent

NAMES = {1: "again", 2: "hard", 3: "good", 4: "easy"}
COUNTS = ("again", "hard", "good", "easy", "new", "young", "young_passed", "mature", "mature_passed", "milliseconds")

# Days of stability from which on a card counts as mature, as in Anki.
MATURE = 21


def tally_of(grade: ReviewEvent) -> Counter[str]:
    """What one grade adds to its day."""
    rating = grade.rating or 0
    counts = Counter({NAMES[rating]: 1, "milliseconds": grade.milliseconds})
    if grade.state_before == Card.NEW:
        counts["new"] = 1
    if grade.state_before == Card.REVIEW:
        age = "mature" if (grade.stability_before or 0) >= MATURE else "young"
        counts[age] = 1
        counts[f"{age}_passed"] = int(rating > ReviewEvent.AGAIN)
    return counts


# Two tabs may begin the day at the same time; and with a queryset it takes five times as long.
SUMS = ", ".join(f"{name} = quiz_daytally.{name} + excluded.{name}" for name in COUNTS)
ADD = f"""
    INSERT INTO quiz_daytally (owner_id, day, {", ".join(COUNTS)}) VALUES (%s, %s, {", ".join(["%s"] * len(COUNTS))})
    ON CONFLICT (owner_id, day) DO UPDATE SET {SUMS}
"""  # noqa: S608 (names of columns)


def tally_add(grade: ReviewEvent) -> None:
    """Add the grade to its day. Call it in the transaction of the event."""
    counts = tally_of(grade)
    day = connection.ops.adapt_datefield_value(grade.day)
    with connection.cursor() as cursor:
        cursor.execute(ADD, [grade.owner_id, day, *(counts[name] for name in COUNTS)])


def tally_take_back(grade: ReviewEvent) -> None:
    """Take the grade away from its day again. Call it in the transaction of the undo."""
    changed = {name: F(name) - n for name, n in tally_of(grade).items() if n}
    DayTally.objects.filter(owner_id=grade.owner_id, day=grade.day).update(**changed)


def tallies_of(grades: Iterable[ReviewEvent]) -> dict[date, Counter[str]]:
    """One learner's days, from the grades that count."""
    days: dict[date, Counter[str]] = {}
    for grade in grades:
        days.setdefault(grade.day, Counter()).update(tally_of(grade))
    return days
