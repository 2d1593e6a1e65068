"""`python -m worker.data check` compares the files with their digests; `write NAME [SOURCE]` makes one again."""

import argparse
import json
import sys
from pathlib import Path

from worker.data import docs, facts, prose, zh
from worker.data.rows import FOLDER, as_lines
from worker.data.sets import RECORD, SETS, digests, recorded_digests


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check")
    write = commands.add_parser("write")
    write.add_argument("name", choices=SETS)
    write.add_argument("source", nargs="?", type=Path, help="what prose is made from (see worker/data/prose.py)")
    options = parser.parse_args()
    if options.command == "check":
        return check()
    if options.name == "prose" and not options.source:
        parser.error("prose needs its source")
    (FOLDER / f"{options.name}.jsonl").write_text(made(options.name, options.source), encoding="utf-8")
    RECORD.write_text(json.dumps(digests(), indent=2) + "\n")
    return 0


def made(name: str, source: Path) -> str:
    """The text of a data set's file, made anew."""
    match name:
        case "facts":
            return facts.as_lines(facts.generate())
        case "prose":
            return as_lines(prose.generate(source))
        case "docs":
            return as_lines(docs.generate())
        case _:
            return as_lines(zh.generate())


def check() -> int:
    """0 when every file has the digest that was recorded."""
    recorded = recorded_digests()
    changed = [name for name, digest in digests().items() if recorded.get(name) != digest]
    sys.stdout.write(f"Changed: {', '.join(changed)}\n" if changed else "All data sets are as recorded.\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
