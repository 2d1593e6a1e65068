"""A recipe as the whiteboard's sum: what the closed forms say of it, part by part, where they can say anything."""

from labs.formulas.lora import MODELS
from labs.formulas.memory import Training, peak_parts
from labs.formulas.serving import FULL
from labs.memory.recipe import LORA_STARTS, Recipe

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
OPTIMIZERS = {
    "adamw": "adamw",
    "adamw-fused": "adamw-fused",
    "sgd": "sgd",
    "adafactor": "adafactor",
    "adamw-8bit": "adamw-8bit",
    "paged-adamw-8bit": "sgd",  # its states are in the host's memory
}
CHUNK = 1024  # tokens whose logits a chunked loss has at once


def closed_form_parts(recipe: Recipe) -> dict[str, float] | None:
    """Bytes by category at the peak, or None where the sums do not cover the recipe.

    They cover full fine-tuning and LoRA on blocks of LLaMA's shape, on one device, without autocast and upcasts.
    """
    training = _training(recipe)
    if training is None or recipe.config or recipe.model not in MODELS:
        return None
    try:
        return peak_parts(recipe.model, recipe.batch_size, recipe.sequence_length, training)
    except ValueError:  # a model whose blocks have another shape
        return None


def _training(recipe: Recipe) -> Training | None:
    is_full = recipe.method == "full"
    is_plain = not (recipe.autocast or recipe.upcast) and recipe.sharding == "none" and recipe.loss != "fused"
    if not is_plain or not (is_full or recipe.method in LORA_STARTS):
        return None
    precision = PRECISIONS.get(recipe.weights, "bf16")
    is_double = recipe.weights in ("nf4", "fp4") and recipe.double_quantisation
    quantised = {"int8": "int8", "nf4": "nf4", "fp4": "nf4"}.get(recipe.weights, "")
    return Training(
        FULL if is_full else recipe.target_modules,
        0 if is_full else recipe.rank,
        adapter_precision="fp32" if recipe.adapter_dtype == "float32" else precision,
        attention="eager" if recipe.attention == "eager" else "flash",
        precision=precision,
        weights=f"{quantised}-double" if is_double else quantised,
        optimizer=OPTIMIZERS[recipe.optimizer],
        chunk=CHUNK if recipe.loss == "chunked" else 0,
        checkpointing=recipe.checkpointing != "none",
        accumulates=recipe.accumulation > 1,
    )
