"""The sum that fits on a whiteboard against the simulated step."""

import pytest

from labs.memory.closed_form import closed_form_parts
from labs.memory.recipe import Recipe
from worker.memory.simulate import simulate


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"checkpointing": "reentrant"},
        {"weights": "nf4"},
        {"target_modules": "q_proj,v_proj", "adapter_dtype": "base"},
        {"method": "full"},
        {"method": "full", "attention": "eager", "accumulation": 2},
    ],
    ids=str,
)
def test_the_whiteboard_agrees_with_the_simulator(settings):
    recipe = Recipe(model="llama-3.2-1b", batch_size=2, sequence_length=512, **settings)
    parts = closed_form_parts(recipe)
    assert sum(parts.values()) == pytest.approx(simulate(recipe).peak_bytes, rel=0.02)
