"""Packed or one by one: the same results, and the quicker way."""

from dataclasses import replace

import pytest
import torch

from tests.worker.test_training_packed import CONFIGURATIONS, EXAMPLES
from worker.adapters import Adapter
from worker.data.facts import load_facts
from worker.models.load import load_causal_lm, load_tokenizer
from worker.models.tiny import tiny_model
from worker.training import sweep
from worker.training.checkpoint import Checkpoints
from worker.training.config import TrainingConfig
from worker.training.examples import encode_facts
from worker.training.loss import evaluate
from worker.training.packed import Configuration
from worker.training.sweep import Calibration, calibrate, train_configurations

SHORT = [replace(c, training=replace(c.training, steps=10, warmup_steps=2)) for c in CONFIGURATIONS]


def found(configurations, method):
    """(losses, evaluation with the adapter that was handed out) of each."""
    heard = {}
    outcome = {}
    model = tiny_model()
    swept = train_configurations(
        model, EXAMPLES, configurations, lambda k, _, loss: heard.setdefault(k, []).append(loss), method
    )
    for i, trained, peft_model in swept:
        assert peft_model.get_base_model() is model
        outcome[i] = (heard[i], evaluate(model, EXAMPLES).loss)
        assert trained.result.losses in (heard[i], [])
    assert evaluate(model, EXAMPLES) == evaluate(tiny_model(), EXAMPLES)
    return outcome


def test_both_ways_give_the_same():
    packed, one_by_one = found(SHORT, "packed"), found(SHORT, "one-by-one")
    assert list(packed) == list(one_by_one) == list(range(len(SHORT)))
    for i, (losses, evaluation) in packed.items():
        assert losses == pytest.approx(one_by_one[i][0], rel=1e-4)
        assert evaluation == pytest.approx(one_by_one[i][1], rel=1e-4)


def test_one_that_diverges_is_an_outcome():
    wild = replace(SHORT[0], training=replace(SHORT[0].training, learning_rate=1e30))
    for method in ("packed", "one-by-one"):
        swept = train_configurations(tiny_model(), EXAMPLES, [wild, SHORT[2]], method=method)
        assert [trained.diverged is not None for _, trained, _ in swept] == [True, False]


def test_the_quicker_way_is_chosen(monkeypatch):
    assert Calibration(packed=0.9, one_by_one=1.0).method == "packed"
    assert Calibration(packed=1.0, one_by_one=1.0).method == "one-by-one"
    for name in ("packed", "one_by_one"):
        times = {"packed": 2.0, "one_by_one": 2.0} | {name: 1.0}
        monkeypatch.setattr(sweep, "calibrate", lambda *_, times=times: Calibration(**times))
        trained = [t for _, t, _ in train_configurations(tiny_model(), EXAMPLES, SHORT[:2])]
        # A packed step is one step of both.
        assert (trained[0].result.seconds == trained[1].result.seconds) == (name == "packed")


def test_calibration_tries_each_kind_and_counts_every_configuration(monkeypatch):
    tried = []
    monkeypatch.setattr(sweep, "_seconds", lambda trained: tried.append(trained.configuration.adapter.rank) or 1.0)
    monkeypatch.setattr(sweep, "_seconds_alone", lambda *of: tried.append(of[2].adapter.rank) or of[2].adapter.rank)
    calibration = calibrate(tiny_model(), EXAMPLES, [SHORT[0], SHORT[0], SHORT[3], SHORT[0]])
    assert calibration == Calibration(packed=1.0, one_by_one=4 + 4 + 8 + 4)
    assert tried == [4, 4, 8]


def test_a_step_is_timed_without_the_first():
    [(_, trained, _)] = train_configurations(tiny_model(), EXAMPLES, SHORT[:1])
    trained.result.seconds[:] = [0.1, 3.0, 2.0]
    assert sweep._seconds(trained) == 2.0


def test_one_configuration_needs_no_calibration(monkeypatch):
    monkeypatch.delattr(sweep, "calibrate")
    assert len(list(train_configurations(tiny_model(), EXAMPLES, SHORT[:1]))) == 1


@pytest.mark.parametrize("method", ["packed", "one-by-one"])
def test_a_killed_sweep_goes_on_as_it_began(tmp_path, monkeypatch, method):
    checkpoints = Checkpoints(tmp_path, 5)
    expected = [t.result.losses for _, t, _ in train_configurations(tiny_model(), EXAMPLES, SHORT[:3], method=method)]
    model = tiny_model()
    swept = train_configurations(model, EXAMPLES, SHORT[:3], method=method, checkpoints=checkpoints)
    assert next(swept)[0] == 0
    swept.close()  # as if killed when the first was finished
    assert evaluate(model, EXAMPLES) == evaluate(tiny_model(), EXAMPLES)

    monkeypatch.delattr(sweep, "calibrate")  # the checkpoints say what was chosen
    swept = train_configurations(tiny_model(), EXAMPLES, SHORT[:3], checkpoints=checkpoints, finished={0})
    assert [(i, t.result.losses) for i, t, _ in swept] == [(i, pytest.approx(expected[i], abs=1e-6)) for i in (1, 2)]


@pytest.mark.slow
def test_packed_losses_are_those_of_separate_runs_on_real_weights(smollm2):
    model = load_causal_lm("smollm2-135m", dtype=torch.float32, device="cpu", cache_dir=smollm2)
    facts = encode_facts(load_facts(), load_tokenizer("smollm2-135m", cache_dir=smollm2)).training
    adapters = [Adapter(4, 8, "all-linear", 0), Adapter(16, 32, "q_proj,v_proj", 1)]
    configurations = [Configuration(a, TrainingConfig(4, 2, 1e-3, seed=a.seed)) for a in adapters]
    losses = {
        method: [t.result.losses for _, t, _ in train_configurations(model, facts, configurations, method=method)]
        for method in ("packed", "one-by-one")
    }
    for packed, separate in zip(losses["packed"], losses["one-by-one"], strict=True):
        assert packed == pytest.approx(separate, rel=1e-4)
