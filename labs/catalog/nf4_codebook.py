"""Where do the sixteen values of NF4 come from, and are they used equally often?"""

from typing import Annotated

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import LanguageModel


class Nf4CodebookParameters(Parameters):
    model: LanguageModel = explained(
        "minilm-l6",
        Text(
            en="Whose weight matrices are coded. minilm-l6 has genuine 32-bit weights; SmolLM2's were 4-bit once.",
            zh="对哪个模型的权重矩阵编码。minilm-l6 是真正的 32 位权重；SmolLM2 的权重曾经是 4 位的。",
        ),
    )
    block_size: Annotated[int, Field(ge=16, le=4096, multiple_of=16)] = parameter(
        64,
        Text(en="Block size", zh="块大小"),
        Text(
            en="Weights that share one scale, their largest absolute value. QLoRA uses 64.",
            zh="共用一个缩放因子（块内最大绝对值）的权重个数。QLoRA 用 64。",
        ),
    )
    normal_blocks: Annotated[int, Field(ge=1_000, le=1_000_000)] = parameter(
        100_000,
        Text(en="Blocks of normal numbers", zh="正态随机数的块数"),
        Text(
            en="Random normal blocks coded in the same way, to tell the code from the weights.",
            zh="用同样方式编码的正态随机块，用来区分哪些现象来自编码、哪些来自权重。",
        ),
    )


SOURCES = {
    "bitsandbytes": Text(en="bitsandbytes' table", zh="bitsandbytes 的表"),
    "quantiles": Text(en="from normal quantiles", zh="由正态分位数推出"),
    "weights": Text(en="the model's weights", zh="模型权重"),
    "normal": Text(en="normal random numbers", zh="正态随机数"),
    "uniform": Text(en="the same weights on an even grid", zh="同样的权重、均匀网格"),
}
CODE = Text(en="code", zh="编码")

LAB = Lab(
    slug="nf4-codebook",
    group="quantisation",
    version=1,
    title=Text(en="The sixteen values of NF4", zh="NF4 的十六个值"),
    question=Text(
        en="Can NF4's table be derived from the normal distribution, and are its sixteen codes used equally often on "
        "real weights?",
        zh="NF4 的码表能否由正态分布推导出来？在真实权重上，十六个编码用得一样多吗？",
    ),
    summary=Text(
        en="Computes the table from quantiles of the normal distribution and compares it with the one in "
        "bitsandbytes. Then it codes every weight matrix of a real model, random normal numbers for comparison, and "
        "the same weights on an evenly spaced 4-bit grid, and counts how often each code occurs.",
        zh="用正态分布的分位数算出码表，与 bitsandbytes 中的表比较。然后对真实模型的全部权重矩阵编码，"
        "再对正态随机数编码作对照，并把同样的权重放到均匀的 4 位网格上，统计每个编码出现的次数。",
    ),
    takeaway=Text(
        en="NF4's levels are normal quantiles, built in two halves so that zero is exact, and scaled so that the ends "
        "are ±1. They are not used equally often: a block is scaled by its own largest weight, which sits at an end, "
        "so the end codes are rare and the codes around zero common ([[claim:nf4-codes-on-real-weights]]). Still the "
        "codes carry more information than those of an even grid on the same weights "
        "([[claim:nf4-beats-even-grid-entropy]]). The paper's equation leaves out the offset that the table needs; "
        "with it the table comes out to float precision ([[claim:nf4-table-from-quantiles]]).",
        zh="NF4 的级别是正态分位数：分两半构造，保证零精确可表示，再缩放到两端为 ±1。各编码用得并不一样多："
        "块按自身最大的权重缩放，最大值总落在端点，所以端点编码少见，零附近的编码常见"
        "（[[claim:nf4-codes-on-real-weights]]）。尽管如此，同样的权重上它携带的信息仍多于均匀网格"
        "（[[claim:nf4-beats-even-grid-entropy]]）。论文公式没有写出码表所需的偏移量；补上之后，"
        "算出的表与代码一致到浮点精度（[[claim:nf4-table-from-quantiles]]）。",
    ),
    parameters=Nf4CodebookParameters,
    metrics=(
        Metric("level", Text(en="Level", zh="级别"), "block maximum", stochastic=False),
        Metric(
            "largest_level_difference",
            Text(en="Largest difference between derived and shipped table", zh="推导的表与代码中的表之间的最大差"),
            "block maximum",
            stochastic=False,
            better="lower",
        ),
        Metric("share", Text(en="Share of the codes", zh="编码所占比例"), "%"),
        Metric("rarest_share", Text(en="Share of the rarest code", zh="最少用的编码所占比例"), "%"),
        Metric("commonest_share", Text(en="Share of the commonest code", zh="最常用的编码所占比例"), "%"),
        Metric("entropy", Text(en="Entropy of a code", zh="编码的熵"), "bits", better="higher"),
        Metric("weights_counted", Text(en="Weights coded", zh="编码的权重个数"), "weights", stochastic=False),
    ),
    charts=(
        Chart(
            "share",
            Text(en="How often each code is used", zh="每个编码用得多频繁"),
            x="code",
            series="source",
            x_title=CODE,
            series_titles=SOURCES,
        ),
        Chart(
            "level",
            Text(en="The level of each code", zh="每个编码的级别"),
            x="code",
            series="source",
            x_title=CODE,
            series_titles=SOURCES,
        ),
    ),
    guesses=(
        Guess(
            "commonest",
            "value",
            Text(
                en="If all sixteen codes were used alike, each would have a sixteenth. What share of the weights gets "
                "the commonest one, in percent?",
                zh="如果十六个编码用得一样多，每个占十六分之一。最常用的编码实际占权重的百分之几？",
            ),
            "commonest_share",
            ("source=weights",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=5),
        "standard": Preset({}, seeds=(0, 1, 2), expected_seconds=40),
        "gpu": Preset({"normal_blocks": 1_000_000}, seeds=(0, 1, 2), expected_seconds=60),
    },
    # Numbers that are coded: the model's weights, 100 million in SmolLM2's linear layers, and the random ones.
    work=lambda params: 1e8 + params.normal_blocks * params.block_size,
)
