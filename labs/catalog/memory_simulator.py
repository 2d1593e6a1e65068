"""How much memory does a training step of any model take, where does it go, and when is it most?"""

from kb.text import Text
from labs.declaration import Chart, Guess, Lab, Metric, Preset
from labs.memory.recipe import Recipe

GIB = "GiB"
CATEGORIES: dict[str, Text] = {
    "parameters": Text(en="parameters", zh="参数"),
    "quantised_parameters": Text(en="quantised parameters", zh="量化参数"),
    "gradients": Text(en="gradients", zh="梯度"),
    "optimizer_states": Text(en="optimizer states", zh="优化器状态"),
    "activations": Text(en="activations", zh="激活"),
    "logits_and_loss": Text(en="logits and loss", zh="logits 与损失"),
    "temporaries": Text(en="temporaries", zh="临时张量"),
}
CATEGORY = Text(en="category", zh="类别")


def gib(name: str, title: Text) -> Metric:
    return Metric(name, title, GIB, stochastic=False, better="lower")


def work(recipe: Recipe) -> float:
    """Blocks that are simulated, times the micro-batches of a step."""
    blocks = recipe.layers if recipe.exact else min(recipe.layers, 18)
    return blocks * min(recipe.accumulation, 2)


LAB = Lab(
    slug="memory-simulator",
    group="memory",
    version=1,
    title=Text(en="Memory of a training step, simulated", zh="训练一步的显存（模拟）"),
    question=Text(
        en="How much GPU memory does a training step of this model take with this recipe, what is it spent on, and at "
        "which moment is it most?",
        zh="用这套配置训练这个模型，一步要占多少显存？花在什么上面？哪一刻最高？",
    ),
    summary=Text(
        en="Builds the model from its configuration, without weights, puts the real PEFT method into it, and runs two "
        "real training steps (forward, loss, backward, clipping, optimizer) on tensors without data. Every storage is "
        "followed from birth to death, so the peak is counted and not estimated. What the attention kernels of a GPU "
        "keep, and how PyTorch's caching allocator rounds and reserves, is modelled on top. Blocks repeat: a few are "
        "simulated, their repetition is checked event by event, and the rest follows. The CUDA context, about 0.4 GB, "
        "is not included.",
        zh="按配置文件搭出模型（不需要权重），装上真实的 PEFT 方法，在没有数据的张量上真跑两步训练"
        "（前向、损失、反向、裁剪、优化器），跟踪每块存储从产生到释放，所以峰值是数出来的，不是估出来的。"
        "GPU 注意力核会保存什么、PyTorch 缓存分配器如何取整和预留，另外建模。各层是重复的：只模拟几层，"
        "逐个事件核对确实重复，再推出全部。CUDA 上下文约 0.4 GB，不计在内。",
    ),
    takeaway=Text(
        en="Say the four parts first (weights, gradients, optimizer states, activations), then where the peak is: in "
        "full fine-tuning with AdamW it is in the optimizer step, with LoRA mostly where the backward pass begins, "
        "while the activations of all blocks and the logits are still there. With LoRA on a 7B model and one short "
        "row, frozen weights are [[claim:lora-7b-peak-is-weights]] of the peak, and the step reserves "
        "[[claim:lora-7b-fits-16gb]]. Rules of thumb count what is always there and miss what comes and goes: the "
        "logits, the attention matrix of eager attention, one dequantised matrix, the copies that the optimizer makes "
        "of all parameters.",
        zh="先说四部分：权重、梯度、优化器状态、激活；再说峰值在哪里：AdamW 全量微调的峰值在优化器更新时，"
        "LoRA 多半在反向传播刚开始时，那时各层的激活和 logits 都还在。7B 做 LoRA、一行短序列时，"
        "冻结的权重占峰值的 [[claim:lora-7b-peak-is-weights]]，一步共预留 [[claim:lora-7b-fits-16gb]]。"
        "经验公式只数一直在的东西，漏掉来了又走的：logits、eager 注意力的注意力矩阵、反量化出来的一个矩阵、"
        "优化器为全部参数做的副本。",
    ),
    parameters=Recipe,
    metrics=(
        gib("peak", Text(en="Most memory of tensors at once", zh="张量占用的峰值")),
        gib("allocated", Text(en="Allocated: max_memory_allocated", zh="已分配：max_memory_allocated")),
        gib("reserved", Text(en="Reserved: max_memory_reserved", zh="已预留：max_memory_reserved")),
        gib("steady", Text(en="Between steps", zh="两步之间")),
        gib("on_host", Text(en="Optimizer states in the host's memory", zh="放在主机内存中的优化器状态")),
        gib("at_peak", Text(en="Part of the peak", zh="峰值的构成")),
        Metric("share", Text(en="Share of the peak", zh="占峰值的比例"), "%", stochastic=False),
        gib("alive", Text(en="Alive in the course of a step", zh="一步之中的占用")),
        Metric("trainable", Text(en="Trained parameters", zh="训练的参数"), "parameters", stochastic=False),
        Metric("parameters", Text(en="All parameters", zh="全部参数"), "parameters", stochastic=False),
    ),
    charts=(
        Chart(
            "at_peak",
            Text(en="What the peak consists of", zh="峰值的构成"),
            x="category",
            kind="bar",
            x_title=CATEGORY,
            x_titles=CATEGORIES,
        ),
    ),
    guesses=(
        Guess(
            "peak",
            "value",
            Text(
                en="How much memory will the tensors of this recipe take at the peak?",
                zh="这份配方的张量在峰值时占多少显存？",
            ),
            "peak",
            ("",),
        ),
    ),
    presets={
        "quick": Preset({}, seeds=(0,), expected_seconds=20),
        "standard": Preset({"exact": True}, seeds=(0, 1, 2), expected_seconds=40),
        "gpu": Preset({"model": "llama-2-70b", "weights": "nf4", "exact": True}, seeds=(0,), expected_seconds=60),
    },
    work=work,
)
