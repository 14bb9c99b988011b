"""A throw-away Airflow: its home and SQLite metadata live in a temporary folder and vanish with the process.

Import this before anything of Airflow: Airflow reads its configuration at import.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

PINNED = "3.3.2"
DAG_BUNDLE = "oracle"

_memory = Path("/dev/shm")
_home = tempfile.mkdtemp(prefix="airflow-oracle-", dir=_memory if _memory.is_dir() else None)
atexit.register(shutil.rmtree, _home, ignore_errors=True)

os.environ.update(
    AIRFLOW_HOME=_home,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_home}/airflow.db",
    AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",
    AIRFLOW__LOGGING__FAB_LOGGING_LEVEL="CRITICAL",
)


def open_session():
    """Creates the metadata database and returns the one session everything here uses."""
    import airflow

    if airflow.__version__ != PINNED:
        raise SystemExit(f"the tables are Airflow {PINNED}'s; this is `{airflow.__version__}`")
    logging.disable(logging.CRITICAL)

    from airflow import settings
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils import db

    settings.configure_orm()
    db.initdb()
    session = settings.Session()
    session.add(DagBundleModel(name=DAG_BUNDLE))
    session.commit()
    return session
