"""How long do LoRA and its relatives need to the same loss, by each of four clocks?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import LOSS, NATS, BatchSize, LanguageModel, Rank, different

Method = Literal["lora", "pissa", "lora-ga", "full"]

METHODS: dict[str, Text] = {
    "lora": Text(en="LoRA", zh="LoRA"),
    "pissa": Text(en="PiSSA", zh="PiSSA"),
    "lora-ga": Text(en="LoRA-GA", zh="LoRA-GA"),
    "full": Text(en="full fine-tuning", zh="全量微调"),
}


class ConvergenceParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that is trained.", zh="要训练的语言模型。")
    )
    methods: list[Method] = parameter(
        ["lora", "pissa", "lora-ga", "full"],
        Text(en="Methods", zh="方法"),
        Text(
            en="lora: A random, B zero. pissa: A and B from the weight's largest singular values. lora-ga: from those "
            "of the gradient, as PEFT does it. full: all weights.",
            zh="lora：A 随机、B 为零。pissa：A、B 取自权重最大的奇异值。lora-ga：取自梯度的奇异值（PEFT 的实现）。"
            "full：训练全部权重。",
        ),
        min_length=1,
        max_length=4,
    )
    target_loss: Annotated[float, Field(gt=0, le=20)] = parameter(
        3.0,
        Text(en="Target loss", zh="目标损失"),
        Text(
            en="On phrasings held out from training, in nats per answer token: the clocks stop when it is reached.",
            zh="在训练中未出现的问法上（每个答案 token 的 nats）：达到它时停表。",
        ),
    )
    learning_rates: list[Annotated[float, Field(gt=0, le=0.1)]] = parameter(
        [2e-3],
        Text(en="Learning rates", zh="学习率"),
        Text(
            en="Each method is judged at its best one; full fine-tuning uses a tenth of each. AdamW, constant "
            "after four steps of warm-up.",
            zh="每种方法取最好的一个来比较；全量微调用各值的十分之一。AdamW，预热四步之后保持不变。",
        ),
        min_length=1,
        max_length=6,
    )
    rank: Rank = explained(
        8, Text(en="Of the adapters on all linear layers, with α = 2r.", zh="全部线性层上适配器的秩，α = 2r。")
    )
    steps: Annotated[int, Field(ge=4, le=2000, multiple_of=4)] = parameter(
        24,
        Text(en="Training steps", zh="训练步数"),
        Text(
            en="The loss is taken after every fourth; a training that has not reached the target by the end has not.",
            zh="每四步计算一次验证损失；到最后仍未达到目标，就记为未达到。",
        ),
    )
    batch_size: BatchSize = 4

    _are_different = different("methods", "learning_rates")


METHOD = Text(en="method", zh="方法")
QUIET = Text(
    en="Seconds to the target, with what comes before training (of a quiet machine)",
    zh="达到目标的秒数，含训练前的准备（须在空闲机器上测）",
)

LAB = Lab(
    slug="convergence",
    group="mechanics",
    version=1,
    title=Text(en="Four clocks to the same loss", zh="达到同样损失的四种时钟"),
    question=Text(
        en="Does LoRA converge more slowly than full fine-tuning, and do PiSSA and LoRA-GA close the gap? The answer "
        "depends on the clock: steps, tokens, operations or seconds.",
        zh="LoRA 比全量微调收敛得慢吗？PiSSA 和 LoRA-GA 能追上吗？答案取决于用哪种时钟：步数、token、运算量还是秒数。",
    ),
    summary=Text(
        en="Trains the same model on the same data in the same order by each method, with every rate of a small grid, "
        "until a stated loss on held-out phrasings, and counts steps, tokens, floating-point operations and seconds, "
        "with what a start from singular vectors costs before the first step.",
        zh="用每种方法、一小组学习率，以同样的数据和顺序训练同一个模型，直到换一种问法时的损失达到给定目标，"
        "统计步数、token、浮点运算量和秒数，并计入用奇异向量初始化在第一步之前的开销。",
    ),
    takeaway=Text(
        en="Ask which clock. At each method's best rate of the grid and to the same loss, LoRA takes "
        "[[claim:measured-full-steps-ratio]] the steps of full fine-tuning, but "
        "[[claim:measured-full-flops-ratio]] the operations, because no weight gradients of frozen matrices are "
        "computed: by that clock five seeds cannot tell the two apart. LoRA takes "
        "[[claim:measured-pissa-steps-ratio]] the steps of PiSSA and "
        "[[claim:measured-loraga-steps-ratio]] those of LoRA-GA; the second must first compute a full gradient, and "
        "counted in operations LoRA takes [[claim:measured-loraga-flops-ratio]] of its. Five seeds do not tell PiSSA "
        "from LoRA here. A comparison at one common learning rate measures the rate, not the method.",
        zh="先问按哪种时钟。各取这组学习率中最好的，达到同样的损失，LoRA 的步数是全量微调的 "
        "[[claim:measured-full-steps-ratio]]，运算量却是 [[claim:measured-full-flops-ratio]]，"
        "因为不必计算冻结矩阵的权重梯度：按运算量，五个种子分不出高低。"
        "LoRA 的步数是 PiSSA 的 [[claim:measured-pissa-steps-ratio]]、"
        "LoRA-GA 的 [[claim:measured-loraga-steps-ratio]]；LoRA-GA 要先算一次完整梯度，"
        "折算成运算量，LoRA 是它的 [[claim:measured-loraga-flops-ratio]]。五个种子分不出 PiSSA 与 LoRA。"
        "在同一个学习率下比较，比的是学习率而不是方法。",
    ),
    parameters=ConvergenceParameters,
    metrics=(
        Metric("reached", Text(en="Target reached (1: yes)", zh="是否达到目标（1：是）"), "", better="higher"),
        Metric("steps_to_target", Text(en="Steps to the target", zh="达到目标的步数"), "steps", better="lower"),
        Metric("tokens_to_target", Text(en="Tokens to the target", zh="达到目标的 token 数"), "tokens", better="lower"),
        Metric(
            "flops_to_target",
            Text(
                en="Operations to the target, with gradients taken before training",
                zh="达到目标的运算量，含训练前求的梯度",
            ),
            "FLOPs",
            better="lower",
        ),
        Metric("seconds_to_target", QUIET, "s", better="lower"),
        Metric(
            "steps_ratio",
            Text(en="Steps of LoRA over steps, to the target", zh="达到目标，LoRA 的步数除以其步数"),
            "×",
            better="higher",
        ),
        Metric(
            "flops_ratio",
            Text(en="Operations of LoRA over operations, to the target", zh="达到目标，LoRA 的运算量除以其运算量"),
            "×",
            better="higher",
        ),
        Metric(
            "seconds_ratio",
            Text(en="Seconds of LoRA over seconds, to the target", zh="达到目标，LoRA 的秒数除以其秒数"),
            "×",
            better="higher",
        ),
        Metric(
            "best_moment_loss",
            Text(en="Loss on held-out phrasings, at the best rate", zh="换一种问法时的损失（最好的学习率）"),
            NATS,
            better="lower",
        ),
        Metric(
            "moment_loss",
            Text(en="Loss on held-out phrasings while training", zh="训练过程中换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "final_loss",
            Text(en="Loss on held-out phrasings after the last step", zh="最后一步之后换一种问法时的损失"),
            NATS,
            better="lower",
        ),
        Metric("best_rate", Text(en="Best learning rate of the grid", zh="这组学习率中最好的"), ""),
        Metric("step_flops", Text(en="Operations of a step", zh="每步的运算量"), "FLOPs", better="lower"),
        Metric("step_seconds", Text(en="Median time of a step", zh="每步用时的中位数"), "s", better="lower"),
        Metric("setup_seconds", Text(en="Time before the first step", zh="第一步之前的准备时间"), "s", better="lower"),
        Metric("diverged", Text(en="Diverged (1: yes)", zh="发散（1：是）"), ""),
        LOSS,
    ),
    charts=(
        Chart(
            "best_moment_loss",
            Text(en="Loss by steps, each method at its best rate", zh="损失随步数的变化（各用最好的学习率）"),
            x="step",
            series="method",
            x_title=Text(en="steps", zh="步数"),
            series_titles=METHODS,
        ),
        Chart(
            "steps_to_target",
            Text(en="Steps against operations to the target", zh="达到目标的步数与运算量"),
            x="method",
            kind="scatter",
            x_metric="flops_to_target",
            x_titles=METHODS,
        ),
        Chart("seconds_to_target", QUIET, x="method", kind="bar", x_title=METHOD, x_titles=METHODS),
    ),
    guesses=(
        Guess(
            "steps",
            "value",
            Text(
                en="To the same loss, each at its best learning rate: how many times as many steps as full "
                "fine-tuning does LoRA take?",
                zh="各取最好的学习率，达到同样的损失，LoRA 的步数是全量微调的多少倍？",
            ),
            "steps_ratio",
            ("method=full",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=145),
        "standard": Preset({"learning_rates": [1e-3, 3e-3]}, seeds=(0, 1, 2, 3, 4), expected_seconds=780),
        "gpu": Preset(
            {"steps": 200, "learning_rates": [3e-4, 1e-3, 3e-3], "batch_size": 8, "target_loss": 1.0},
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
    work=lambda params: len(params.methods) * len(params.learning_rates) * params.steps * (params.batch_size + 16),
)
