"""The lab on regularisation, on the tiny model: what each regulariser changes, and what it must not."""

import pytest

from labs.catalog.regularisation import RegularisationParameters
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, adapter_weights, add_adapter
from worker.experiments import regularisation
from worker.experiments.regularisation import Moment, make_adapter, make_data
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.protocol import PointEvent
from worker.training.config import TrainingConfig
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged

KINDS = ["none", "dropout", "decay", "small-rank"]
PARAMS = RegularisationParameters(
    model="tiny", sizes=[16, 32], steps=8, batch_size=2, rank=2, learning_rate=1e-2, weight_decay=5.0
)


class Tokens:
    """A run's context, as far as data need it."""

    def tokenizer(self, name):
        return tiny_tokenizer()


@pytest.fixture(scope="module")
def data():
    return make_data(PARAMS, Tokens())


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(regularisation, "regularisation", PARAMS, tmp_path_factory.mktemp("regularisation"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_nothing_held_out_is_trained(data):
    assert len(set(data.training)) == 1024
    assert len(data.choosing) == len(data.held_out) == 32
    held_out = {example.tokens for example in data.choosing + data.held_out}
    assert not held_out & {example.tokens for example in data.training}
    assert len(held_out) == 64


def test_no_regulariser_is_plain_training(points, data):
    model = tiny_model()
    add_adapter(model, Adapter(2, 4, "all-linear", 0))
    train(model, data.training[:16], TrainingConfig(8, 2, 1e-2, 0, warmup_steps=4))
    found = points["examples=16,regulariser=none"]
    assert found["held_out_loss"] == pytest.approx(evaluate(model, data.held_out).loss, rel=1e-5)
    assert found["training_loss"] == pytest.approx(evaluate(model, data.training[:16]).loss, rel=1e-5)
    assert "gain" not in found


def test_each_regulariser_changes_something_and_is_compared_with_none(points):
    for size in (16, 32):
        plain = points[f"examples={size},regulariser=none"]
        for kind in KINDS[1:]:
            found = points[f"examples={size},regulariser={kind}"]
            assert found["held_out_loss"] != plain["held_out_loss"]
            assert found["gain"] == pytest.approx(plain["held_out_loss"] - found["held_out_loss"])
            assert found["gap"] == pytest.approx(found["held_out_loss"] - found["training_loss"])
            last = points[f"examples={size},regulariser={kind},step=8"]["moment_loss"]
            assert last == found["held_out_loss"]


def test_adapters_differ_in_one_thing_only():
    plain = make_adapter(PARAMS, "none", 3)
    assert plain == Adapter(2, 4, "all-linear", 3)
    assert make_adapter(PARAMS, "decay", 3) == plain
    assert make_adapter(PARAMS, "dropout", 3) == Adapter(2, 4, "all-linear", 3, dropout=0.1)
    assert make_adapter(PARAMS, "small-rank", 3) == Adapter(1, 2, "all-linear", 3)
    assert make_adapter(PARAMS, "small-rank", 3).scale == plain.scale


def test_dropout_drops_only_while_training(data):
    model = tiny_model()
    adapted = add_adapter(model, Adapter(2, 4, "all-linear", 0, dropout=0.5))
    for _, b in adapter_weights(adapted).values():
        b.data.fill_(0.1)
    assert evaluate(model, data.held_out) == evaluate(model, data.held_out)
    drops = [module.p for name, module in adapted.named_modules() if name.endswith("lora_dropout.default")]
    assert drops == [0.5] * 14


def test_early_stopping_is_chosen_on_one_half_and_reported_on_the_other(tmp_path, monkeypatch):
    curves = {"choosing": iter([3.0, 1.0, 2.0]), "held_out": iter([5.0, 4.0, 4.5])}
    found = [Moment(step, next(curves["choosing"]), next(curves["held_out"])) for step in (1, 2, 3)]
    monkeypatch.setattr(
        regularisation, "measure", lambda c, point, size, _: regularisation.log_early_stopping(c, point, size, found)
    )
    alone = PARAMS.model_copy(update={"sizes": [16], "regularisers": ["none"]})
    points = finished_points(run(regularisation, "regularisation", alone, tmp_path))
    expected = {"stopped_at": 2, "held_out_loss": 4.0, "gain": 0.5}
    assert points["examples=16,regulariser=early-stopping", 0] == expected


def test_a_training_that_diverges_is_told_and_stops_no_other(tmp_path, monkeypatch):
    def limited(model, examples, config, *args, **kwargs):
        if not config.weight_decay:
            raise Diverged("loss too high", step=1)
        return train(model, examples, config, *args, **kwargs)

    monkeypatch.setattr(regularisation, "train", limited)
    few = PARAMS.model_copy(update={"sizes": [16], "regularisers": ["none", "decay"]})
    points = {key: v for (key, _), v in finished_points(run(regularisation, "regularisation", few, tmp_path)).items()}
    assert points["examples=16,regulariser=none"] == {"diverged": 1}
    assert points["examples=16,regulariser=decay"]["diverged"] == 0
    assert "gain" not in points["examples=16,regulariser=decay"]


def test_a_restart_gives_the_same(events, points, tmp_path):
    kept = "examples=32,regulariser=dropout"
    finished = [e for e in events if isinstance(e, PointEvent) and not e.key.startswith(kept)]
    again = finished_points(run(regularisation, "regularisation", PARAMS, tmp_path, finished=finished))
    assert (kept, 0) in again
    for (key, _), values in again.items():
        assert values == points[key]
