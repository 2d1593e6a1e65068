"""A random Llama of two layers with a byte-level tokenizer, made in memory: no file, no network."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from worker.models.recipe import TINY_RECIPE, TINY_SEED

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"


def tiny_model(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """The same random weights every time; the caller's random state stays as it was."""
    config = LlamaConfig(
        **{name: value for name, value in TINY_RECIPE.items() if name != "seed"},
        bos_token_id=256,
        eos_token_id=256,
        pad_token_id=257,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        model = LlamaForCausalLM(config)
    # Parameters only, as transformers does it: `model.to` would round the frequencies of the rotary embedding as well.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, END_OF_TEXT, PADDING])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=PADDING)
