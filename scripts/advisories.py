"""Refreshes tests/tidy/advisories.json, the copy of the RustSec advisory database that a test compares with Cargo.lock.

    python3 scripts/advisories.py [REPOSITORY]

Without a network the copy stays as it is. It holds the advisories of all crates, so that a new dependency is checked too.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

COPY = Path(__file__).parent.parent / "tests/tidy/advisories.json"
DATABASE = "https://github.com/rustsec/advisory-db"
# Unmaintained crates and notices are not vulnerabilities. Unsound crates may be exploitable.
SKIPPED_KINDS = {"unmaintained", "notice"}


def parse(text):
    """Returns the fields of an advisory that the test needs, or None if it does not concern a version."""
    _, header, body = text.split("```", 2)
    header = tomllib.loads(header.removeprefix("toml"))
    advisory, versions = header["advisory"], header["versions"]
    if advisory.get("withdrawn") or advisory.get("informational") in SKIPPED_KINDS:
        return None
    title = next(line for line in body.splitlines() if line.startswith("# ")).removeprefix("# ").strip()
    return {
        "id": advisory["id"],
        "package": advisory["package"],
        "patched": versions["patched"],
        "unaffected": versions.get("unaffected", []),
        "title": title,
    }


def read(repository):
    def git(*arguments):
        return subprocess.run(["git", "-C", repository, *arguments], check=True, capture_output=True, text=True).stdout

    paths = git("ls-tree", "-r", "--name-only", "HEAD", "crates").split()
    advisories = [parse(git("show", f"HEAD:{path}")) for path in paths]
    advisories = sorted((entry for entry in advisories if entry), key=lambda entry: entry["id"])
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in advisories)
    date = git("log", "-1", "--format=%cs").strip()
    return f'{{"date": "{date}", "advisories": [\n{lines}\n]}}\n'


def main():
    repository = sys.argv[1] if len(sys.argv) > 1 else DATABASE
    with tempfile.TemporaryDirectory() as folder:
        clone = ["git", "clone", "--quiet", "--bare", "--depth", "1", repository, folder]
        if subprocess.run(clone).returncode == 0:
            COPY.write_text(read(folder))
        else:
            print(f"cannot clone {repository}; the copy stays as it is", file=sys.stderr)
    date = datetime.date.fromisoformat(json.loads(COPY.read_text())["date"])
    print(f"The advisories are of {date}, {(datetime.date.today() - date).days} days old.")


main()
