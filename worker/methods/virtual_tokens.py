"""Prompt tuning, P-tuning and prefix tuning: PEFT's encoders, put before the tokens inside the model itself.

PEFT does it in a forward pass of its own, which takes the loss over all positions. Here hooks on the decoder do it, so
that the labs' loss, evaluation and training loop serve these methods too.
"""

from collections.abc import Callable
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.catalog.peft_zoo import P_TUNING_WIDTH, VIRTUAL_TOKENS
from worker.methods.setting import Attach, Attached, Setting, adapt


def prompt_config(model: PreTrainedModel) -> PeftConfig:
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS)


def p_tuning_config(model: PreTrainedModel) -> PeftConfig:
    return PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS, encoder_hidden_size=P_TUNING_WIDTH
    )


def prefix_config(model: PreTrainedModel) -> PeftConfig:
    """Through an MLP as wide as the keys, because a prefix that is trained directly starts far off (section 4.3)."""
    shape = model.config
    width = shape.hidden_size // shape.num_attention_heads * shape.num_key_value_heads
    return PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS, prefix_projection=True, encoder_hidden_size=width
    )


def virtual_tokens(
    make: Callable[[PreTrainedModel], PeftConfig], put: Callable[[nn.Module, PeftModel], None]
) -> Attach:
    """A method that trains an encoder of virtual tokens, which `put` brings before the real ones."""

    def attach(model: PreTrainedModel, setting: Setting) -> Attached:
        adapted = adapt(model, make(model), setting.seed)
        # Inside the model, so that its parameters are found and its mode follows.
        model.add_module("prompt_encoder", adapted.prompt_encoder)
        put(getattr(model, model.base_model_prefix), adapted)
        return Attached(adapted)

    return attach


def put_embeddings(decoder: nn.Module, adapted: PeftModel) -> None:
    """Virtual tokens as embeddings before those of the row; their own outputs are dropped."""
    embed: nn.Module = decoder.get_input_embeddings()  # type: ignore[operator]

    def prepend(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        tokens: Tensor = kwargs.pop("input_ids")  # (B, T)
        kwargs["inputs_embeds"] = torch.cat([adapted.get_prompt(len(tokens)), embed(tokens)], dim=1)
        return args, kwargs

    def drop(_module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[:, VIRTUAL_TOKENS:]
        return output

    decoder.register_forward_pre_hook(prepend, with_kwargs=True)
    decoder.register_forward_hook(drop)


def put_keys_and_values(decoder: nn.Module, adapted: PeftModel) -> None:
    """Keys and values of virtual tokens in every layer, as a cache that is already there."""

    def give_cache(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kwargs["past_key_values"] = adapted.get_prompt(len(kwargs["input_ids"]))
        return args, kwargs

    decoder.register_forward_pre_hook(give_cache, with_kwargs=True)
