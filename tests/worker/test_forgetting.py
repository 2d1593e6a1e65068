"""The lab on forgetting, on the tiny model: what must agree exactly between strategies, and the mixture of replay."""

import pytest
import torch

from labs.catalog.forgetting import ALL, ForgettingParameters
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, add_adapter
from worker.experiments import forgetting
from worker.experiments.forgetting import REPLAYED, merge, mix
from worker.experiments.merge_check import probe_logits
from worker.models.tiny import tiny_model
from worker.protocol import PointEvent
from worker.training.config import TrainingConfig
from worker.training.examples import Example
from worker.training.loop import train
from worker.training.outcomes import Diverged

PARAMS = ForgettingParameters(
    model="tiny",
    strategies=ALL,
    first_steps=3,
    second_steps=2,
    batch_size=2,
    rank=2,
    learning_rate=1e-2,
    full_learning_rate=1e-3,
    fisher_examples=2,
    held_out=2,
)
OLD = [Example((1, i), 1) for i in range(20)]
NEW = [Example((2, i), 1) for i in range(30)]


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(forgetting, "forgetting", PARAMS, tmp_path_factory.mktemp("forgetting"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_every_adapter_starts_the_second_task_from_the_same_point(points):
    before = {strategy: points[f"strategy={strategy}"]["first_loss_before"] for strategy in ALL}
    assert len({before[strategy] for strategy in ALL if strategy != "full"}) == 1
    assert before["full"] != before["lora"]
    assert before["lora"] < points[""]["first_loss"]


def test_differences_are_those_of_the_losses(points):
    plain = points["strategy=lora"]
    for strategy in ALL:
        found = points[f"strategy={strategy}"]
        assert found["diverged"] == 0
        assert found["forgetting"] == pytest.approx(found["first_loss"] - found["first_loss_before"])
        assert found["learning"] == pytest.approx(points[""]["second_loss"] - found["second_loss"])
        assert found["prose_forgetting"] == pytest.approx(found["prose_loss"] - points[""]["prose_loss"])
        if strategy != "lora":
            assert found["forgetting_saved"] == pytest.approx(plain["forgetting"] - found["forgetting"])
            assert found["learning_lost"] == pytest.approx(plain["learning"] - found["learning"])


def test_springs_without_strength_are_plain_lora(points, tmp_path):
    slack = PARAMS.model_copy(update={"strategies": ["ewc"], "ewc_strength": 0.0})
    found = {
        key: values for (key, _), values in finished_points(run(forgetting, "forgetting", slack, tmp_path)).items()
    }
    assert found["strategy=ewc"]["first_loss"] == points["strategy=lora"]["first_loss"]
    assert "forgetting_saved" not in found["strategy=ewc"]


def test_a_restart_gives_the_same(events, points, tmp_path):
    finished = [e for e in events if isinstance(e, PointEvent) and e.key not in ("strategy=merge", "strategy=full")]
    again = finished_points(run(forgetting, "forgetting", PARAMS, tmp_path, finished=finished))
    assert set(again) == {("strategy=merge", 0), ("strategy=full", 0)}
    for (key, _), values in again.items():
        assert values == points[key]


def test_a_strategy_that_diverges_is_told_and_stops_no_other(tmp_path, monkeypatch):
    def limited(model, examples, config, *args, **kwargs):
        if config.learning_rate == PARAMS.full_learning_rate:
            raise Diverged("loss too high", step=1)
        return train(model, examples, config, *args, **kwargs)

    monkeypatch.setattr(forgetting, "train", limited)
    params = PARAMS.model_copy(update={"strategies": ["full", "lora"]})
    points = {key: v for (key, _), v in finished_points(run(forgetting, "forgetting", params, tmp_path)).items()}
    assert points["strategy=full"] == {"diverged": 1}
    assert points["strategy=lora"]["diverged"] == 0


def test_replay_takes_its_share_of_the_examples():
    config = TrainingConfig(steps=10, batch_size=4, learning_rate=1.0, seed=3)
    plain = mix(OLD, NEW, 0.0, config)
    assert len(plain) == 40
    assert not set(plain) & set(OLD)
    for strategy, replayed in (("replay-5", 2), ("replay-10", 4)):
        mixed = mix(OLD, NEW, REPLAYED[strategy], config)
        assert mixed[: 40 - replayed] == plain[: 40 - replayed]
        assert len(mixed) == 40
        assert set(mixed[40 - replayed :]) <= set(OLD)


def test_merging_leaves_what_the_model_computes_as_it_was():
    model = tiny_model()
    add_adapter(model, Adapter(2, 4, "all-linear", 0))
    train(model, OLD[1:], TrainingConfig(steps=3, batch_size=2, learning_rate=1e-2, seed=0))
    before = probe_logits(model, OLD[1:5])
    merge(model)
    torch.testing.assert_close(probe_logits(model, OLD[1:5]), before, rtol=1e-4, atol=1e-5)
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert (before - probe_logits(tiny_model(), OLD[1:5])).abs().max() > 1e-3
