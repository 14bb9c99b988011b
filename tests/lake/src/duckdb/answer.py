"""DuckDB with a catalog attached as `lake`: a question is a statement, its answer are rows. After `python/asked.py`."""

from importlib.resources import files
from pathlib import Path

import duckdb

endpoint, token, folder = sys.argv[1:]
db = duckdb.connect(config={"extension_directory": folder})
for extension in ("avro", "httpfs", "iceberg"):
    # Those of packages: DuckDB's own server is not asked.
    (packaged,) = Path(str(files(f"duckdb_extension_{extension}"))).rglob("*.duckdb_extension")
    db.execute(f"install '{packaged}'; load {extension}")
db.execute("set timezone = 'UTC'")
db.execute(f"create secret orch (type iceberg, token '{token}')")
db.execute(f"attach 'orch' as lake (type iceberg, endpoint '{endpoint}', secret orch)")


def answer(asked):
    found = db.execute(asked["sql"]).to_arrow_table()
    return [[cell(value) for value in row.values()] for row in found.to_pylist()]


answer_all(answer)
