"""Do the methods change the length and the direction of weights together or against each other?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import LOSS, VALIDATION_LOSS, Alpha, BatchSize, LanguageModel, Rank, TargetModules, different

Method = Literal["lora", "dora", "full"]

METHODS = {
    "lora": Text(en="LoRA", zh="LoRA"),
    "dora": Text(en="DoRA", zh="DoRA"),
    "full": Text(en="full fine-tuning", zh="全量微调"),
}


class DoraDirectionsParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that is trained in each way.", zh="用各种方法训练的语言模型。")
    )
    methods: list[Method] = parameter(
        ["lora", "dora", "full"],
        Text(en="Methods", zh="方法"),
        Text(en="How the model is trained; each starts from the same base.", zh="训练方法；都从同一个基座开始。"),
        min_length=1,
        max_length=3,
    )
    target_modules: TargetModules = explained(
        "q_proj,v_proj",
        Text(
            en="The matrices that are adapted and measured. Full fine-tuning trains everything; the same ones are "
            "measured.",
            zh="加适配器并测量的矩阵。全量微调训练全部参数，但只测量这些矩阵。",
        ),
    )
    rank: Rank = explained(8, Text(en="The rank r of LoRA and DoRA.", zh="LoRA 与 DoRA 的秩 r。"))
    alpha: Alpha = 16
    steps: Annotated[int, Field(ge=4, le=2000)] = parameter(
        16,
        Text(en="Training steps", zh="训练步数"),
        Text(en="Weights are compared at four of them, evenly spaced.", zh="在其中均匀分布的四步比较权重。"),
    )
    batch_size: BatchSize = 8
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = parameter(
        1e-3,
        Text(en="Learning rate of the adapters", zh="适配器的学习率"),
        Text(en="Of AdamW, constant, for LoRA and DoRA.", zh="AdamW 的学习率，保持不变，用于 LoRA 与 DoRA。"),
    )
    full_learning_rate: Annotated[float, Field(gt=0, le=0.01)] = parameter(
        1e-4,
        Text(en="Learning rate of full fine-tuning", zh="全量微调的学习率"),
        Text(en="About a tenth of that of the adapters is usual.", zh="通常约为适配器学习率的十分之一。"),
    )

    _are_different = different("methods", noun="method")


MODULE = Text(en="projection", zh="投影矩阵")
STEP = Text(en="steps", zh="步数")

LAB = Lab(
    slug="dora-directions",
    group="methods",
    version=1,
    title=Text(en="Change of magnitude against change of direction", zh="幅度变化与方向变化"),
    question=Text(
        en="When a weight matrix is trained, do the rows that turn most also change most in length? DoRA rests on the "
        "observation that LoRA couples the two where full fine-tuning does not.",
        zh="训练权重矩阵时，方向转得多的，长度是否也变得多？DoRA 的出发点是：LoRA 把两者绑在一起，而全量微调不会。",
    ),
    summary=Text(
        en="Trains the same model on the same data with LoRA, DoRA and full fine-tuning. At four moments it splits "
        "every measured matrix into the lengths of its rows (one per output) and their directions, takes the mean "
        "change of both against the base, and correlates them over layers and moments, as section 3 of the DoRA paper "
        "does.",
        zh="用 LoRA、DoRA 和全量微调在同样的数据上训练同一个模型。在四个时刻把每个被测矩阵分解为各行（每个输出一行）"
        "的长度与方向，取两者相对基座的平均变化，再像 DoRA 论文第 3 节那样，跨层、跨时刻计算相关系数。",
    ),
    takeaway=Text(
        en="DoRA writes a weight as magnitude times direction and trains the two apart, because its authors saw LoRA "
        "change them in step ([[claim:dora-correlation-lora]]) and full fine-tuning against each other "
        "([[claim:dora-correlation-full]]). Repeated here on the query matrices of another model: LoRA "
        "[[claim:measured-coupling-lora]], DoRA [[claim:measured-coupling-dora]], full fine-tuning "
        "[[claim:measured-coupling-full]]. Say what the number is made of: each point is one matrix at one moment, "
        "both changes grow while training goes on, and so moments pooled together correlate by themselves; over the "
        "layers of the last moment alone LoRA gives [[claim:measured-coupling-lora-last]] and full fine-tuning "
        "[[claim:measured-coupling-full-last]]. And it describes what training does, not what LoRA could represent.",
        zh="DoRA 把权重写成“幅度乘方向”并分开训练，因为作者观察到 LoRA 下两者同步变化"
        "（[[claim:dora-correlation-lora]]），全量微调下此消彼长（[[claim:dora-correlation-full]]）。"
        "我们在另一个模型的 query 矩阵上重做："
        "LoRA [[claim:measured-coupling-lora]]，DoRA [[claim:measured-coupling-dora]]，"
        "全量微调 [[claim:measured-coupling-full]]。要说清这个数怎么来的：每个点是某一时刻的一个矩阵，"
        "而两种变化都随训练增长，所以把各时刻混在一起，本身就会相关；只看最后时刻的各层，LoRA 是 "
        "[[claim:measured-coupling-lora-last]]，全量微调是 [[claim:measured-coupling-full-last]]。"
        "它描述的是训练的结果，不是 LoRA 的表达能力。",
    ),
    parameters=DoraDirectionsParameters,
    metrics=(
        Metric(
            "correlation",
            Text(en="Correlation of the two changes, over layers and moments", zh="两种变化的相关系数（跨层与时刻）"),
            "",
        ),
        Metric(
            "correlation_last",
            Text(
                en="Correlation of the two changes, over layers at the end", zh="两种变化的相关系数（训练结束时跨层）"
            ),
            "",
        ),
        Metric("magnitude_change", Text(en="Mean change of the rows' lengths", zh="各行长度的平均变化"), "weight"),
        Metric("direction_change", Text(en="Mean change of direction, 1 − cos", zh="方向的平均变化（1 − cos）"), ""),
        LOSS,
        VALIDATION_LOSS,
    ),
    charts=(
        Chart(
            "correlation",
            Text(en="Do length and direction change together?", zh="长度与方向是否一起变化？"),
            x="module",
            series="method",
            kind="bar",
            x_title=MODULE,
            series_titles=METHODS,
        ),
        Chart(
            "correlation_last",
            Text(en="The same at the end of training only", zh="只看训练结束时"),
            x="module",
            series="method",
            kind="bar",
            x_title=MODULE,
            series_titles=METHODS,
        ),
        Chart(
            "magnitude_change",
            Text(en="Change of length of the query matrices", zh="query 矩阵的长度变化"),
            x="step",
            series="method",
            where={"module": "q_proj"},
            x_title=STEP,
            series_titles=METHODS,
        ),
        Chart(
            "direction_change",
            Text(en="Change of direction of the query matrices", zh="query 矩阵的方向变化"),
            x="step",
            series="method",
            log_y=True,
            where={"module": "q_proj"},
            x_title=STEP,
            series_titles=METHODS,
        ),
    ),
    guesses=(
        Guess(
            "correlation",
            "order",
            Text(
                en="Do rows that turn more also change more in length? Order the methods by that correlation on the "
                "query projections, from the smallest (1) to the largest (3).",
                zh="转得多的行，长度是否也变得多？按 query 投影上的这一相关系数从小（1）到大（3）给各方法排序。",
            ),
            "correlation",
            (
                "method=lora,module=q_proj",
                "method=dora,module=q_proj",
                "method=full,module=q_proj",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=65),
        "standard": Preset({"steps": 48}, seeds=(0, 1, 2, 3, 4), expected_seconds=620),
        "gpu": Preset({"steps": 400, "target_modules": "all-linear"}, seeds=(0, 1, 2), expected_seconds=600),
    },
)
