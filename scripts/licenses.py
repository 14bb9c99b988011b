"""Writes the license texts of everything that is compiled into `orch` and `orch-pipelines`, C libraries included.

    python3 scripts/licenses.py FILE

Fails if a crate comes without a license text and its license has no standard text.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ["--package", "orch-control", "--package", "orch-dags"]
LICENSE_FILE = re.compile(r"(un)?licen[sc]e|copying|notice|copyright|patents", re.IGNORECASE)
# Licenses of C libraries are in subfolders of the crates. Code in the folders below is not compiled in.
SKIPPED_FOLDERS = {"tests", "test", "benches", "examples", "fuzz", "doc", "docs", "contrib", "packaging", "debian", "external"}
SOURCE_SUFFIXES = {".rs", ".py", ".sh", ".c", ".h", ".js", ".go", ".pl", ".pm", ".in"}
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def cargo(*arguments):
    command = [os.environ.get("CARGO", "cargo"), *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled_in():
    """Returns (name, version) of the crates that are linked. Crates named `-src` are build dependencies that bring a C library."""

    def tree(edges):
        lines = cargo("tree", "--locked", *PACKAGES, f"--edges={edges}", "--prefix=none").splitlines()
        return {(line.split()[0], line.split()[1].removeprefix("v")) for line in lines if line}

    with_build = tree("normal,build")
    return tree("normal") | {crate for crate in with_build if crate[0].endswith("-src")}


def license_texts(package):
    """Returns the texts of the license files of a crate, by their path in it."""
    folder = Path(package["manifest_path"]).parent
    named = folder / (package["license_file"] or "")
    texts = {}
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        for file in sorted(files):
            file = Path(path, file)
            is_license = LICENSE_FILE.match(file.name) and file.suffix not in SOURCE_SUFFIXES
            if is_license or file == named:
                texts[str(file.relative_to(folder))] = file.read_text(errors="replace").strip()
    return texts


def standard_text(package):
    """Returns the text of a license of which the crate has no copy, by an empty path, or nothing if there is no standard text."""
    choices = set(re.split(r"\s+OR\s+|/", package["license"] or ""))
    owners = ", ".join(package["authors"]) or f"the authors of {package['name']}"
    if "MIT" in choices:
        return {"": f"MIT License\n\nCopyright (c) {owners}\n\n{MIT}".strip()}
    if "Apache-2.0" in choices:
        return {"": (ROOT / "LICENSE").read_text().strip()}
    return {}


def main():
    host = re.search(r"host: (.*)", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout)
    metadata = json.loads(cargo("metadata", "--locked", "--format-version=1", "--filter-platform", host[1]))
    linked = compiled_in()
    packages = [it for it in metadata["packages"] if it["source"] and (it["name"], it["version"]) in linked]
    packages.sort(key=lambda it: (it["name"], it["version"]))
    found = {package["id"]: license_texts(package) for package in packages}
    # Crates of one repository have the same license. Some are published without the text.
    of_repository = {it["repository"]: found[it["id"]] for it in packages if it["repository"] and found[it["id"]]}
    owners, missing = {}, []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        texts = found[package["id"]] or of_repository.get(package["repository"]) or standard_text(package)
        if not texts:
            missing.append(f"{name} ({package['license']})")
        for path, text in texts.items():
            folder = Path(path).parent.as_posix()
            # Copies of one license differ in their line breaks.
            owners.setdefault(" ".join(text.split()), (text, []))[1].append(name if folder == "." else f"{name}, {folder}")
    if missing:
        sys.exit("no license text and no standard text: " + ", ".join(missing))
    line = "=" * 80
    with open(sys.argv[1], "w") as file:
        file.write("orch is licensed under the Apache License 2.0. It contains the following software.\n")
        for text, names in owners.values():
            file.write(f"\n{line}\n" + "\n".join(dict.fromkeys(names)) + f"\n{line}\n\n{text}\n")


main()
