import json
import os

from pyspark.sql import SparkSession

# A Connect server has no properties of an application: they are in a file, and it takes those of its SQL.
PROPERTIES = None
if "ORCH_SPARK_CONF" in os.environ:
    with open(os.environ["ORCH_SPARK_CONF"]) as file:
        PROPERTIES = json.load(file)
of_sql = {name: value for name, value in (PROPERTIES or {}).items() if name.startswith("spark.sql.")}
spark = SparkSession.builder.config(map=of_sql).getOrCreate()


def conf(name):
    """A property of this application."""
    return spark.sparkContext.getConf().get(name) if PROPERTIES is None else PROPERTIES.get(name)
