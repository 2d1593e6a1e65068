"""Imports run one way, the web process stays light, and every lab has its twin."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labs.catalog import all_labs, module_name

ROOT = Path(__file__).resolve().parents[1]

# What each package must not import: worker → quiz → labs → kb, config on top.
FORBIDDEN = {
    "kb": {"labs", "quiz", "worker", "config"},
    "labs": {"quiz", "worker", "config"},
    "quiz": {"worker", "config"},
    "worker": set(),
    "config": set(),
}
# Only the worker imports what is large.
HEAVY = {"torch", "pandas", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "gguf", "sklearn"}


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package):
    forbidden = FORBIDDEN[package] | ({"tests"} if package != "tests" else set())
    wrong = {str(path.relative_to(ROOT)): imports(path) & forbidden for path in files_of(package)}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("package", [package for package in FORBIDDEN if package != "worker"])
def test_only_the_worker_imports_what_is_large(package):
    wrong = {str(path.relative_to(ROOT)): imports(path) & HEAVY for path in files_of(package)}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_declarations_of_labs_need_no_django():
    for path in (*files_of("labs/catalog"), ROOT / "labs/declaration.py", ROOT / "labs/shared.py"):
        assert not imports(path) & {"django", "celery", "rest_framework"}, path


def test_every_lab_has_its_twin():
    declared = {path.stem for path in files_of("labs/catalog")}
    run = {path.stem for path in files_of("worker/experiments")}
    assert declared - {"__init__"} == run - {"__init__"} == {module_name(slug) for slug in all_labs()}


def test_every_experiment_can_be_run():
    for slug in all_labs():
        tree = ast.parse((ROOT / "worker/experiments" / f"{module_name(slug)}.py").read_text(encoding="utf-8"))
        functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert [arg.arg for arg in functions["run"].args] == ["params", "lab"], slug


WEB = """
import os, sys
from pathlib import Path
from config.wsgi import application
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
call_command("import_content", folder=Path(os.environ["TREE"]), verbosity=0)
client = Client(headers={"host": "localhost"})
for page in ["/", "/topics/", "/questions/", "/labs/rank-sweep/", "/claims/lora-params/", "/api/v1/labs/", "/healthz"]:
    assert client.get(page).status_code == 200, page
print(*sys.modules)
"""


def test_the_web_process_does_not_load_what_is_large(tmp_path, tree):
    environment = os.environ | {"DATA_DIR": str(tmp_path / "data"), "TREE": str(tree), "DEBUG": "True"}
    command = [sys.executable, "-c", WEB]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[0] for name in result.stdout.splitlines()[-1].split()}
    assert {"labs", "django"} <= loaded
    assert not loaded & HEAVY
