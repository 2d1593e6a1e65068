"""Trainings at many settings: what is due, how it is decided to pack, and outcomes without a number."""

import math

import pytest
import torch

from labs.catalog import get_lab
from worker import trials
from worker.adapters import Adapter, add_adapter
from worker.context import RunContext
from worker.data.facts import load_facts
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.protocol import FinishedPoint, Job, Value
from worker.training.examples import encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.packed import Configuration
from worker.training.sweep import Calibration
from worker.trials import Trial, log_best, log_outcome, losses_by_rate, run_trials, training_config

RATES = (1e-3, 1e-2)


def context(tmp_path, finished=()):
    job = Job(
        lab="scaling", params={}, seeds=[0], scratch=str(tmp_path), models_dir=str(tmp_path), finished=list(finished)
    )
    return RunContext(job, get_lab("scaling"), [].append, "cpu")


@pytest.fixture(scope="module")
def examples():
    return encode_facts(load_facts(), tiny_tokenizer())


def make_trials(lab, rates):
    return [
        Trial(
            lab.point(seed=0, rank=2, rule="constant", rate=rate),
            Configuration(Adapter(2, 4, "all-linear", 0), training_config(steps=2, batch_size=2, rate=rate, seed=0)),
        )
        for rate in rates
    ]


def plain_loss(examples, rate):
    model = tiny_model()
    add_adapter(model, Adapter(2, 4, "all-linear", 0))
    train(model, examples.training, training_config(steps=2, batch_size=2, rate=rate, seed=0))
    return evaluate(model, examples.validation).loss


@pytest.mark.parametrize(("packed", "one_by_one"), [(1.0, 2.0), (2.0, 1.0)])
def test_both_ways_give_the_losses_of_plain_training(tmp_path, monkeypatch, examples, packed, one_by_one):
    asked = []
    calibration = Calibration(packed=packed, one_by_one=one_by_one)
    monkeypatch.setattr(trials, "calibrate", lambda *of: asked.append(of) or calibration)
    monkeypatch.setattr(trials, "PACK", 2)
    lab = context(tmp_path)
    run_trials(lab, tiny_model(), examples, make_trials(lab, (1e-4, 3e-4, 1e-3, 1e-2)), lambda *_: None)
    assert len(asked) == 1  # for two packs
    expected = {rate: plain_loss(examples, rate) for rate in RATES}
    assert losses_by_rate(lab, 0, RATES, rank=2, rule="constant") == pytest.approx(expected, rel=1e-5)


def test_finished_trials_are_not_trained_again(tmp_path, monkeypatch, examples):
    monkeypatch.delattr(trials, "calibrate")  # one is left, so that nothing has to be decided
    metrics = [Value(name="validation_loss", value=7.0), Value(name="diverged", value=0)]
    finished = [FinishedPoint(key="rank=2,rate=0.001,rule=constant", seed=0, metrics=metrics)]
    lab, examined = context(tmp_path, finished), []
    run_trials(lab, tiny_model(), examples, make_trials(lab, RATES), lambda *of: examined.append(of))
    assert len(examined) == 1
    losses = losses_by_rate(lab, 0, RATES, rank=2, rule="constant")
    assert losses[1e-3] == 7
    assert losses[1e-2] < 7


def test_a_last_update_that_breaks_the_model_is_a_divergence(tmp_path, examples):
    model = tiny_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    point = context(tmp_path).point(seed=0, rank=2)
    assert not log_outcome(point, model, examples, is_trained=True)
    assert [(value.name, value.value) for value in point.values] == [("diverged", 1)]


def test_the_best_of_none_is_a_divergence(tmp_path):
    lab = context(tmp_path)
    one, other = lab.point(seed=0, rank=2), lab.point(seed=0, rank=4)
    assert log_best(one, {}) is None
    assert one.value("diverged") == 1
    assert log_best(other, {1e-3: 2.0, 1e-2: 1.5, 1e-1: 9.0}) == 1e-2
    assert (other.value("best_rate"), other.value("best_loss"), other.value("diverged")) == (1e-2, 1.5, 0)
