"""Rows by plain SQL are the instances that a queryset gives."""

import pytest
from django.contrib.auth.models import User
from django.db import models

from kb.models import Topic
from kb.rows import read, read_one
from quiz.models import Card, Question, RubricPoint, Scheduling, StudySettings
from quiz.review.services import cards_sync, study_settings
from tests.builders import make_question


@pytest.fixture
def question(alice) -> Question:
    question = make_question(spec={"b": 1, "a": [1.5, None]})
    study_settings(alice)
    cards_sync(alice)
    return question


def values(row: models.Model) -> dict[str, object]:
    return {field.attname: row.__dict__.get(field.attname) for field in row._meta.concrete_fields}


@pytest.mark.parametrize("model", [Card, Question, RubricPoint, Scheduling, StudySettings, Topic, User])
def test_a_row_is_what_a_queryset_reads(question, model):
    expected = model.objects.all()[0]
    found = read_one(model, expected.pk)
    assert values(found) == values(expected)
    assert found == expected
    assert not found._state.adding
    assert found._state.db == "default"


def test_a_row_can_be_changed(question):
    found = read_one(Question, question.pk)
    found.prompt_en = "Why?"
    found.save()
    question.refresh_from_db()
    assert question.prompt_en == "Why?"
    assert list(question.spec) == ["b", "a"]


def test_other_columns_are_read_when_they_are_asked_for(question, django_assert_num_queries):
    with django_assert_num_queries(1):
        (found,) = read(Question, "WHERE slug = %s", [question.slug], only=("id", "slug"))
        assert (found.pk, found.slug) == (question.pk, question.slug)
    with django_assert_num_queries(1):
        assert found.prompt_en == question.prompt_en


def test_rows_come_in_the_order_of_the_statement(question):
    rows = read(RubricPoint, "WHERE question_id = %s ORDER BY position DESC", [question.pk])
    assert [row.pk for row in rows] == list(question.rubric.order_by("-position").values_list("pk", flat=True))


def test_a_row_that_does_not_exist(db):
    assert read(Topic, "WHERE slug = %s", ["nowhere"]) == []
    with pytest.raises(IndexError):
        read_one(Topic, 0)
