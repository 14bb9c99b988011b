"""The guide to BI tools: its role, its SQL and its Python, on the private Postgres and the catalog of the server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import sqlalchemy

from guide import examples, run
from orch_client import Orch

_GUIDE = "bi-tools"
_STATES = "select customer_state, total_revenue from retail.sales_by_state order by 2 desc"


@pytest.fixture(scope="module")
def role() -> str:
    (role, _) = (sql for _, sql in examples(_GUIDE, "sql"))
    return role


@pytest.fixture(scope="module")
def attached() -> list[str]:
    (_, attached) = (sql for _, sql in examples(_GUIDE, "sql"))
    return [statement.strip() for statement in attached.split(";") if statement.strip()]


@pytest.fixture(scope="module")
def socket() -> str:
    """Where the private Postgres listens."""
    told = json.loads((Path(os.environ["ORCH_DATA_DIR"]) / "standalone.json").read_text())
    return str(told["socket"])


@pytest.fixture(scope="module")
def owner(socket: str, role: str, retail: str) -> Iterator[psycopg.Connection[Any]]:
    """An administrator in the warehouse, after the role of the guide was made."""
    with psycopg.connect(host=socket, user="orch", dbname="warehouse", autocommit=True) as db:
        if db.execute("select 1 from pg_roles where rolname = 'bi_reader'").fetchone():
            db.execute("drop owned by bi_reader; drop role bi_reader")
        db.execute(role)
        yield db


def test_the_role_reads_and_does_nothing_else(socket: str, owner: psycopg.Connection[Any]) -> None:
    owner.execute("drop table if exists retail.later")
    owner.execute("set role orch_tasks; create table retail.later as select 7 as n; reset role")
    with psycopg.connect(host=socket, user="bi_reader", dbname="warehouse", autocommit=True) as reader:
        assert reader.execute("select n from retail.later").fetchall() == [(7,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("delete from retail.later")
        reader.execute("set default_transaction_read_only = off")
        for statement in ("delete from retail.later", "create table retail.mine (n int)", "drop table retail.later"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
    owner.execute("drop table retail.later")
    with pytest.raises(psycopg.OperationalError, match='permission denied for database "orch"'):
        psycopg.connect(host=socket, user="bi_reader", dbname="orch")


def test_all_ways_show_the_same_rows(
    orch: Orch,
    token: str,
    socket: str,
    owner: psycopg.Connection[Any],
    attached: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    expected = orch.sql(_STATES).rows
    assert len(expected) > 10

    query = {"host": socket, "port": "5432"}
    warehouse = sqlalchemy.URL.create("postgresql+psycopg", username="bi_reader", database="warehouse", query=query)
    by_sqlalchemy, by_iceberg = examples(_GUIDE, "python")
    names: dict[str, Any] = {"warehouse": warehouse}
    run(_GUIDE, by_sqlalchemy, names)
    found = list(names["frame"].itertuples(index=False, name=None))
    assert found == [(state, pytest.approx(float(revenue))) for state, revenue in expected]

    catalog = f"{os.environ['ORCH_API_URL']}/catalog"
    line, code = by_iceberg
    names = {"token": token}
    run(_GUIDE, (line, code.replace("http://localhost:8080/catalog", catalog)), names)
    assert set(names["states"]["customer_state"]) == {state for state, revenue in expected if revenue > 1_000_000}

    db = duckdb.connect(config={"extension_directory": str(tmp_path)})
    for extension in ("avro", "httpfs", "iceberg"):
        (packaged,) = Path(str(files(f"duckdb_extension_{extension}"))).rglob("*.duckdb_extension")
        db.execute(f"install '{packaged}'; load {extension}")
    assert attached[0] == "install iceberg", "DuckDB fetches it from its own server, which a test does not ask"
    for statement in attached[1:]:
        said = statement.replace("orch_…", token).replace("http://localhost:8080/catalog", catalog)
        answer = db.execute(said)
    assert answer.fetchall() == expected[:3]
    assert db.execute(_STATES.replace("retail.", "lake.retail.")).fetchall() == expected
