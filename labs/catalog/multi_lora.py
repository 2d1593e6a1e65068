"""What is lost when two adapters are combined into one?"""

from typing import Annotated, Literal

from pydantic import Field

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, explained, parameter
from labs.shared import (
    DIVERGED,
    NATS,
    Alpha,
    BatchSize,
    LanguageModel,
    LearningRate,
    Rank,
    Steps,
    TargetModules,
    different,
)

Pair = Literal["facts", "shared-start", "docs", "conflict"]
Method = Literal["cat", "svd", "linear", "factors", "ties", "dare_linear", "dare_ties", "ties_svd"]
Weight = Annotated[float, Field(gt=0, le=1)]


class MultiLoraParameters(Parameters):
    model: LanguageModel = "smollm2-135m"
    pairs: list[Pair] = parameter(
        ["facts", "conflict"],
        Text(en="Pairs of adapters", zh="适配器组合"),
        Text(
            en="facts: two halves of the facts. shared-start: the same, A starting equal in both. docs: facts and "
            "docstrings. conflict: the same questions with different answers.",
            zh="facts：facts 的两半。shared-start：同上，但两个 A 的初始值相同。docs：facts 与文档字符串。"
            "conflict：同样的问题，不同的答案。",
        ),
        min_length=1,
        max_length=4,
    )
    methods: list[Method] = parameter(
        ["cat", "svd", "linear", "factors", "ties"],
        Text(en="Ways to combine", zh="合并方式"),
        Text(
            en="PEFT's add_weighted_adapter, and factors: the weighted sum of the A and of the B, as in federated "
            "averaging. ties_svd works on the products and is slow.",
            zh="PEFT 的 add_weighted_adapter；另有 factors：对 A、B 分别加权求和，即联邦平均的做法。"
            "ties_svd 作用在乘积上，较慢。",
        ),
        min_length=1,
        max_length=8,
    )
    weights: list[Weight] = parameter(
        [1.0, 0.5],
        Text(en="Weights", zh="权重"),
        Text(
            en="Of each of the two adapters: 1 asks for the sum of the updates, 0.5 for their mean.",
            zh="两个适配器各自的权重：1 表示求两个更新之和，0.5 表示求平均。",
        ),
        min_length=1,
        max_length=2,
    )
    density: Annotated[float, Field(gt=0, le=1)] = parameter(
        0.5,
        Text(en="Density", zh="保留比例"),
        Text(en="Share of the entries that TIES and DARE keep.", zh="TIES 与 DARE 保留的元素比例。"),
    )
    rank: Rank = explained(8, Text(en="The rank r of each adapter.", zh="每个适配器的秩 r。"))
    alpha: Alpha = 16
    target_modules: TargetModules = explained(
        "q_proj,k_proj,v_proj,o_proj",
        Text(
            en="The linear layers that get an adapter. The singular value decompositions take several times as long "
            "with all of them.",
            zh="加上适配器的线性层。若选全部线性层，奇异值分解的时间是数倍。",
        ),
    )
    steps: Steps = 40
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 3e-3

    _are_different = different("pairs", "methods", "weights")


PAIRS = {
    "facts": Text(en="two halves of the facts", zh="facts 的两半"),
    "shared-start": Text(en="two halves, A starting equal", zh="facts 的两半，A 初始相同"),
    "docs": Text(en="facts and docstrings", zh="facts 与文档字符串"),
    "conflict": Text(en="same questions, other answers", zh="同样的问题，不同的答案"),
}
ALL_METHODS = ["cat", "svd", "linear", "factors", "ties", "dare_linear", "dare_ties"]
METHOD = Text(en="way to combine", zh="合并方式")

LAB = Lab(
    slug="multi-lora",
    group="mechanics",
    version=1,
    title=Text(en="Combining two adapters", zh="合并两个适配器"),
    question=Text(
        en="Which ways of combining two adapters give the sum of their updates, and how much of each task survives?",
        zh="哪些合并方式真正得到两个更新之和？合并之后，每个任务还剩多少？",
    ),
    summary=Text(
        en="Trains adapters on different parts of the data, combines two of them in each way, and compares the "
        "combined update with the weighted sum of the two updates, computed layer by layer. Then it asks both tasks: "
        "the gain of an adapter alone over the base is 100 %.",
        zh="在数据的不同部分上各训练一个适配器，用每种方式把两个合成一个，逐层计算合并后的更新与两个更新加权和的差异。"
        "然后考两个任务：单个适配器相对基座的收益记为 100%。",
    ),
    takeaway=Text(
        en="The update is a product, so add products, not factors. Concatenating the factors gives the sum exactly, at "
        "twice the rank ([[claim:cat-is-the-exact-sum]]); adding or averaging A and B separately leaves cross terms "
        "that nobody trained: the error is [[claim:linear-is-not-the-sum]] of the sum's norm. Averaging the factors of "
        "adapters with different starts misses the mean update by [[claim:factor-averaging-error]]; with the same "
        "starting A it is [[claim:factor-averaging-shared-start]], which is why federated methods share or freeze A. "
        "But an exact sum is no promise: of the gain of two adapters that learned different facts it keeps "
        "[[claim:exact-sum-keeps-both-tasks]] in loss, and of the held-out questions it answers "
        "[[claim:sum-keeps-right-answers]], where each adapter alone answers [[claim:single-adapter-right-answers]]. "
        "So look at answers, not at the loss alone: of two adapters that contradict each other at most half of the "
        "answers can be right, while the loss keeps [[claim:exact-sum-of-contradictions]] of its gain.",
        zh="更新是乘积，所以要加的是乘积，不是因子。把因子拼接起来恰好得到和，代价是秩加倍"
        "（[[claim:cat-is-the-exact-sum]]）；对 A、B 分别相加或平均，会留下没人训练过的交叉项："
        "误差与和的范数之比为 [[claim:linear-is-not-the-sum]]。初始值不同的适配器，平均因子与平均更新相差 "
        "[[claim:factor-averaging-error]]；A 的初始值相同时为 [[claim:factor-averaging-shared-start]]，"
        "所以联邦方法要共享或冻结 A。不过，精确求和也不保证什么：两个适配器学的是不同事实时，"
        "损失上的收益保留 [[claim:exact-sum-keeps-both-tasks]]，留出问题却只答对 [[claim:sum-keeps-right-answers]]，"
        "单独使用时各能答对 [[claim:single-adapter-right-answers]]。所以要看答案，不能只看损失：两个适配器互相矛盾时，"
        "最多只有一半答案能对，而损失上的收益仍保留了 [[claim:exact-sum-of-contradictions]]。",
    ),
    parameters=MultiLoraParameters,
    metrics=(
        Metric(
            "update_error",
            Text(
                en="Error of the combined update, relative to the true weighted sum", zh="合并更新相对真实加权和的误差"
            ),
            "ratio",
            better="lower",
        ),
        Metric(
            "update_cosine", Text(en="Cosine to the true weighted sum", zh="与真实加权和的余弦"), "", better="higher"
        ),
        Metric(
            "gain_kept",
            Text(en="Share of the two adapters' gains that is kept", zh="两个适配器的收益保留的比例"),
            "%",
            better="higher",
        ),
        Metric(
            "answers_right",
            Text(en="Answers of both tasks that are right", zh="两个任务中答对的比例"),
            "%",
            better="higher",
        ),
        Metric(
            "alone_right",
            Text(en="Answers right, each adapter on its own task", zh="每个适配器在自己任务上答对的比例"),
            "%",
        ),
        Metric("loss_first", Text(en="Loss on the first task", zh="第一个任务的损失"), NATS, better="lower"),
        Metric("loss_second", Text(en="Loss on the second task", zh="第二个任务的损失"), NATS, better="lower"),
        Metric("base_first", Text(en="Loss of the base on the first task", zh="基座在第一个任务上的损失"), NATS),
        Metric("base_second", Text(en="Loss of the base on the second task", zh="基座在第二个任务上的损失"), NATS),
        Metric(
            "alone_first", Text(en="Loss of the first adapter on its task", zh="第一个适配器在自己任务上的损失"), NATS
        ),
        Metric(
            "alone_second", Text(en="Loss of the second adapter on its task", zh="第二个适配器在自己任务上的损失"), NATS
        ),
        Metric(
            "other_first",
            Text(en="Loss of the second adapter on the first task", zh="第二个适配器在第一个任务上的损失"),
            NATS,
        ),
        Metric("cosine_between", Text(en="Cosine between the two updates", zh="两个更新之间的余弦"), ""),
        Metric(
            "sign_conflict",
            Text(en="Share of the entries where the two updates have opposite signs", zh="两个更新符号相反的元素比例"),
            "%",
        ),
        DIVERGED,
    ),
    charts=(
        Chart(
            "answers_right",
            Text(en="Right answers after summing the updates", zh="更新求和之后答对的比例"),
            x="method",
            series="pair",
            kind="bar",
            x_title=METHOD,
            series_titles=PAIRS,
            where={"weight": "1.0"},
        ),
        Chart(
            "gain_kept",
            Text(en="What is kept of both tasks, summed updates", zh="两个任务保留的收益（更新求和）"),
            x="method",
            series="pair",
            kind="bar",
            x_title=METHOD,
            series_titles=PAIRS,
            where={"weight": "1.0"},
        ),
        Chart(
            "update_error",
            Text(en="Error against the true sum of the updates", zh="与更新真实之和的误差"),
            x="method",
            series="pair",
            kind="bar",
            x_title=METHOD,
            series_titles=PAIRS,
            where={"weight": "1.0"},
        ),
        Chart(
            "update_error",
            Text(en="Error against the true mean of the updates", zh="与更新真实平均的误差"),
            x="method",
            series="pair",
            kind="bar",
            x_title=METHOD,
            series_titles=PAIRS,
            where={"weight": "0.5"},
        ),
    ),
    guesses=(
        Guess(
            "averaging",
            "value",
            Text(
                en="Averaging the A and the B of two adapters instead of their products: how large is the error, as "
                "a multiple of the true mean of the updates?",
                zh="不对乘积求平均，而是分别平均两个适配器的 A 和 B：误差是真实平均更新的多少倍？",
            ),
            "update_error",
            ("method=factors,pair=facts,weight=0.5",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=170),
        "standard": Preset({"pairs": list(PAIRS), "methods": ALL_METHODS}, seeds=(0, 1, 2), expected_seconds=1000),
        "gpu": Preset(
            {"pairs": list(PAIRS), "methods": ALL_METHODS, "target_modules": "all-linear", "steps": 200},
            seeds=(0, 1, 2),
            expected_seconds=600,
        ),
    },
    # Adapters trained: one more than pairs, because the first is in all of them.
    work=lambda params: (1 + len(params.pairs)) * params.steps * params.batch_size,
)
