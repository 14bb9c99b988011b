"""A server to ask, with the pipelines beside it.

`ORCH_API_URL` says where it is, `ORCH_PASSWORD` has the password of `admin`, and `ORCH_DATA_DIR` is its data folder.
`dags/tests/dags/python_client.rs` starts one.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from orch_client import Orch
from relay import Relay

_PATIENCE = 60.0


def until(holds: Callable[[], bool]) -> None:
    """What other processes do sends no event here."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < _PATIENCE, "it does not come"
        time.sleep(0.1)


def log_in(address: str | None = None) -> Orch:
    return Orch(address, username="admin", password=os.environ["ORCH_PASSWORD"])


@pytest.fixture(scope="session")
def orch() -> Iterator[Orch]:
    with log_in() as client:
        yield client


@pytest.fixture(scope="session")
def token(orch: Orch) -> str:
    """What a program gives that has no password."""
    body = {"username": "admin", "password": os.environ["ORCH_PASSWORD"]}
    token: str = orch.ask("POST", "/auth/token", body=body)["access_token"]
    return token


@pytest.fixture(scope="session")
def retail(orch: Orch) -> str:
    """The run that has made the tables of the shop."""
    run = orch.trigger("retail_medallion")
    assert orch.wait("retail_medallion", run.dag_run_id, timeout=_PATIENCE * 3).is_success
    return run.dag_run_id


@pytest.fixture
def name() -> str:
    """Another one each time."""
    return f"python-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay(os.environ["ORCH_API_URL"]) as relay:
        yield relay
