"""Runs a job of orch on Spark: creates the views, then runs the statement of each table and writes its rows.

The property `spark.orch.job` has the job without passwords, which are in other properties. The last line of the output
is the number of rows of each table as JSON.
"""

from pyspark.sql import Observation
from pyspark.sql.functions import count, expr, lit

MYSQL_DRIVERS = ("com.mysql.cj.jdbc.Driver", "org.mariadb.jdbc.Driver")
# Null and the empty string are written as nothing; nothing is read as null. By default Spark would strip blanks.
CSV = {
    "header": "true",
    "quote": '"',
    "escape": '"',
    "multiLine": "true",
    "nullValue": "",
    "emptyValue": "",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
    "dateFormat": "yyyy-MM-dd",
    "timestampNTZFormat": "yyyy-MM-dd HH:mm:ss[.SSSSSS]",
}
FETCH_SIZE = "10000"


def mysql_driver(spark):
    loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()
    for name in MYSQL_DRIVERS:
        try:
            loader.loadClass(name)
            return name
        except Exception:
            continue
    raise SystemExit(
        "this Spark has no JDBC driver for MySQL\n"
        "hint: name one in the connection: `packages`: `com.mysql:mysql-connector-j:9.1.0`, or its jar in `jars`"
    )


def read_table(spark, source):
    options = {
        "url": source["url"],
        "driver": mysql_driver(spark),
        "user": source["user"],
        "password": conf(source["password"]),
        "fetchsize": FETCH_SIZE,
        "preferTimestampNTZ": "true",
    }
    table, key, parts = source["table"], source["key"], spark.sparkContext.defaultParallelism
    if key and parts > 1:
        bounds = f"select min({key}) as low, max({key}) as high from {table}"
        [bounds] = spark.read.format("jdbc").options(**options, query=bounds).load().collect()
        if bounds["low"] is not None:
            options.update(partitionColumn=key, lowerBound=bounds["low"], upperBound=bounds["high"], numPartitions=parts)
    return spark.read.format("jdbc").options(**options, dbtable=table).load()


def read_objects(spark, source, columns):
    if source["format"] == "csv":
        schema = ", ".join(f"`{c['name']}` {c['type']}" for c in columns)
        return spark.read.options(**CSV, enforceSchema="false", mode="FAILFAST").schema(schema).csv(source["paths"])
    return spark.read.parquet(*source["paths"])


def typed(column):
    """Casts a column. Empty strings become null in nullable columns, nulls become empty strings in other columns."""
    name, of_type = f"`{column['name']}`", column["type"]
    value = f"cast({name} as {of_type})"
    if of_type == "STRING":
        value = f"nullif({value}, '')" if column["nullable"] else f"coalesce({value}, '')"
    return expr(f"{value} as {name}")


def write(frame, target):
    frame, observation = frame.select(*map(typed, target["columns"])), Observation(target["name"])
    # Sail, a Spark Connect server, does not support observations.
    is_observed = "SPARK_REMOTE" not in os.environ
    if is_observed:
        frame = frame.observe(observation, count(lit(1)).alias("rows"))
    # The folder belongs to this attempt. Overwrite what a lost worker of the attempt left there.
    writer = frame.write.mode("overwrite")
    if target["format"] == "csv":
        writer.options(**CSV).csv(target["path"])
    else:
        writer.option("compression", "zstd").parquet(target["path"])
    if is_observed:
        return observation.get["rows"]
    written = {"format": target["format"], "paths": [target["path"]]}
    return read_objects(spark, written, target["columns"]).count()


job = json.loads(conf("spark.orch.job"))
views = set()
for view in job["views"]:
    source, columns = view["source"], view["columns"]
    frame = read_table(spark, source) if "url" in source else read_objects(spark, source, columns)
    frame.select(*map(typed, columns)).createOrReplaceTempView(view["name"])
    views.add(view["name"])
rows = {}
for target in job["tables"]:
    print(f"making `{target['name']}`")
    frame = spark.sql(target["sql"])
    if target["name"] not in views:
        frame.createOrReplaceTempView(target["name"])
    rows[target["name"]] = write(frame, target)
print(json.dumps({"rows": rows}))
spark.stop()
