"""Topics, streams and the lake."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timezone
from decimal import Decimal

import polars
import pyarrow
import pytest

from conftest import until
from orch_client import Orch, OrchError
from orch_client.data import NewRecord

_TYPES = """
    select true as b, cast(7 as int) as i, 9007199254740993 as big, 0.5 as f, cast('nan' as double) as nan,
        cast('12.30' as decimal(10, 2)) as d, 'ä' as t, x'00ff' as raw, date '2026-01-02' as day,
        time '01:02:03.5' as clock, timestamp '2026-01-02 03:04:05.123456' as at, [1, 2] as many,
        [date '2026-01-02'] as days,
        timestamp '2026-01-02 03:04:05' at time zone 'UTC' as utc
"""


def test_cells_have_the_types_of_their_columns(orch: Orch) -> None:
    nulls = ", ".join(f"null as c{number}" for number in range(14))
    answer = orch.sql(f"{_TYPES} union all select {nulls} order by b nulls last")
    at, utc = datetime(2026, 1, 2, 3, 4, 5, 123456), datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    full, empty = answer.rows
    assert math.isnan(full[4]) and empty == (None,) * 14
    assert full[:4] == (True, 7, 9007199254740993, 0.5)
    expected = (
        Decimal("12.30"),
        "ä",
        b"\x00\xff",
        date(2026, 1, 2),
        time(1, 2, 3, 500000),
        at,
        [1, 2],
        [date(2026, 1, 2)],
        utc,
    )
    assert full[5:] == expected
    table = answer.arrow()
    assert table.schema.field("d").type == pyarrow.decimal128(10, 2) and table.num_rows == 2
    assert answer.polars().schema["at"] == polars.Datetime("us") and answer.polars().equals(polars.from_arrow(table))
    assert list(answer.pandas().columns) == [column.name for column in answer.columns]
    nothing = orch.sql(f"select * from ({_TYPES}) where not b")
    assert nothing.dicts() == [] and nothing.polars().schema == answer.polars().schema
    assert nothing.arrow().schema == table.schema


def test_records_are_appended_whole_and_read_from_anywhere(orch: Orch, name: str) -> None:
    orch.create_topic(name, partitions=1, description="tests")
    records = [{"city": "Köln\u2028"}, "text", b"\xff\x00", 7, NewRecord(None, "k"), NewRecord([1], "k2", {"by": "me"})]
    placed = orch.produce(name, records)
    assert [place.offset for place in placed] == list(range(6))
    found = list(orch.records(name))
    assert [record.value for record in found] == ['{"city":"Köln\u2028"}', "text", b"\xff\x00", "7", None, "[1]"]
    assert found[0].json() == records[0] and [record.key for record in found[4:]] == ["k", "k2"]
    assert found[5].headers == {"by": "me"} and found[5].timestamp == placed[5].timestamp
    assert [record.offset for record in orch.records(name, offset=4)] == [4, 5]
    assert len(list(orch.records(name, at=found[0].timestamp))) == 6
    followed = orch.records(name, offset=5, follow=True)
    assert next(followed).offset == 5
    orch.produce(name, ["one more"])
    assert next(followed).value == "one more"
    with pytest.raises(OrchError, match="tombstone"):
        orch.produce(name, ["good", NewRecord(None)])
    assert orch.partitions(name)[0].next_offset == 7
    assert {name} == {topic.name for topic in orch.topics() if topic.records == 7}
    orch.delete_topic(name)


def test_a_stream_is_steered(orch: Orch, name: str) -> None:
    stream, count = "logging_weather", f"select count(*) from default.weather where city = '{name}'"
    record = {"city": name, "temperature": "11.5", "ts": "2026-01-02 03"}
    assert orch.pause_stream(stream).state == "paused" and stream in {s.name for s in orch.streams(state="paused")}
    orch.produce("weather", [record])
    assert orch.stream(stream).lag >= 1 and orch.stream(stream).partitions[0].lag >= 1
    assert orch.reset_stream(stream, "earliest", empty_table=True).reset_to
    orch.resume_stream(stream)
    until(lambda: (now := orch.stream(stream)).reset_to is None and now.lag == 0)
    assert orch.sql(count).rows == [(1,)] and orch.stream_minutes(stream)[-1].records >= 1
    for place in (0, datetime(2020, 1, 1, tzinfo=timezone.utc)):
        with pytest.raises(OrchError, match="no partition of that number"):
            orch.reset_stream(stream, place, partition=99)


def test_tables_and_dashboards_show_what_pipelines_made(orch: Orch, retail: str) -> None:
    (listed,) = [table for table in orch.tables() if (table.namespace, table.name) == ("retail", "orders_fact")]
    assert listed.last and listed.last.made_by and listed.last.made_by.run_id == retail
    details = orch.table("retail.orders_fact")
    assert details.totals == listed.totals and "order_item_subtotal" in [column.name for column in details.columns]
    assert orch.snapshots("retail.orders_fact")[0].id == listed.last.id
    ((rows, revenue),) = orch.sql("select count(*), sum(order_item_subtotal) from retail.orders_fact").rows
    assert rows == listed.totals.rows and isinstance(revenue, Decimal)
    assert "retail" in [dashboard.name for dashboard in orch.dashboards()]
    shown = orch.dashboard("retail")
    filters = dict(shown.filters)
    assert shown.panels and all(panel.problem is None and panel.rows for panel in shown.panels), shown.panels
    assert orch.dashboard("retail", filters).panel(shown.panels[0].title) == shown.panels[0]
    with pytest.raises(OrchError, match="no filter `nothing`"):
        orch.dashboard("retail", {"nothing": 1})
    with pytest.raises(ValueError, match=r"write `namespace\.table`"):
        orch.table("orders_fact")
