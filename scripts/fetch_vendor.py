"""Fetches the front-end files that the site serves into `static/vendor/`, at the versions that package.json pins.

    .venv/bin/python scripts/fetch_vendor.py

needs npm. To upgrade one: change package.json, run
`npm install --package-lock-only --omit-lockfile-registry-resolved`, run this, commit what changed.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "static" / "vendor"

# Package → files to copy (globs), each folder under static/vendor/ named after the package's last part.
WANTED = {
    "htmx.org": ["LICENSE", "dist/htmx.min.js"],
    "katex": ["LICENSE", "dist/katex.min.css", "dist/katex.min.js", "dist/fonts/*.woff2"],
    "@fontsource-variable/inter": ["LICENSE", "files/inter-latin-wght-normal.woff2"],
    "@fontsource-variable/jetbrains-mono": ["LICENSE", "files/jetbrains-mono-latin-wght-normal.woff2"],
}

# KaTeX's style sheet also names .woff and .ttf files for browsers that no longer exist.
OLD_FONTS = re.compile(r',url\(fonts/[\w-]+\.(?:woff|ttf)\) format\("\w+"\)')


def install(folder: Path) -> Path:
    """Installs what the lock file pins (checksums included) into `folder`; returns its node_modules."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(npm, cwd=folder, check=True)
    return folder / "node_modules"


def copy_package(package: Path, target: Path, patterns: list[str]) -> list[str]:
    """Copies the matching files into `target`, without `dist/` and `files/`; returns their names there."""
    copied = []
    for pattern in patterns:
        for source in sorted(package.glob(pattern)):
            name = source.relative_to(package).as_posix().removeprefix("dist/").removeprefix("files/")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
            copied.append(name)
    return copied


def fetch(modules: Path) -> list[str]:
    """Copies all wanted files; returns the rows of VERSIONS.md."""
    rows = []
    for name, patterns in WANTED.items():
        about = json.loads((modules / name / "package.json").read_text())
        folder = name.rpartition("/")[2]
        files = copy_package(modules / name, VENDOR / folder, patterns)
        fonts = [f for f in files if f.startswith("fonts/")]
        listed = [f for f in files if f not in fonts] + ([f"fonts/*.woff2 ({len(fonts)} files)"] if fonts else [])
        rows.append(f"| {name} | {about['version']} | {about['license']} | `{folder}/`: {', '.join(listed)} |")
    return rows


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = fetch(install(Path(folder)))
    sheet = VENDOR / "katex" / "katex.min.css"
    sheet.write_text(OLD_FONTS.sub("", sheet.read_text()))
    head = ["# Vendored front-end files", "", "Written by `scripts/fetch_vendor.py`; do not edit.", ""]
    table = ["| package | version | licence | files |", "|---|---|---|---|", *rows, ""]
    note = ["`katex.min.css` differs from the package: its references to .woff and .ttf fonts are dropped.", ""]
    (VENDOR / "VERSIONS.md").write_text("\n".join([*head, *table, *note]))


if __name__ == "__main__":
    main()
