"""Adapters that a run keeps, for whoever wants to load them with plain PEFT.

A kept adapter is one zip file. Unpacked it is a folder for `PeftModel.from_pretrained`: `adapter_config.json`,
`adapter_model.safetensors` and a model card, and beside them `measured.json`, which says where the run's record has its
loss, and on which base and examples that was measured. `python -m worker.reload` measures it again.
"""

import json
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile, ZipInfo

from peft import PeftModel

from worker.adapters import ADAPTER_FILE, save_adapter
from worker.context import Point, RunContext

CONFIG_FILE, MEASURED_FILE, CARD_FILE = "adapter_config.json", "measured.json", "README.md"
# Of one seed, rank 8 on all linear layers of SmolLM2 is 10 MB: enough for a look at it, and no run fills a disk.
LARGEST_BYTES = 16_000_000

# A base in bfloat16 is not among them: there the loss depends on which examples share a batch.
Base = Literal["float32", "nf4"]


@dataclass(frozen=True)
class Measured:
    """What a run measured of an adapter: `metric` at `point` and `seed` of its record, a mean loss on the facts."""

    model: str
    base: Base
    point: str
    seed: int
    metric: str = "validation_loss"
    data: str = "facts"
    split: str = "validation"


def keep_adapter(lab: RunContext, point: Point, adapted: PeftModel, *, model: str, base: Base = "float32") -> None:
    """Keep what has the validation loss of that point; of the run's first seed only, and no very large one."""
    if point.seed != lab.seeds[0]:
        return
    measured = Measured(model, base, point.key, point.seed)
    with tempfile.TemporaryDirectory(dir=lab.scratch) as folder:
        weights = save_adapter(adapted, Path(folder))
        if weights.stat().st_size > LARGEST_BYTES:
            return
        path = lab.scratch / f"adapter-{re.sub('[^A-Za-z0-9.]+', '-', point.key)}-seed{point.seed}.zip"
        _write(path, weights, measured)
    lab.artifact(path.name, path)


def _write(path: Path, weights: Path, measured: Measured) -> None:
    """The same adapter gives the same bytes: fixed dates, and PEFT's sets in order."""
    config = json.loads(weights.with_name(CONFIG_FILE).read_text())
    config["base_model_name_or_path"] = measured.model  # instead of a folder on this machine
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    with ZipFile(path, "w") as file:
        file.writestr(ZipInfo(CONFIG_FILE), json.dumps(config, indent=2, sort_keys=True))
        file.writestr(ZipInfo(MEASURED_FILE), json.dumps(asdict(measured), indent=2))
        file.writestr(ZipInfo(CARD_FILE), model_card(config, measured))
        file.writestr(ZipInfo(ADAPTER_FILE), weights.read_bytes())


CARD = """\
---
base_model: {base_model}
library_name: peft
tags: [{method}, proofdeck]
---
# An adapter from a lab of Proofdeck

{method_title} adapter for `{base_model}`, base kept in {base}, trained on the generated data set *{data}*
at the setting `{point}` with seed {seed}. It was made to measure how adapters learn; as a model it is of no use.

Load it with `PeftModel.from_pretrained(model, folder)`. The run's record has its `{metric}` on the *{split}*
split at this point and seed; `python -m worker.reload` in a clone of Proofdeck measures it again.
"""


def model_card(config: dict[str, Any], measured: Measured) -> str:
    """What a stranger needs to know of the file: what it belongs to, what trained it, and where its number is."""
    method = str(config["peft_type"])
    fields = asdict(measured) | {"base_model": measured.model, "method": method.lower(), "method_title": method}
    return CARD.format(**fields | {"point": measured.point or "the only one"})


def unpack(path: Path, folder: Path) -> Measured:
    """Make the zip file a folder for PEFT; the files have PEFT's names, whatever else is in it stays there."""
    with ZipFile(path) as file:
        for name in (CONFIG_FILE, MEASURED_FILE, ADAPTER_FILE):
            file.extract(name, folder)
    return Measured(**json.loads((folder / MEASURED_FILE).read_text()))
