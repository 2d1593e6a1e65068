"""What do few bits a weight cost: in the weights, in what a model computes, and in memory?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, ModelName, Parameters, Preset, parameter
from labs.shared import different

Format = Literal["nf4", "fp4", "int4", "int8"]
Block = Literal[32, 64, 128, 256, 512, 1024, 2048, 4096]
Constants = Literal["plain", "double"]


class QuantisationErrorParameters(Parameters):
    encoder: ModelName = parameter(
        "minilm-l6",
        Text(en="Encoder", zh="编码器"),
        Text(
            en="Judged by its weights and its sentence embeddings. minilm-l6 has genuine 32-bit weights.",
            zh="看它的权重误差和句向量。minilm-l6 是真正的 32 位权重。",
        ),
    )
    model: ModelName = parameter(
        "smollm2-135m",
        Text(en="Language model", zh="语言模型"),
        Text(
            en="Judged by the probabilities that it gives to running text.",
            zh="看它给一段文字的概率。",
        ),
    )
    formats: list[Format] = parameter(
        ["nf4", "fp4", "int4", "int8"],
        Text(en="Formats", zh="量化格式"),
        Text(
            en="nf4: levels from normal quantiles. fp4: sixteen floating-point numbers. int4, int8: equal steps.",
            zh="nf4：级别取自正态分位数。fp4：十六个浮点数。int4、int8：等间距。",
        ),
        min_length=1,
        max_length=4,
    )
    blocks: list[Block] = parameter(
        [64, 256],
        Text(en="Block sizes", zh="块大小"),
        Text(
            en="Weights that share one scale. The error by layer is shown for the first.",
            zh="共用一个缩放因子的权重个数。逐层误差按第一个块大小给出。",
        ),
        min_length=1,
        max_length=8,
    )
    constants: list[Constants] = parameter(
        ["plain", "double"],
        Text(en="Constants", zh="量化常数"),
        Text(
            en="How scales are stored: plain in 32 bits, double in 8 bits with a scale of their own.",
            zh="缩放因子的存法：plain 为 32 位，double 为 8 位并另有自己的缩放因子（双重量化）。",
        ),
        min_length=1,
        max_length=2,
    )
    passages: Annotated[int, Field(ge=1, le=96)] = parameter(
        8,
        Text(en="Passages", zh="段落数"),
        Text(en="Passages of prose that a seed draws, out of 96.", zh="每个种子从 96 段散文中抽取的段落数。"),
    )

    _are_different = different("formats", "blocks", "constants")


FORMATS = {
    "nf4": Text(en="NF4", zh="NF4"),
    "fp4": Text(en="FP4", zh="FP4"),
    "int4": Text(en="4-bit integers", zh="4 位整数"),
    "int8": Text(en="8-bit integers", zh="8 位整数"),
}
CONSTANTS = {
    "plain": Text(en="32-bit constants", zh="32 位常数"),
    "double": Text(en="double quantisation", zh="双重量化"),
}
BLOCK = Text(en="block size", zh="块大小")

LAB = Lab(
    slug="quantisation-error",
    group="quantisation",
    version=1,
    title=Text(en="What four bits cost", zh="四个比特的代价"),
    question=Text(
        en="How large is the error of NF4, FP4 and integers, and how much of it reaches the model's output? What do "
        "block size and double quantisation change, in error and in bits?",
        zh="NF4、FP4 和整数格式的误差有多大，其中多少会传到模型输出？块大小和双重量化对误差和位数各有什么影响？",
    ),
    summary=Text(
        en="Stores every linear layer of two models in each format, reads it back, and compares weights and outputs "
        "with the originals; bits are counted from the tensors stored. all-MiniLM-L6-v2 is the subject for the error "
        "of weights, because SmolLM2's weights here were 4-bit once and lie on a grid already; SmolLM2 is there for "
        "divergence and perplexity, which only a language model has.",
        zh="把两个模型的全部线性层按每种格式存下再读回，与原来的权重和输出比较；位数按实际存下的张量统计。"
        "权重误差以 all-MiniLM-L6-v2 为准，因为这里的 SmolLM2 权重曾经是 4 位的，本来就落在网格上；"
        "用 SmolLM2 是因为散度和困惑度只有语言模型才有。",
    ),
    takeaway=Text(
        en="Four bits leave a relative error of about a tenth in every layer "
        "([[claim:nf4-error-same-in-every-layer]]): with one scale a block, the error is decided by the code and the "
        "block size. NF4 beats FP4 and even steps at the same bits ([[claim:nf4-smallest-weight-error]], "
        "[[claim:nf4-smallest-divergence]]), because its levels are close where the weights are. Eight bits are "
        "nearly free ([[claim:int8-perplexity]]); four bits are not, least of all for a small model "
        "([[claim:nf4-perplexity]]), which is one reason to train an adapter on top. Double quantisation saves bits "
        "at almost no error for 4-bit codes, not for 8-bit ones ([[claim:double-quantisation-error]]). And count the "
        "tables too: the figure usually given ([[claim:nf4-bits]]) leaves out what the library keeps for each matrix "
        "([[claim:nf4-double-bits-counted]]).",
        zh="4 位会在每一层留下约十分之一的相对误差（[[claim:nf4-error-same-in-every-layer]]）："
        "每块一个缩放因子，误差由码表和块大小决定。位数相同时 NF4 优于 FP4 和等间距"
        "（[[claim:nf4-smallest-weight-error]]、[[claim:nf4-smallest-divergence]]），因为它的级别集中在权重多的地方。"
        "8 位几乎没有代价（[[claim:int8-perplexity]]）；4 位则不然，小模型尤其明显（[[claim:nf4-perplexity]]），"
        "这也是要在上面训练适配器的一个原因。双重量化省位数，对 4 位编码几乎不增加误差，对 8 位则不是"
        "（[[claim:double-quantisation-error]]）。还要把表算进去：通常给出的位数（[[claim:nf4-bits]]）"
        "没有算库为每个矩阵保存的表（[[claim:nf4-double-bits-counted]]）。",
    ),
    parameters=QuantisationErrorParameters,
    metrics=(
        Metric(
            "relative_error",
            Text(en="Relative error of the weights (Frobenius norm)", zh="权重的相对误差（Frobenius 范数）"),
            "ratio",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "error_over_nf4",
            Text(en="Error as a multiple of NF4's", zh="误差为 NF4 的多少倍"),
            "ratio",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "error_rise",
            Text(en="Error that double quantisation adds", zh="双重量化增加的误差"),
            "%",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "bits_per_parameter",
            Text(en="Bits a parameter, counted from tensors", zh="每个参数的位数（按张量统计）"),
            "bits",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "embedding_cosine",
            Text(en="Cosine of sentence embeddings, mean", zh="句向量余弦，平均值"),
            "cosine",
            better="higher",
        ),
        Metric(
            "smallest_cosine",
            Text(en="Cosine of sentence embeddings, smallest", zh="句向量余弦，最小值"),
            "cosine",
            better="higher",
        ),
        Metric("kl", Text(en="Divergence from float32", zh="与 float32 的 KL 散度"), "nats per token", better="lower"),
        Metric(
            "kl_over_nf4",
            Text(en="Divergence above NF4's on the same text", zh="同一文本上比 NF4 多出的散度"),
            "nats per token",
            better="lower",
        ),
        Metric("perplexity", Text(en="Perplexity", zh="困惑度"), "", better="lower"),
        Metric(
            "perplexity_rise",
            Text(en="Perplexity above float32's", zh="困惑度比 float32 高出"),
            "%",
            better="lower",
        ),
        Metric("tokens", Text(en="Tokens judged", zh="参与评估的词元数"), "tokens"),
    ),
    charts=(
        Chart(
            "relative_error",
            Text(en="Error by layer, genuine 32-bit weights", zh="逐层误差（真正的 32 位权重）"),
            x="layer",
            series="format",
            x_title=Text(en="layer", zh="层"),
            series_titles=FORMATS,
            where={"part": "encoder"},
        ),
        Chart(
            "relative_error",
            Text(en="Error by block size, genuine 32-bit weights", zh="误差随块大小的变化（真正的 32 位权重）"),
            x="block",
            series="format",
            log_x=True,
            log_y=True,
            x_title=BLOCK,
            series_titles=FORMATS,
            where={"part": "encoder", "constants": "plain"},
        ),
        Chart(
            "kl",
            Text(en="Divergence of the language model from float32", zh="语言模型与 float32 的散度"),
            x="block",
            series="format",
            log_x=True,
            log_y=True,
            x_title=BLOCK,
            series_titles=FORMATS,
            where={"part": "language", "constants": "plain"},
        ),
        Chart(
            "embedding_cosine",
            Text(en="Cosine of sentence embeddings with float32's", zh="句向量与 float32 的余弦"),
            x="block",
            series="format",
            log_x=True,
            x_title=BLOCK,
            series_titles=FORMATS,
            where={"part": "encoder", "constants": "plain"},
        ),
        Chart(
            "bits_per_parameter",
            Text(en="Bits a parameter of NF4", zh="NF4 每个参数的位数"),
            x="block",
            series="constants",
            log_x=True,
            x_title=BLOCK,
            series_titles=CONSTANTS,
            where={"part": "encoder", "format": "nf4"},
        ),
    ),
    guesses=(
        Guess(
            "order",
            "order",
            Text(
                en="Order the formats by relative error of the weights at block size 64, from the smallest (1) to the "
                "largest (4).",
                zh="块大小 64 时，按权重的相对误差从小（1）到大（4）给各格式排序。",
            ),
            "relative_error",
            (
                "block=64,constants=plain,format=nf4,part=encoder",
                "block=64,constants=plain,format=fp4,part=encoder",
                "block=64,constants=plain,format=int4,part=encoder",
                "block=64,constants=plain,format=int8,part=encoder",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=90),
        "standard": Preset({"blocks": [64, 32, 128, 256, 1024], "passages": 16}, seeds=(0, 1, 2), expected_seconds=720),
        "gpu": Preset(
            {"blocks": [64, 32, 128, 256, 512, 1024, 4096], "passages": 48}, seeds=(0, 1, 2), expected_seconds=180
        ),
    },
)
