"""What does a second task cost the first one, and what helps?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import DIVERGED, NATS, BatchSize, LanguageModel, LearningRate, Rank, different

Strategy = Literal["lora", "full", "replay-5", "replay-10", "ewc", "merge"]

# Short, because they stand under bars and beside marks; the parameter's help says more.
STRATEGIES: dict[str, Text] = {
    "lora": Text(en="LoRA", zh="LoRA"),
    "full": Text(en="full", zh="全量"),
    "replay-5": Text(en="replay 5 %", zh="回放 5%"),
    "replay-10": Text(en="replay 10 %", zh="回放 10%"),
    "ewc": Text(en="EWC", zh="EWC"),
    "merge": Text(en="merge first", zh="先合并"),
}
ALL: list[Strategy] = ["lora", "full", "replay-5", "replay-10", "ewc", "merge"]


class ForgettingParameters(Parameters):
    model: LanguageModel = explained(
        "smollm2-135m", Text(en="The language model that learns both tasks.", zh="先后学习两个任务的语言模型。")
    )
    strategies: list[Strategy] = parameter(
        ["lora", "full", "replay-10", "ewc"],
        Text(en="Strategies", zh="策略"),
        Text(
            en="What is done in the second task. lora: the adapter of the first goes on. full: all weights are trained "
            "in both. replay-5, replay-10: that share of the examples comes from the first task. ewc: springs "
            "hold the adapter where the first task needs it. merge: the adapter is merged, a new one is trained.",
            zh="学第二个任务时怎么做。lora：接着训练第一个任务的适配器。full：两个任务都训练全部权重。"
            "replay-5、replay-10：按该比例混入第一个任务的样本。ewc：用弹簧把适配器拉在第一个任务需要的位置。"
            "merge：先把适配器合并进基座，再训练一个新的。",
        ),
        min_length=1,
        max_length=6,
    )
    first_steps: Annotated[int, Field(ge=1, le=2000)] = parameter(
        20,
        Text(en="Steps on the first task", zh="第一个任务的步数"),
        Text(en="Invented facts.", zh="虚构的事实。"),
    )
    second_steps: Annotated[int, Field(ge=1, le=2000)] = parameter(
        10,
        Text(en="Steps on the second task", zh="第二个任务的步数"),
        Text(en="What functions of Python's standard library do.", zh="解释 Python 标准库函数的用途。"),
    )
    batch_size: BatchSize = 4
    rank: Rank = explained(
        8, Text(en="Of the adapters on all linear layers, with α = 2r.", zh="全部线性层上适配器的秩，α = 2r。")
    )
    learning_rate: LearningRate = explained(
        2e-3,
        Text(
            en="Of LoRA with AdamW, constant after four steps of warm-up.",
            zh="LoRA 的学习率（AdamW）；预热四步之后保持不变。",
        ),
    )
    full_learning_rate: Annotated[float, Field(gt=0, le=0.01)] = parameter(
        2e-4,
        Text(en="Learning rate of full fine-tuning", zh="全量微调的学习率"),
        Text(
            en="About a tenth of LoRA's, as is usual: each method needs its own.",
            zh="通常约为 LoRA 的十分之一：两种方法各有合适的学习率。",
        ),
    )
    ewc_strength: Annotated[float, Field(ge=0, le=1e8)] = parameter(
        1000.0,
        Text(en="Strength of EWC", zh="EWC 的强度"),
        Text(
            en="λ in ½ λ Σ F (θ − θ*)². At 1 the penalty is the first task's loss to second order.",
            zh="½ λ Σ F (θ − θ*)² 中的 λ。取 1 时，惩罚项就是第一个任务损失的二阶近似。",
        ),
    )
    fisher_examples: Annotated[int, Field(ge=1, le=192)] = parameter(
        48,
        Text(en="Examples for the Fisher information", zh="估计 Fisher 信息的样本数"),
        Text(en="Of the first task, one backward pass each.", zh="取自第一个任务，每个样本一次反向传播。"),
    )
    held_out: Annotated[int, Field(ge=1, le=48)] = parameter(
        12,
        Text(en="Held-out rows", zh="留出样本数"),
        Text(
            en="Of the second task and of general prose, to evaluate on; of the first task it is always all 64.",
            zh="用第二个任务和通用文本各多少条留出样本评估；第一个任务总是用全部 64 条。",
        ),
    )

    _are_different = different("strategies")


STRATEGY = Text(en="strategy", zh="策略")

LAB = Lab(
    slug="forgetting",
    group="mechanics",
    version=1,
    title=Text(en="What the second task costs the first", zh="第二个任务让第一个忘了多少"),
    question=Text(
        en="A model that has learned one task learns another: how much of the first does it lose, with LoRA and with "
        "full fine-tuning? Do replay, EWC, or merging before training help?",
        zh="模型学完一个任务再学另一个，第一个会丢多少？LoRA 与全量微调有何不同？回放、EWC、先合并再训练有用吗？",
    ),
    summary=Text(
        en="Teaches a model invented facts, then what Python's functions do, in several ways that all start from the "
        "same point. Measures the loss on the facts before and after the second task, the loss on the second "
        "task, and the loss on prose that belongs to neither.",
        zh="先教模型一组虚构的事实，再教 Python 函数的用途，各种做法从同一个起点开始。"
        "测量学第二个任务前后在事实上的损失、第二个任务的损失，以及与两者都无关的通用文本上的损失。",
    ),
    takeaway=Text(
        en="LoRA does not prevent forgetting: with the adapter on, the second task raises the loss on the first by "
        "[[claim:measured-lora-forgets]], and with full fine-tuning, each at its usual rate, by "
        '[[claim:measured-full-forgets]]. So "LoRA forgets less" is no law: in trainings this short it forgot more '
        "([[claim:measured-lora-forgets-less-than-full]]), probably because its usual rate moves the model further "
        "in a few steps. Replaying some of the first task is the plain remedy: ten per cent of the "
        "examples take back [[claim:measured-replay-saves]], for [[claim:measured-replay-learning-cost]] on the new "
        "task. EWC needs no old data later on, only the Fisher information, and takes back "
        "[[claim:measured-ewc-saves]] here. Merging first changes nothing that the model computes; it takes back "
        "[[claim:measured-merge-saves]]. Always report learning and forgetting together, because what does not "
        "learn does not forget either. Where each task may keep an adapter of its own, nothing is forgotten at all.",
        zh="LoRA 并不能防止遗忘：打开适配器时，学第二个任务让第一个任务的损失上升 [[claim:measured-lora-forgets]]；"
        "全量微调（各用惯常的学习率）上升 [[claim:measured-full-forgets]]。所以“LoRA 忘得少”不是定律："
        "训练这么短时它忘得更多（[[claim:measured-lora-forgets-less-than-full]]），"
        "可能因为它惯用的学习率在几步之内就把模型推得更远。"
        "最朴素的办法是回放：混入一成旧任务样本可挽回 [[claim:measured-replay-saves]]，"
        "新任务的代价是 [[claim:measured-replay-learning-cost]]。EWC 之后不再需要旧数据，只要 Fisher 信息，"
        "这里挽回 [[claim:measured-ewc-saves]]。先合并并不改变模型的计算结果，挽回的是 "
        "[[claim:measured-merge-saves]]。学到多少和忘掉多少要一起报告：什么都不学，自然什么都不忘。"
        "如果每个任务可以保留自己的适配器，就什么都不会忘。",
    ),
    parameters=ForgettingParameters,
    metrics=(
        Metric(
            "forgetting",
            Text(en="Rise of the first task's loss during the second", zh="学第二个任务时第一个任务损失的上升"),
            NATS,
            better="lower",
        ),
        Metric(
            "learning",
            Text(en="Loss won on the second task", zh="第二个任务降低的损失"),
            NATS,
            better="higher",
        ),
        Metric(
            "prose_forgetting",
            Text(en="Rise of the loss on prose, over the base", zh="通用文本的损失比基座上升多少"),
            "nats per token",
            better="lower",
        ),
        Metric(
            "forgetting_saved",
            Text(en="Less forgetting than LoRA that just goes on", zh="比直接继续训练 LoRA 少忘的损失"),
            NATS,
            better="higher",
        ),
        Metric(
            "learning_lost",
            Text(en="Less learning than LoRA that just goes on", zh="比直接继续训练 LoRA 少学的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "first_loss_before",
            Text(en="Loss on the first task before the second", zh="学第二个任务之前，第一个任务的损失"),
            NATS,
            better="lower",
        ),
        Metric(
            "first_loss",
            Text(en="Loss on the first task after the second", zh="学第二个任务之后，第一个任务的损失"),
            NATS,
            better="lower",
        ),
        Metric("second_loss", Text(en="Loss on the second task", zh="第二个任务的损失"), NATS, better="lower"),
        Metric("prose_loss", Text(en="Loss on prose", zh="通用文本的损失"), "nats per token", better="lower"),
        DIVERGED,
        Metric(
            "loss",
            Text(
                en="Training loss on the second task, with EWC's penalty where there is one",
                zh="第二个任务的训练损失（有 EWC 时含惩罚项）",
            ),
            NATS,
            better="lower",
        ),
    ),
    charts=(
        Chart(
            "forgetting",
            Text(en="Learning against forgetting", zh="学到多少与忘掉多少"),
            x="strategy",
            kind="scatter",
            x_metric="learning",
            x_titles=STRATEGIES,
        ),
        Chart(
            "prose_forgetting",
            Text(en="Rise of the loss on prose, over the base", zh="通用文本的损失比基座上升多少"),
            x="strategy",
            kind="bar",
            x_title=STRATEGY,
            x_titles=STRATEGIES,
        ),
    ),
    guesses=(
        Guess(
            "order",
            "order",
            Text(
                en="Order the strategies by how much of the first task they lose while learning the second, from "
                "the least (1) to the most (4).",
                zh="学第二个任务时，第一个任务忘掉多少？从最少（1）到最多（4）给各策略排序。",
            ),
            "forgetting",
            (
                "strategy=lora",
                "strategy=full",
                "strategy=replay-10",
                "strategy=ewc",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=160),
        "standard": Preset(
            {"strategies": ALL, "first_steps": 32, "second_steps": 16}, seeds=(0, 1, 2), expected_seconds=700
        ),
        "gpu": Preset(
            {"strategies": ALL, "first_steps": 200, "second_steps": 200, "batch_size": 8, "held_out": 48},
            seeds=(0, 1, 2),
            expected_seconds=900,
        ),
    },
    work=lambda params: (
        (params.first_steps + len(params.strategies) * params.second_steps) * params.batch_size
        + params.fisher_examples
        + len(params.strategies) * params.held_out
    ),
)
