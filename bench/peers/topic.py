"""A topic of Kafka into a table of Iceberg, each record once: offsets are kept with each commit. The topic is long, so no peer warms up."""

import io
import json
import time

from figures import each_alone, say

NAME = "kafka_iceberg_records_per_s"


def topic(address, name, records, postgres, folder):
    each_alone([("PyIceberg", by_pyiceberg), ("Spark", by_spark)], address, name, int(records), postgres, folder)


def by_pyiceberg(address, name, wanted, postgres, folder):
    """What a person would write: librdkafka's client, Arrow's JSON, a commit each second."""
    import resource

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json
    from confluent_kafka import Consumer, TopicPartition
    from pyiceberg.catalog.sql import SqlCatalog

    fields = pa.schema(
        [("id", pa.int64()), ("city", pa.string()), ("celsius", pa.float64()), ("at", pa.timestamp("us", tz="UTC"))]
    )
    read = pa.schema([*list(fields)[:3], ("at", pa.timestamp("us"))])
    uri = postgres.replace("postgres://", "postgresql+psycopg2://").replace("postgresql://", "postgresql+psycopg2://")
    catalog = SqlCatalog("peer_topic", uri=uri, warehouse=f"file://{folder}/pyiceberg")
    catalog.create_namespace_if_not_exists("bench")
    table = catalog.create_table("bench.peer", fields)
    aside = catalog.create_table("bench.peer_quarantine", fields)

    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "peer", "enable.auto.commit": False, "isolation.level": "read_committed"}
    )
    partitions = consumer.list_topics(name).topics[name].partitions
    consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])

    def lot():
        """Values of a second, and where they end."""
        values, ends, until = [], {}, time.perf_counter() + 1
        while time.perf_counter() < until and done + len(values) < wanted:
            for message in consumer.consume(10_000, 0.1):
                values.append(message.value())
                ends[message.partition()] = message.offset() + 1
        return values, ends

    start, done, commits = time.perf_counter(), 0, 0
    while done < wanted:
        values, ends = lot()
        options = pyarrow.json.ParseOptions(explicit_schema=read, unexpected_field_behavior="error")
        rows = pyarrow.json.read_json(io.BytesIO(b"\n".join(values)), parse_options=options)
        rows = rows.set_column(3, fields.field(3), rows["at"].cast(pa.timestamp("us", tz="UTC")))
        known = pc.and_(pc.is_valid(rows["id"]), pc.is_valid(rows["city"]))
        warm = pc.and_(pc.greater_equal(rows["celsius"], -90), pc.less_equal(rows["celsius"], 60))
        good = pc.and_(known, pc.or_(pc.is_null(rows["celsius"]), warm))
        table.append(rows.filter(good), snapshot_properties={"offsets": json.dumps(ends)})
        if (bad := rows.filter(pc.invert(good))).num_rows > 0:
            aside.append(bad)
        done, commits = done + len(values), commits + 1
    took = time.perf_counter() - start
    assert table.scan().count() == wanted
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say("PyIceberg", NAME, wanted / took, commits=commits)
    say("PyIceberg", "kafka_iceberg_rss_mb", memory)


def by_spark(address, name, wanted, _postgres, folder):
    """Structured Streaming over all that is there, in lots of half a million records."""
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, from_json

    start = time.perf_counter()
    packages = ["org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.0", "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0"]
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.jars.packages", ",".join(packages))
        .config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.lake.type", "hadoop")
        .config("spark.sql.catalog.lake.warehouse", f"file://{folder}/spark")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.sql("create table lake.bench.peer (id bigint, city string, celsius double, at timestamp) using iceberg")
    started = time.perf_counter() - start

    records = (
        session.readStream.format("kafka")
        .option("kafka.bootstrap.servers", address)
        .option("kafka.isolation.level", "read_committed")
        .option("subscribe", name)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 500_000)
        .load()
    )
    fields = session.table("lake.bench.peer").schema
    rows = records.select(from_json(col("value").cast("string"), fields).alias("row")).select("row.*")
    rows = rows.where("id is not null and city is not null and (celsius is null or celsius between -90 and 60)")
    start = time.perf_counter()
    query = (
        rows.writeStream.format("iceberg")
        .trigger(availableNow=True)
        .option("checkpointLocation", f"{folder}/checkpoint")
        .toTable("lake.bench.peer")
    )
    query.awaitTermination()
    took = time.perf_counter() - start
    assert session.table("lake.bench.peer").count() == wanted
    say("Spark", NAME, wanted / took, start_ms=started * 1e3)
    session.stop()
