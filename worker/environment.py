"""What a number depends on besides the code: versions, hardware, source revision. No torch import at the top."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "safetensors", "numpy")


def describe(model: str, model_digest: str, data: dict[str, str]) -> dict[str, Any]:
    """All of it as one JSON object."""
    return {
        "versions": versions(),
        "hardware": hardware(),
        "revision": revision(),
        "model": {"name": model, "sha256": model_digest},
        "data": data,
        "threads": thread_count(),
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers depend on; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def thread_count() -> int:
    """Threads that torch computes with: all processors this process may use, or what OMP_NUM_THREADS says."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def hardware() -> dict[str, Any]:
    import torch

    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "logical_cpus": os.cpu_count(),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def revision() -> dict[str, Any]:
    """The commit, and whether tracked files differ from it; an empty commit outside a git checkout.

    Recorded evidence does not count as a difference: no result depends on it.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {"commit": "", "dirty": None}
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!content/evidence")
    return {"commit": commit, "dirty": bool(changes)}


def _git(*arguments: str) -> str:
    # The environment of a run is minimal, so git's own is too; a checkout of another owner counts as none.
    try:
        result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"No source revision: {error}\n")
        return ""
    return result.stdout.strip()
