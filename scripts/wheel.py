"""Packs the binaries as the Python wheel `orch-cli`: `pip install` puts them beside `python`, and the files of SHARE into `share`
of the same environment.

    python3 scripts/wheel.py BINARIES SHARE THIRD_PARTY PACKAGES VERSION GLIBC LEVEL
"""

import base64
import hashlib
import platform
import stat
import sys
import zipfile
from pathlib import Path

binaries, share, third_party, packages = map(Path, sys.argv[1:5])
version, glibc, level = sys.argv[5:8]
# Runs where the C library is as new as the one that the binaries ask for.
tag = f"py3-none-manylinux_{glibc.replace('.', '_')}_{platform.machine()}"
root = Path(__file__).parent.parent
info = f"orch_cli-{version}.dist-info"
metadata = f"""Metadata-Version: 2.1
Name: orch-cli
Version: {version}
Summary: The workflow orchestrator orch: scheduler, workers, web server and commands in one binary, and its pipelines
License: Apache-2.0
Description-Content-Type: text/markdown

`orch standalone` starts everything on a Postgres that is installed here, or names the package that brings it.
"""
wheel = f"Wheel-Version: 1.0\nGenerator: orch\nRoot-Is-Purelib: false\nTag: {tag}\n"
data = f"orch_cli-{version}.data"
files = {f"{data}/scripts/{name}": (binaries / name).read_bytes() for name in ("orch", "orch-pipelines")}
shared = sorted(path for path in share.rglob("*") if path.is_file())
files |= {f"{data}/data/share/{path.relative_to(share)}": path.read_bytes() for path in shared}
files |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode()}
files[f"{info}/LICENSE"] = (root / "LICENSE").read_bytes()
files[f"{info}/{third_party.name}"] = third_party.read_bytes()
record = ""
path = packages / f"orch_cli-{version}-{tag}.whl"
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=int(level)) as archive:
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (stat.S_IFREG | (0o755 if name.startswith(f"{data}/scripts/") else 0o644)) << 16
        archive.writestr(entry, content, compresslevel=int(level))
    archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
print(path)
