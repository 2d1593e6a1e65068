"""Which recipes fit a GPU, with how much room, and which of them to try first?"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from kb.text import Text
from labs.catalog.memory_simulator import gib
from labs.declaration import Chart, Guess, Lab, Metric, Parameters, Preset, parameter
from labs.memory.recipe import ArchitectureName, Recipe
from labs.shared import Rank, different

RecipeName = Literal[
    "full", "full-small", "lora", "lora-checkpointing", "lora-small", "qlora", "qlora-checkpointing", "qlora-small"
]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)
SMALL: dict[str, Any] = {"checkpointing": "non-reentrant", "loss": "fused"}
CHECKPOINTING: dict[str, Any] = {"checkpointing": "non-reentrant"}
CHANGES: dict[RecipeName, dict[str, Any]] = {
    "full": {"method": "full"},
    "full-small": {"method": "full", "optimizer": "adamw-8bit", **SMALL},
    "lora": {},
    "lora-checkpointing": CHECKPOINTING,
    "lora-small": SMALL,
    "qlora": {"method": "qlora"},
    "qlora-checkpointing": {"method": "qlora", **CHECKPOINTING},
    "qlora-small": {"method": "qlora", **SMALL},
}
TITLES: dict[str, Text] = {
    "full": Text(en="full, AdamW", zh="全量，AdamW"),
    "full-small": Text(en="full, checkpointing, fused loss, 8-bit AdamW", zh="全量，重计算、融合损失、8 位 AdamW"),
    "lora": Text(en="LoRA in bf16", zh="LoRA，bf16"),
    "lora-checkpointing": Text(en="LoRA, checkpointing", zh="LoRA，重计算"),
    "lora-small": Text(en="LoRA, checkpointing, fused loss", zh="LoRA，重计算、融合损失"),
    "qlora": Text(en="QLoRA", zh="QLoRA"),
    "qlora-checkpointing": Text(en="QLoRA, checkpointing", zh="QLoRA，重计算"),
    "qlora-small": Text(en="QLoRA, checkpointing, fused loss", zh="QLoRA，重计算、融合损失"),
}
# What is trained and on which base: the more of both, the better a result may be expected.
QUALITY: dict[RecipeName, int] = {name: 0 if "full" in name else 2 if "qlora" in name else 1 for name in RECIPES}


def passes(name: RecipeName) -> int:
    """FLOPs of a step in forward passes of the base: backward is two for all weights, one for none, and one again."""
    return (3 if QUALITY[name] == 0 else 2) + ("checkpointing" in CHANGES[name])


def recipe_of(name: RecipeName, model: str, rank: int, batch_size: int, sequence_length: int) -> Recipe:
    size = {"rank": rank, "batch_size": batch_size, "sequence_length": sequence_length}
    return Recipe(**{"model": model, "attention": "flash", **size, **CHANGES[name]})


class FitPlannerParameters(Parameters):
    models: list[ArchitectureName] = parameter(
        ["llama-2-7b"],
        Text(en="Models", zh="模型"),
        Text(en="Their shapes; weights are not needed.", zh="只需要形状，不需要权重。"),
        min_length=1,
        max_length=4,
    )
    gpu_gib: Annotated[int, Field(ge=4, le=288)] = parameter(
        24,
        Text(en="Memory of the GPU in GiB", zh="显卡显存（GiB）"),
        Text(en="A card sold with 24 GB has 24 GiB.", zh="标称 24 GB 的卡就是 24 GiB。"),
    )
    sequence_length: Annotated[int, Field(ge=16, le=32_768)] = parameter(
        1024,
        Text(en="Sequence length", zh="序列长度"),
        Text(en="Tokens of the longest row of the data.", zh="数据中最长一行的 token 数。"),
    )
    rank: Rank = 16
    most_rows: Annotated[int, Field(ge=1, le=64)] = parameter(
        4,
        Text(en="Largest micro-batch", zh="最大微批"),
        Text(en="Micro-batches are doubled up to this.", zh="微批从 1 开始翻倍，最多到这个数。"),
    )

    _are_different = different("models", noun="model")


RECIPE = Text(en="recipe", zh="配置")

LAB = Lab(
    slug="fit-planner",
    group="memory",
    version=1,
    title=Text(en="What fits on this GPU", zh="这张卡放得下什么"),
    question=Text(
        en="Given a GPU, a model and the length of the data: which recipes fit, how much room is left, and "
        "which is to "
        "be tried first?",
        zh="给定显卡、模型和数据长度：哪些配置放得下？还剩多少？先试哪一个？",
    ),
    summary=Text(
        en="Simulates a training step of eight common recipes with one row, and doubles the micro-batch as "
        "long as what "
        "PyTorch reserves and the CUDA context still fit. What fits is put in order: first by what may "
        "be expected of "
        "the result (all weights, an adapter on 16 bits, an adapter on 4 bits), then by the FLOPs of a step.",
        zh="对八种常见配置各模拟一步训练，先用一行数据，再让微批翻倍，直到 PyTorch 预留的显存加上 CUDA 上下文放不下。"
        "放得下的再排序：先看对结果的预期（训练全部权重、16 位基座上的适配器、4 位基座上的适配器），再看一步的 FLOPs。",
    ),
    takeaway=Text(
        en="Do the sum aloud: weights, then what the method adds, then what a row costs. For a 7B model and one row of "
        "1024 tokens full fine-tuning reserves [[claim:fit-7b-full-24gb]], far beyond 24 GB; LoRA on the bf16 base "
        "[[claim:fit-7b-lora-24gb]]. With checkpointing and a fused loss LoRA takes a micro-batch of "
        "[[claim:fit-7b-lora-small-rows]], and QLoRA with checkpointing reserves [[claim:fit-7b-qlora-reserved]]. For "
        "a 3B model the first thing to change is not the method: full fine-tuning with plain AdamW reserves "
        "[[claim:fit-3b-full-reserved]], with checkpointing, a fused loss and 8-bit states "
        "[[claim:fit-3b-full-small-reserved]].",
        zh="把账算出来：先算权重，再算方法带来的部分，再算一行数据的开销。7B 模型、一行 1024 个 token，"
        "全量微调预留 [[claim:fit-7b-full-24gb]]，远超 24 GB；bf16 基座上的 LoRA 预留 [[claim:fit-7b-lora-24gb]]。"
        "打开重计算和融合损失后，LoRA 的微批可到 [[claim:fit-7b-lora-small-rows]]；QLoRA 开重计算，"
        "预留 [[claim:fit-7b-qlora-reserved]]。3B 模型先要改的不是方法：普通 AdamW 全量微调预留 "
        "[[claim:fit-3b-full-reserved]]，加上重计算、融合损失和 8 位状态只要 [[claim:fit-3b-full-small-reserved]]。",
    ),
    parameters=FitPlannerParameters,
    metrics=(
        gib("reserved", Text(en="Reserved with one row", zh="一行数据时预留")),
        Metric(
            "headroom",
            Text(en="Room left with one row", zh="一行数据时的余量"),
            "GiB",
            stochastic=False,
            better="higher",
        ),
        Metric("fits", Text(en="Fits with one row", zh="一行数据放得下"), "1 if so", stochastic=False, better="higher"),
        Metric(
            "rows",
            Text(en="Largest micro-batch that fits", zh="放得下的最大微批"),
            "examples",
            stochastic=False,
            better="higher",
        ),
        Metric(
            "passes",
            Text(en="FLOPs of a step, in forward passes", zh="一步的 FLOPs，以前向次数计"),
            "×",
            stochastic=False,
            better="lower",
        ),
        Metric("place", Text(en="In which order to try it", zh="尝试的次序"), "", stochastic=False, better="lower"),
    ),
    charts=(
        Chart(
            "reserved",
            Text(en="Reserved memory with one row", zh="一行数据时预留的显存"),
            x="recipe",
            series="model",
            kind="bar",
            x_title=RECIPE,
            x_titles=TITLES,
        ),
        Chart(
            "rows",
            Text(en="Largest micro-batch that fits", zh="放得下的最大微批"),
            x="recipe",
            series="model",
            kind="bar",
            x_title=RECIPE,
            x_titles=TITLES,
        ),
    ),
    guesses=(
        Guess(
            "too-large",
            "which",
            Text(
                en="Which of these recipes for Llama 2 7B do not fit on the GPU, even with one row a batch?",
                zh="Llama 2 7B 的这些配方中，哪些即使每批只有一行也装不进这张显卡？",
            ),
            "fits",
            (
                "model=llama-2-7b,recipe=full",
                "model=llama-2-7b,recipe=full-small",
                "model=llama-2-7b,recipe=lora",
                "model=llama-2-7b,recipe=lora-checkpointing",
                "model=llama-2-7b,recipe=qlora",
                "model=llama-2-7b,recipe=qlora-checkpointing",
            ),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=100),
        "standard": Preset(
            {"models": ["llama-2-7b", "llama-3.2-3b"], "most_rows": 16}, seeds=(0, 1, 2), expected_seconds=300
        ),
        "gpu": Preset(
            {"models": ["llama-3.1-8b", "llama-2-70b"], "gpu_gib": 80, "sequence_length": 4096},
            seeds=(0,),
            expected_seconds=400,
        ),
    },
    work=lambda params: len(params.models) * (2 + params.most_rows.bit_length()),
)
