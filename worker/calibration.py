"""Information calibration quantisation (ICQ): a shift for each block of weights before it is coded in NF4.

Qin et al. 2024, section 3.2, and their released code: a block's shift lies near its median, and of some candidates the
one whose codes have the largest entropy is taken. There is no gradient through a count, hence the search.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from bitsandbytes.functional import dequantize_blockwise, quantize_blockwise
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from worker.quantisation import CONSTANTS_BLOCK, Quantised, levels, quantise

CODES = 16
BLOCKS_AT_ONCE = 50_000  # 13 MB in float32 at a block size of 64
# A block's standard deviation as a share of its largest value, which the authors assume: NF4's own outermost quantile.
SIGMA = 1 / NormalDist().inv_cdf(0.9677083)


@dataclass(frozen=True)
class Shifts:
    """For each block, (N,): the candidate with the largest entropy, and the one with the smallest squared error."""

    entropy: Tensor
    error: Tensor


def search_shifts(weight: Tensor, block: int, *, reach: float, candidates: int) -> Shifts:
    """Try evenly spaced shifts up to `reach` standard deviations from each block's median.

    A reach of zero leaves the median as the only candidate. The weights have to be whole blocks.
    """
    parts = [_search(part, reach, candidates) for part in weight.reshape(-1, block).split(BLOCKS_AT_ONCE)]
    return Shifts(torch.cat([part.entropy for part in parts]), torch.cat([part.error for part in parts]))


def _search(blocks: Tensor, reach: float, candidates: int) -> Shifts:
    """Blocks are sorted once: then a candidate's codes are known from where the borders between levels fall."""
    ordered = blocks.sort(dim=1).values
    median = ordered[:, (blocks.shape[1] - 1) // 2]
    ordered = ordered - median[:, None]
    spread = ordered[:, [0, -1]].abs().amax(dim=1)
    sums = _Sums.of(ordered)
    best = {name: torch.zeros_like(median) for name in ("entropy", "error")}
    record = {name: torch.full_like(median, -torch.inf) for name in best}
    factors = torch.linspace(-1, 1, candidates, dtype=torch.float64) if reach else torch.zeros(1)
    for factor in (reach * SIGMA * factors).tolist():
        shift = factor * spread
        for name, found in zip(best, sums.judge(ordered, shift), strict=True):
            is_better = found > record[name]
            record[name] = torch.where(is_better, found, record[name])
            best[name] = torch.where(is_better, shift, best[name])
    return Shifts(best["entropy"] + median, best["error"] + median)


@dataclass(frozen=True)
class _Sums:
    """What is the same for every candidate, so that one is judged in a few operations a level."""

    first: Tensor  # (N, block + 1), sums of the first so many weights
    information: Tensor  # (block + 1,), bits that a code contributes which occurs so often
    table: Tensor  # (16,)

    @classmethod
    def of(cls, ordered: Tensor) -> "_Sums":
        share = torch.arange(ordered.shape[1] + 1, dtype=ordered.dtype) / ordered.shape[1]
        first = F.pad(ordered.cumsum(dim=1), (1, 0))
        return cls(first, -torch.xlogy(share, share) / math.log(2), levels("nf4").to(ordered))

    def judge(self, ordered: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Entropy of each block's codes, and minus its squared error but for what all candidates have in common."""
        scale = (ordered[:, [0, -1]] - shift[:, None]).abs().amax(dim=1).clamp_min(torch.finfo(ordered.dtype).tiny)
        read = self.table * scale[:, None] + shift[:, None]  # (N, 16), what the codes stand for
        begins = torch.searchsorted(ordered, (read[:, 1:] + read[:, :-1]) / 2, right=True)
        places = F.pad(begins, (1, 0))
        places = F.pad(places, (0, 1), value=ordered.shape[1])  # (N, 17)
        counts = places.diff(dim=1)
        sums = self.first.gather(1, places).diff(dim=1)
        # Σ (w − q)² = Σ w² − Σ (2 w − q) q, code by code.
        gain = (2 * sums * read - counts * read.square()).sum(dim=1)
        return self.information[counts].sum(dim=1), gain


def quantise_shifted(weight: Tensor, shift: Tensor, block: int) -> Quantised:
    """NF4 with double quantisation of the weights less their block's shift; the shifts are stored in 8 bits as well.

    Their codes need no table of their own: it is the one of the scales.
    """
    packed, state = quantize_blockwise(shift.float(), blocksize=CONSTANTS_BLOCK)
    moved = (weight.reshape(-1, block) - shift[:, None]).view_as(weight)
    stored = quantise(moved, "nf4", block, double=True)
    back = stored.weight.reshape(-1, block) + dequantize_blockwise(packed, state)[:, None]
    return Quantised(back.view_as(weight).to(weight.dtype), [*stored.stored, packed, state.absmax])


def code_entropy(quantised: Quantised, block: int) -> Tensor:
    """(N,) bits a code of each block carries, from the codes as they are stored, two in a byte."""
    packed = quantised.stored[0]
    codes = torch.stack([packed >> 4, packed & 15], dim=1).reshape(-1, block)
    counts = torch.stack([(codes == code).sum(dim=1) for code in range(CODES)], dim=1)
    share = counts / block
    return -torch.xlogy(share, share).sum(dim=1) / math.log(2)
