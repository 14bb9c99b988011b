"""Prints one line of JSON about a measurement of a peer: about.py PEER COMMAND PACKAGE…"""

import datetime
import glob
import json
import os
import platform
import subprocess
import sys


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def version(folder, package):
    """The version of an installed Python or Node package."""
    name = package.replace("-", "_")
    for found in glob.glob(f"{folder}/lib/python3*/site-packages/*.dist-info"):
        wheel = os.path.basename(found).removesuffix(".dist-info").rsplit("-", 1)
        if wheel[0].lower() == name:
            return wheel[1]
    try:
        with open(f"{folder}/node_modules/{package}/package.json") as file:
            return json.load(file)["version"]
    except OSError:
        return None


def cpu():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())


def main(peer, command, packages):
    folder = f"{os.environ['ORCH_PEERS']}/envs/{peer}"
    about = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "revision": output("git", "rev-parse", "--short", "HEAD"),
        "cpu": cpu(),
        "cpus": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "runtime": output(f"{folder}/bin/python", "--version") or f"Node {output('node', '--version')}",
        "postgres": output("bash", "-c", "$(ls -d /usr/lib/postgresql/*/bin/postgres | sort -V | tail -1) --version"),
        "versions": {package: version(folder, package) for package in packages},
    }
    print(json.dumps({"peer": peer, "about": about}))


main(sys.argv[1], sys.argv[2], sys.argv[3:])
