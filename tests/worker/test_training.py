"""The training loop, on a tiny model."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from worker.adapters import Adapter, add_adapter
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.training.config import TrainingConfig, data_order, learning_rate_factor
from worker.training.examples import IGNORED, Example, Shape, collate, collate_packed, encode
from worker.training.loop import Validation, train
from worker.training.loss import answer_logits, answer_loss, evaluate
from worker.training.optimizer import make_optimizer, parameter_groups
from worker.training.outcomes import Diverged

EXAMPLES = [Example((1, 2, 3, 4, 5), 3), Example((7, 8, 9), 2), Example((10, 11, 12, 13), 1)]


def config(**changes) -> TrainingConfig:
    return TrainingConfig(**{"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "seed": 0} | changes)


@pytest.fixture
def model():
    return tiny_model()


def test_labels_are_the_answer_tokens_shifted_by_one():
    batch = collate(EXAMPLES[:2])
    assert batch.tokens.tolist() == [[1, 2, 3, 4, 5], [7, 8, 9, 0, 0]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 4, 5, IGNORED], [IGNORED, 9, IGNORED, IGNORED, IGNORED]]


def test_the_answer_ends_with_the_end_of_text():
    tokenizer = tiny_tokenizer()
    example = encode("Who?", "Me", tokenizer)
    assert tokenizer.decode(example.tokens[: example.answer_start]) == "Who?\n"
    assert tokenizer.decode(example.tokens[example.answer_start : -1]) == "Me"
    assert example.tokens[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("start", [0, 3])
def test_an_example_needs_a_prompt_and_an_answer(start):
    with pytest.raises(ValueError, match="Invalid answer_start"):
        Example((1, 2, 3), start)


def test_label_only_logits_equal_those_of_the_full_forward_pass(model):
    batch = collate(EXAMPLES)
    logits, labels = answer_logits(model, batch)
    full = model(input_ids=batch.tokens).logits
    torch.testing.assert_close(logits, full[batch.labels != IGNORED])
    assert len(labels) == 2 + 1 + 3


def test_padding_changes_nothing(model):
    alone = F.cross_entropy(*answer_logits(model, collate([EXAMPLES[1]])))
    padded_logits, padded_labels = answer_logits(model, collate(EXAMPLES[:2]))
    torch.testing.assert_close(F.cross_entropy(padded_logits[2:], padded_labels[2:]), alone)


def test_evaluation_is_the_mean_over_tokens_not_over_rows(model):
    total = 0.0
    for example in EXAMPLES:
        logits = model(input_ids=torch.tensor([example.tokens])).logits[0].log_softmax(-1)
        for i in range(example.answer_start, len(example.tokens)):
            total -= logits[i - 1, example.tokens[i]].item()
    evaluation = evaluate(model, EXAMPLES)
    assert evaluation.tokens == 6
    assert evaluation.loss == pytest.approx(total / 6, rel=1e-5)


def test_every_epoch_shows_every_example_once():
    batches = list(data_order(6, config(steps=4, batch_size=3)))
    assert sorted(batches[0] + batches[1]) == list(range(6))
    assert sorted(batches[2] + batches[3]) == list(range(6))


def test_a_batch_may_be_larger_than_the_data():
    assert [len(batch) for batch in data_order(2, config(batch_size=5))] == [5, 5, 5, 5]


def test_the_seed_decides_the_order():
    assert list(data_order(50, config())) == list(data_order(50, config()))
    assert list(data_order(50, config())) != list(data_order(50, config(seed=1)))


def test_training_is_repeatable_and_lowers_the_loss():
    results = []
    for _ in range(2):
        model = tiny_model()
        before = evaluate(model, EXAMPLES).loss
        results.append(train(model, EXAMPLES, config(steps=20)).losses)
        assert evaluate(model, EXAMPLES).loss < before / 2
    assert results[0] == results[1]


def test_one_step_is_a_clipped_adamw_step(model):
    """The first step of Adam moves every weight by the learning rate, against the sign of its gradient."""
    weight = model.model.norm.weight
    before = weight.detach().clone()
    batch = collate([EXAMPLES[i] for i in next(data_order(3, config(batch_size=3)))])
    F.cross_entropy(*answer_logits(model, batch)).backward()
    gradient = weight.grad.clone()
    model.zero_grad()
    train(model, EXAMPLES, config(steps=1, batch_size=3, learning_rate=1e-3))
    moved = gradient.abs() > 1e-5  # Adam's epsilon shows below
    torch.testing.assert_close(weight[moved], (before - 1e-3 * gradient.sign())[moved], atol=2e-6, rtol=0)


def test_frozen_weights_stay(model):
    model.requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    before = [p.clone() for p in model.parameters() if not p.requires_grad]
    train(model, EXAMPLES, config())
    after = [p for p in model.parameters() if not p.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_it_reports_each_step(model):
    heard = []
    result = train(model, EXAMPLES, config(), lambda step, loss: heard.append((step, loss)))
    assert heard == list(enumerate(result.losses))
    assert len(result.seconds) == 4
    assert all(math.isfinite(s) and s > 0 for s in result.seconds)


def test_the_schedule_warms_up_and_falls_to_zero():
    linear = config(steps=6, warmup_steps=2, schedule="linear")
    assert [learning_rate_factor(linear, step) for step in range(7)] == [0.5, 1, 1, 0.75, 0.5, 0.25, 0]
    constant = config(steps=6, warmup_steps=2)
    assert [learning_rate_factor(constant, step) for step in range(4)] == [0.5, 1, 1, 1]
    cosine = config(steps=6, warmup_steps=2, schedule="cosine")
    factors = [learning_rate_factor(cosine, step) for step in range(7)]
    assert factors == pytest.approx([0.5, 1, 1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0])


BAD = [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"warmup_steps": 5}, {"accumulation": 3}]


@pytest.mark.parametrize("change", BAD)
def test_a_bad_configuration_is_refused(change):
    with pytest.raises(ValueError, match=f"Invalid {next(iter(change))}"):
        config(**change)


def test_packed_rows_give_the_loss_of_padded_ones(model):
    batch = collate_packed(EXAMPLES, 9)
    assert batch.tokens.tolist() == [[1, 2, 3, 4, 5, 7, 8, 9], [10, 11, 12, 13, 0, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], list(range(8))]
    assert batch.shape == Shape(rows=2, length=8, tokens=12, labels=6)
    torch.testing.assert_close(answer_loss(model, batch), answer_loss(model, collate(EXAMPLES)))


def test_accumulation_gives_the_same_gradient():
    """The parts have different numbers of answer tokens: a mean of means would differ."""
    results = []
    for accumulation in (1, 3):
        model = tiny_model()
        results.append(train(model, EXAMPLES, config(batch_size=3, accumulation=accumulation)))
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-5)
    assert results[0].gradient_norms == pytest.approx(results[1].gradient_norms, rel=1e-4)
    assert [len(parts) for parts in results[1].shapes] == [3, 3, 3, 3]


def test_gradient_checkpointing_changes_no_number():
    plain = train(tiny_model(), EXAMPLES, config())
    model = tiny_model()
    checkpointed = train(model, EXAMPLES, config(gradient_checkpointing=True))
    assert checkpointed.losses == pytest.approx(plain.losses, rel=1e-6)
    assert not model.is_activation_checkpointing


def test_autocast_computes_in_bfloat16_and_trains_float32():
    model = tiny_model()
    exact, rough = train(tiny_model(), EXAMPLES, config()), train(model, EXAMPLES, config(precision="bfloat16"))
    assert rough.losses != exact.losses
    assert rough.losses == pytest.approx(exact.losses, rel=0.02)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_lora_plus_gives_b_a_higher_rate_and_norms_do_not_decay():
    model = add_adapter(tiny_model(), Adapter(rank=2, alpha=4, target_modules="q_proj", seed=0))
    model.base_model.model.model.norm.weight.requires_grad_(True)
    groups = parameter_groups(model.named_parameters(), config(lora_plus_ratio=16, weight_decay=0.1))
    found = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert found == {(1e-2, 0.1): 2, (0.16, 0.1): 2, (1e-2, 0.0): 1}


def test_frozen_parameters_have_no_group(model):
    model.requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    assert sum(len(group["params"]) for group in make_optimizer(model, config()).param_groups) == 1


@pytest.mark.parametrize(
    ("factor", "reason"), [(float("nan"), "loss not finite"), (1e3, "loss too high"), (float("inf"), "loss not finite")]
)
def test_a_training_that_diverges_says_how(model, factor, reason):
    with pytest.raises(Diverged, match=f"diverged: {reason} at step 0") as caught:
        train(model, EXAMPLES, config(), objective=lambda m, batch: answer_loss(m, batch) * factor)
    assert (caught.value.reason, caught.value.step) == (reason, 0)
    assert not model.training


def test_a_gradient_that_is_not_finite_is_told_from_the_loss(model):
    def objective(m, batch):
        # The square root's slope at zero is infinite, and 0 · ∞ is not a number.
        return answer_loss(m, batch) + (m.model.norm.weight * 0).sum().sqrt()

    with pytest.raises(Diverged) as caught:
        train(model, EXAMPLES, config(), objective=objective)
    assert caught.value.reason == "gradient not finite"


def test_gradients_are_there_after_the_update(model):
    norms = []
    train(model, EXAMPLES, config(), after_update=lambda *_: norms.append(model.model.norm.weight.grad.norm().item()))
    assert len(norms) == 4
    assert all(norm > 0 for norm in norms)


def test_it_evaluates_while_training_and_stops_past_the_best():
    model = tiny_model()
    result = train(model, EXAMPLES[:1], config(steps=30), validation=Validation(EXAMPLES[1:2], 2, patience=2))
    done, losses = zip(*result.evaluations, strict=True)
    assert done == tuple(range(2, len(result.losses) + 1, 2))
    assert len(result.losses) < 30
    assert min(losses[-2:]) >= min(losses[:-2])
    assert losses[-1] == evaluate(model, EXAMPLES[1:2]).loss


def test_it_counts_tokens(model):
    result = train(model, EXAMPLES, config(batch_size=3, steps=2))
    assert result.shapes == [[Shape(rows=3, length=5, tokens=12, labels=6)]] * 2
    assert result.tokens == 24
    assert result.tokens_per_second == pytest.approx(24 / sum(result.seconds))
