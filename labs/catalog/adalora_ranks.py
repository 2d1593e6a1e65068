"""Where does AdaLoRA spend its ranks?"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import NATS, VALIDATION_LOSS, Alpha, BatchSize, LanguageModel, LearningRate


class AdaloraRanksParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m",
        Text(en="The language model whose linear layers are all adapted.", zh="其全部线性层都加适配器的语言模型。"),
    )
    initial_rank: Annotated[int, Field(ge=2, le=64)] = parameter(
        12,
        Text(en="Initial rank", zh="初始秩"),
        Text(
            en="Triplets that every matrix starts with, and can have at most.",
            zh="每个矩阵开始时的三元组数，也是上限。",
        ),
    )
    target_rank: Annotated[int, Field(ge=1, le=63)] = parameter(
        4,
        Text(en="Target rank", zh="目标秩"),
        Text(en="Triplets a matrix that are left in the end, on average.", zh="结束时平均每个矩阵保留的三元组数。"),
    )
    alpha: Alpha = explained(
        32, Text(en="PEFT scales the update by α over the initial rank.", zh="PEFT 把更新量乘以 α 除以初始秩。")
    )
    orthogonality: Annotated[float, Field(ge=0, le=10)] = parameter(
        0.5,
        Text(en="Weight of the orthogonality penalty", zh="正交惩罚的权重"),
        Text(
            en="Keeps the vectors of a matrix apart from each other. It takes part in the scores as well.",
            zh="让同一矩阵的各向量彼此分开；它也参与评分。",
        ),
    )
    steps: Annotated[int, Field(ge=4, le=2000)] = parameter(
        32,
        Text(en="Training steps", zh="训练步数"),
        Text(en="Optimiser steps in all three phases together.", zh="三个阶段合计的优化步数。"),
    )
    initial_steps: Annotated[int, Field(ge=1, le=1000)] = parameter(
        4,
        Text(en="Steps before pruning", zh="剪枝前的步数"),
        Text(en="With all triplets, while scores gather.", zh="保留全部三元组，积累评分。"),
    )
    final_steps: Annotated[int, Field(ge=1, le=1000)] = parameter(
        8,
        Text(en="Steps after pruning", zh="剪枝后的步数"),
        Text(en="With the final ranks.", zh="秩分配不再变化。"),
    )
    batch_size: BatchSize = 8
    learning_rate: LearningRate = explained(
        1e-2,
        Text(
            en="Of AdamW, constant. AdaLoRA bears more than LoRA: its values start at zero, and each factor is small.",
            zh="AdamW 的学习率，保持不变。AdaLoRA 可用更大的值：奇异值从零开始，各因子也小。",
        ),
    )

    @model_validator(mode="after")
    def _leaves_something_to_prune(self) -> Self:
        if self.target_rank >= self.initial_rank:
            raise ValueError("target_rank must be below initial_rank")
        if self.initial_steps + self.final_steps >= self.steps:
            raise ValueError("initial_steps and final_steps together must be below steps")
        return self


MODULES = {
    name: Text(en=name, zh=name)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
}
LAYER = Text(en="layer", zh="层")
MODULE = Text(en="projection", zh="投影矩阵")
STEP = Text(en="step", zh="步")
TRIPLETS = "triplets"

LAB = Lab(
    slug="adalora-ranks",
    group="methods",
    version=1,
    title=Text(en="Where AdaLoRA spends its ranks", zh="AdaLoRA 把秩花在哪里"),
    question=Text(
        en="AdaLoRA prunes singular values until a budget of ranks is left. Which layers and which projections keep "
        "them, and would another seed decide the same?",
        zh="AdaLoRA 不断剪掉奇异值，直到只剩预算规定的秩。哪些层、哪些投影矩阵保住了秩？换一个随机种子还会这样分配吗？",
    ),
    summary=Text(
        en="Adapts every linear layer with PEFT's AdaLoRA on the facts data set, prunes by its scores after each step, "
        "and counts the triplets that are left in every matrix. The maps show layer by projection in the end, and "
        "projection by step on the way; the agreement is the correlation of the final maps of two seeds.",
        zh="用 PEFT 的 AdaLoRA 给全部线性层加适配器，在 facts 数据集上训练，每一步之后按评分剪枝，"
        "并数出每个矩阵剩下的三元组。两张热图分别是最终的“层 × 投影”和过程中的“投影 × 步”；"
        "一致性是两个种子的最终热图之间的相关系数。",
    ),
    takeaway=Text(
        en="AdaLoRA writes the update as PΛQ, scores each triplet by smoothed |weight × gradient|, and keeps the best "
        "over all layers together, so that budget moves to where the loss is sensitive; the total is exactly the "
        "target ([[claim:measured-adalora-budget]]). The paper finds that feed-forward and top layers get more: here "
        "the MLP's matrices get [[claim:measured-adalora-mlp]] triplets more than those of attention on average, the "
        "upper half of the layers [[claim:measured-adalora-top]] more than the lower. Two seeds' maps correlate at "
        "[[claim:measured-adalora-seeds]]. A map says where this loss was sensitive early in this training; it does "
        "not say that uniform ranks of the same total would have done worse.",
        zh="AdaLoRA 把更新写成 PΛQ，用平滑后的 |权重 × 梯度| 给每个三元组打分，在所有层中统一择优，"
        "预算就流向损失敏感的地方；总数恰好等于目标（[[claim:measured-adalora-budget]]）。"
        "论文发现前馈层和靠上的层得到更多：我们这里 MLP 矩阵平均比注意力矩阵多 "
        "[[claim:measured-adalora-mlp]] 个三元组，上半部分的层比下半部分多 [[claim:measured-adalora-top]] 个。"
        "两个种子的热图相关系数为 [[claim:measured-adalora-seeds]]。热图只说明这次训练早期损失对哪里敏感，"
        "并不说明同样总数的均匀分配会更差。",
    ),
    parameters=AdaloraRanksParameters,
    metrics=(
        Metric("rank", Text(en="Rank in the end", zh="最终的秩"), TRIPLETS),
        Metric("mean_rank", Text(en="Mean rank of the projection's matrices", zh="该类投影矩阵的平均秩"), TRIPLETS),
        Metric("final_mean_rank", Text(en="Mean rank in the end", zh="最终的平均秩"), TRIPLETS),
        Metric(
            "total_rank",
            Text(en="Triplets left in all matrices together", zh="所有矩阵合计剩下的三元组"),
            TRIPLETS,
            stochastic=False,
        ),
        Metric(
            "budget", Text(en="Triplets left after the step", zh="该步之后剩下的三元组"), TRIPLETS, stochastic=False
        ),
        Metric(
            "mlp_minus_attention",
            Text(en="Mean rank of the MLP's matrices minus that of attention's", zh="MLP 矩阵与注意力矩阵的平均秩之差"),
            TRIPLETS,
        ),
        Metric(
            "top_minus_bottom",
            Text(en="Mean rank in the upper half of the layers minus the lower", zh="上半层与下半层的平均秩之差"),
            TRIPLETS,
        ),
        Metric(
            "agreement",
            Text(en="Correlation of the ranks with those of another seed", zh="与另一个种子的秩分配的相关系数"),
            "",
        ),
        Metric("loss", Text(en="Training loss without the penalty", zh="训练损失（不含惩罚项）"), NATS),
        VALIDATION_LOSS,
        Metric(
            "trainable_parameters",
            Text(en="Trainable parameters", zh="可训练参数量"),
            "parameters",
            stochastic=False,
        ),
    ),
    charts=(
        Chart(
            "rank",
            Text(en="Final rank by layer and projection", zh="各层、各投影矩阵的最终秩"),
            x="layer",
            series="module",
            kind="heat",
            x_title=LAYER,
            series_titles=MODULES,
        ),
        Chart(
            "mean_rank",
            Text(en="Mean rank by projection while training", zh="训练过程中各投影矩阵的平均秩"),
            x="step",
            series="module",
            kind="heat",
            x_title=STEP,
            series_titles=MODULES,
        ),
        Chart(
            "final_mean_rank",
            Text(en="Mean rank of each projection in the end", zh="各投影矩阵最终的平均秩"),
            x="module",
            kind="bar",
            x_title=MODULE,
        ),
    ),
    guesses=(
        Guess(
            "value-rank",
            "value",
            Text(
                en="All matrices start with the same rank, and the budget leaves a third of it on average. What "
                "mean rank do the value projections keep?",
                zh="所有矩阵从相同的秩开始，预算平均只留三分之一。value 投影最后平均保留多大的秩？",
            ),
            "final_mean_rank",
            ("module=v_proj",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=40),
        "standard": Preset(
            {"steps": 64, "initial_steps": 8, "final_steps": 16}, seeds=(0, 1, 2, 3, 4), expected_seconds=700
        ),
        "gpu": Preset(
            {"steps": 400, "initial_steps": 50, "final_steps": 100, "learning_rate": 5e-3},
            seeds=(0, 1, 2),
            expected_seconds=400,
        ),
    },
)
