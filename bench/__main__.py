"""`python -m bench [NAME …]`: run the benchmarks, print one JSON document."""

import argparse
import importlib
import json
import os
import pkgutil

import django

import bench

NOT_BENCHMARKS = {"__main__", "drill_data", "timing"}


def main() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in NOT_BENCHMARKS)
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=", ".join(names))
    chosen = parser.parse_args().names
    if unknown := set(chosen) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    results = {name: importlib.import_module(f"bench.{name}").run() for name in chosen}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
