"""Does more information in the codes of a 4-bit base help, and does a shortcut around the adapter?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, ModelName, Parameters, Preset, explained, parameter
from labs.shared import (
    DIVERGED,
    LOSS,
    NATS,
    VALIDATION_LOSS,
    Alpha,
    BatchSize,
    LanguageModel,
    LearningRate,
    Steps,
    different,
)

Aim = Literal["none", "entropy", "error"]
Method = Literal["qlora", "iec", "icq", "ir-qlora"]
Reach = Annotated[float, Field(ge=0, le=2)]

AIMS = {
    "none": Text(en="NF4 without a shift", zh="NF4，不平移"),
    "entropy": Text(en="largest entropy (ICQ)", zh="熵最大（ICQ）"),
    "error": Text(en="smallest error", zh="误差最小"),
}
METHODS = {
    "qlora": Text(en="QLoRA", zh="QLoRA"),
    "iec": Text(en="with IEC", zh="加 IEC"),
    "icq": Text(en="with ICQ", zh="加 ICQ"),
    "ir-qlora": Text(en="IR-QLoRA (both)", zh="IR-QLoRA（两者）"),
}


class IrQloraParameters(Parameters):
    encoder: ModelName = parameter(
        "minilm-l6",
        Text(en="Encoder", zh="编码器"),
        Text(
            en="Whose weights entropy and error are judged on. minilm-l6 has genuine 32-bit weights.",
            zh="用它的权重评估熵和误差。minilm-l6 是真正的 32 位权重。",
        ),
    )
    model: LanguageModel = "smollm2-135m"
    reaches: list[Reach] = parameter(
        [0.1, 0.5],
        Text(en="Search ranges", zh="搜索范围"),
        Text(
            en="How far from the median a shift is searched, in standard deviations; 0 is the median alone. The first "
            "is the one that is trained with; the released code has 0.1.",
            zh="在离中位数多远的范围内搜索平移量，以标准差计；0 表示只用中位数。训练用第一个；公开代码用 0.1。",
        ),
        min_length=1,
        max_length=8,
    )
    candidates: Annotated[int, Field(ge=3, le=401)] = parameter(
        21,
        Text(en="Candidates", zh="候选个数"),
        Text(
            en="Shifts tried for each block, evenly spaced. The released code tries 103.",
            zh="每块试的平移量个数，等间隔。公开代码试 103 个。",
        ),
    )
    passages: Annotated[int, Field(ge=1, le=96)] = parameter(
        8,
        Text(en="Passages", zh="段落数"),
        Text(
            en="Passages of prose, out of 96, whose sentence embeddings a seed compares.",
            zh="每个种子从 96 段散文中抽取、用来比较句向量的段落数。",
        ),
    )
    rank: Literal[1, 2, 4, 8, 16, 32, 64] = parameter(
        8,
        Text(en="Rank", zh="秩"),
        Text(
            en="The rank r of the adapters. IEC needs one that divides the sizes of the layers.",
            zh="适配器的秩 r。IEC 要求它能整除各层的尺寸。",
        ),
    )
    alpha: Alpha = 16
    steps: Steps = explained(
        20,
        Text(
            en="Optimiser steps, the same data in the same order for all methods.",
            zh="优化步数；各方法数据及顺序相同。",
        ),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 1e-3

    _are_different = different("reaches")


REACH = Text(en="search range in standard deviations", zh="搜索范围（标准差的倍数）")

LAB = Lab(
    slug="ir-qlora",
    group="quantisation",
    version=1,
    title=Text(en="Information retention in QLoRA", zh="QLoRA 中的信息保留"),
    question=Text(
        en="Do weights survive four bits better when each block is first shifted to the largest entropy of its codes "
        "(ICQ)? And does an adapter on such a base, with a shortcut around it (IEC), learn more than plain QLoRA?",
        zh="先把每个块平移到编码熵最大的位置（ICQ），权重的 4 位量化会更好吗？"
        "在这样的基座上再给适配器加捷径（IEC），会比普通 QLoRA 学得更多吗？",
    ),
    summary=Text(
        en="Codes every linear layer in NF4 with double quantisation, plain and with a shift for each block: the "
        "candidate with the largest entropy, as ICQ takes it, and for comparison the one with the smallest squared "
        "error. all-MiniLM-L6-v2 is the subject for that, because its 32-bit weights are genuine: SmolLM2's weights "
        "here were 4-bit once, so a block holds few different values, and both entropy and error say more about the "
        "grid they came from than about the code. Then the same adapter is trained on SmolLM2 with plain NF4, with "
        "ICQ, with IEC and with both, on the same facts in the same order; a base that was on a grid is no harm to "
        "a comparison of trainings, but its gain from ICQ need not be that of other models.",
        zh="把全部线性层编码成 NF4 加双重量化：不平移，以及每块各平移一次——一种取熵最大的候选（即 ICQ），"
        "另一种取平方误差最小的候选作对照。这部分用 all-MiniLM-L6-v2，因为它的 32 位权重是真的："
        "这里的 SmolLM2 权重曾经是 4 位的，一块里只有少数几个不同的值，熵和误差更多反映原来的网格，而不是编码本身。"
        "然后在 SmolLM2 上训练同样的适配器：普通 NF4、加 ICQ、加 IEC、两者都加，事实与顺序相同。"
        "基座曾在网格上不妨碍比较训练，但它从 ICQ 得到的好处不一定代表其他模型。",
    ),
    takeaway=Text(
        en="ICQ shifts each block of weights before NF4 so that its codes carry more bits, and they do "
        "([[claim:icq-raises-entropy]]), at the price of one more stored constant a block "
        "([[claim:icq-bits]]). But entropy is not error: whether the weights come back more exactly is another "
        "question ([[claim:icq-lowers-error]]), and a shift chosen for the error itself answers it better "
        "([[claim:error-aim-beats-entropy-aim]]). IEC adds averages and repetitions around A and B with two trained "
        "numbers a layer, and folds into an ordinary adapter afterwards ([[claim:iec-learns-more]]). Say what you "
        "measured of the whole on a small model ([[claim:ir-qlora-learns-more]]), and that the paper's gain is about a "
        "point ([[claim:irqlora-mmlu]]): ask for seeds.",
        zh="ICQ 在 NF4 之前平移每个块，让编码带更多信息，这一点成立（[[claim:icq-raises-entropy]]），"
        "代价是每块多存一个常数（[[claim:icq-bits]]）。但熵不等于误差：权重是否还原得更准是另一个问题"
        "（[[claim:icq-lowers-error]]），直接按误差选平移量更有效（[[claim:error-aim-beats-entropy-aim]]）。"
        "IEC 在 A 和 B 旁加上平均与重复两条通路，每层只训练两个数，"
        "训练后可折成普通适配器（[[claim:iec-learns-more]]）。"
        "要说清在小模型上整体测到了什么（[[claim:ir-qlora-learns-more]]），"
        "以及论文自己的提升也只有一个百分点上下（[[claim:irqlora-mmlu]]）：应当追问随机种子。",
    ),
    parameters=IrQloraParameters,
    metrics=(
        Metric("entropy", Text(en="Entropy of a block's codes", zh="块内编码的熵"), "bits", False, "higher"),
        Metric("entropy_gain", Text(en="Entropy above plain NF4's", zh="熵比普通 NF4 高出"), "bits", False, "higher"),
        Metric(
            "relative_error",
            Text(en="Relative error of the weights", zh="权重的相对误差"),
            "ratio",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "error_change",
            Text(en="Error against plain NF4's", zh="误差相对普通 NF4 的变化"),
            "%",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "blocks_with_more_entropy",
            Text(en="Blocks whose entropy rose", zh="熵变大的块"),
            "%",
            stochastic=False,
            better="higher",
        ),
        Metric(
            "blocks_with_less_error",
            Text(en="Blocks whose error fell", zh="误差变小的块"),
            "%",
            stochastic=False,
            better="higher",
        ),
        Metric(
            "bits_per_parameter",
            Text(en="Bits a parameter, counted from the tensors stored", zh="每个参数的位数（按存下的张量统计）"),
            "bits per parameter",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "extra_bits",
            Text(en="Bits a parameter above plain NF4's", zh="每个参数比普通 NF4 多出的位数"),
            "bits per parameter",
            stochastic=False,
            better="lower",
        ),
        Metric(
            "embedding_distance",
            Text(en="1 − cosine of sentence embeddings with float32's", zh="1 − 句向量与 float32 的余弦"),
            "cosine",
            better="lower",
        ),
        LOSS,
        Metric(
            "base_loss",
            Text(en="Loss on held-out phrasings before training", zh="训练之前换一种问法时的损失"),
            NATS,
            stochastic=False,
            better="lower",
        ),
        VALIDATION_LOSS,
        Metric(
            "validation_loss_above",
            Text(en="Loss above that of plain QLoRA", zh="损失比普通 QLoRA 高出"),
            NATS,
            better="lower",
        ),
        Metric("strength_down", Text(en="Mean |β₁|, the path around A", zh="|β₁| 的平均值（A 旁的通路）"), ""),
        Metric("strength_up", Text(en="Mean |β₂|, the path around B", zh="|β₂| 的平均值（B 旁的通路）"), ""),
        DIVERGED,
    ),
    charts=(
        Chart(
            "error_change",
            Text(en="Error of the weights against plain NF4's", zh="权重误差相对普通 NF4 的变化"),
            x="reach",
            series="aim",
            x_title=REACH,
            series_titles=AIMS,
            where={"part": "encoder"},
        ),
        Chart(
            "entropy_gain",
            Text(en="Entropy of a block's codes above plain NF4's", zh="块内编码的熵比普通 NF4 高出"),
            x="reach",
            series="aim",
            x_title=REACH,
            series_titles=AIMS,
            where={"part": "encoder"},
        ),
        Chart(
            "validation_loss",
            Text(en="Loss on held-out phrasings", zh="换一种问法时的损失"),
            x="method",
            kind="bar",
            x_title=Text(en="method", zh="方法"),
            x_titles=METHODS,
        ),
    ),
    guesses=(
        Guess(
            "shift-bits",
            "value",
            Text(
                en="ICQ stores a shift for each block of 64 weights. How many bits does that add to every weight?",
                zh="ICQ 为每 64 个权重的块存一个平移量。平均每个权重因此多占多少位？",
            ),
            "extra_bits",
            ("aim=entropy,part=encoder,reach=0.1",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=130),
        "standard": Preset(
            {"reaches": [0.1, 0.0, 0.25, 0.5, 1.0], "candidates": 103, "steps": 40},
            seeds=(0, 1, 2),
            expected_seconds=600,
        ),
        "gpu": Preset(
            {"reaches": [0.1, 0.0, 0.25, 0.5, 1.0], "candidates": 103, "steps": 200, "batch_size": 32},
            seeds=(0, 1, 2),
            expected_seconds=600,
        ),
    },
    work=lambda params: params.steps * params.batch_size + params.candidates * (len(params.reaches) + 10),
)
