"""Spark, asked over standard input: one line of JSON is a statement, one line of JSON its rows.

Cells travel as text, null as null, so that both sides compare what they would print.
"""

import json
import sys
import traceback

from pyspark.sql import SparkSession


def cell(value, kind):
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    # A moment comes in the time zone of the session, and does not say so.
    zone = "Z" if kind == "timestamp" else ""
    return value.isoformat() + zone if hasattr(value, "isoformat") else str(value)


builder = SparkSession.builder.master("local[2]")
for name, value in json.loads(sys.argv[1]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()

for line in sys.stdin:
    try:
        found = spark.sql(json.loads(line)["sql"])
        kinds = [field.dataType.typeName() for field in found.schema.fields]
        told = {"ok": [[cell(*both) for both in zip(row, kinds)] for row in found.collect()]}
    except Exception:
        told = {"error": traceback.format_exc()}
    print(json.dumps(told), flush=True)
