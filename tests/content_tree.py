"""A small content folder: one topic, two points, one question with a follow-up, three claims, one work."""

import copy
from pathlib import Path
from typing import Any

import yaml


def text(en: str, zh: str = "中文") -> dict[str, str]:
    return {"en": en, "zh": zh}


RUBRIC = [
    {"weight": 3, "dimension": "concept", "text": text("Says that W stays frozen.")},
    {"weight": 1, "dimension": "mathematics", "text": text("Writes $W + BA$.")},
]

FILES: dict[str, dict[str, Any]] = {
    "topics.yaml": {"topics": [{"slug": "math", "title": text("Mathematics", "数学"), "summary": text("Sizes.")}]},
    "references.yaml": {
        "references": [{"key": "hu2021", "title": "LoRA", "authors": "Edward Hu, Yelong Shen, Phil W", "year": 2021}]
    },
    "points/math/rank.yaml": {
        "slug": "rank",
        "topic": "math",
        "position": 0,
        "title": text("Rank", "秩"),
        "definition": text("A rank of 8 has [[claim:lora-params]] [@hu2021]."),
        "mechanism": text("$\\Delta W = BA$"),
        "practice": text("Small files."),
        "mistake": text("More is not better."),
    },
    "points/math/scaling.yaml": {
        "slug": "scaling",
        "topic": "math",
        "position": 1,
        "title": text("Scaling", "缩放"),
        "definition": text("After [[point:rank]] comes [[question:why-low-rank]]."),
        "mechanism": text("$\\alpha / r$"),
        "practice": text("Tune it."),
        "mistake": text("Forgetting it."),
        "prerequisites": ["rank"],
    },
    "questions/math/why-low-rank.yaml": {
        "slug": "why-low-rank",
        "kind": "open",
        "difficulty": 2,
        "topic": "math",
        "position": 0,
        "points": ["rank"],
        "prompt": text("Why a *low* rank?", "为什么用低秩？"),
        "short": text("Because of [[claim:lora-params]]."),
        "answer": text("The change lies in few directions."),
        "rubric": RUBRIC,
        "mistakes": [text("Calling W itself low rank.")],
        "follow_ups": [
            {
                "slug": "why-low-rank-when-not",
                "kind": "open",
                "difficulty": 3,
                "prompt": text("When is it not enough?"),
                "short": text("When much is to be learned."),
                "answer": text("Then rank is capacity."),
                "rubric": RUBRIC,
                "when": text("said capacity"),
            }
        ],
    },
    "claims/math/lora-params.yaml": {
        "slug": "lora-params",
        "topic": "math",
        "method": "formula",
        "statement": text("Rank 8 on a 16 × 16 layer trains 256 parameters."),
        "unit": "parameters",
        "source": "folklore",
        "checks": [
            {
                "expected": 256,
                "formula": "lora_layer_parameters",
                "arguments": {"d_in": 16, "d_out": 16, "rank": 8},
            }
        ],
    },
    "claims/math/loss-falls.yaml": {
        "slug": "loss-falls",
        "topic": "math",
        "method": "measurement",
        "statement": text("With α = 2r, rank 64 ends below 1 nat [@hu2021]."),
        "unit": "nats",
        "source": "hu2021",
        "checks": [
            {"at_most": 1.0, "lab": "rank-sweep", "metric": "validation_loss", "point": "rank=64,scaling=double"}
        ],
    },
    "claims/math/paper-says.yaml": {
        "slug": "paper-says",
        "topic": "math",
        "method": "citation",
        "statement": text("The paper reports 73.4."),
        "source": "hu2021",
        "place": "Table 6",
        "cited": 73.4,
    },
}


def write_tree(folder: Path) -> Path:
    for name, document in FILES.items():
        write(folder, name, copy.deepcopy(document))
    return folder


def write(folder: Path, name: str, document: Any) -> None:
    """One content file from plain data; text is written as it is."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(document, str):
        document = yaml.dump(document, Dumper=_WithoutAliases, allow_unicode=True, sort_keys=False)
    path.write_text(document, encoding="utf-8")


def edited(name: str, **changes: Any) -> dict[str, Any]:
    """A copy of one of the files with other values; None takes the key away."""
    document = copy.deepcopy(FILES[name]) | changes
    return {key: value for key, value in document.items() if value is not None}


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
