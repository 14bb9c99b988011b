"""Spark, asked over standard input: one line of JSON is a statement, one line of JSON its rows.

Cells travel as text, null as null, so that both sides compare what they would print.
"""

import json
import sys
import traceback

from pyspark.sql import SparkSession


def cell(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


builder = SparkSession.builder.master("local[2]")
for name, value in json.loads(sys.argv[1]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()

for line in sys.stdin:
    try:
        rows = spark.sql(json.loads(line)["sql"]).collect()
        told = {"ok": [[cell(value) for value in row] for row in rows]}
    except Exception:
        told = {"error": traceback.format_exc()}
    print(json.dumps(told), flush=True)
