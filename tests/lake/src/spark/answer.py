"""Spark: a question is a statement, its answer are rows. After `python/asked.py`."""

from datetime import timezone

from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[2]")
for name, value in json.loads(sys.argv[1]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()


def moment(value, kind):
    """One comes in the time zone of the session, which is UTC, and does not say so."""
    return value.replace(tzinfo=timezone.utc) if value and kind == "timestamp" else value


def answer(asked):
    found = spark.sql(asked["sql"])
    kinds = [field.dataType.typeName() for field in found.schema.fields]
    return [[cell(moment(*both)) for both in zip(row, kinds)] for row in found.collect()]


answer_all(answer)
