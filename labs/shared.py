"""What labs declare alike: parameters of a training with their bounds and texts, one validator, common metrics.

A field names the type and gives the default: `rank: Rank = 8`. Where the help text of the type does not fit the lab:
`rank: Rank = explained(8, Text(…))`. Other bounds or another title make another parameter: `parameter`.
"""

from typing import Annotated, Any, Literal

from pydantic import field_validator

from kb.text import Text
from labs.declaration import Metric, ModelName, described

LanguageModel = Annotated[
    ModelName,
    described(
        Text(en="Model", zh="模型"),
        Text(en="The language model that the adapters are trained on.", zh="在其上训练适配器的语言模型。"),
    ),
]
Rank = Annotated[
    int,
    described(
        Text(en="Rank", zh="秩"),
        Text(en="The rank r of the adapters.", zh="适配器的秩 r。"),
        ge=1,
        le=256,
    ),
]
Alpha = Annotated[
    int,
    described(
        Text(en="Alpha", zh="Alpha（α）"),
        Text(en="The update is scaled by α/r.", zh="更新量乘以 α/r。"),
        ge=1,
        le=1024,
    ),
]
TargetModules = Annotated[
    Literal["all-linear", "q_proj,v_proj", "q_proj,k_proj,v_proj,o_proj", "gate_proj,up_proj,down_proj"],
    described(
        Text(en="Target modules", zh="目标模块"),
        Text(
            en="The linear layers that get an adapter; all-linear means all but the output layer.",
            zh="加上适配器的线性层；all-linear 指除输出层以外的全部线性层。",
        ),
    ),
]
Steps = Annotated[
    int,
    described(
        Text(en="Training steps", zh="训练步数"),
        Text(en="Optimiser steps for each adapter.", zh="每个适配器的优化步数。"),
        ge=1,
        le=2000,
    ),
]
BatchSize = Annotated[
    int,
    described(
        Text(en="Batch size", zh="批大小"),
        Text(en="Question–answer pairs in a step.", zh="每一步使用的问答对数量。"),
        ge=1,
        le=64,
    ),
]
LearningRate = Annotated[
    float,
    described(
        Text(en="Learning rate", zh="学习率"),
        Text(en="Of AdamW, constant after four steps of warm-up.", zh="AdamW 的学习率；预热四步之后保持不变。"),
        gt=0,
        le=0.1,
    ),
]


def different(*fields: str, noun: str = "value") -> Any:
    """The validator of fields that are lists without repetition: `_are_different = different("ranks")`."""

    def check(values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError(f"each {noun} may be named once")
        return values

    return field_validator(*fields)(check)


NATS = "nats per answer token"
LOSS = Metric("loss", Text(en="Training loss", zh="训练损失"), NATS, better="lower")
VALIDATION_LOSS = Metric(
    "validation_loss", Text(en="Loss on held-out phrasings", zh="换一种问法时的损失"), NATS, better="lower"
)
DIVERGED = Metric("diverged", Text(en="Whether a training diverged", zh="是否有训练发散"), "")
