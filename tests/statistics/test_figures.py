"""The numbers of the statistics page, on small arrays and days."""

from datetime import date, timedelta

import numpy as np
import pytest
from fsrs.scheduler import DEFAULT_PARAMETERS
from hypothesis import given
from hypothesis import strategies as st

from quiz.plan.memory import Memory
from quiz.statistics.arrays import CardArrays
from quiz.statistics.charts import Stack, columns, shade, shade_limits
from quiz.statistics.figures import (
    Share,
    Tally,
    count_of_days,
    count_of_difficulties,
    count_of_recalls,
    forecast,
    last_months,
    masteries,
    recall_now,
    retention_by_month,
    runs_of,
)
from quiz.statistics.interpreting import on_buttons, on_retention

TODAY = date(2026, 3, 2)
days_values = st.lists(st.floats(0.01, 4000), max_size=50)


def cards(*rows: tuple[float, float, float, int]) -> CardArrays:
    """(stability, due, last review, topic)"""
    stability, due, last, topic = np.array(rows, dtype=float).T
    return CardArrays(stability, np.full(len(rows), 5.0), due, last, topic.astype(int))


def days_ago(*numbers: int) -> list[date]:
    return [TODAY - timedelta(days=n) for n in numbers]


@given(days_values)
def test_every_card_is_in_one_column(values):
    for count in (count_of_days, count_of_difficulties, count_of_recalls):
        found = count(np.array(values))
        assert len(found.labels) == len(found.counts)
        assert sum(found.counts) == len(values)


def test_the_columns_begin_where_their_labels_say():
    found = count_of_days(np.array([0.5, 1, 2, 3.9, 4, 365, 366]))
    assert dict(zip(found.labels, found.counts, strict=True)) == {
        "<1": 1,
        "1": 1,
        "2–3": 2,
        "4–7": 1,
        "8–14": 0,
        "15–21": 0,
        "22–30": 0,
        "31–60": 0,
        "61–90": 0,
        "91–180": 0,
        "181–365": 1,
        "≥366": 1,
    }
    assert found.median == 3.9
    assert count_of_difficulties(np.array([1.0, 10.0])).counts == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert count_of_recalls(np.array([0.05, 0.9, 1.0])).counts == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert count_of_days(np.array([])).median is None


def test_the_forecast_puts_overdue_cards_on_today_and_leaves_out_what_is_later():
    found = cards((5, 99.5, 90, 1), (30, 100.2, 90, 1), (5, 101.0, 90, 1), (30, 103.0, 90, 1))
    young, mature = forecast(found, begin=100.0, days=3)
    assert (young, mature) == ([1, 1, 0], [1, 0, 0])


def test_topic_mastery_counts_unseen_cards_as_nothing():
    memory = Memory(DEFAULT_PARAMETERS)
    found = cards((10, 100, 90, 1), (10, 100, 90, 1), (10, 100, 100, 2))
    recall = recall_now(found, 100.9, memory)  # ten whole days, the stability: 90 %
    rows = {row.topic: row for row in masteries(found, recall, {1: 2, 3: 4})}
    assert (rows[1].cards, rows[1].seen) == (4, 2)
    assert rows[1].recall == pytest.approx(0.9)
    assert rows[1].recall_all == pytest.approx(0.45)
    assert rows[2].recall_all == pytest.approx(1)
    assert (rows[3].seen, rows[3].recall_all) == (0, 0)


def test_runs_of_days():
    assert runs_of([], TODAY).longest == 0
    found = runs_of(days_ago(0, 1, 2, 10, 11, 12, 13, 40), TODAY)
    assert (found.current, found.longest, found.recent) == (3, 4, 7)


def test_a_day_that_has_not_ended_does_not_end_a_run():
    assert runs_of(days_ago(1, 2), TODAY).current == 2
    assert runs_of(days_ago(2, 3), TODAY).current == 0


def test_retention_by_month_sums_the_days_of_each():
    tallies = [
        Tally(day=date(2026, 3, 1), young=10, young_passed=8, mature=4, mature_passed=4),
        Tally(day=date(2026, 3, 2), young=10, young_passed=9),
        Tally(day=date(2025, 12, 31), young=3, young_passed=3),
    ]
    found = retention_by_month(tallies, months=3, today=TODAY)
    assert list(found) == [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    assert found[date(2026, 3, 1)] == (Share(17, 20), Share(4, 4))
    assert found[date(2026, 1, 1)][0].value is None
    assert last_months(date(2026, 1, 5), 2) == [date(2025, 12, 1), date(2026, 1, 1)]


@given(total=st.integers(1, 10_000), data=st.data())
def test_a_share_lies_in_its_interval(total, data):
    share = Share(data.draw(st.integers(0, total)), total)
    low, high = share.ends
    assert 0 <= low <= share.value + 1e-9
    assert share.value - 1e-9 <= high <= 1


def test_the_interval_is_wilsons():
    assert Share(80, 100).ends == pytest.approx((0.7112, 0.8666), abs=1e-4)


@pytest.mark.parametrize(
    ("passed", "total", "said"),
    [
        (50, 60, "60 reviews so far"),
        (900, 1000, "which fits"),
        (800, 1000, "a little late"),
        (990, 1000, "sooner than they need"),
    ],
)
def test_retention_is_interpreted_only_as_far_as_it_can_be(passed, total, said):
    assert said in on_retention(Share(passed, total), 0.9)


def test_much_hard_is_explained():
    assert "Hard makes up 50 %" in on_buttons(10, 50, 40, 10)
    assert "Hard makes up" not in on_buttons(10, 10, 80, 10)
    assert "Hard makes up" not in on_buttons(1, 5, 4, 1)  # too few to tell


def test_the_calendars_shades_are_quarters_of_the_days_with_answers():
    limits = shade_limits([1, 2, 3, 4])
    assert [shade(n, limits) for n in (0, 1, 2, 3, 4)] == [0, 1, 2, 3, 4]
    assert [shade(n, shade_limits([5])) for n in (0, 5)] == [0, 4]
    assert shade_limits([]) == []


def test_columns_need_a_value_for_each_label():
    with pytest.raises(ValueError, match="for 2 labels"):
        columns([Stack("a", [1])], labels=["x", "y"], title="", x_title="", y_title="")


def test_columns_escape_labels_and_carry_a_description():
    svg = columns([Stack("<b>", [3, 4])], labels=["x&y", "z"], title="T", x_title="day", y_title="cards")
    assert "<b>" not in svg
    assert "cards by day: at most 4 (z), 7 in all." in svg
    assert svg.count('class="bar"') == 2
