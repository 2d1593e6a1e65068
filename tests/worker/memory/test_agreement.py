"""A simulated step takes as many bytes as the same step really run: every method, format and switch."""

from typing import get_args

import pytest
import torch

from labs.catalog.peft_zoo import MethodName
from labs.memory.recipe import Recipe
from tests.worker.memory.conftest import EXAMPLES, small_recipe
from worker.memory.account import account
from worker.memory.measure import measure, measure_cuda
from worker.memory.simulate import simulate, simulate_record
from worker.models.load import load_causal_lm

SWITCHES = [
    {"attention": "eager"},
    {"checkpointing": "reentrant"},
    {"checkpointing": "non-reentrant"},
    {"method": "full", "checkpointing": "non-reentrant", "attention": "eager"},
    {"weights": "bfloat16"},
    {"weights": "bfloat16", "adapter_dtype": "base"},
    {"weights": "nf4"},
    {"weights": "nf4", "double_quantisation": False},
    {"weights": "nf4", "upcast": True},
    {"weights": "nf4", "method": "dora"},
    {"weights": "fp4", "checkpointing": "reentrant"},
    {"weights": "int8"},
    {"autocast": True},
    {"autocast": True, "weights": "bfloat16", "method": "full"},
    {"loss": "chunked"},
    {"loss": "fused"},
    {"loss": "fused", "method": "full"},
    {"accumulation": 4},
    {"accumulation": 4, "method": "full"},
    {"optimizer": "adamw-fused", "method": "full"},
    {"optimizer": "sgd"},
    {"optimizer": "adafactor", "method": "full"},
    {"optimizer": "adamw-8bit", "method": "full"},
    {"target_modules": "q_proj,v_proj"},
]


@pytest.mark.slow
@pytest.mark.parametrize("wish", SWITCHES, ids=lambda wish: ",".join(f"{k}={v}" for k, v in wish.items()))
def test_every_switch_agrees_to_the_byte(wish, small_model):
    recipe = small_recipe(**wish)
    assert_same(account(simulate_record(recipe, "cpu").record), account(measure(recipe, small_model, EXAMPLES)))


@pytest.mark.slow
@pytest.mark.parametrize("method", get_args(MethodName))
def test_every_method_agrees_to_the_byte(method, small_model):
    recipe = small_recipe(method=method)
    assert_same(account(simulate_record(recipe, "cpu").record), account(measure(recipe, small_model, EXAMPLES)))


def assert_same(simulated, measured):
    assert simulated.peak_bytes == measured.peak_bytes
    assert simulated.by_category == measured.by_category
    # Methods with virtual tokens keep their numbers, 8 integers, in a tensor that only a real step shows.
    assert simulated.steady_bytes == pytest.approx(measured.steady_bytes, abs=64)
    assert simulated.moment.phase == measured.moment.phase


@pytest.mark.slow
@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"method": "full"},
        {"weights": "nf4"},
        {"checkpointing": "non-reentrant"},
    ],
    ids=str,
)
def test_smollm2_agrees_within_one_percent(wish, smollm2):
    """With its own weights; what is asked is 1 %, what is found is 0 (docs/memory.md)."""
    recipe = Recipe(model="smollm2-135m", rank=8, sequence_length=64, **({"weights": "float32"} | wish))
    base = load_causal_lm("smollm2-135m", dtype=torch.float32, device="cpu", cache_dir=smollm2)
    measured = account(measure(recipe, base)).peak_bytes
    assert account(simulate_record(recipe, "cpu").record).peak_bytes == pytest.approx(measured, rel=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA: allocated and reserved bytes cannot be measured")
@pytest.mark.parametrize(
    "wish", [{}, {"method": "full"}, {"weights": "nf4", "checkpointing": "non-reentrant"}], ids=str
)
def test_a_gpu_counts_what_was_predicted(wish, smollm2):
    recipe = Recipe(model="smollm2-135m", rank=8, **({"weights": "bfloat16"} | wish))
    base = load_causal_lm("smollm2-135m", dtype=torch.float32, device="cpu", cache_dir=smollm2)
    allocated, reserved = measure_cuda(recipe, base)
    simulation = simulate(recipe)
    assert simulation.allocated_bytes == pytest.approx(allocated, rel=0.05)
    assert simulation.reserved_bytes == pytest.approx(reserved, rel=0.10)
