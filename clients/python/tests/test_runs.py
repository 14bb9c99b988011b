"""Runs: what is waited for, what is told of them, and what happens when connections break."""

from __future__ import annotations

import asyncio
import os
import pickle
from contextlib import aclosing
from datetime import datetime, timezone

import httpx
import pytest

from conftest import log_in
from orch_client import AsyncOrch, Orch, OrchError
from orch_client.errors import refusal
from orch_client.runs import Change
from relay import Relay

_ASKS = "example_approval"


def answer(orch: Orch, run_id: str, task_id: str, body: dict[str, object]) -> None:
    orch.ask("PATCH", f"/api/v2/dags/{_ASKS}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails", body=body)


def test_a_run_is_triggered_waited_for_and_read(orch: Orch, name: str) -> None:
    date = datetime.fromtimestamp(int(name[-6:], 16), timezone.utc)
    run = orch.trigger("example_chain", {"day": "monday"}, run_id=f"{name}:1+x", logical_date=date, note="by hand")
    assert (run.dag_run_id, run.logical_date, run.conf) == (f"{name}:1+x", date, {"day": "monday"})
    ended = orch.wait("example_chain", run.dag_run_id, timeout=60)
    assert ended.is_over and ended.is_success and ended.end_date and ended.duration and ended.note == "by hand"
    assert orch.run("example_chain", run.dag_run_id) == ended
    assert ended in orch.runs("example_chain", state="success")
    assert {task.state for task in orch.tasks("example_chain", run.dag_run_id)} == {"success"}
    assert len(orch.tasks("example_chain", run.dag_run_id, limit=1)) == 1
    assert orch.outputs("example_chain", run.dag_run_id, "step_3") == {"step_3": 3}


def test_an_answer_that_is_lost_makes_no_second_run(orch: Orch, relay: Relay) -> None:
    before = len(orch.runs("example_hello"))
    with log_in(relay.url) as through:
        through.topics()
        relay.loses_an_answer = True
        run = through.trigger("example_hello")
    assert not relay.loses_an_answer and len(orch.runs("example_hello")) == before + 1
    assert orch.wait("example_hello", run.dag_run_id, timeout=60).is_success


def test_live_tells_each_state_once_though_connections_break(orch: Orch, relay: Relay) -> None:
    run_id = orch.trigger(_ASKS).dag_run_id
    told: list[tuple[str | None, str | None]] = []
    with log_in(relay.url) as through:
        for change in through.live(_ASKS, run_id):
            told.append((change.task_id, change.state))
            match told[-1]:
                case ("limits", "awaiting_input"):
                    relay.cut()
                    answer(orch, run_id, "limits", {"chosen_options": ["OK"], "params_input": {"rows": 3}})
                case ("approved", "awaiting_input"):
                    answer(orch, run_id, "approved", {"chosen_options": ["Approve"]})
    assert len(told) == len(set(told)), told
    assert [state for task, state in told if task is None] == ["running", "success"], told
    assert told[-1] == (None, "success") and {
        ("limits", "success"),
        ("approved", "success"),
        ("publish", "success"),
    } < set(told)
    assert orch.outputs(_ASKS, run_id, "publish") == {"publish": 3}
    assert [change.state for change in orch.live(_ASKS, run_id)] == ["success"] * 4


def test_events_go_on_when_the_connection_breaks(orch: Orch, relay: Relay) -> None:
    async def hear() -> str:
        through = AsyncOrch(relay.url, username="admin", password=os.environ["ORCH_PASSWORD"])
        async with through, aclosing(through.events(dag_id="example_hello")) as events:
            assert (await anext(events)).name == "missed"
            for _ in range(2):
                relay.cut()
                # The server sends `missed` if it had stopped its feed.
                name = "missed"
                while name == "missed":
                    heard = asyncio.ensure_future(anext(events))
                    # The server does not report changes before its first poll.
                    while not heard.done():
                        await asyncio.to_thread(orch.trigger, "example_hello")
                        await asyncio.wait([heard], timeout=0.5)
                    name = heard.result().name
            return name

    assert asyncio.run(hear()) in ("task", "run")


def test_why_names_what_a_task_waits_for(orch: Orch) -> None:
    run_id = orch.trigger(_ASKS).dag_run_id
    (publish,) = orch.why(_ASKS, run_id, "publish")
    # The first task ends by itself, at any moment.
    assert "limits" in publish.summary or "approved" in publish.summary
    assert [upstream.task_id for upstream in publish.upstream] == ["limits", "approved"]
    waits = [why.task_id for why in orch.why(_ASKS, run_id)]
    assert waits in (["limits", "approved", "publish"], ["approved", "publish"])
    with pytest.raises(TimeoutError, match=r"is not over after 0\.2 s"):
        orch.wait(_ASKS, run_id, timeout=0.2)
    orch.cancel(_ASKS, run_id)
    assert not orch.wait(_ASKS, run_id, timeout=60).is_success


def test_many_wait_at_once_and_a_cut_wait_goes_on(orch: Orch, relay: Relay) -> None:
    run_ids = [orch.trigger(_ASKS).dag_run_id for _ in range(3)]

    async def wait_for_all() -> list[str]:
        async with AsyncOrch(relay.url, username="admin", password=os.environ["ORCH_PASSWORD"]) as through:
            await through.topics()
            waits = [asyncio.create_task(through.wait(_ASKS, run_id, timeout=60)) for run_id in run_ids]
            for _ in run_ids:
                await asyncio.to_thread(relay.made.acquire)
            relay.cut()
            for run_id in run_ids:
                await through.cancel(_ASKS, run_id)
            return [run.state for run in await asyncio.gather(*waits)]

    assert asyncio.run(wait_for_all()) == ["failed"] * 3


def test_a_log_is_followed_to_its_end(orch: Orch) -> None:
    run_id = orch.trigger("example_hello").dag_run_id
    (line,) = orch.log("example_hello", run_id, "greet", follow=True)
    assert (line.event, line.level) == (f"this is run {run_id}", "info") and line.timestamp
    orch.wait("example_hello", run_id, timeout=60)
    assert list(orch.log("example_hello", run_id, "greet", try_number=1)) == [line]


def test_one_exception_says_what_was_refused(orch: Orch) -> None:
    address = os.environ["ORCH_API_URL"]
    for ask, status, words in (
        (lambda: orch.run("example_chain", "nothing"), 404, "`nothing` was not found"),
        (lambda: orch.trigger("example_params", {"a": 1}), 400, "`a` is not known"),
        (lambda: orch.ask("GET", "/api/v2/pools", params={"nope": 1}), 422, "nope: Extra inputs"),
        (lambda: orch.sql("delete from retail.orders_fact"), 400, "\nhint: "),
        (lambda: Orch(address).topics(), 401, "\nhint: make a token"),
        (lambda: Orch(address, token="orch_wrong").topics(), 401, "\nhint: make a token"),
        (lambda: Orch(address, username="admin", password="wrong").topics(), 401, "credentials"),
        (lambda: Orch("http://127.0.0.1:9").topics(), None, "cannot be reached"),
    ):
        with pytest.raises(OrchError) as refused:
            ask()
        assert refused.value.status == status and words in str(refused.value), refused.value
    for wrong in ("localhost:8080", "http://me:hush@localhost"):
        with pytest.raises(ValueError) as refused_address:
            Orch(wrong)
        assert "hush" not in str(refused_address.value)


def test_a_server_that_is_another_one_is_named() -> None:
    error = refusal("http://other", httpx.Response(502, text="<html>"))
    assert (error.status, error.may_pass) == (502, True) and "not answer as an orch server does" in error.detail
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_older_look_does_not_replace_a_newer_one() -> None:
    first, second = datetime(2026, 1, 1), datetime(2026, 1, 2)
    running = Change("d", "r", "running", first, None, "t", -1, 1)
    over = Change("d", "r", "up_for_retry", first, second, "t", -1, 1)
    again = Change("d", "r", "running", second, None, "t", -1, 2)
    assert running.is_older_than(over) and over.is_older_than(again)
    assert not over.is_older_than(running) and not again.is_older_than(over)
