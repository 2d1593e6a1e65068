from collections.abc import Iterator
from pathlib import Path

import pytest
from anki.collection import Collection

from quiz.models import Choice, Question
from tests.builders import make_claim, make_follow_up, make_point, make_question, make_topic

CODE = "```python\nif rank < 8:\n    pass\n```"
TABLE = "| r | n |\n|---|--:|\n| 8 | 1 |"
ANSWER = f"{CODE}\n\n{TABLE}\n\n$$a < b$$\n\n[[claim:lora-params]]"


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    collection = Collection(str(tmp_path / "real.anki2"))
    yield collection
    collection.close()


@pytest.fixture
def bank(db) -> list[Question]:
    """One question of most kinds in two topics, with a follow-up, formulas, code, a table and a claim's chip."""
    claim = make_claim(slug="lora-params", verdict="reproduced", unit="parameters")
    lora = make_topic("lora", position=1, title_en="LoRA", title_zh="低秩适配")
    root = make_question(
        topic=lora,
        slug="why-low-rank",
        difficulty=3,
        prompt_en=r"Why is $\Delta W = BA$ of low rank?",
        prompt_zh=r"为什么 $\Delta W = BA$ 是低秩的？",
        short_zh="因为方向少。",
        answer_en=ANSWER,
        answer_zh="方向少 & 足够。",
        mistakes=[{"en": "Calling it *lossless*.", "zh": "说它无损。"}],
    )
    root.points.add(make_point(slug="low-rank", topic=lora))
    root.claims.add(claim)
    follow_up = make_follow_up(root, slug="when-not", prompt_en="When not?", prompt_zh="何时不行？", difficulty=4)
    single = make_question(slug="pick-one", kind="single", prompt_en="Pick one", prompt_zh="选一个")
    single.rubric.all().delete()
    for n, is_correct in enumerate([False, True, False]):
        texts = {"text_en": f"option {n}", "text_zh": f"选项 {n}", "feedback_en": f"because {n}"}
        Choice.objects.create(question=single, position=n, is_correct=is_correct, **texts)
    cloze = {"en": "The rank is {{small|low}}.", "zh": "秩很{{小}}。"}
    gaps = make_question(slug="fill-in", kind="cloze", prompt_en="Fill in", spec={"cloze": cloze})
    steps = [{"en": f"step {n}", "zh": f"第 {n} 步"} for n in range(3)]
    order = make_question(slug="put-in-order", kind="order", prompt_en="Order", spec={"steps": steps})
    number = {"draw": {"rank": [4, 8]}, "unit": "parameters"}
    arguments = {"d_out": 16, "d_in": 16, "rank": "<<rank>>"}
    number["result"] = {"formula": "lora_layer_parameters", "arguments": arguments}
    drawn = make_question(slug="fresh", kind="parametric", prompt_en="With rank <<rank>>?", spec=number)
    return [root, follow_up, single, gaps, order, drawn]
