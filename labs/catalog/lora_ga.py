"""Does a start from the gradient make LoRA learn faster?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, parameter
from labs.shared import LOSS, NATS, Alpha, BatchSize, LanguageModel, different

Start = Literal["kaiming", "peft", "paper"]

STARTS: dict[str, Text] = {
    "kaiming": Text(en="default (A random, B zero)", zh="默认（A 随机、B 为零）"),
    "peft": Text(en="LoRA-GA by PEFT", zh="PEFT 的 LoRA-GA"),
    "paper": Text(en="LoRA-GA by the paper", zh="论文的 LoRA-GA"),
}


class LoraGaParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    starts: list[Start] = parameter(
        ["kaiming", "peft", "paper"],
        Text(en="Starts", zh="初始化方式"),
        Text(
            en="kaiming: PEFT's default. peft: its LoRA-GA with the scale stable, where B keeps the singular values. "
            "paper: unit singular vectors in A and B, both scaled by the fourth root of d_out over √γ.",
            zh="kaiming：PEFT 默认。peft：PEFT 的 LoRA-GA（缩放 stable，B 中保留奇异值）。"
            "paper：A、B 都用单位奇异向量，再都乘以 d_out 的四次方根除以 √γ。",
        ),
        min_length=1,
        max_length=3,
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=0.1)]] = parameter(
        [5e-4, 3e-3],
        Text(en="Learning rates", zh="学习率"),
        Text(
            en="Every start is trained with each, and judged by its best. AdamW, constant after two steps of warm-up.",
            zh="每种初始化都用各个学习率训练，取最好的一个来比较。AdamW，预热两步后保持不变。",
        ),
        min_length=1,
        max_length=6,
    )
    rank: Annotated[int, Field(ge=1, le=128)] = parameter(
        8, Text(en="Rank", zh="秩"), Text(en="The rank r of the adapters.", zh="适配器的秩 r。")
    )
    alpha: Alpha = 16
    gamma: Annotated[int, Field(ge=1, le=1024)] = parameter(
        16,
        Text(en="Gamma", zh="Gamma（γ）"),
        Text(en="The larger, the smaller LoRA-GA's start. The paper uses 16.", zh="越大，初值越小。论文用 16。"),
    )
    gradient_batches: Annotated[int, Field(ge=1, le=64)] = parameter(
        4,
        Text(en="Batches for the gradient", zh="估计梯度的批数"),
        Text(en="Their mean gradient is what is decomposed.", zh="对它们的平均梯度作奇异值分解。"),
    )
    steps: Annotated[int, Field(ge=4, le=2000, multiple_of=4)] = parameter(
        12,
        Text(en="Training steps", zh="训练步数"),
        Text(en="The loss is taken at four of them, evenly spaced.", zh="在其中均匀分布的四步计算验证损失。"),
    )
    batch_size: BatchSize = 8

    _are_different = different("starts", "learning_rates")


START = Text(en="start", zh="初始化")
RATE = Text(en="learning rate", zh="学习率")
STEP = Text(en="steps", zh="步数")

LAB = Lab(
    slug="lora-ga",
    group="methods",
    version=1,
    title=Text(en="LoRA-GA: a start from the gradient", zh="LoRA-GA：从梯度出发的初始化"),
    question=Text(
        en="LoRA-GA fills A and B with singular vectors of the gradient so that the first steps follow full "
        "fine-tuning. Does it learn faster than the default start when each has its own best learning rate?",
        zh="LoRA-GA 用梯度的奇异向量填充 A 和 B，让头几步贴近全量微调。"
        "各自用最合适的学习率时，它真的比默认初始化学得快吗？",
    ),
    summary=Text(
        en="Starts adapters in three ways (the default, PEFT's LoRA-GA, and the start as the paper and its authors' "
        "code have it), trains each with every rate of a small grid on the same data in the same order, and compares "
        "loss and steps at the best rate of each.",
        zh="用三种方式初始化适配器（默认、PEFT 的 LoRA-GA、论文及作者代码中的 LoRA-GA），"
        "各用一小组学习率、同样的数据和顺序训练，再在各自最好的学习率下比较损失和步数。",
    ),
    takeaway=Text(
        en="With B = 0 the first step moves B only, inside the row space of a random A: that space holds "
        "[[claim:measured-random-gradient-share]] of the gradient's energy, the top singular vectors hold "
        "[[claim:measured-loraga-gradient-share]]. Subtracting sBA from the weight keeps the model the same at the "
        "start ([[claim:measured-loraga-start-equals-base]]). At a common rate LoRA-GA looks far better, "
        "[[claim:measured-loraga-common-rate]] against [[claim:measured-default-common-rate]]; with each at its own "
        "best rate nothing is left of it here: to the same loss the default takes [[claim:measured-loraga-speedup]] "
        "the steps of PEFT's start and [[claim:measured-loraga-paper-speedup]] those of the paper's, which says up to "
        "[[claim:lora-ga-speedup]]. Name the "
        "implementation: PEFT multiplies B by the singular values and leaves A alone, the authors scale both and use "
        "no singular values ([[claim:loraga-peft-singular-values]]).",
        zh="B = 0 时，第一步只动 B，而且被限制在随机 A 的行空间里：这个空间只含梯度能量的 "
        "[[claim:measured-random-gradient-share]]，而最大的几个奇异向量含 [[claim:measured-loraga-gradient-share]]。"
        "从权重中减去 sBA，起点的模型不变（[[claim:measured-loraga-start-equals-base]]）。"
        "学习率相同时 LoRA-GA 看起来好得多：[[claim:measured-loraga-common-rate]] 对 "
        "[[claim:measured-default-common-rate]]；各用最好的学习率，这里就不再有优势：达到同样损失，"
        "默认初始化的步数是 PEFT 版的 [[claim:measured-loraga-speedup]]、论文版的 "
        "[[claim:measured-loraga-paper-speedup]]，论文说最多 [[claim:lora-ga-speedup]]。"
        "还要说清是哪个实现：PEFT 把 B 乘上奇异值、A 不缩放，"
        "作者的代码则两者都缩放、不用奇异值（[[claim:loraga-peft-singular-values]]）。",
    ),
    parameters=LoraGaParameters,
    metrics=(
        Metric(
            "best_moment_loss",
            Text(en="Loss on held-out phrasings, at the best rate", zh="换一种问法时的损失（最好的学习率）"),
            NATS,
            better="lower",
        ),
        Metric(
            "validation_loss",
            Text(en="Loss on held-out phrasings after training", zh="训练后换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "moment_loss",
            Text(en="Loss on held-out phrasings while training", zh="训练过程中换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric("diverged", Text(en="Diverged (1: yes)", zh="发散（1：是）"), "", better="lower"),
        Metric("best_rate", Text(en="Best learning rate of the grid", zh="这组学习率中最好的"), ""),
        Metric(
            "gain",
            Text(
                en="Loss won over the default start, each at its best rate",
                zh="比默认初始化降低的损失（各取最好）",
            ),
            NATS,
            better="higher",
        ),
        Metric(
            "speedup",
            Text(en="Steps of the default start over steps, to the same loss", zh="达到同样损失，默认步数除以其步数"),
            "×",
            better="higher",
        ),
        Metric(
            "gradient_share",
            Text(en="Share of the gradient's energy in the row space of A", zh="A 的行空间所含的梯度能量"),
            "%",
            better="higher",
        ),
        Metric("offset_share", Text(en="Size of sBA at the start against W", zh="起点 sBA 相对 W 的大小"), "%"),
        Metric(
            "initial_logit_difference",
            Text(en="Largest logit difference to the base before training", zh="训练前与基座 logit 差的最大值"),
            "logits",
            better="lower",
        ),
        LOSS,
        Metric(
            "base_validation_loss",
            Text(en="Loss of the base on held-out phrasings", zh="基座换一种问法时的损失"),
            NATS,
            stochastic=False,
        ),
    ),
    charts=(
        Chart(
            "best_moment_loss",
            Text(en="Loss while training, each start at its best rate", zh="训练过程中的损失（各用最好的学习率）"),
            x="step",
            series="start",
            x_title=STEP,
            series_titles=STARTS,
        ),
        Chart(
            "validation_loss",
            Text(en="Loss after training against learning rate", zh="训练后的损失随学习率的变化"),
            x="rate",
            series="start",
            log_x=True,
            x_title=RATE,
            series_titles=STARTS,
        ),
        Chart(
            "gradient_share",
            Text(en="How much of the gradient the first step can follow", zh="第一步能跟随多少梯度"),
            x="start",
            kind="bar",
            x_title=START,
            x_titles=STARTS,
        ),
    ),
    guesses=(
        Guess(
            "gradient-share",
            "value",
            Text(
                en="What share of the gradient's energy lies in the row space of a random A of rank 8, in percent?",
                zh="秩 8 的随机 A 的行空间含有梯度能量的百分之几？",
            ),
            "gradient_share",
            ("start=kaiming",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=150),
        "standard": Preset({"steps": 24, "learning_rates": [3e-4, 1e-3, 3e-3]}, seeds=(0, 1, 2), expected_seconds=1100),
        "gpu": Preset(
            {"steps": 200, "learning_rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "gradient_batches": 32},
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
)
