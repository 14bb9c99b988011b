"""Rows, tables, dashboards, topics and streams, with the names that the API gives their fields."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

from ._read import moment


@dataclass
class Column:
    """A column of an answer; `type` is as SQL calls it."""

    name: str
    type: str
    is_number: bool


# By the type of a column: what reads its cells if JSON has no such value, and its type in Arrow and in polars. Rows
# and intervals are as JSON has them.
_PLAIN: dict[str, tuple[Any, str, str]] = {
    "boolean": (None, "bool_", "Boolean"),
    "int": (None, "int32", "Int32"),
    "bigint": (None, "int64", "Int64"),
    "int unsigned": (None, "uint32", "UInt32"),
    "bigint unsigned": (None, "uint64", "UInt64"),
    "real": (float, "float32", "Float32"),
    "double": (float, "float64", "Float64"),
    "varchar": (None, "string", "String"),
    "varbinary": (bytes.fromhex, "binary", "Binary"),
    "date": (date.fromisoformat, "date32", "Date"),
    "time": (time.fromisoformat, "time64", "Time"),
    "timestamp": (moment, "timestamp", "Datetime"),
    "timestamp with time zone": (lambda text: moment(text).astimezone(timezone.utc), "timestamp", "Datetime"),
}


@dataclass
class Rows:
    """Rows of SQL, with dates, times, decimals and bytes of Python. `more`: there were more rows than asked for."""

    columns: list[Column]
    rows: list[tuple[Any, ...]]
    more: bool

    def __post_init__(self) -> None:
        readers = [_reader(column.type) for column in self.columns]
        self.rows = [tuple(_cell(read, cell) for read, cell in zip(readers, row, strict=True)) for row in self.rows]

    def dicts(self) -> list[dict[str, Any]]:
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def pandas(self) -> Any:
        """A frame of pandas, with the types of Arrow."""
        return self.arrow().to_pandas()

    def polars(self) -> Any:
        import polars

        schema = {column.name: _polars_type(polars, column.type) for column in self.columns}
        return polars.DataFrame(self.rows, schema=schema, orient="row", infer_schema_length=None)

    def arrow(self) -> Any:
        """A table of Arrow."""
        import pyarrow

        arrays = [
            pyarrow.array([row[place] for row in self.rows], type=_arrow_type(pyarrow, column.type))
            for place, column in enumerate(self.columns)
        ]
        return pyarrow.table(arrays, names=[column.name for column in self.columns])


def _reader(kind: str) -> Any:
    if item := _item(kind):
        read = _reader(item)
        return lambda cells: [_cell(read, cell) for cell in cells]
    return Decimal if kind.startswith("decimal(") else _PLAIN.get(kind, (None,))[0]


def _cell(reader: Any, cell: Any) -> Any:
    if reader is None or cell is None:
        return cell
    try:
        return reader(cell)
    except ValueError:
        # A year that Python has no date for stays text.
        return cell


def _item(kind: str) -> str | None:
    """What a list is made of."""
    return kind[len("array(") : -1] if kind.startswith("array(") else None


def _digits(kind: str) -> tuple[int, int] | None:
    if not kind.startswith("decimal("):
        return None
    precision, scale = kind[len("decimal(") : -1].split(", ")
    return int(precision), int(scale)


def _arrow_type(pyarrow: Any, kind: str) -> Any:
    if item := _item(kind):
        known = _arrow_type(pyarrow, item)
        return known and pyarrow.list_(known)
    if digits := _digits(kind):
        return pyarrow.decimal128(*digits) if digits[0] <= 38 else pyarrow.decimal256(*digits)
    _, name, _ = _PLAIN.get(kind, (None, "", ""))
    match name:
        case "":
            return None
        case "timestamp":
            return pyarrow.timestamp("us", tz="UTC" if "zone" in kind else None)
        case "time64":
            return pyarrow.time64("us")
        case _:
            return getattr(pyarrow, name)()


def _polars_type(polars: Any, kind: str) -> Any:
    if item := _item(kind):
        known = _polars_type(polars, item)
        return known and polars.List(known)
    if digits := _digits(kind):
        return polars.Decimal(*digits) if digits[0] <= 38 else None
    _, _, name = _PLAIN.get(kind, (None, "", ""))
    if name == "Datetime":
        return polars.Datetime("us", "UTC" if "zone" in kind else None)
    return getattr(polars, name) if name else None


@dataclass
class SqlAnswer(Rows):
    """What a query gave."""

    query_id: str
    duration_ms: float


@dataclass
class Panel(Rows):
    """A panel of a dashboard: `figure`, `lines`, `bars`, `table` or `map`. `problem` says why there are no rows."""

    id: str
    title: str
    type: str
    problem: str | None = None


@dataclass
class Dashboard:
    """A dashboard, and what declares it."""

    name: str
    title: str
    description: str
    role: str
    bundle: str
    file: str
    updated_at: datetime


@dataclass
class DashboardRows(Dashboard):
    """A dashboard with the rows of its panels, for these values of its filters."""

    filters: dict[str, str]
    panels: list[Panel]

    def panel(self, title: str) -> Panel:
        """The panel with this title or id."""
        for panel in self.panels:
            if title in (panel.title, panel.id):
                return panel
        raise KeyError(f"{title}: the panels are {', '.join(panel.title for panel in self.panels)}")


@dataclass
class Totals:
    rows: int
    bytes: int
    files: int
    delete_files: int


@dataclass
class MadeBy:
    """The task that wrote a snapshot."""

    dag_id: str
    run_id: str
    task_id: str | None = None


@dataclass
class Snapshot:
    """A state of a table."""

    id: int
    at: datetime
    operation: str
    is_current: bool
    added_rows: int
    removed_rows: int
    totals: Totals
    summary: dict[str, str]
    parent_id: int | None = None
    made_by: MadeBy | None = None
    program: str | None = None
    refs: list[str] = field(default_factory=list)


@dataclass
class Table:
    """A table of the lake. `snapshots` says how many there are, and `last` is the newest one."""

    namespace: str
    name: str
    totals: Totals
    snapshots: int
    last: Snapshot | None = None
    problem: str | None = None


@dataclass
class TableColumn:
    name: str
    type: str
    required: bool
    doc: str | None = None


@dataclass
class PartitionColumn:
    name: str
    column: str
    transform: str


@dataclass
class TableDetails:
    """A table with its columns. `key` names those that tell rows apart."""

    namespace: str
    name: str
    totals: Totals
    snapshots: int
    uuid: str
    location: str
    asset_uri: str
    format_version: int
    updated_at: datetime
    columns: list[TableColumn]
    partitioned_by: list[PartitionColumn]
    key: list[str]
    properties: dict[str, str]
    last: Snapshot | None = None


@dataclass
class Topic:
    """A topic of the built-in log."""

    name: str
    partitions: int
    retention_hours: int
    records: int
    description: str | None = None
    last_record_at: datetime | None = None
    created_at: datetime | None = None


@dataclass
class TopicPartition:
    """`first_offset` is that of the oldest record that is kept, `next_offset` that of the next one to come."""

    partition: int
    first_offset: int
    next_offset: int
    last_record_at: datetime | None = None


@dataclass
class Record:
    """A record of a topic. Key and value are text, or bytes if they are not UTF-8; secrets in JSON are `***`."""

    partition: int
    offset: int
    timestamp: datetime
    key: str | bytes | None = None
    value: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    key_base64: str | None = field(default=None, repr=False)
    value_base64: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key_base64 is not None:
            self.key = base64.b64decode(self.key_base64)
        if self.value_base64 is not None:
            self.value = base64.b64decode(self.value_base64)

    def json(self) -> Any:
        """The value, read as JSON."""
        return None if self.value is None else json.loads(self.value)


@dataclass
class NewRecord:
    """A record to append. A value that is neither text nor bytes goes as JSON; a key without a value is a tombstone."""

    value: Any
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    partition: int | None = None

    def body(self) -> dict[str, Any]:
        body = {"key": self.key, "headers": dict(self.headers), "partition": self.partition}
        if isinstance(self.value, bytes):
            body["value_base64"] = base64.b64encode(self.value).decode()
        else:
            body["value"] = self.value
        return {name: said for name, said in body.items() if said is not None}


@dataclass
class Placed:
    """Where a new record is."""

    partition: int
    offset: int
    timestamp: datetime


@dataclass
class StreamPartition:
    partition: int
    next_offset: int
    end_offset: int
    lag: int
    process: str | None = None


@dataclass
class Stream:
    """A stream. `state` is `running`, `paused`, `failed` or `unassigned`: no process runs it.

    `partitions` are there when one stream is asked for.
    """

    name: str
    state: str
    topic: str
    table: str
    bundle: str
    is_declared: bool
    is_paused: bool
    waits_for_restart: bool
    failures: int
    lag: int
    commits: int
    records: int
    quarantined: int
    records_last_hour: int
    spec: dict[str, Any]
    process: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    failed_at: datetime | None = None
    next_try_at: datetime | None = None
    last_commit_at: datetime | None = None
    last_record_at: datetime | None = None
    reset_to: Any = None
    capture: dict[str, Any] | None = None
    partitions: list[StreamPartition] = field(default_factory=list)


@dataclass
class StreamMinute:
    """What a stream did in a minute; minutes without a commit are left out."""

    minute: datetime
    records: int
    quarantined: int
    lag: int
