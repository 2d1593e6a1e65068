"""Does LoRA put new large directions into the weights, and what do they do?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import DIVERGED, LOSS, NATS, VALIDATION_LOSS, BatchSize, LanguageModel, Steps, different

Method = Literal["lora-1", "lora-8", "lora-64", "full"]

METHODS: dict[str, Text] = {
    "lora-1": Text(en="LoRA, rank 1", zh="LoRA，秩 1"),
    "lora-8": Text(en="LoRA, rank 8", zh="LoRA，秩 8"),
    "lora-64": Text(en="LoRA, rank 64", zh="LoRA，秩 64"),
    "full": Text(en="full fine-tuning", zh="全量微调"),
}


class IntruderDimensionsParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that is trained.", zh="要训练的语言模型。")
    )
    methods: list[Method] = parameter(
        ["lora-8", "full"],
        Text(en="Methods", zh="方法"),
        Text(
            en="LoRA of some rank with α = 2r, or full fine-tuning; both train the attention's projections only.",
            zh="某个秩的 LoRA（α = 2r），或全量微调；两者都只训练注意力的投影矩阵。",
        ),
        min_length=1,
        max_length=4,
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=0.1)]] = parameter(
        [1e-3, 1e-2],
        Text(en="Learning rates", zh="学习率"),
        Text(
            en="Of LoRA; full fine-tuning uses a tenth of each. AdamW, constant after four steps of warm-up.",
            zh="LoRA 的学习率；全量微调用各值的十分之一。AdamW，预热四步之后保持不变。",
        ),
        min_length=1,
        max_length=6,
    )
    threshold: Annotated[float, Field(gt=0, le=0.99)] = parameter(
        0.5,
        Text(en="Threshold", zh="阈值"),
        Text(
            en="A direction is an intruder if its cosine with every left singular vector of the base is below this.",
            zh="与基座任一左奇异向量的余弦最大值低于它，就算侵入维度。",
        ),
    )
    top: Annotated[int, Field(ge=1, le=64)] = parameter(
        10,
        Text(en="Directions a matrix", zh="每个矩阵的方向数"),
        Text(
            en="So many left singular vectors of each trained matrix are examined, those of the largest values.",
            zh="检查每个训练后矩阵奇异值最大的若干个左奇异向量。",
        ),
    )
    scales: list[Annotated[float, Field(ge=0, lt=1)]] = parameter(
        [0.0, 0.5],
        Text(en="Scales", zh="缩放系数"),
        Text(
            en="The singular values of the intruders are multiplied by each of these after training.",
            zh="训练之后，把侵入维度的奇异值分别乘以这些系数。",
        ),
        min_length=1,
        max_length=6,
    )
    steps: Steps = explained(
        24, Text(en="On the facts, for each method and rate.", zh="每种方法、每个学习率在事实数据上的步数。")
    )
    batch_size: BatchSize = 4
    held_out: Annotated[int, Field(ge=1, le=48)] = parameter(
        12,
        Text(en="Held-out prose", zh="留出的通用文本"),
        Text(en="Passages to take the loss on prose on.", zh="用多少段通用文本计算损失。"),
    )

    _are_different = different("methods", "learning_rates", "scales")


RATE = Text(en="learning rate of LoRA (full fine-tuning: a tenth)", zh="LoRA 的学习率（全量微调取十分之一）")
SCALE = Text(en="factor of the intruders' singular values", zh="侵入维度奇异值的系数")

LAB = Lab(
    slug="intruder-dimensions",
    group="mechanics",
    version=1,
    title=Text(en="Intruder dimensions", zh="侵入维度"),
    question=Text(
        en="Does LoRA put large singular directions into the weights that resemble none of the base's, and when? What "
        "happens to the task and to general prose if they are scaled down after training?",
        zh="LoRA 会在权重里放进与基座都不相像的大奇异方向吗？什么时候会？训练后把它们缩小，任务和通用文本会怎样？",
    ),
    summary=Text(
        en="Trains the attention's projections by LoRA and in full at several learning rates, and compares the first "
        "left singular vectors of every trained matrix with all of the base's, as Shuttleworth et al. 2024 do. Then "
        "multiplies the singular values of those that resemble none, and takes the losses again.",
        zh="以多个学习率用 LoRA 和全量方式训练注意力的投影矩阵，按 Shuttleworth 等人 2024 年的做法，"
        "把每个训练后矩阵最靠前的左奇异向量与基座的全部左奇异向量比较；"
        "再缩小那些谁都不像的方向的奇异值，重新计算损失。",
    ),
    takeaway=Text(
        en="An intruder dimension is a left singular vector of large singular value in the trained weight whose cosine "
        "with every singular vector of the base is below a threshold; name the threshold and how many vectors you "
        "looked at. Here, in one short training, LoRA of rank 8 has [[claim:measured-intruders-moderate-rate]] of "
        "them at its usual rate and [[claim:measured-intruders-high-rate]] at ten times that, where rank 1 has "
        "[[claim:measured-intruders-rank-one]]; full fine-tuning has [[claim:measured-intruders-full]] at its highest. "
        "So they are first of all a sign of an update that is too large, not of a rank that is too low. Halving their "
        "singular values changes the loss on prose by [[claim:measured-intruders-prose]]; the loss on the task changes "
        "by [[claim:measured-intruders-task]], which three seeds cannot tell from nothing.",
        zh="侵入维度是训练后权重中奇异值大、而与基座每个奇异向量的余弦都低于阈值的左奇异向量；"
        "要说明阈值和检查了多少个向量。在这里的一次短训练中，秩 8 的 LoRA 在惯常学习率下有 "
        "[[claim:measured-intruders-moderate-rate]] 个，十倍学习率下有 [[claim:measured-intruders-high-rate]] 个，"
        "此时秩 1 有 [[claim:measured-intruders-rank-one]] 个；全量微调在最高学习率下有 "
        "[[claim:measured-intruders-full]] 个。所以它首先说明更新太大，而不是秩太低。"
        "把它们的奇异值减半，通用文本的损失变化 [[claim:measured-intruders-prose]]；"
        "任务的损失变化 [[claim:measured-intruders-task]]，三个种子不足以与零区分。",
    ),
    parameters=IntruderDimensionsParameters,
    metrics=(
        Metric(
            "intruders",
            Text(en="Intruder dimensions in all trained matrices", zh="全部训练矩阵中的侵入维度个数"),
            "dimensions",
            better="lower",
        ),
        Metric("intruder_share", Text(en="Share of the directions examined", zh="占所检查方向的比例"), "%"),
        Metric(
            "lowest_cosine",
            Text(en="Lowest of the largest cosines with the base", zh="各方向与基座最大余弦中的最小值"),
            "",
        ),
        Metric(
            "mean_cosine", Text(en="Mean of the largest cosines with the base", zh="各方向与基座最大余弦的平均"), ""
        ),
        Metric("change", Text(en="Size of the change against the weight", zh="变化量相对权重的大小"), "%"),
        VALIDATION_LOSS,
        Metric("prose_loss", Text(en="Loss on prose", zh="通用文本的损失"), "nats per token", better="lower"),
        Metric(
            "task_change",
            Text(en="Change of the task's loss when intruders are scaled", zh="缩小侵入维度后任务损失的变化"),
            NATS,
            better="lower",
        ),
        Metric(
            "prose_change",
            Text(en="Change of the loss on prose when intruders are scaled", zh="缩小侵入维度后通用文本损失的变化"),
            "nats per token",
            better="lower",
        ),
        DIVERGED,
        LOSS,
    ),
    charts=(
        Chart(
            "intruders",
            Text(en="Intruder dimensions against learning rate", zh="侵入维度个数随学习率的变化"),
            x="rate",
            series="method",
            log_x=True,
            x_title=RATE,
            series_titles=METHODS,
        ),
        Chart(
            "lowest_cosine",
            Text(en="Lowest of the largest cosines with the base", zh="各方向与基座最大余弦中的最小值"),
            x="rate",
            series="method",
            log_x=True,
            x_title=RATE,
            series_titles=METHODS,
        ),
        Chart(
            "prose_change",
            Text(en="Loss on prose when intruders are scaled, at 0.01", zh="缩小侵入维度后通用文本损失的变化（0.01）"),
            x="scale",
            series="method",
            x_title=SCALE,
            series_titles=METHODS,
            where={"rate": "0.01"},
        ),
        Chart(
            "task_change",
            Text(en="Loss on the task when intruders are scaled, at 0.01", zh="缩小侵入维度后任务损失的变化（0.01）"),
            x="scale",
            series="method",
            x_title=SCALE,
            series_titles=METHODS,
            where={"rate": "0.01"},
        ),
    ),
    guesses=(
        Guess(
            "none",
            "which",
            Text(
                en="Where does the training make no intruder dimension at all?",
                zh="哪些训练完全不产生侵入维度？",
            ),
            "intruders",
            (
                "method=lora-8,rate=0.001",
                "method=lora-8,rate=0.01",
                "method=full,rate=0.001",
                "method=full,rate=0.01",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=95),
        "standard": Preset(
            {"methods": ["lora-1", "lora-8", "full"], "learning_rates": [1e-3, 3e-3, 1e-2]},
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
        "gpu": Preset(
            {
                "methods": ["lora-1", "lora-8", "lora-64", "full"],
                "learning_rates": [3e-4, 1e-3, 3e-3, 1e-2],
                "scales": [0.0, 0.25, 0.5, 0.75],
                "steps": 200,
                "batch_size": 8,
                "held_out": 48,
            },
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
    # A decomposition of every matrix takes as long as some steps do.
    work=lambda params: (
        len(params.methods)
        * len(params.learning_rates)
        * (params.steps * params.batch_size + 200 + len(params.scales) * (64 + 8 * params.held_out))
    ),
)
