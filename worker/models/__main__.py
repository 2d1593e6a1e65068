"""`python -m worker.models prepare NAME…`: make models ready for use."""

import argparse
import os
import sys
from pathlib import Path

from worker.models.store import MODELS, default_cache, prepare


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.models")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="convert weights to local files, once")
    command.add_argument("names", nargs="+", metavar="NAME", choices=list(MODELS), help=", ".join(MODELS))
    command.add_argument("--cache", type=Path, default=default_cache(), help="folder of prepared models")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # read by transformers when it is imported
    try:
        prepare(options.names, options.cache, lambda note: say(note.en))
    except FileNotFoundError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
