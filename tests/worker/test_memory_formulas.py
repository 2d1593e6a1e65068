"""What the closed forms say a block keeps, against the tensors that autograd really keeps of a small model."""

from contextlib import contextmanager

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaConfig, LlamaForCausalLM

from labs.formulas import lora, memory
from labs.memory.shapes import ModelShape

BATCH, LENGTH, RANK = 2, 16, 4
SHAPE = ModelShape(2, 32, 48, 4, 4, 8, 64)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(lora.MODELS, "tiny", SHAPE)


def tiny(layers, attention, dtype):
    config = LlamaConfig(
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=layers,
        num_attention_heads=SHAPE.heads,
        vocab_size=SHAPE.vocabulary,
        attn_implementation=attention,
        use_cache=False,
    )
    return LlamaForCausalLM(config).to(dtype).train()


@contextmanager
def kept_storages(model):
    """Fills a dictionary with the bytes of every storage that is kept for backward, parameters and buffers apart."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or a freed address would come back under another tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def kept_bytes(layers, attention, dtype, targets, adapter_dtype):
    torch.manual_seed(0)
    model = tiny(layers, attention, dtype)
    if targets != "full":
        names = list(SHAPE.linear_layers()) if targets == "all-linear" else targets.split(",")
        config = LoraConfig(r=RANK, target_modules=names, task_type="CAUSAL_LM")
        model = get_peft_model(model, config, autocast_adapter_dtype=adapter_dtype == "fp32")
    else:
        model.requires_grad_(True)
    tokens = torch.randint(0, SHAPE.vocabulary, (BATCH, LENGTH))
    with kept_storages(model) as kept:
        output = model(input_ids=tokens)
    del output
    return sum(kept.values())


def block_bytes(*setting):
    """What the third block adds to the second: the first of an adapted model needs no gradient of its input."""
    return kept_bytes(3, *setting) - kept_bytes(2, *setting)


@pytest.mark.parametrize("attention", ["flash", "eager"])
@pytest.mark.parametrize(("dtype", "precision"), [(torch.bfloat16, "bf16"), (torch.float32, "fp32")])
def test_full_fine_tuning_keeps_what_the_formula_says(attention, dtype, precision):
    measured = block_bytes("sdpa" if attention == "flash" else "eager", dtype, "full", precision)
    assert measured == memory.llama_block_activation_size("tiny", BATCH, LENGTH, attention, precision=precision)


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj", "down_proj", "o_proj"])
@pytest.mark.parametrize("adapter_precision", ["fp32", "bf16"])
@pytest.mark.parametrize("attention", ["flash", "eager"])
def test_lora_keeps_what_the_formula_says(targets, adapter_precision, attention):
    kernel = "sdpa" if attention == "flash" else "eager"
    measured = block_bytes(kernel, torch.bfloat16, targets, adapter_precision)
    formula = memory.lora_block_activation_size(
        "tiny", BATCH, LENGTH, targets, RANK, adapter_precision=adapter_precision, attention=attention
    )
    assert measured == formula
