"""What the report says."""

import pytest
from django.utils import timezone

from kb.models import Status
from quiz.interview.charts import progress_chart
from quiz.interview.options import InterviewOptions, allowed_seconds
from quiz.interview.queries import interviews_of, turns_of
from quiz.interview.report import Report, Share
from quiz.models import Attempt, Question, RubricPoint, Sitting, Turn
from tests.builders import make_claim, make_follow_up, make_point, make_question, make_topic


@pytest.fixture
def sitting(alice) -> Sitting:
    options = InterviewOptions(questions=4).model_dump()
    return Sitting.objects.create(owner=alice, kind=Sitting.INTERVIEW, options=options)


def answered(sitting: Sitting, question: Question, score: float | None, **values) -> Turn:
    """The next question of the sitting, with an answer of that score."""
    attempt = Attempt.objects.create(
        owner=sitting.owner, question=question, score=score, made_points=values.pop("made", []), milliseconds=61_000
    )
    position = values.pop("position", sitting.turns.count() + 1)
    values = {"asked_at": timezone.now(), "seconds": 180, **values}
    return Turn.objects.create(sitting=sitting, question=question, attempt=attempt, position=position, **values)


def report_on(sitting: Sitting) -> Report:
    return Report(sitting, list(turns_of(sitting)))


def test_topics_come_with_their_mean_and_the_weakest_first(sitting):
    memory, data = make_topic("memory"), make_topic("data")
    answered(sitting, make_question(topic=memory), 1.0)
    answered(sitting, make_question(topic=data), 0.5)
    answered(sitting, make_question(topic=data), 0.0)
    answered(sitting, make_question(topic=data), None)
    report = report_on(sitting)
    assert report.topics == [Share("Data", 0.25, 2), Share("Memory", 1.0, 1)]
    assert report.score == 0.5
    assert report.answered == 4
    assert report.seconds == 244


def test_dimensions_count_the_weights_of_marked_open_answers(sitting):
    first, second = make_question(), make_question()
    RubricPoint.objects.filter(question=first, position=1).update(dimension="evidence")
    answered(sitting, first, 0.75, made=[0])
    answered(sitting, second, 0.25, made=[1])
    answered(sitting, make_question(), None)
    answered(sitting, make_question(kind="numeric", spec={"value": 1}), 1.0)
    # concept: 3 of first, 3 + 1 of second; evidence: 1 of first
    assert report_on(sitting).dimensions == [Share("concept", 4 / 7, 3), Share("evidence", 0.0, 1)]


def test_what_was_missed_leads_to_points_and_claims_once_each(sitting):
    root = make_question()
    point, draft, claim = make_point(), make_point(status=Status.DRAFT), make_claim()
    root.points.add(point, draft)
    root.claims.add(claim)
    follow_up = make_follow_up(root)
    follow_up.claims.add(claim)
    good = make_question()
    good.points.add(make_point())
    good.claims.add(make_claim())
    answered(sitting, root, 0.7)
    answered(sitting, follow_up, 0.0)
    answered(sitting, good, 0.75)
    report = report_on(sitting)
    assert [turn.question for turn in report.missed] == [root, follow_up]
    assert report.points == [point]
    assert report.claims == [claim]


def test_a_question_without_an_answer_is_missed_and_does_not_count(sitting):
    Turn.objects.create(sitting=sitting, position=1, question=make_question(), asked_at=timezone.now())
    report = report_on(sitting)
    assert len(report.missed) == 1
    assert (report.score, report.answered, report.topics, report.dimensions) == (None, 0, [], [])


def test_the_transcript_keeps_the_path(sitting):
    root, other = make_question(), make_question()
    first = answered(sitting, root, 0.0, position=1)
    second = answered(sitting, make_follow_up(root), 0.0, position=1, step=1, after=first)
    third = answered(sitting, other, 0.0, position=2)
    assert report_on(sitting).paths == [[first, second], [third]]


def test_the_level_at_the_end_follows_the_questions_and_not_the_follow_ups(sitting):
    root = make_question()
    answered(sitting, root, 1.0, position=1)
    answered(sitting, make_follow_up(root), 0.0, position=1, step=1)
    assert report_on(sitting).level == 4


def test_the_history_shows_progress_once_two_are_finished(alice, sitting):
    answered(sitting, make_question(), 0.5)
    Sitting.objects.update(finished_at=timezone.now())
    other = Sitting.objects.create(owner=alice, kind=Sitting.INTERVIEW, options=sitting.options)
    answered(other, make_question(), 1.0)

    def chart():
        return progress_chart([Report(s, list(s.turns.all())) for s in interviews_of(alice)])

    assert chart() is None
    Sitting.objects.update(finished_at=timezone.now())
    assert "50 at 1, 100 at 2" in chart()


def test_the_report_is_shown_with_its_parts(as_alice, sitting, settings):
    root = make_question(answer_en="It is 8.")
    point = make_point()
    root.points.add(point)
    answered(sitting, root, 0.0, seconds=60, certainty=1)
    numeric = make_question(kind="numeric", spec={"value": 8.0})
    turn = answered(sitting, numeric, 0.0)
    Attempt.objects.filter(pk=turn.attempt_id).update(given="7")
    Sitting.objects.update(finished_at=timezone.now())
    page = as_alice.get(f"/interviews/{sitting.pk}/report/").text
    for part in (
        point.title_en,
        "over time",
        "a guess",
        "By topic",
        "By dimension of the rubric",
        "7 → ",
        "Into review",
    ):
        assert part in page
    assert "checked" in page.split(f'value="{root.pk}"')[1].split(">")[0]


def test_options_end_an_interview_in_one_way():
    for wrong in ({}, {"minutes": 15, "questions": 4}, {"minutes": 17}, {"questions": 0}, {"questions": 4, "level": 6}):
        with pytest.raises(ValueError, match=r"minutes|questions|level"):
            InterviewOptions(**wrong)


@pytest.mark.parametrize("kind", [Question.OPEN, Question.NUMERIC])
def test_harder_questions_get_more_time_and_follow_ups_less(kind):
    times = [allowed_seconds(kind, difficulty) for difficulty in range(1, 6)]
    assert times == sorted(set(times))
    assert all(allowed_seconds(kind, d, is_follow_up=True) < allowed_seconds(kind, d) for d in range(1, 6))
