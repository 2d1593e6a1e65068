"""The training loop, on a tiny model."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.training.examples import IGNORED, Example, collate, encode
from worker.training.loop import TrainingConfig, answer_logits, data_order, evaluate, learning_rate_factor, train

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


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"warmup_steps": 5}])
def test_a_bad_configuration_is_refused(change):
    with pytest.raises(ValueError, match=f"Invalid {next(iter(change))}"):
        config(**change)
