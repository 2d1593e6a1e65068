"""What should a 4-bit model learn from: its own 16-bit original, or labels?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import DIVERGED, LOSS, Alpha, BatchSize, LanguageModel, LearningRate, Rank, Steps, TargetModules

Training = Literal["none", "labels", "distilled"]
TextName = Literal["answers", "prose"]


class QadParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m",
        Text(
            en="The teacher is this model as it is, the student the same model in four bits with an adapter.",
            zh="教师是这个模型本身；学生是同一个模型的 4 位版本，带一个适配器。",
        ),
    )
    rank: Rank = 8
    alpha: Alpha = 16
    target_modules: TargetModules = "all-linear"
    steps: Steps = explained(
        12,
        Text(
            en="Optimiser steps, the same data in the same order for both trainings.",
            zh="优化步数；两种训练的数据及顺序相同。",
        ),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 1e-3
    passages: Annotated[int, Field(ge=1, le=48)] = parameter(
        8,
        Text(en="Passages", zh="段落数"),
        Text(
            en="Held-out passages of prose that the student is compared on, out of 48.",
            zh="用来比较学生模型的留出散文段落数，共 48 段。",
        ),
    )


TRAININGS = {
    "none": Text(en="4-bit, not trained", zh="4 位，不训练"),
    "labels": Text(en="trained on labels", zh="用标签训练"),
    "distilled": Text(en="distilled from the original", zh="从原模型蒸馏"),
}
TEXTS = {
    "answers": Text(en="held-out answers", zh="留出的答案"),
    "prose": Text(en="prose", zh="散文"),
}
TRAINING = Text(en="training", zh="训练方式")

LAB = Lab(
    slug="qad",
    group="quantisation",
    version=1,
    title=Text(en="Distilling into four bits", zh="蒸馏到 4 位"),
    question=Text(
        en="Does a 4-bit model recover better by imitating its own unquantised original than by training on labels? "
        "What does either do to answers of the trained kind and to prose that it never saw?",
        zh="要恢复 4 位模型，模仿它自己未量化的原模型，是否比用标签训练更好？"
        "两种做法分别怎样影响同类的答案，以及训练中没有出现过的散文？",
    ),
    summary=Text(
        en="The student is the model in NF4 with double quantisation and an adapter, the teacher is the model before "
        "that. Both trainings take the same docstring questions in the same order, with the loss on the answers' "
        "tokens: cross-entropy with the answer, or the divergence KL(teacher ‖ student), which never looks at the "
        "answer. Judged on held-out answers and on prose: how far the student's next-token probabilities are from "
        "the teacher's, and its loss. The codes stay frozen, so this is the cheap relative of quantisation-aware "
        "distillation, which trains all weights through the rounding.",
        zh="学生是 NF4 加双重量化并带适配器的模型，教师是量化之前的模型。两种训练用同样的文档字符串问题、同样的顺序，"
        "只在答案的词元上计算损失：与答案的交叉熵，或散度 KL(教师 ‖ 学生)，后者完全不看答案。"
        "在留出的答案和散文上评价：学生的下一词元概率离教师多远，以及它的损失。"
        "编码保持冻结，所以这是量化感知蒸馏的廉价版本；完整的做法会穿过舍入训练全部权重。",
    ),
    takeaway=Text(
        en="Quantisation-aware distillation asks a 4-bit student to give its own original's probabilities back. That "
        "undoes part of the damage on text of the trained kind ([[claim:qad-removes-divergence]]) and needs no labels. "
        "Labels pull elsewhere: they lower the loss on their kind of answer "
        "([[claim:labels-lower-answer-loss]]), but the student moves away from the model it came from "
        "([[claim:labels-move-away]]). Distillation restores it on other text too "
        "([[claim:qad-restores-prose]]). Closer to the original is not the same as a lower loss: on prose the labels "
        "did no harm in so short a training ([[claim:qad-keeps-prose]]). So the choice is a question of aim: restore "
        "*this* model, or teach it the data.",
        zh="量化感知蒸馏让 4 位学生还原自己原模型的概率。它能在同类文本上消除一部分损伤"
        "（[[claim:qad-removes-divergence]]），而且不需要标签。标签则把模型拉向别处：同类答案的损失更低"
        "（[[claim:labels-lower-answer-loss]]），但学生离原来的模型更远（[[claim:labels-move-away]]）。"
        "蒸馏在其他文本上也能还原（[[claim:qad-restores-prose]]）。不过离原模型更近不等于损失更低："
        "训练这么短，标签并没有损害散文（[[claim:qad-keeps-prose]]）。所以取决于目标：是恢复*这个*模型，还是教它这批数据。",
    ),
    parameters=QadParameters,
    metrics=(
        LOSS,
        Metric(
            "kl",
            Text(en="Divergence from the teacher", zh="与教师的散度"),
            "nats per token",
            better="lower",
        ),
        Metric(
            "kl_removed",
            Text(en="Divergence that the training removed", zh="训练消除的散度"),
            "%",
            better="higher",
        ),
        Metric("text_loss", Text(en="Loss on the text", zh="文本上的损失"), "nats per token", better="lower"),
        Metric(
            "loss_above_teacher",
            Text(en="Loss above the teacher's", zh="损失比教师高出"),
            "nats per token",
            better="lower",
        ),
        Metric(
            "loss_above_labels",
            Text(en="Loss above that after training on labels", zh="损失比用标签训练后高出"),
            "nats per token",
            better="lower",
        ),
        Metric("tokens_judged", Text(en="Tokens judged", zh="参与评估的词元数"), "tokens", stochastic=False),
        DIVERGED,
    ),
    charts=(
        Chart(
            "kl",
            Text(en="How far the student is from its original", zh="学生离原模型有多远"),
            x="training",
            series="text",
            kind="bar",
            x_title=TRAINING,
            x_titles=TRAININGS,
            series_titles=TEXTS,
        ),
        Chart(
            "loss_above_teacher",
            Text(en="Loss above the original's", zh="损失比原模型高出"),
            x="training",
            series="text",
            kind="bar",
            x_title=TRAINING,
            x_titles=TRAININGS,
            series_titles=TEXTS,
        ),
    ),
    guesses=(
        Guess(
            "distance",
            "order",
            Text(
                en="Order the 4-bit models by how far their predictions on answers are from those of the "
                "unquantised teacher, from the nearest (1) to the farthest (3).",
                zh="按 4 位模型在答案上的预测离未量化教师的远近，从最近（1）到最远（3）排序。",
            ),
            "kl",
            (
                "text=answers,training=none",
                "text=answers,training=labels",
                "text=answers,training=distilled",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=130),
        "standard": Preset({"steps": 30, "passages": 24}, seeds=(0, 1, 2), expected_seconds=500),
        "gpu": Preset({"steps": 200, "batch_size": 32, "passages": 48}, seeds=(0, 1, 2), expected_seconds=300),
    },
    work=lambda params: params.steps * params.batch_size + 4 * params.passages,
)
