"""LoRA and its variants, and what else PEFT does to layers in place."""

from typing import Any

import torch
from peft import (
    EvaConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    VeraConfig,
    initialize_lora_eva_weights,
)
from peft.tuners.lora import LoraGAConfig, preprocess_loraga
from transformers import PreTrainedModel

from labs.catalog.peft_zoo import LOKR_FACTOR, LORA_PLUS_RATIO, loha_rank, vera_rank
from worker.methods.setting import ALL_LINEAR, Attach, Attached, Setting, adapt
from worker.quantisation import layer_linears
from worker.training.examples import collate, in_batches
from worker.training.loss import answer_loss

STARTING_EXAMPLES = 32  # that EVA takes the activations of, and LoRA-GA the mean gradient
STARTING_BATCH = 8


def lora_config(setting: Setting, **more: Any) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM", r=setting.rank, lora_alpha=setting.alpha, target_modules=ALL_LINEAR, **more
    )


def lora(**more: Any) -> Attach:
    """A kind of LoRA that is a switch of PEFT's."""
    return lambda model, setting: Attached(adapt(model, lora_config(setting, **more), setting.seed))


def attach_lora_fa(model: PreTrainedModel, setting: Setting) -> Attached:
    """LoRA with A frozen at its random start (Zhang et al. 2023, section 3)."""
    adapted = adapt(model, lora_config(setting), setting.seed)
    for name, parameter in adapted.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
    return Attached(adapted)


def attach_lora_plus(model: PreTrainedModel, setting: Setting) -> Attached:
    adapted = adapt(model, lora_config(setting), setting.seed)
    return Attached(adapted, lora_plus_ratio=LORA_PLUS_RATIO)


def attach_eva(model: PreTrainedModel, setting: Setting) -> Attached:
    """A from the activations' singular vectors, the same rank everywhere, so that the budget is that of LoRA.

    PEFT repeats the data until the vectors no longer change; one batch of all examples settles that at once.
    """
    config = lora_config(setting, init_lora_weights="eva", eva_config=EvaConfig(rho=1.0))
    adapted = adapt(model, config, setting.seed)
    examples = setting.examples[:STARTING_EXAMPLES]
    tokens = collate(examples, str(model.device)).tokens
    lengths = torch.tensor([len(example.tokens) for example in examples])
    mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
    inputs = {"input_ids": tokens, "attention_mask": mask}
    initialize_lora_eva_weights(adapted, [inputs], show_progress_bar=False)
    return Attached(adapted)


def attach_lora_ga(model: PreTrainedModel, setting: Setting) -> Attached:
    """A and B from the gradient's singular vectors; PEFT takes what they add off the base."""
    config = lora_config(setting, init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig())
    config.target_modules = [name for name, _, _ in layer_linears(model)]

    def accumulate() -> None:
        for examples in in_batches(setting.examples[:STARTING_EXAMPLES], STARTING_BATCH):
            answer_loss(model, collate(examples, str(model.device))).backward()

    preprocess_loraga(model, config, accumulate)
    return Attached(adapt(model, config, setting.seed))


def loha_config(setting: Setting) -> LoHaConfig:
    """At half the rank, because it has two pairs of factors: as many parameters as LoRA."""
    return LoHaConfig(task_type="CAUSAL_LM", r=loha_rank(setting.rank), alpha=setting.alpha, target_modules=ALL_LINEAR)


def lokr_config(setting: Setting) -> LoKrConfig:
    return LoKrConfig(
        task_type="CAUSAL_LM",
        r=setting.rank,
        alpha=setting.alpha,
        target_modules=ALL_LINEAR,
        decompose_factor=LOKR_FACTOR,
    )


def vera_config(setting: Setting) -> VeraConfig:
    """The random matrices follow from the seed, so they need not be in the adapter's file."""
    return VeraConfig(
        task_type="CAUSAL_LM",
        r=vera_rank(setting.rank),
        target_modules=ALL_LINEAR,
        projection_prng_key=setting.seed,
        save_projection=False,
    )


def ia3_config(setting: Setting) -> IA3Config:
    return IA3Config(
        task_type="CAUSAL_LM",
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    )


def norms_config(setting: Setting) -> LNTuningConfig:
    return LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm", "post_attention_layernorm", "norm"])
