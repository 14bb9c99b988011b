"""The code itself: nouns are those of the server, both forms are the same, types and style hold, the wheel installs."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from orch_client import AsyncLakehouseClient, AsyncOrch, LakehouseClient, Orch, data, runs

_ROOT = Path(__file__).parent.parent
_NOUNS = {
    "Column": "ResultColumn",
    "Dashboard": "DashboardView",
    "Holder": "HolderView",
    "Panel": "PanelRows",
    "Placed": "PlacedView",
    "Record": "RecordView",
    "Run": "DagRunView",
    "Snapshot": "SnapshotRow",
    "Stream": "StreamDetails",
    "StreamMinute": "StreamMinuteView",
    "StreamPartition": "StreamPartitionView",
    "Table": "TableRow",
    "TableDetails": "LakeTable",
    "TaskInstance": "TaskInstanceView",
    "Topic": "TopicView",
    "TopicPartition": "TopicPartitionView",
    "Totals": "TableTotals",
    "Why": "WhyView",
}
# They have no schema of their own: an event, a line, parts of other nouns, and what is sent.
_OTHERS = {"Change", "Event", "LogLine", "NewRecord", "Rows"}
# A body may leave them out; every topic has them.
_ALWAYS_THERE = {("Topic", "partitions"), ("Topic", "retention_hours")}


def test_nouns_are_those_of_the_server(orch: Orch) -> None:
    schemas = orch.ask("GET", "/openapi.json")["components"]["schemas"]
    nouns = [noun for module in (runs, data) for noun in vars(module).values() if dataclasses.is_dataclass(noun)]
    assert len(nouns) > 20
    for noun in nouns:
        if noun.__name__ in _OTHERS:
            continue
        properties = schemas[_NOUNS.get(noun.__name__, noun.__name__)]["properties"]
        hints = typing.get_type_hints(noun)
        for field in dataclasses.fields(noun):
            assert field.name in properties, f"{noun.__name__}.{field.name}"
            if _may_be_null(properties[field.name]) and (noun.__name__, field.name) not in _ALWAYS_THERE:
                hint = hints[field.name]
                assert hint is Any or types.NoneType in typing.get_args(hint), (
                    f"{noun.__name__}.{field.name} may be null"
                )


def _may_be_null(schema: Any) -> bool:
    return schema is not True and ("null" in schema.get("type", []) or any(map(_may_be_null, schema.get("anyOf", []))))


@pytest.mark.parametrize(("awaited", "blocking"), [(AsyncOrch, Orch), (AsyncLakehouseClient, LakehouseClient)])
def test_both_forms_have_the_same_methods(awaited: type, blocking: type) -> None:
    methods = [name for name, _ in inspect.getmembers(awaited, inspect.isfunction) if not name.startswith("_")]
    assert methods == [name for name, _ in inspect.getmembers(blocking, inspect.isfunction) if not name.startswith("_")]
    for name in [*methods, "__init__"]:
        assert inspect.signature(getattr(awaited, name)) == inspect.signature(getattr(blocking, name)), name


@pytest.mark.parametrize(
    "check",
    [
        ["mypy", "--cache-dir", "/dev/null"],
        ["ruff", "check", "--no-cache"],
        ["ruff", "format", "--check", "--no-cache"],
    ],
)
def test_types_and_style_hold(check: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *check], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_installs_into_an_empty_environment(tmp_path: Path) -> None:
    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, _ROOT)
    (wheel,) = tmp_path.glob("orch_client-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", wheel)
    program = "import orch_client, serving.client; print(orch_client.__path__[0])"
    assert (Path(run(python, "-c", program).strip()) / "py.typed").exists()
