"""Elastic weight consolidation against a float64 reference of its own, on the tiny model."""

import pytest
import torch

from worker.adapters import Adapter, add_adapter
from worker.models.tiny import tiny_model
from worker.training.config import TrainingConfig
from worker.training.ewc import Anchor, AnchoredLoss, make_anchors, penalty
from worker.training.examples import Example, collate
from worker.training.loop import train
from worker.training.loss import answer_loss

EXAMPLES = [Example((5, 6, 7, 8, 9), 3), Example((40, 41, 42, 43), 1), Example((9, 8, 7, 6, 5, 4), 4)]
TOKENS = 2 + 3 + 2


def log_likelihood(model, example: Example) -> torch.Tensor:
    """Of the answer, from the logits of the whole row."""
    tokens = torch.tensor([example.tokens])
    logs = torch.log_softmax(model(input_ids=tokens).logits[0].double(), -1)
    return sum(logs[t - 1, tokens[0, t]] for t in range(example.answer_start, len(example.tokens)))


@pytest.fixture
def model():
    """The tiny model in float64, all of it trained."""
    return tiny_model(torch.float64).requires_grad_(True)


def test_the_fisher_information_is_that_of_the_answers(model):
    anchors = make_anchors(model, EXAMPLES)
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(log_likelihood(model, example), parameters) for example in EXAMPLES]
    expected = [sum(gradient**2 for gradient in of_one) / TOKENS for of_one in zip(*gradients, strict=True)]
    assert len(anchors) == len(expected)
    for anchor, fisher in zip(anchors, expected, strict=True):
        torch.testing.assert_close(anchor.fisher, fisher, rtol=1e-5, atol=1e-12)
        assert torch.equal(anchor.place, anchor.parameter)
    assert sum(f.sum().item() for f in expected) > 0


def test_one_entry_agrees_with_finite_differences(model):
    fisher = make_anchors(model, EXAMPLES[:1])[0].fisher
    row, column = divmod(fisher.argmax().item(), fisher.shape[1])
    weight, step, found = next(model.parameters()), 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            weight[row, column] += sign * step
            found.append(log_likelihood(model, EXAMPLES[0]).item())
            weight[row, column] -= sign * step
    assert fisher[row, column].item() == pytest.approx(((found[0] - found[1]) / (2 * step)) ** 2 / 2, rel=1e-3)


def test_the_penalty_is_half_the_weighted_square():
    moved = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    anchors = [Anchor(moved, torch.tensor([1.5, 0.0]), torch.tensor([4.0, 3.0]))]
    assert penalty(anchors).item() == 0.5 * (4 * 0.25 + 3 * 4)
    penalty(anchors).backward()
    assert moved.grad.tolist() == [4 * -0.5, 3 * 2.0]


def test_the_springs_do_nothing_until_something_moves(model):
    anchors, batch = make_anchors(model, EXAMPLES), collate(EXAMPLES)
    objective = AnchoredLoss(anchors, 100.0)
    assert objective(model, batch).item() == answer_loss(model, batch).item()
    with torch.no_grad():
        for anchor in anchors:
            anchor.parameter.add_(0.01)
    expected = 100 * 0.5 * 1e-4 * sum(anchor.fisher.sum().item() for anchor in anchors)
    found = objective(model, batch).item() - answer_loss(model, batch).item()
    assert found == pytest.approx(expected, rel=1e-3)  # losses are in float32


def test_strong_springs_keep_an_adapter_nearer_to_its_place():
    moved = []
    for strength in (0.0, 100.0):
        model = tiny_model()
        add_adapter(model, Adapter(2, 4, "all-linear", 0))
        anchors = make_anchors(model, EXAMPLES)
        config = TrainingConfig(steps=5, batch_size=1, learning_rate=1e-2, seed=0)
        train(model, [Example((1, 2, 3), 1)], config, objective=AnchoredLoss(anchors, strength))
        moved.append(penalty(anchors).item())
    assert moved[1] < 0.7 * moved[0]
