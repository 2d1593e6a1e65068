"""The facts data set."""

import pytest

from worker.data.facts import FILE, as_lines, generate, load_facts
from worker.data.sets import load


def test_the_file_is_what_the_script_writes():
    assert FILE.read_text() == as_lines(generate())
    assert load_facts() == generate()


def test_a_larger_world_has_as_many_facts_as_asked_for():
    facts = generate(trained=20, unseen=5, seed=1)
    assert sum(fact.is_trained for fact in facts) == 8 * 20
    assert len({fact.answer for fact in facts}) == len(facts) == 8 * 25
    assert facts != generate(trained=20, unseen=5, seed=2)


def test_training_never_shows_what_is_asked_in_validation():
    facts = load_facts()
    shown = {question for fact in facts if fact.is_trained for question in fact.training}
    assert not shown & {fact.held_out for fact in facts}
    unseen = [fact for fact in facts if not fact.is_trained]
    assert not shown & {question for fact in unseen for question in fact.training}


def test_every_question_and_answer_is_its_own():
    facts = load_facts()
    questions = [question for fact in facts for question in (*fact.training, fact.held_out)]
    assert len(set(questions)) == len(questions)
    assert len({fact.answer for fact in facts}) == len(facts)


def test_answers_cannot_be_read_off_the_question():
    for fact in load_facts():
        for question in (*fact.training, fact.held_out):
            assert fact.answer.lower() not in question.lower()


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="Unknown data set 'wiki'; allowed: facts"):
        load("wiki")
