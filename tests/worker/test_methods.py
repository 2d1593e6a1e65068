"""Methods of fine-tuning on the tiny model: what they train, where they start, and what they compute."""

from typing import get_args

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import LlamaConfig, LlamaForCausalLM

from labs.catalog.peft_zoo import METHODS, VIRTUAL_TOKENS, MethodName
from labs.formulas.lora import MODELS, ModelShape
from worker.data.sets import load
from worker.methods.biases import attach_biases
from worker.methods.loftq import loftq
from worker.methods.setting import Setting
from worker.methods.table import ATTACH
from worker.models.recipe import TINY_RECIPE
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.quantisation import layer_linears, levels
from worker.training.config import TrainingConfig
from worker.training.examples import collate, encode_facts
from worker.training.loop import train
from worker.training.loss import answer_logits, answer_loss

EXAMPLES = encode_facts(load("facts"), tiny_tokenizer()).training
SETTING = Setting(rank=4, alpha=8, steps=6, seed=0, examples=EXAMPLES)
BATCH = collate(EXAMPLES[:3])
EVERY_METHOD = pytest.mark.parametrize("name", METHODS)
# The other methods start as the base: their update is zero, or taken off the base again.
CHANGED_AT_THE_START = {"loftq", "prefix", "prompt", "p-tuning"}


@pytest.fixture
def tiny_shape(monkeypatch):
    shape = ModelShape(
        layers=TINY_RECIPE["num_hidden_layers"],
        hidden=TINY_RECIPE["hidden_size"],
        intermediate=TINY_RECIPE["intermediate_size"],
        heads=TINY_RECIPE["num_attention_heads"],
        kv_heads=TINY_RECIPE["num_key_value_heads"],
        head_size=TINY_RECIPE["hidden_size"] // TINY_RECIPE["num_attention_heads"],
        vocabulary=TINY_RECIPE["vocab_size"],
        tied=True,
    )
    monkeypatch.setitem(MODELS, "tiny", shape)


def trained(model) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def test_every_method_has_a_name_an_entry_and_a_way_into_the_model():
    assert tuple(METHODS) == tuple(ATTACH) == get_args(MethodName)
    for method in METHODS.values():
        assert list(method.rates) == sorted(method.rates)


@EVERY_METHOD
def test_it_trains_as_many_parameters_as_its_closed_form_says(name, tiny_shape):
    model = tiny_model()
    ATTACH[name](model, SETTING)
    assert sum(p.numel() for p in trained(model).values()) == METHODS[name].parameters("tiny", SETTING.rank)


@EVERY_METHOD
def test_it_starts_as_the_base_or_says_that_it_does_not(name):
    base, model = tiny_model(), tiny_model()
    ATTACH[name](model, SETTING)
    difference = (answer_logits(model, BATCH)[0] - answer_logits(base, BATCH)[0]).abs().max().item()
    assert (difference > 1e-4) == (name in CHANGED_AT_THE_START)


@EVERY_METHOD
def test_training_changes_what_it_trains_and_nothing_else(name):
    model = tiny_model()
    attached = ATTACH[name](model, SETTING)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainingConfig(steps=6, batch_size=4, learning_rate=1e-3, seed=0)
    result = train(model, EXAMPLES, config, objective=attached.objective, after_update=attached.after_update)
    assert all(0 < loss < 20 for loss in result.losses)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    # AdaLoRA counts its ranks in parameters that have no gradient.
    assert {name for name in moved if "ranknum" not in name} <= set(trained(model))


def test_it_starts_the_same_from_the_same_seed():
    for name in ("lora", "pissa", "eva", "lora-ga", "vera", "p-tuning", "bottleneck"):
        first, second = tiny_model(), tiny_model()
        ATTACH[name](first, SETTING)
        ATTACH[name](second, SETTING)
        states = first.state_dict(), second.state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), name


# --- own implementations, against independent ones in float64 ---------------------------------------------------------


def numpy_loftq(weight: np.ndarray, rank: int, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of the paper: the quantised base and the update."""
    table = levels("nf4").double().numpy()
    update = np.zeros_like(weight)
    for _ in range(iterations):
        blocks = (weight - update).reshape(-1, 32)
        scale = np.abs(blocks).max(axis=1, keepdims=True)
        nearest = np.abs(blocks[:, :, None] / scale[:, :, None] - table).argmin(axis=2)
        base = (table[nearest] * scale).reshape(weight.shape)
        u, s, v = np.linalg.svd(weight - base)
        update = u[:, :rank] * s[:rank] @ v[:rank]
    return base, update


@pytest.mark.parametrize("iterations", [1, 3])
def test_loftq_is_the_algorithm_of_the_paper(iterations):
    weight = torch.randn(24, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base, b, a = loftq(weight, rank=8, iterations=iterations)
    expected_base, expected_update = numpy_loftq(weight.numpy(), 8, iterations)
    np.testing.assert_allclose(base.numpy(), expected_base, atol=1e-6)
    np.testing.assert_allclose((b @ a).numpy(), expected_update, atol=1e-5)


def test_loftq_brings_the_model_nearer_to_the_base_than_quantising_alone():
    weights = {name: layer.weight.clone() for name, _, layer in layer_linears(tiny_model())}
    model = tiny_model()
    ATTACH["loftq"](model, SETTING)
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            weight, base = weights[name], layer.get_base_layer().weight
            assert (base + layer.get_delta_weight("default") - weight).norm() < 0.9 * (base - weight).norm()


def test_added_biases_are_those_of_a_llama_that_has_them():
    """Losses over three steps of plain gradient descent, against transformers' own biases in float64."""
    own = tiny_model(torch.float64)
    config = LlamaConfig(**own.config.to_dict() | {"attention_bias": True, "mlp_bias": True})
    other = LlamaForCausalLM(config).double()
    other.load_state_dict(own.state_dict(), strict=False)
    for name, parameter in other.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    attach_biases(own, SETTING)
    assert set(trained(own)) == set(trained(other))
    losses = [descend(model) for model in (own, other)]
    assert losses[0][0] > losses[0][-1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-7)  # the rotary embedding is in float32 in both


def descend(model) -> list[float]:
    losses = []
    for _ in range(3):
        loss = answer_loss(model, BATCH)
        loss.backward()
        for parameter in trained(model).values():
            parameter.data -= 0.5 * parameter.grad
            parameter.grad = None
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", ["prefix", "prompt", "p-tuning"])
def test_virtual_tokens_give_what_pefts_own_forward_pass_gives(name):
    hooked, plain = tiny_model(), tiny_model()
    attached = ATTACH[name](hooked, SETTING)
    ours, _ = answer_logits(hooked, BATCH)
    adapted = ATTACH[name](plain, SETTING).adapted
    decoder = plain.model
    decoder._forward_pre_hooks.clear()
    decoder._forward_hooks.clear()
    adapted.load_state_dict(attached.adapted.state_dict(), strict=False)
    mask = torch.ones_like(BATCH.tokens)
    theirs = adapted(input_ids=BATCH.tokens, attention_mask=mask).logits
    if name != "prefix":
        theirs = theirs[:, VIRTUAL_TOKENS:]
    torch.testing.assert_close(ours, theirs[BATCH.labels != -100], atol=1e-5, rtol=1e-5)


def test_lora_fa_keeps_a_and_lora_plus_gives_b_its_rate():
    model = tiny_model()
    ATTACH["lora-fa"](model, SETTING)
    assert all("lora_B" in name for name in trained(model))
    assert ATTACH["lora-plus"](tiny_model(), SETTING).lora_plus_ratio == 16


def test_eva_starts_from_the_activations_main_directions():
    model = tiny_model()
    ATTACH["eva"](model, SETTING)
    seen = []
    layer = model.model.layers[0].self_attn.q_proj
    layer.register_forward_hook(lambda _module, args, _output: seen.append(args[0].detach()))
    batch = collate(EXAMPLES[:32])
    model(input_ids=batch.tokens)
    lengths = torch.tensor([len(example.tokens) for example in EXAMPLES[:32]])
    inputs = seen[0][torch.arange(batch.tokens.shape[1]) < lengths[:, None]]
    _, _, right = torch.linalg.svd(inputs - inputs.mean(0), full_matrices=False)
    cosines = torch.linalg.svdvals(layer.lora_A["default"].weight.detach() @ right[: SETTING.rank].T)
    assert cosines.min() > 0.95
