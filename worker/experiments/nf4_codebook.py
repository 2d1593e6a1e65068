"""Derive NF4's table, code real weights with bitsandbytes, and count the codes."""

from collections.abc import Iterable, Iterator

import torch
from bitsandbytes.functional import get_4bit_type, quantize_4bit
from torch import Tensor

from kb.text import Text
from labs.catalog.nf4_codebook import Nf4CodebookParameters
from worker.context import RunContext

CODES = 16
# The outermost quantile: the mean of what 16 and 15 levels would leave at an end. bitsandbytes, `create_normal_map`;
# the paper's equation 4 has no such offset, and as printed its first level is minus infinity.
OFFSET = ((1 - 1 / 32) + (1 - 1 / 30)) / 2
BLOCKS_AT_ONCE = 50_000  # 13 MB in float32 at a block size of 64


def run(params: Nf4CodebookParameters, lab: RunContext) -> None:
    total = 2 + len(lab.seeds)
    log_tables(lab)
    lab.progress(1, total, Text(en="coding the model's weights", zh="正在对模型权重编码"))
    log_weights(params, lab)
    for i, seed in enumerate(lab.seeds):
        lab.progress(2 + i, total, Text(en="coding normal numbers", zh="正在对正态随机数编码"))
        log_shares(lab, "normal", seed, count(nf4_codes(block, params) for block in normal_blocks(params, seed)))
    lab.progress(total, total)


# --- the table --------------------------------------------------------------------------------------------------------


def quantile_table() -> Tensor:
    """(16,) in ascending order: eight positive levels, zero and seven negative ones, scaled to a largest of 1."""
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)

    def half(levels: int) -> Tensor:
        return normal.icdf(torch.linspace(OFFSET, 0.5, levels + 1, dtype=torch.float64)[:-1])

    levels = torch.cat([-half(7), torch.zeros(1, dtype=torch.float64), half(8)]).sort().values
    return levels / levels.abs().max()


def log_tables(lab: RunContext) -> None:
    tables = {"bitsandbytes": get_4bit_type("nf4", device="cpu").double().sort().values, "quantiles": quantile_table()}
    for seed in lab.seeds:
        for source, levels in tables.items():
            for code, level in enumerate(levels.tolist()):
                with lab.point(seed=seed, source=source, code=code) as point:
                    if not point.is_finished:
                        point.log("level", level)
        with lab.point(seed=seed) as point:
            if not point.is_finished:
                difference = (tables["bitsandbytes"] - tables["quantiles"]).abs().max()
                point.log("largest_level_difference", difference.item())


# --- codes ------------------------------------------------------------------------------------------------------------


def log_weights(params: Nf4CodebookParameters, lab: RunContext) -> None:
    """Weights have no seed: what they give is recorded for each, counted once."""
    matrices = [w for name, w in sorted(lab.weights(params.model).items()) if is_quantised(name, w)]
    by_source = {
        "weights": count(nf4_codes(w, params) for w in matrices),
        "uniform": count(even_codes(w, params) for w in matrices),
    }
    for seed in lab.seeds:
        for source, counts in by_source.items():
            log_shares(lab, source, seed, counts)


def is_quantised(name: str, weight: Tensor) -> bool:
    """Matrices of linear layers: QLoRA leaves embeddings, the output layer and norms alone."""
    return weight.dim() == 2 and "embed" not in name and "lm_head" not in name


def nf4_codes(weights: Tensor, params: Nf4CodebookParameters) -> Tensor:
    """The code of each weight, as bitsandbytes packs it: two codes a byte."""
    packed, _ = quantize_4bit(weights.contiguous(), blocksize=params.block_size, quant_type="nf4")
    packed = packed.flatten()
    return torch.cat([packed >> 4, packed & 15])[: weights.numel()]


def even_codes(weights: Tensor, params: Nf4CodebookParameters) -> Tensor:
    """Codes 0 to 14 of a symmetric 4-bit integer, -7 to 7, scaled by the block's largest weight."""
    blocks = weights.reshape(-1, params.block_size)
    scale = blocks.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(blocks.dtype).tiny)
    return (blocks / scale * 7).round().add(7).to(torch.uint8).flatten()


def normal_blocks(params: Nf4CodebookParameters, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left = params.normal_blocks
    while left:
        blocks = min(left, BLOCKS_AT_ONCE)
        yield torch.randn(blocks, params.block_size, generator=generator)
        left -= blocks


def count(codes: Iterable[Tensor]) -> Tensor:
    """(16,) how often each code occurs."""
    counts = torch.zeros(CODES, dtype=torch.int64)
    for part in codes:
        counts += torch.bincount(part.long(), minlength=CODES)
    return counts


def log_shares(lab: RunContext, source: str, seed: int, counts: Tensor) -> None:
    shares = counts.double() / counts.sum()
    for code, share in enumerate(shares.tolist()):
        with lab.point(seed=seed, source=source, code=code) as point:
            if not point.is_finished:
                point.log("share", 100 * share)
    with lab.point(seed=seed, source=source) as point:
        if not point.is_finished:
            point.log("rarest_share", 100 * shares.min().item())
            point.log("commonest_share", 100 * shares.max().item())
            point.log("entropy", -torch.xlogy(shares, shares).sum().item() / torch.log(torch.tensor(2.0)).item())
            point.log("weights_counted", counts.sum().item())
