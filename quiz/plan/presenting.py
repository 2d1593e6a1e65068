"""A kept plan as its page shows it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kb.models import Topic
from kb.text import pick
from quiz.models import PlanDay, StudySettings
from quiz.plan.planning import ALIKE, OWN_CARDS
from quiz.plan.simulation import Habits
from quiz.statistics.charts import Stack, columns


@dataclass(frozen=True)
class Day:
    day: date
    new: int
    reviews: int
    minutes: float
    recall: float


@dataclass(frozen=True)
class Shown:
    """What the template needs beside the plan itself."""

    plan: dict[str, Any]
    days: list[Day]
    in_use: bool  # the settings do about as well as the best policy
    is_current: bool  # they are the best policy
    topics: list[dict[str, Any]]
    cuts: list[dict[str, Any]]
    left_out: int  # new cards that are not shown before the date
    beside: dict[str, Any] | None  # the best complete policy, where the best leaves something
    chart: SafeString
    assumed_seconds: float


def present(row: PlanDay, s: StudySettings) -> Shown:
    """One query, for the topics' titles."""
    plan = row.plan
    # JSON has made the topics' ids into strings.
    titles = {
        topic.pk: pick(topic, "title") for topic in Topic.objects.filter(pk__in=[int(pk) for pk in plan["topics"]])
    }
    titles[OWN_CARDS] = _("Own cards")
    days = [_day(row.day + timedelta(days=n), values) for n, values in enumerate(plan["rows"])]
    topics = [{"title": titles.get(int(pk), "?"), **values} for pk, values in plan["topics"].items()]
    best = plan["best"]
    is_current = best["retention"] == s.scheduling.desired_retention and best["new_per_day"] == s.new_per_day
    return Shown(
        plan=plan,
        days=days,
        in_use=is_current or plan["current"]["recall"] >= best["recall"] - ALIKE,
        is_current=is_current,
        topics=sorted(topics, key=lambda topic: topic["recall"]),
        cuts=[{**cut, "title": titles.get(cut["topic"], "?")} for cut in plan["cuts"]],
        left_out=max(plan["new"] - best["introduced"], 0),
        beside=plan["complete"] if plan["complete"] != best else None,
        chart=_chart(days),
        assumed_seconds=Habits().seconds,
    )


def _day(day: date, values: dict[str, Any]) -> Day:
    return Day(day, int(values["new"]), int(values["reviews"]), float(values["minutes"]), float(values["recall"]))


def _chart(days: list[Day]) -> SafeString:
    return columns(
        [
            Stack(_("Reviews"), [day.reviews for day in days]),
            Stack(_("New cards"), [day.new for day in days]),
        ],
        labels=[f"{day.day:%m-%d}" for day in days],
        title=_("Cards a day"),
        x_title=_("Day"),
        y_title=_("cards"),
    )
