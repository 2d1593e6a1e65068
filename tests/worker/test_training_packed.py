"""Packed training, against PEFT training each configuration alone."""

import copy
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from torch import nn

from worker.adapters import Adapter, adapter_weights, add_adapter, save_adapter
from worker.models.tiny import tiny_model
from worker.training.checkpoint import Checkpoints, OtherTraining
from worker.training.config import TrainingConfig
from worker.training.end_to_end import Rows, attention_end_to_end
from worker.training.examples import Example, collate_end_to_end
from worker.training.loop import train
from worker.training.packed import Configuration, initial_weights, train_packed, with_trained
from worker.training.packed_layers import PackedAdapter, PackedLinear, Tokens, packed_layers

STEPS = 50
EXAMPLES = [Example(tuple((11 * n + 5 * i) % 250 for i in range(5 + n % 7)), 1 + n % 4) for n in range(16)]
PLAIN = TrainingConfig(STEPS, 2, 3e-3, seed=0)

# Ranks, factors, modules, seeds, rates, schedules: everything that may differ.
CONFIGURATIONS = [
    Configuration(Adapter(4, 8, "all-linear", 0), PLAIN),
    Configuration(Adapter(2, 16, "q_proj,v_proj", 1), replace(PLAIN, seed=1, learning_rate=1e-2)),
    Configuration(Adapter(4, 16, "all-linear", 2), replace(PLAIN, seed=2, schedule="cosine", warmup_steps=5)),
    Configuration(Adapter(8, 8, "all-linear", 3, use_rslora=True), replace(PLAIN, lora_plus_ratio=4)),
    Configuration(Adapter(4, 8, "down_proj", 4), replace(PLAIN, weight_decay=0.1, max_grad_norm=0.2)),
]


def alone(configuration):
    """(model with the trained adapter in it, result) of plain PEFT."""
    model = tiny_model()
    peft_model = add_adapter(model, configuration.adapter)
    return peft_model, train(model, EXAMPLES, configuration.training)


@pytest.fixture(scope="module")
def separate():
    return [alone(configuration) for configuration in CONFIGURATIONS]


@pytest.fixture(scope="module")
def base():
    return tiny_model()


@pytest.fixture(scope="module")
def packed(base):
    return train_packed(base, EXAMPLES, CONFIGURATIONS)


@pytest.mark.parametrize("i", range(len(CONFIGURATIONS)))
def test_losses_are_those_of_separate_runs(packed, separate, i):
    assert packed[i].result.losses == pytest.approx(separate[i][1].losses, rel=1e-4)
    assert packed[i].result.gradient_norms == pytest.approx(separate[i][1].gradient_norms, rel=1e-3)
    assert packed[i].result.shapes == separate[i][1].shapes
    assert len(packed[i].result.losses) == STEPS
    assert packed[i].result.losses[-1] < packed[i].result.losses[0]


def test_weights_are_those_of_separate_runs(packed, separate):
    for trained, (peft_model, _) in zip(packed, separate, strict=True):
        for name, factors in adapter_weights(peft_model).items():
            torch.testing.assert_close(trained.weights[name], factors, atol=1e-4, rtol=1e-3)


def test_the_base_is_as_before(packed, base):
    for (name, now), before in zip(base.named_parameters(), tiny_model().parameters(), strict=True):
        assert torch.equal(now, before), name
    assert not any(isinstance(module, PackedLinear) for module in base.modules())


@pytest.mark.parametrize("i", range(len(CONFIGURATIONS)))
def test_a_saved_adapter_is_a_standard_peft_folder(packed, base, tmp_path, i):
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    ours = with_trained(base, packed[i])
    expected = ours(input_ids=tokens).logits
    save_adapter(ours, tmp_path)
    ours.unload()
    loaded = PeftModel.from_pretrained(tiny_model(), str(tmp_path)).eval()
    assert torch.equal(loaded(input_ids=tokens).logits, expected)
    assert not torch.allclose(expected, base(input_ids=tokens).logits, atol=1e-2)


def test_steps_are_heard_of(base):
    heard = []
    few = [replace(c, training=replace(c.training, steps=5, warmup_steps=0)) for c in CONFIGURATIONS[:2]]
    trained = train_packed(base, EXAMPLES, few, lambda *event: heard.append(event))
    assert heard == [(k, step, trained[k].result.losses[step]) for step in range(5) for k in range(2)]


def test_one_that_diverges_leaves_the_others_alone(base, packed):
    wild = Configuration(Adapter(4, 8, "all-linear", 0), replace(PLAIN, learning_rate=1e30))
    trained = train_packed(base, EXAMPLES, [wild, CONFIGURATIONS[0]])
    assert trained[0].diverged
    assert len(trained[0].result.losses) == trained[0].diverged.step < STEPS
    assert trained[1].diverged is None
    assert trained[1].result.losses == pytest.approx(packed[0].result.losses, rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 4}, {"steps": 7}, {"precision": "bfloat16"}, {"accumulation": 2}, {"gradient_checkpointing": True}],
)
def test_what_cannot_be_packed_is_refused(base, change):
    other = replace(CONFIGURATIONS[0], training=replace(PLAIN, **change))
    with pytest.raises(ValueError, match="Invalid configurations"):
        train_packed(base, EXAMPLES, [CONFIGURATIONS[0], other])
    if "batch_size" not in change and "steps" not in change:
        with pytest.raises(ValueError, match="Invalid configurations"):
            train_packed(base, EXAMPLES, [other, other])


def test_dropout_is_refused_because_rows_would_not_be_what_they_are_alone(base):
    dropped = replace(CONFIGURATIONS[0], adapter=replace(CONFIGURATIONS[0].adapter, dropout=0.1))
    with pytest.raises(ValueError, match="no dropout"):
        train_packed(base, EXAMPLES, [CONFIGURATIONS[0], dropped])


def test_the_product_and_its_gradients_are_those_of_autograd():
    """In float64, ranks 2 and 3 on one layer with a bias; the configuration between them leaves it alone."""
    torch.manual_seed(0)
    base = nn.Linear(5, 4).double().requires_grad_(False)
    weights = {i: {"": (torch.rand(rank, 5).double(), torch.rand(4, rank).double())} for i, rank in ((0, 2), (2, 3))}
    leaves = {i: [matrix.clone().requires_grad_() for matrix in found[""]] for i, found in weights.items()}
    scales, tokens = {0: 0.5, 2: 2.0}, Tokens()
    layer = PackedLinear(base, {i: PackedAdapter(weights[i], scales[i]).modules[""] for i in weights}, tokens)
    counts = [3, 4, 6]
    tokens.lay(counts)
    x = torch.rand(1, sum(counts), 5).double().requires_grad_()
    upstream = torch.rand(1, sum(counts), 4).double()
    y = layer(x)
    y.backward(upstream)

    x2 = x.detach().clone().requires_grad_()
    parts = [base(part) for part in x2.split(counts, dim=1)]
    for i, (a, b) in leaves.items():
        parts[i] = parts[i] + scales[i] * x2.split(counts, dim=1)[i] @ a.mT @ b.mT
    expected = torch.cat(parts, dim=1)
    expected.backward(upstream)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(x.grad, x2.grad)
    for i, pair in leaves.items():
        found = layer.factors[i]
        torch.testing.assert_close([found.a_gradient, found.b_gradient], [leaf.grad for leaf in pair])


def test_only_the_packed_layers_change_while_packed(base):
    frozen = copy.deepcopy(base)
    weights = initial_weights(frozen, CONFIGURATIONS[1].adapter)
    with packed_layers(frozen, [PackedAdapter(weights, 1.0)]):
        changed = [name for name, module in frozen.named_modules() if isinstance(module, PackedLinear)]
        assert sorted(changed) == sorted(weights)
        assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(isinstance(module, PackedLinear) for module in frozen.modules())


def test_examples_end_to_end_do_not_see_each_other(base):
    """The hidden states are those of each example by itself, and so is the attention of the model afterwards."""
    examples = [EXAMPLES[i] for i in (6, 0, 3)]
    batch = collate_end_to_end(examples)
    rows = Rows.of([len(example.tokens) for example in examples])
    before = base.config._attn_implementation
    with torch.no_grad(), attention_end_to_end(base):
        together = base.model(input_ids=batch.tokens, position_ids=batch.positions, rows=rows).last_hidden_state
    assert base.config._attn_implementation == before
    with torch.no_grad():
        alone = [base.model(input_ids=torch.tensor([example.tokens])).last_hidden_state for example in examples]
    torch.testing.assert_close(together, torch.cat(alone, dim=1))


class Killed(Exception):
    pass


def kill_at(killing_step):
    def on_step(_, step, __):
        if step == killing_step:
            raise Killed

    return on_step


def test_a_killed_pack_resumes_exactly(base, tmp_path):
    """The one that diverges does so before the checkpoint, and stays out."""
    wild = Configuration(Adapter(4, 8, "all-linear", 0), replace(PLAIN, learning_rate=1e30))
    configurations = [replace(c, training=replace(c.training, steps=20)) for c in (wild, *CONFIGURATIONS[2:4])]
    expected = train_packed(base, EXAMPLES, configurations)
    checkpoints = Checkpoints(tmp_path, 4)
    with pytest.raises(Killed):
        train_packed(base, EXAMPLES, configurations, kill_at(14), checkpoints)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000012"]
    assert not any(isinstance(module, PackedLinear) for module in base.modules())

    heard = [[], [], []]
    resumed = train_packed(base, EXAMPLES, configurations, lambda k, _, loss: heard[k].append(loss), checkpoints)
    for now, before, curve in zip(resumed, expected, heard, strict=True):
        assert now.result.losses == curve == pytest.approx(before.result.losses, abs=1e-6, rel=0)
        assert str(now.diverged) == str(before.diverged)
        for name, factors in before.weights.items():
            torch.testing.assert_close(now.weights[name], factors, atol=1e-6, rtol=0)
    with pytest.raises(OtherTraining):
        train_packed(base, EXAMPLES, configurations[1:], checkpoints=checkpoints)
