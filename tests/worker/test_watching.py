"""Steps of a training become events for the run's page."""

import pytest

from worker.adapters import Adapter, add_adapter
from worker.models.tiny import tiny_model
from worker.training.config import TrainingConfig
from worker.training.examples import Example
from worker.training.loop import train
from worker.training.packed import Configuration, train_packed
from worker.training.watching import Step, StepReporter, heard_by, tell

EXAMPLES = [Example((5, 6, 7, 8), 2), Example((9, 10, 11), 1)]
CONFIG = TrainingConfig(steps=3, batch_size=2, learning_rate=1e-3, seed=0)


def test_the_loop_tells_every_step():
    heard: list[Step] = []
    model = tiny_model()
    add_adapter(model, Adapter(rank=2, alpha=4, target_modules="all-linear", seed=0))
    with heard_by(heard.append):
        result = train(model, EXAMPLES, CONFIG)
    assert [(step.done, step.total, step.tokens) for step in heard] == [(1, 3, 7), (2, 3, 7), (3, 3, 7)]
    assert [step.loss for step in heard] == result.losses
    assert [step.seconds for step in heard] == result.seconds


def test_packed_training_tells_the_steps_of_all_together():
    heard: list[Step] = []
    both = [Configuration(Adapter(rank, 4, "all-linear", 0), CONFIG) for rank in (1, 2)]
    with heard_by(heard.append):
        trained = train_packed(tiny_model(), EXAMPLES, both)
    assert [(step.done, step.total, step.tokens) for step in heard] == [(1, 3, 14), (2, 3, 14), (3, 3, 14)]
    assert heard[-1].loss == pytest.approx(sum(one.result.losses[-1] for one in trained) / 2)


def test_nobody_needs_to_listen():
    tell(Step(done=1, total=1, loss=1.0, tokens=1, seconds=1.0))


def test_reports_come_twice_a_second_at_most():
    events = []
    now = [0.0]
    hear = StepReporter(events.append, lambda: now[0])
    for done in range(1, 10):
        hear(Step(done, 100, loss=1.0, tokens=50, seconds=0.125))
        now[0] += 0.125
    assert [event.step for event in events] == [1, 5, 9]
    assert events[-1].tokens_per_second == 400


def test_another_training_starts_its_own_count():
    events = []
    hear = StepReporter(events.append, iter(range(100)).__next__)
    hear(Step(1, 2, loss=1.0, tokens=1000, seconds=1.0))
    hear(Step(1, 2, loss=1.0, tokens=10, seconds=1.0))
    assert [event.tokens_per_second for event in events] == [1000, 10]


def test_a_step_without_time_has_no_rate():
    events = []
    StepReporter(events.append)(Step(1, 2, loss=1.0, tokens=10, seconds=0.0))
    assert events[0].tokens_per_second == 0
