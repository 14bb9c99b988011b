"""Runs and their tasks, with the names that the API gives their fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

OVER = ("success", "failed")


@dataclass
class Run:
    """A run of a DAG. `state` is `queued`, `running`, `success` or `failed`."""

    dag_id: str
    dag_run_id: str
    state: str
    run_type: str
    run_after: datetime
    logical_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    queued_at: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    duration: float | None = None
    triggered_by: str | None = None
    triggering_user_name: str | None = None
    partition_key: str | None = None
    conf: dict[str, Any] | None = None
    note: str | None = None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def is_success(self) -> bool:
        return self.state == "success"


@dataclass
class TaskInstance:
    """A task of a run, or an element of a mapped task; `map_index` is -1 for a task that is not mapped."""

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    state: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    duration: float | None = None
    queued_when: datetime | None = None
    hostname: str | None = None
    operator: str | None = None
    pool: str | None = None
    queue: str | None = None
    note: str | None = None


@dataclass
class Change:
    """A run or a task instance that came into a state; `task_id` is None for the run itself."""

    dag_id: str
    dag_run_id: str
    state: str | None
    start_date: datetime | None = None
    end_date: datetime | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int | None = None

    @property
    def ends_run(self) -> bool:
        return self.task_id is None and self.state in OVER

    def is_older_than(self, other: Change) -> bool:
        """Of the same thing: what a list says may be newer than an event that was sent before it was asked."""
        tries = (self.try_number or 0, other.try_number or 0)
        if tries[0] != tries[1]:
            return tries[0] < tries[1]
        return self.start_date == other.start_date and self.end_date is None and other.end_date is not None


@dataclass
class Event:
    """What the server tells, by name.

    `run`, `task`: one came into another state. `check`: a contract found something wrong. `stale`: an asset is older
    than promised. `missed`: what changed before is not told, so ask the lists.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Holder:
    """Who has the slots that a task waits for."""

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    slots: int
    since: datetime


@dataclass
class Reason:
    """Something that a task waits for; it passes by itself `again_at`, if it has such a moment."""

    name: str
    reason: str
    again_at: datetime | None = None
    holders: list[Holder] = field(default_factory=list)


@dataclass
class Upstream:
    task_id: str
    state: str | None = None


@dataclass
class Why:
    """Why a task waits or failed: `summary` is a sentence, `causes` are of the last try, the outermost first."""

    task_id: str
    map_index: int
    summary: str
    state: str | None = None
    wake_at: datetime | None = None
    reasons: list[Reason] = field(default_factory=list)
    upstream: list[Upstream] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)


@dataclass
class LogLine:
    """A line that a task wrote. `fields` has what stands beside its words."""

    event: str
    level: str | None = None
    logger: str | None = None
    timestamp: datetime | None = None
    fields: dict[str, Any] = field(default_factory=dict)
