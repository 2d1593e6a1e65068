"""Every method of the zoo by its name: how it gets into a model."""

from transformers import PreTrainedModel

from labs.catalog.peft_zoo import MethodName, bottleneck_size
from worker.bottleneck import add_bottlenecks
from worker.methods.adalora import attach_adalora
from worker.methods.biases import attach_biases
from worker.methods.loftq import attach_loftq
from worker.methods.low_rank import (
    attach_eva,
    attach_lora_fa,
    attach_lora_ga,
    attach_lora_plus,
    ia3_config,
    loha_config,
    lokr_config,
    lora,
    norms_config,
    vera_config,
)
from worker.methods.setting import Attach, Attached, Setting, by_config
from worker.methods.virtual_tokens import (
    p_tuning_config,
    prefix_config,
    prompt_config,
    put_embeddings,
    put_keys_and_values,
    virtual_tokens,
)


def attach_bottlenecks(model: PreTrainedModel, setting: Setting) -> Attached:
    add_bottlenecks(model, bottleneck_size(setting.rank), setting.seed)
    return Attached()


def attach_everything(model: PreTrainedModel, setting: Setting) -> Attached:
    """Full fine-tuning: embeddings too."""
    model.requires_grad_(True)
    return Attached()


ATTACH: dict[MethodName, Attach] = {
    "lora": lora(),
    "rslora": lora(use_rslora=True),
    "dora": lora(use_dora=True),
    "pissa": lora(init_lora_weights="pissa_niter_4"),
    "olora": lora(init_lora_weights="olora"),
    "eva": attach_eva,
    "loftq": attach_loftq,
    "lora-fa": attach_lora_fa,
    "lora-plus": attach_lora_plus,
    "lora-ga": attach_lora_ga,
    "adalora": attach_adalora,
    "ia3": by_config(ia3_config),
    "loha": by_config(loha_config),
    "lokr": by_config(lokr_config),
    "vera": by_config(vera_config),
    "prefix": virtual_tokens(prefix_config, put_keys_and_values),
    "prompt": virtual_tokens(prompt_config, put_embeddings),
    "p-tuning": virtual_tokens(p_tuning_config, put_embeddings),
    "norms": by_config(norms_config),
    "bitfit": attach_biases,
    "bottleneck": attach_bottlenecks,
    "full": attach_everything,
}
