"""The statistics page: its figures, each a chart, what it says, and the same numbers in a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from kb.text import pick
from quiz.models import StudySettings
from quiz.plan.memory import Memory
from quiz.review.days import day_of, day_start
from quiz.statistics.arrays import NO_TOPIC, day_number
from quiz.statistics.charts import Stack, calendar, columns
from quiz.statistics.figures import (
    Histogram,
    Share,
    Tally,
    answers_of,
    count_of_days,
    count_of_difficulties,
    count_of_recalls,
    forecast,
    last_months,
    masteries,
    recall_now,
    retention,
    retention_by_month,
    runs_of,
)
from quiz.statistics.interpreting import on_buttons, on_forecast, on_retention, on_runs, percent
from quiz.statistics.queries import Records

MONTHS = 12
AHEAD = (30, 90)
PERIODS = (30, 365)


@dataclass(frozen=True)
class Figure:
    chart: SafeString
    head: list[str]
    rows: list[list[str]]
    text: str = ""


@dataclass(frozen=True)
class Page:
    """Everything that templates/statistics/statistics.html prints."""

    summary: list[tuple[str, str]]  # a number, and what it is
    runs: str
    calendar: Figure
    years: list[int]
    forecast: Figure
    retention: Figure
    buttons: Figure
    time: Figure
    distributions: list[Figure] = field(default_factory=list)
    topics: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Wish:
    """What the reader chose to see."""

    year: int
    ahead: int = AHEAD[0]
    period: int = PERIODS[0]


def make_page(records: Records, s: StudySettings, wish: Wish, now: datetime) -> Page:
    """No query."""
    today = day_of(now, s)
    recent = [t for t in records.tallies if t.day > today - timedelta(days=wish.period)]
    return Page(
        summary=_summary(records, today),
        runs=on_runs(runs_of([t.day for t in records.tallies if answers_of(t)], today)),
        calendar=_calendar(records.tallies, wish.year),
        years=sorted({today.year, *(t.day.year for t in records.tallies)}, reverse=True),
        forecast=_forecast(records, s, today, wish.ahead),
        retention=_retention(records.tallies, s, today),
        buttons=_buttons(recent),
        time=_time(recent, today, wish.period),
        distributions=_distributions(records, s, now),
        topics=_topics(records, s, now),
    )


def _summary(records: Records, today: date) -> list[tuple[str, str]]:
    tally = next((t for t in records.tallies if t.day == today), Tally(today))
    new, seen = sum(records.new.values()), len(records.seen)
    found = [
        (f"{answers_of(tally):,}", _("answers today")),
        (f"{tally.milliseconds / 60_000:.0f}", _("minutes today")),
        (f"{seen:,} / {seen + new:,}", _("cards seen")),
    ]
    if records.suspended:
        found.append((f"{records.suspended:,}", _("cards suspended, not counted here")))
    return found


def _calendar(tallies: Sequence[Tally], year: int) -> Figure:
    counts = {t.day: answers_of(t) for t in tallies if t.day.year == year}
    months = [date(year, month, 1) for month in range(1, 13)]
    rows = []
    for month in months:
        here = [n for day, n in counts.items() if day.month == month.month and n]
        rows.append([date_format(month, "F"), str(len(here)), f"{sum(here):,}"])
    title = _("Answers a day in %(year)s") % {"year": year}
    head = [_("Month"), _("Days with answers"), _("Answers")]
    return Figure(calendar(counts, year, title=title), head, rows)


def _forecast(records: Records, s: StudySettings, today: date, ahead: int) -> Figure:
    begin = day_number(day_start(today, s))
    young, mature = forecast(records.seen, begin, ahead)
    days = [today + timedelta(days=n) for n in range(ahead)]
    overdue = int((records.seen.due < begin).sum())
    chart = columns(
        [Stack(_("Young"), young), Stack(_("Mature"), mature)],
        labels=[f"{day:%m-%d}" for day in days],
        title=_("Cards due in the next %(n)s days") % {"n": ahead},
        x_title=_("Day"),
        y_title=_("cards"),
    )
    sums = [a + b for a, b in zip(young, mature, strict=True)]
    rows = [[day.isoformat(), str(a), str(b)] for day, a, b in zip(days, young, mature, strict=True)]
    text = on_forecast(sums, overdue, seconds_an_answer(records.tallies))
    return Figure(chart, [_("Day"), _("Young"), _("Mature")], rows, text)


def seconds_an_answer(tallies: Sequence[Tally]) -> float | None:
    """Of the last 90 days with answers; None without any."""
    recent = tallies[-90:]
    answers = sum(answers_of(t) for t in recent)
    return sum(t.milliseconds for t in recent) / answers / 1000 if answers else None


def _retention(tallies: Sequence[Tally], s: StudySettings, today: date) -> Figure:
    months = retention_by_month(tallies, months=MONTHS, today=today)
    both = {month: Share(a.passed + b.passed, a.total + b.total) for month, (a, b) in months.items()}
    chart = columns(
        [Stack(_("Recalled"), [100 * (share.value or 0) for share in both.values()])],
        labels=[f"{month:%y-%m}" for month in months],
        title=_("True retention by month"),
        x_title=_("Month"),
        y_title=_("% of the reviews recalled"),
        top=100,
    )
    rows = [[f"{m:%Y-%m}", *(_share(x) for x in (*months[m], both[m]))] for m in months]
    head = [_("Month"), _("Young"), _("Mature"), _("Both")]
    year = retention([t for t in tallies if t.day >= last_months(today, MONTHS)[0]])
    return Figure(chart, head, rows[::-1], on_retention(year, s.scheduling.desired_retention))


def _share(share: Share) -> str:
    if share.value is None or share.ends is None:
        return "–"
    return f"{percent(share.value)} ({share.passed:,} / {share.total:,})"


def _buttons(tallies: Sequence[Tally]) -> Figure:
    names = {"again": _("Again"), "hard": _("Hard"), "good": _("Good"), "easy": _("Easy")}
    counts = {name: sum(getattr(t, name) for t in tallies) for name in names}
    total = sum(counts.values())
    chart = columns(
        [Stack(_("Answers"), list(counts.values()))],
        labels=list(names.values()),
        title=_("Answer buttons"),
        x_title=_("Button"),
        y_title=_("answers"),
    )
    rows = [[names[name], f"{n:,}", percent(n / total) if total else "–"] for name, n in counts.items()]
    return Figure(chart, [_("Button"), _("Answers"), _("Share")], rows, on_buttons(**counts))


def _time(tallies: Sequence[Tally], today: date, period: int) -> Figure:
    """Minutes a day, or a month where the period is a year."""
    if period <= 31:
        keys = [today - timedelta(days=n) for n in range(period - 1, -1, -1)]
        key, form, title, unit = _same, "%m-%d", _("Minutes a day"), _("Day")
    else:
        keys = last_months(today, MONTHS)
        key, form, title, unit = _month, "%y-%m", _("Minutes a month"), _("Month")
    minutes, answers = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0)
    for tally in tallies:
        if key(tally.day) in minutes:
            minutes[key(tally.day)] += tally.milliseconds / 60_000
            answers[key(tally.day)] += answers_of(tally)
    chart = columns(
        [Stack(_("Minutes"), list(minutes.values()))],
        labels=[f"{day:{form}}" for day in keys],
        title=title,
        x_title=unit,
        y_title=_("minutes"),
    )
    rows = [[f"{day:{form}}", f"{minutes[day]:.0f}", f"{answers[day]:,}"] for day in keys[::-1]]
    text = _("%(hours)s hours in all.") % {"hours": f"{sum(minutes.values()) / 60:.1f}"}
    return Figure(chart, [unit, _("Minutes"), _("Answers")], rows, text)


def _same(day: date) -> date:
    return day


def _month(day: date) -> date:
    return day.replace(day=1)


def _distributions(records: Records, s: StudySettings, now: datetime) -> list[Figure]:
    cards = records.seen
    days, levels, shares = _days_text, _level_text, _recall_text
    recall = recall_now(cards, day_number(now), Memory(s.scheduling.parameters))
    stability = pgettext("of a memory", "Stability")
    difficulty = pgettext("of a card", "Difficulty")
    return [
        _histogram(count_of_days(cards.due - cards.last_review), _("Intervals"), _("days"), days),
        _histogram(count_of_days(cards.stability), stability, _("days until recall falls to 90 %"), days),
        _histogram(count_of_difficulties(cards.difficulty), difficulty, _("1 easy to 10 hard"), levels),
        _histogram(count_of_recalls(recall), _("Retrievability now"), _("% chance of recall"), shares),
    ]


def _days_text(median: float) -> str:
    return _("Half of the cards are above %(days)s days.") % {"days": f"{median:.3g}"}


def _level_text(median: float) -> str:
    return _("Half of the cards are above %(level)s.") % {"level": f"{median:.1f}"}


def _recall_text(median: float) -> str:
    return _("For half of the cards the chance is above %(share)s.") % {"share": f"{100 * median:.0f} %"}


def _histogram(found: Histogram, title: str, unit: str, text: Callable[[float], str]) -> Figure:
    counts = [Stack(_("Cards"), found.counts)]
    chart = columns(counts, labels=found.labels, title=title, x_title=unit, y_title=_("cards"))
    rows = [[label, f"{n:,}"] for label, n in zip(found.labels, found.counts, strict=True)]
    return Figure(chart, [unit, _("Cards")], rows, "" if found.median is None else text(found.median))


def _topics(records: Records, s: StudySettings, now: datetime) -> list[dict[str, Any]]:
    recall = recall_now(records.seen, day_number(now), Memory(s.scheduling.parameters))
    titles = {pk: pick(topic, "title") for pk, topic in records.topics.items()} | {NO_TOPIC: _("Own cards")}
    return [
        {"title": titles.get(row.topic, "?"), "topic": records.topics.get(row.topic), "mastery": row}
        for row in masteries(records.seen, recall, records.new)
    ]
