"""orch over HTTP: runs and what they wait for, streams, topics, the lake.

Each method is written once, in `AsyncOrch`; `Orch` has the same ones.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import fields
from datetime import datetime
from typing import Any, ClassVar, Literal

from ._server import BRIEFLY, LONG, Awaited, Blocked, Blocking, Client, Patience, Server, Way, each, now, path
from .data import (
    Dashboard,
    DashboardRows,
    NewRecord,
    Placed,
    Record,
    Snapshot,
    SqlAnswer,
    Stream,
    StreamMinute,
    Table,
    TableDetails,
    Topic,
    TopicPartition,
)
from .errors import OrchError, ended
from .runs import OVER, Change, Event, LogLine, Run, TaskInstance, Why

Moment = datetime | str
Place = Literal["earliest", "latest"] | int | datetime

# Entries of a page of a list, and records of an answer.
_PAGE = 100
_RECORDS = 1_000
# A wait says something at least so often; events have a sign of life each 15 seconds.
_SIGN_OF_LIFE = 15.0
_SILENCE = 3 * _SIGN_OF_LIFE
# How long an answer waits for a record.
_RECORD_WAIT = 20.0
# Beside the time that a query itself may take.
_WAY_THERE = 10.0
# The server looks for a new follower within two seconds, and tells nothing of what changed before its first look: until
# then the lists are asked.
_FIRST_LOOK_WITHIN = 2.5
_LOOK_PAUSE = 0.3
_LOG_PAUSE = 0.5
# States of tasks that neither wait nor failed.
_NOT_WAITING = ("success", "skipped", "running", "removed")


class AsyncOrch(Client):
    """Asks a server of orch; its methods are awaited.

    Without arguments the server is that of `ORCH_API_URL` and the token that of `ORCH_API_TOKEN`.
    """

    _way: ClassVar[type[Way]] = Awaited

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        address = base_url or os.environ.get("ORCH_API_URL") or "http://localhost:8080"
        login = (username, password) if username is not None and password is not None else None
        known = None if login else token or os.environ.get("ORCH_API_TOKEN")
        headers = {"Authorization": f"Bearer {known.strip()}"} if known else {}
        self._server = Server(self._way(), _base(address), headers=headers, login=login, timeout=timeout)

    async def ask(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON that any other route answers with: `ask("GET", "/api/v2/pools")`."""
        return await self._server.ask(method, path, params=params, json=body)

    # Runs

    async def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        logical_date: Moment | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Starts a run. A connection that breaks makes no second one: the request is sent again under the same key."""
        body: dict[str, Any] = {"logical_date": _said(logical_date)}
        body |= {} if conf is None else {"conf": dict(conf)}
        body |= {} if run_id is None else {"dag_run_id": run_id}
        body |= {} if note is None else {"note": note}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        found = await self._server.post(_runs_of(dag_id), body, headers=headers, patience=BRIEFLY)
        return self._server.read(Run, found)

    async def run(self, dag_id: str, run_id: str) -> Run:
        """A run as it is now."""
        return self._server.read(Run, await self._server.get(_runs_of(dag_id) + path(run_id)))

    async def runs(self, dag_id: str = "~", *, state: str | None = None, limit: int = _PAGE) -> list[Run]:
        """Runs of a DAG, or of all DAGs, the newest first."""
        params = {"order_by": "-run_after", **({"state": state} if state else {})}
        return self._server.read_all(Run, await self._list(_runs_of(dag_id), "dag_runs", params, limit))

    async def tasks(self, dag_id: str, run_id: str, *, limit: int | None = None) -> list[TaskInstance]:
        """The task instances of a run."""
        return self._server.read_all(TaskInstance, await self._instances(dag_id, run_id, limit))

    async def wait(self, dag_id: str, run_id: str, *, timeout: float | None = None) -> Run:
        """The run when it is over. The server says when that is; after `timeout` seconds it is a `TimeoutError`."""
        await self._end(dag_id, run_id, [], timeout)
        return await self.run(dag_id, run_id)

    async def outputs(self, dag_id: str, run_id: str, *task_ids: str, timeout: float | None = None) -> dict[str, Any]:
        """What these tasks gave, when the run is over; a mapped task gives a list."""
        end = await self._end(dag_id, run_id, task_ids, timeout)
        if url := end.get("results_url"):
            raise OrchError(
                None, "Too large", "the outputs are larger than 16 MB together", f"read them one by one: {url}"
            )
        results: dict[str, Any] = end.get("results", {})
        return results

    async def cancel(self, dag_id: str, run_id: str) -> Run:
        """Ends a run; its tasks are stopped."""
        found = await self._server.post(f"/api/orch/v1{path('dags', dag_id, 'runs', run_id, 'cancel')}")
        return self._server.read(Run, found)

    async def why(
        self, dag_id: str, run_id: str, task_id: str | None = None, *, map_index: int = -1, limit: int = _PAGE
    ) -> list[Why]:
        """Why a task waits or failed. Without a task: of each that does, `limit` of them at most."""
        if task_id is not None:
            wanted = [(task_id, map_index)]
        else:
            tasks = await self.tasks(dag_id, run_id)
            wanted = [(task.task_id, task.map_index) for task in tasks if task.state not in _NOT_WAITING][:limit]
        of_run = path("dags", dag_id, "runs", run_id, "tasks")
        return [
            self._server.read(
                Why, await self._server.get(f"/api/orch/v1{of_run}{path(task, 'why')}", params={"map_index": index})
            )
            for task, index in wanted
        ]

    async def live(self, dag_id: str, run_id: str) -> AsyncGenerator[Change, None]:
        """The states of a run and of its tasks: as they are, and then as they change, until the run is over.

        A state that lasts for less than half a second may be left out; the last one of each task is told. A connection
        that breaks is made again.
        """
        told: dict[tuple[str | None, int], Change] = {}

        def news(changes: Iterable[Change]) -> list[Change]:
            found = [change for change in changes if _is_news(told.get((change.task_id, change.map_index)), change)]
            told.update({(change.task_id, change.map_index): change for change in found})
            return found

        async with aclosing(self.events(dag_id=dag_id, run_id=run_id)) as events:
            async for event in events:
                changes = [self._server.read(Change, event.data)] if event.name in ("run", "task") else []
                ends = any(change.ends_run for change in changes)
                if not ends and event.name != "missed":
                    for change in news(changes):
                        yield change
                    continue
                # What the events left out is told, at the latest before the end.
                until = time.monotonic() + (0.0 if ends else _FIRST_LOOK_WITHIN)
                is_last = False
                while not is_last:
                    is_last = time.monotonic() >= until
                    changes = await self._states(dag_id, run_id)
                    for change in news(changes):
                        yield change
                    if any(change.ends_run for change in changes):
                        return
                    if not is_last:
                        await self._server.way.sleep(_LOOK_PAUSE)

    async def events(self, *, dag_id: str | None = None, run_id: str | None = None) -> AsyncGenerator[Event, None]:
        """What happens, of all DAGs or of one, without an end.

        `missed` comes first. It comes again if the server does not have all changes since a connection broke, and to a
        reader that is too slow.
        """
        patience = Patience(self._server.way, LONG)
        params = {name: value for name, value in (("dag_id", dag_id), ("run_id", run_id)) if value is not None}
        last_id = ""
        while True:
            try:
                # The server sends the changes since this event first.
                headers = {"Last-Event-ID": last_id} if last_id else {}
                lines = self._server.lines("/api/orch/v1/events", silence=_SILENCE, params=params, headers=headers)
                async with aclosing(lines):
                    await anext(lines)
                    if not last_id:
                        yield Event("missed")
                    name, new_id = "", last_id
                    async for line in lines:
                        patience.renew()
                        field, _, value = line.partition(": ")
                        if field == "event":
                            name = value
                        elif field == "id":
                            new_id = value
                        elif field == "data":
                            yield Event(name, json.loads(value))
                        elif not line:
                            # An empty line ends an event. The id of an incomplete event does not count.
                            last_id = new_id
                broken = ended()
            except OrchError as error:
                broken = error
            await patience.bear(broken)

    async def log(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        map_index: int = -1,
        try_number: int | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogLine, None]:
        """What a try wrote, the last one without `try_number`. With `follow` it goes on until the try is over."""
        of_task = f"{_runs_of(dag_id)}{path(run_id, 'taskInstances', task_id)}"
        if try_number is None:
            of_element = of_task if map_index < 0 else of_task + path(map_index)
            try_number = max(1, self._server.read(TaskInstance, await self._server.get(of_element)).try_number)
        token, is_over, patience = None, False, LONG if follow else BRIEFLY
        while True:
            params = {"map_index": map_index, **({"token": token} if token else {})}
            page = await self._server.get(f"{of_task}{path('logs', try_number)}", params=params, patience=patience)
            for line in page["content"]:
                yield self._line(line)
            token = page["continuation_token"]
            if token is None or (not page["content"] and (is_over or not follow)):
                return
            if not page["content"]:
                # A try that never begins has no end of its own.
                is_over = (await self.run(dag_id, run_id)).is_over
                await self._server.way.sleep(_LOG_PAUSE)

    # Streams

    async def streams(self, *, state: str | None = None, order_by: str = "name") -> list[Stream]:
        """All streams, or those in a state."""
        params = {"order_by": order_by, **({"state": state} if state else {})}
        return self._server.read_all(Stream, await self._list(_STREAMS, "streams", params, None))

    async def stream(self, name: str) -> Stream:
        """A stream with its partitions."""
        return self._server.read(Stream, await self._server.get(_STREAMS + path(name)))

    async def stream_minutes(self, name: str, *, hours: int = 3) -> list[StreamMinute]:
        """Records and lag of a stream, minute by minute."""
        found = await self._server.get(_STREAMS + path(name, "minutes"), params={"hours": hours})
        return self._server.read_all(StreamMinute, found["minutes"])

    async def pause_stream(self, name: str) -> Stream:
        return await self._steer(name, "pause")

    async def resume_stream(self, name: str) -> Stream:
        return await self._steer(name, "resume")

    async def restart_stream(self, name: str) -> Stream:
        """Lets a stream that failed try at once."""
        return await self._steer(name, "restart")

    async def reset_stream(
        self, name: str, to: Place, *, partition: int | None = None, empty_table: bool = False
    ) -> Stream:
        """Lets it go on elsewhere: at the `"earliest"` or `"latest"` record, at an offset, or at a moment."""
        match to:
            case int():
                place: Any = {"offset": to}
            case datetime():
                place = {"time": _said(to)}
            case _:
                place = to
        body = {"to": place, "empty_table": empty_table}
        return await self._steer(name, "reset", body if partition is None else {**body, "partition": partition})

    # Topics

    async def topics(self) -> list[Topic]:
        """The topics of the built-in log."""
        return self._server.read_all(Topic, await self._list(_TOPICS, "topics", {"order_by": "name"}, None))

    async def create_topic(
        self, name: str, *, partitions: int = 1, retention_hours: int = 168, description: str | None = None
    ) -> Topic:
        """Makes a topic; with `retention_hours=-1` it keeps records for ever."""
        body = {"name": name, "partitions": partitions, "retention_hours": retention_hours, "description": description}
        return self._server.read(Topic, await self._server.post(_TOPICS, body))

    async def delete_topic(self, name: str) -> None:
        """All its records go with it."""
        await self._server.answer("DELETE", _TOPICS + path(name))

    async def partitions(self, topic: str) -> list[TopicPartition]:
        found = await self._server.get(_TOPICS + path(topic, "partitions"))
        return self._server.read_all(TopicPartition, found["partitions"])

    async def records(
        self,
        topic: str,
        partition: int = 0,
        *,
        offset: int | None = None,
        at: Moment | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[Record, None]:
        """The records of a partition from an offset, a moment, or the oldest one to its end.

        With `follow` it waits for more, without an end.
        """
        if offset is None and at is None:
            offset = next((p.first_offset for p in await self.partitions(topic) if p.partition == partition), 0)
        end, patience = None, LONG if follow else BRIEFLY
        while True:
            params: dict[str, Any] = {"partition": partition, "limit": _RECORDS}
            params |= {"at": _said(at)} if offset is None else {"offset": offset}
            params |= {"wait": _RECORD_WAIT} if follow else {}
            page = await self._server.get(_TOPICS + path(topic, "records"), params=params, patience=patience)
            for record in self._server.read_all(Record, page["records"]):
                yield record
            offset = page["next_offset"]
            end = page["end_offset"] if end is None else end
            if not follow and offset >= end:
                return

    async def produce(self, topic: str, records: Iterable[Any]) -> list[Placed]:
        """Appends all of them, or none. Anything but a `NewRecord` is taken as a value."""
        new = [record if isinstance(record, NewRecord) else NewRecord(record) for record in records]
        body = {"records": [record.body() for record in new]}
        return self._server.read_all(
            Placed, (await self._server.post(_TOPICS + path(topic, "records"), body))["placed"]
        )

    # The lake

    async def sql(self, query: str, *, limit: int = 1_000, timeout: float = 30.0) -> SqlAnswer:
        """Asks the lake. 10,000 rows at most; a query ends after `timeout` seconds, and with its connection."""
        body = {"sql": query, "limit": limit, "timeout_seconds": timeout}
        found = await self._server.post("/api/orch/v1/sql", body, read=timeout + _WAY_THERE)
        return self._server.read(SqlAnswer, found)

    async def tables(self) -> list[Table]:
        """The tables of the lake."""
        return self._server.read_all(Table, await self._list(_TABLES, "tables", {}, None))

    async def table(self, name: str) -> TableDetails:
        """A table with its columns: `table("retail.orders_fact")`."""
        return self._server.read(TableDetails, await self._server.get(_TABLES + _table(name)))

    async def snapshots(self, table: str, *, limit: int = _PAGE) -> list[Snapshot]:
        """The states of a table, the newest first."""
        found = await self._server.get(f"{_TABLES}{_table(table)}/snapshots", params={"limit": limit})
        return self._server.read_all(Snapshot, found["snapshots"])

    async def dashboards(self) -> list[Dashboard]:
        return self._server.read_all(Dashboard, await self._list(_DASHBOARDS, "dashboards", {}, None))

    async def dashboard(self, name: str, filters: Mapping[str, Any] | None = None) -> DashboardRows:
        """The rows of all panels, for these values of the filters; the others have their own."""
        chosen = [f"{key}:{value}" for key, value in (filters or {}).items()]
        found = await self._server.get(_DASHBOARDS + path(name), params={"filter": chosen})
        return self._server.read(DashboardRows, found)

    async def _list(
        self, of: str, name: str, params: Mapping[str, Any], limit: int | None, patience: float = BRIEFLY
    ) -> list[Any]:
        found: list[Any] = []
        while True:
            most = _PAGE if limit is None else min(_PAGE, limit - len(found))
            params = {**params, "limit": most, "offset": len(found)}
            page = (await self._server.get(of, params=params, patience=patience))[name]
            found += page
            if len(page) < most or len(found) == limit:
                return found

    async def _instances(
        self, dag_id: str, run_id: str, limit: int | None = None, patience: float = BRIEFLY
    ) -> list[Any]:
        of_run = f"{_runs_of(dag_id)}{path(run_id, 'taskInstances')}"
        return await self._list(of_run, "task_instances", {}, limit, patience)

    async def _end(self, dag_id: str, run_id: str, results: Iterable[str], timeout: float | None) -> dict[str, Any]:
        """What the server says when a run is over. It says something from time to time, and at the deadline."""
        patience = Patience(self._server.way, LONG)
        began = time.monotonic()
        of_run = f"{_runs_of(dag_id)}{path(run_id, 'wait')}"
        while True:
            left = _SIGN_OF_LIFE if timeout is None else max(began + timeout - time.monotonic(), 0.01)
            interval = left / math.ceil(left / _SIGN_OF_LIFE)
            params = {"interval": interval, "result": list(results)}
            try:
                lines = self._server.lines(of_run, silence=interval + _SIGN_OF_LIFE, params=params)
                async with aclosing(lines):
                    await anext(lines)
                    async for line in lines:
                        patience.renew()
                        said: dict[str, Any] = json.loads(line)
                        if said["state"] in OVER:
                            return said
                        if timeout is not None and time.monotonic() - began >= timeout:
                            break
                broken = ended()
            except OrchError as error:
                broken = error
            if timeout is not None and time.monotonic() - began >= timeout and broken.may_pass:
                raise TimeoutError(f"run `{run_id}` of `{dag_id}` is not over after {timeout:g} s") from broken
            await patience.bear(broken)

    async def _states(self, dag_id: str, run_id: str) -> list[Change]:
        """How a run and its tasks are. The run is asked first: if it is over, so are its tasks, and it comes last."""
        run = self._server.read(Change, await self._server.get(_runs_of(dag_id) + path(run_id), patience=LONG))
        tasks = self._server.read_all(Change, await self._instances(dag_id, run_id, patience=LONG))
        begun = [task for task in tasks if task.state]
        return [*begun, run] if run.ends_run else [run, *begun]

    def _line(self, line: dict[str, Any]) -> LogLine:
        known = {field.name for field in fields(LogLine)} - {"fields"}
        beside = {name: value for name, value in line.items() if name not in known}
        return self._server.read(LogLine, {**{name: line[name] for name in known if name in line}, "fields": beside})

    async def _steer(self, name: str, what: str, body: Any = None) -> Stream:
        return self._server.read(Stream, await self._server.post(_STREAMS + path(name, what), body))


class _BlockingOrch(AsyncOrch):
    _way = Blocking


class Orch(Blocked[AsyncOrch]):
    """Asks a server of orch.

    Without arguments the server is that of `ORCH_API_URL` and the token that of `ORCH_API_TOKEN`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._client = _BlockingOrch(base_url, token=token, username=username, password=password, timeout=timeout)

    ask = now(AsyncOrch.ask)
    trigger = now(AsyncOrch.trigger)
    run = now(AsyncOrch.run)
    runs = now(AsyncOrch.runs)
    tasks = now(AsyncOrch.tasks)
    wait = now(AsyncOrch.wait)
    outputs = now(AsyncOrch.outputs)
    cancel = now(AsyncOrch.cancel)
    why = now(AsyncOrch.why)
    live = each(AsyncOrch.live)
    events = each(AsyncOrch.events)
    log = each(AsyncOrch.log)
    streams = now(AsyncOrch.streams)
    stream = now(AsyncOrch.stream)
    stream_minutes = now(AsyncOrch.stream_minutes)
    pause_stream = now(AsyncOrch.pause_stream)
    resume_stream = now(AsyncOrch.resume_stream)
    restart_stream = now(AsyncOrch.restart_stream)
    reset_stream = now(AsyncOrch.reset_stream)
    topics = now(AsyncOrch.topics)
    create_topic = now(AsyncOrch.create_topic)
    delete_topic = now(AsyncOrch.delete_topic)
    partitions = now(AsyncOrch.partitions)
    records = each(AsyncOrch.records)
    produce = now(AsyncOrch.produce)
    sql = now(AsyncOrch.sql)
    tables = now(AsyncOrch.tables)
    table = now(AsyncOrch.table)
    snapshots = now(AsyncOrch.snapshots)
    dashboards = now(AsyncOrch.dashboards)
    dashboard = now(AsyncOrch.dashboard)


_STREAMS = "/api/orch/v1/streams"
_TOPICS = "/api/orch/v1/topics"
_TABLES = "/api/orch/v1/lake/tables"
_DASHBOARDS = "/api/orch/v1/dashboards"


def _runs_of(dag_id: str) -> str:
    return f"/api/v2{path('dags', dag_id, 'dagRuns')}"


def _table(name: str) -> str:
    namespace, _, table = name.rpartition(".")
    if not namespace:
        raise ValueError(f"`{name}` is not the name of a table: write `namespace.table`")
    return path(namespace, table)


def _base(address: str) -> str:
    """As the command line takes it: with or without the path of the API."""
    base = address.strip().rstrip("/").removesuffix("/api/v2").rstrip("/")
    if not base.startswith(("http://", "https://")) or "?" in base:
        raise ValueError("the address of a server is written as `http://host:8080` or `https://host`")
    if "@" in base:
        raise ValueError("the address of a server holds no password: give `username` and `password`, or `token`")
    return base


def _said(moment: Moment | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _is_news(told: Change | None, change: Change) -> bool:
    if told is None:
        return True
    same = (told.state, told.try_number) == (change.state, change.try_number)
    return not same and not change.is_older_than(told)
