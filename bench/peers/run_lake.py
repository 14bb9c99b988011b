"""Others at the work of orch's data plane: run_lake.py PART …, one JSON line a figure on stdout.

mysql URL FOLDER        a table of MySQL into Parquet: connectorx + polars, pandas, dlt
tables POSTGRES FOLDER  Iceberg commits and upserts: PyIceberg, its catalog in Postgres
retail FOLDER           CSV files → silver → gold in memory: polars, DuckDB, Sail, Spark
taxi POSTGRES FOLDER FILE  a month of trips, cleaned, into Iceberg by year and month: pandas + PyIceberg, Spark
analytics FOLDER WAREHOUSE FIRST LAST  the analytics of these days from the files of the lake into Parquet: DuckDB, pandas
topic ADDRESS TOPIC RECORDS POSTGRES FOLDER  a topic of Kafka into Iceberg: PyIceberg, Spark
points FOLDER FILE  which zone each point of a file lies in: geopandas

Each runs once before it counts; the figure is the median. Spark and Sail keep their session: their start is told beside.
"""

import logging
import os
import shutil
import sys
import time

from figures import each_alone, guarded, say, seconds
from topic import topic


# --- MySQL → Parquet --------------------------------------------------------------------------------------------------


def mysql(url, folder):
    target = os.path.join(folder, "peer.parquet")
    name = "mysql_parquet_rows_per_s"
    query = "select * from order_items"

    def connectorx():
        import connectorx
        import polars

        def work():
            frame = connectorx.read_sql(url, query, return_type="polars")
            frame.write_parquet(target)

        took = seconds(work, 3)
        say("connectorx + polars", name, polars.read_parquet(target).height / took)

    def pandas():
        import pandas
        import sqlalchemy

        engine = sqlalchemy.create_engine(url.replace("mysql://", "mysql+pymysql://"))

        def work():
            with engine.connect() as db:
                pandas.read_sql(sqlalchemy.text(query), db).to_parquet(target)

        took = seconds(work, 1)
        say("pandas", name, len(pandas.read_parquet(target)) / took)

    def dlt():
        import dlt
        from dlt.sources.sql_database import sql_table

        home = os.path.join(folder, "dlt")
        rows = {}

        def work():
            shutil.rmtree(home, ignore_errors=True)
            pipeline = dlt.pipeline(
                "copy", destination=dlt.destinations.filesystem(f"file://{home}/out"), pipelines_dir=f"{home}/state", dataset_name="retail"
            )
            table = sql_table(url.replace("mysql://", "mysql+pymysql://"), table="order_items", backend="connectorx")
            pipeline.run(table, loader_file_format="parquet", write_disposition="replace")
            rows.update(pipeline.last_trace.last_normalize_info.row_counts)

        took = seconds(work, 1)
        say("dlt", name, rows["order_items"] / took)

    guarded("connectorx + polars", connectorx)
    guarded("pandas", pandas)
    guarded("dlt", dlt)


# --- Iceberg ----------------------------------------------------------------------------------------------------------


def tables(postgres, folder):
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog

    uri = postgres.replace("postgres://", "postgresql+psycopg2://").replace("postgresql://", "postgresql+psycopg2://")
    catalog = SqlCatalog("peer", uri=uri, warehouse=f"file://{folder}")
    catalog.create_namespace_if_not_exists("peer")

    def rows(keys, salt):
        keys = list(keys)
        return pa.table(
            {
                "id": pa.array(keys, pa.int64()),
                "order_id": pa.array([k * 7 % 997 + salt for k in keys], pa.int64()),
                "product_id": pa.array([k * 13 % 997 + salt for k in keys], pa.int64()),
            }
        )

    small = catalog.create_table("peer.small", rows([], 0).schema)
    number = iter(range(10**6))

    def append():
        first = next(number) * 100
        small.append(rows(range(first, first + 100), 0))

    say("PyIceberg", "iceberg_commit_p50_ms", seconds(append, 30) * 1e3)

    all_rows, few = 172_198, 1_000
    large = catalog.create_table("peer.large", rows([], 0).schema)
    large.append(rows(range(all_rows), 0))

    def upsert():
        salt = next(number)
        step = all_rows // few
        large.upsert(rows((row * step + salt % step for row in range(few)), salt), join_cols=["id"])

    say("PyIceberg", "iceberg_upsert1000_p50_ms", seconds(upsert, 5) * 1e3)

    def scan():
        return large.scan().to_arrow()

    say("PyIceberg", "scan_rows_per_s", all_rows / seconds(scan, 5))


# --- CSV → silver → gold ----------------------------------------------------------------------------------------------

RAW = ["categories", "customers", "departments", "order_items", "orders", "products"]
FACTS = """
select i.order_item_id, o.order_id, o.order_date, c.customer_id, c.customer_fname, c.customer_lname, c.customer_state,
  i.order_item_product_id product_id, p.product_name, g.category_id, g.category_name, d.department_id, d.department_name,
  i.order_item_quantity, i.order_item_subtotal, i.order_item_product_price, o.order_status
from order_items i join orders o on o.order_id = i.order_item_order_id
join customers c on c.customer_id = o.order_customer_id
left join products p on p.product_id = i.order_item_product_id
left join categories g on g.category_id = p.product_category_id
left join departments d on d.department_id = g.category_department_id
"""
SUMS = "sum(order_item_quantity) total_quantity, sum(order_item_subtotal) total_revenue"
GOLD = {
    "orders_time_series": "select cast(order_date as date) as order_day, count(distinct order_id) n, sum(order_item_subtotal) r from orders_fact group by 1",
    "sales_by_customer": "select customer_id, customer_fname, customer_lname, count(distinct order_id) n, sum(order_item_subtotal) r from orders_fact group by 1, 2, 3",
    "sales_by_state": "select customer_state, count(distinct order_id) n, sum(order_item_subtotal) r from orders_fact group by 1",
    "sales_by_product": f"select product_id, product_name, {SUMS} from orders_fact group by 1, 2",
    "sales_by_category": f"select category_id, category_name, {SUMS} from orders_fact group by 1, 2",
    "sales_by_department": f"select department_id, department_name, {SUMS} from orders_fact group by 1, 2",
    "sales_by_department_daily": f"select cast(order_date as date) as order_day, department_id, department_name, count(distinct order_id) n, {SUMS} from orders_fact group by 1, 2, 3",
}


def retail(folder):
    path = lambda table: os.path.join(folder, f"{table}.csv")  # noqa: E731
    name = "silver_gold_ms"

    def with_polars():
        import polars as pl

        money = {"order_item_subtotal": pl.Decimal(12, 2), "order_item_product_price": pl.Decimal(12, 2), "product_price": pl.Decimal(12, 2)}

        def work():
            texts = {"customer_zipcode": pl.String}
            frames = {t: pl.scan_csv(path(t), schema_overrides=texts | money, try_parse_dates=True) for t in RAW}
            sql = pl.SQLContext(frames)
            facts = sql.execute(FACTS).collect()
            with pl.SQLContext({"orders_fact": facts}) as gold:
                for query in GOLD.values():
                    gold.execute(query).collect()

        say("polars", name, seconds(work, 5) * 1e3)

    def with_duckdb():
        import duckdb

        def work():
            db = duckdb.connect()
            for table in RAW:
                db.execute(f"create view {table} as select * from read_csv('{path(table)}')")
            db.execute(f"create table orders_fact as {FACTS}")
            for query in GOLD.values():
                db.execute(query).fetchall()

        say("DuckDB", name, seconds(work, 5) * 1e3)

    def by_session(peer, session, started):
        def work():
            for table in RAW:
                session.read.csv(path(table), header=True, inferSchema=True).createOrReplaceTempView(table)
            facts = session.sql(FACTS).cache()
            facts.createOrReplaceTempView("orders_fact")
            for query in GOLD.values():
                session.sql(query).collect()
            facts.unpersist()

        say(peer, name, seconds(work, 2) * 1e3, start_ms=started * 1e3)

    def with_spark():
        from pyspark.sql import SparkSession

        start = time.perf_counter()
        session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        session.sql("select 1").collect()
        by_session("Spark", session, time.perf_counter() - start)
        session.stop()

    def with_sail():
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        start = time.perf_counter()
        server = SparkConnectServer()
        server.start()
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
        session.sql("select 1").collect()
        by_session("Sail", session, time.perf_counter() - start)
        session.stop()
        server.stop()

    for peer, work in [("polars", with_polars), ("DuckDB", with_duckdb), ("Spark", with_spark), ("Sail", with_sail)]:
        guarded(peer, work)


# --- a file of trips → Iceberg ----------------------------------------------------------------------------------------

RENAMED = {
    "VendorID": "vendor_id",
    "tpep_pickup_datetime": "pickup_datetime",
    "tpep_dropoff_datetime": "dropoff_datetime",
    "RatecodeID": "rate_code_id",
    "PULocationID": "pickup_location_id",
    "DOLocationID": "dropoff_location_id",
    "Airport_fee": "airport_fee",
}


def taxi(postgres, folder, path):
    """As the documents of the pipeline do it."""
    each_alone([("pandas + PyIceberg", taxi_pandas), ("Spark", taxi_spark)], postgres, folder, path)


def taxi_pandas(postgres, folder, path):
    import resource

    import pandas as pd
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog

    uri = postgres.replace("postgres://", "postgresql+psycopg2://").replace("postgresql://", "postgresql+psycopg2://")
    catalog = SqlCatalog("peer_taxi", uri=uri, warehouse=f"file://{folder}/pandas")
    catalog.create_namespace_if_not_exists("nyc_taxi")
    number = iter(range(10**6))

    def clean():
        trips = pd.read_parquet(path).rename(columns=RENAMED)
        trips = trips.dropna(subset=["pickup_datetime", "dropoff_datetime"])
        good = (trips.trip_distance > 0) & (trips.fare_amount > 0) & (trips.total_amount > 0)
        trips = trips[good & trips.passenger_count.between(1, 6)].copy()
        trips["load_date"] = pd.Timestamp.now().floor("us")
        for part in ["year", "month", "day"]:
            trips[part] = getattr(trips.pickup_datetime.dt, part).astype("int32")
        trips["source_file"] = os.path.basename(path)
        return trips

    def work():
        trips = clean()
        table = pa.Table.from_pandas(trips, preserve_index=False)
        name = f"nyc_taxi.trips_{next(number)}"
        made = catalog.create_table(name, table.schema)
        with made.update_spec() as spec:
            spec.add_identity("year")
            spec.add_identity("month")
        made.append(table)
        days = trips.groupby(trips.pickup_datetime.dt.date).agg(
            total_trips=("fare_amount", "size"),
            total_passengers=("passenger_count", "sum"),
            avg_trip_distance=("trip_distance", "mean"),
            avg_fare_amount=("fare_amount", "mean"),
            avg_tip_amount=("tip_amount", "mean"),
            avg_total_amount=("total_amount", "mean"),
        )
        days = pa.Table.from_pandas(days.reset_index(names="trip_date"), preserve_index=False)
        catalog.create_table(f"{name}_daily", days.schema).append(days)

    say("pandas + PyIceberg", "taxi3m_s", seconds(work, 1))
    say("pandas + PyIceberg", "taxi3m_rss_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def taxi_spark(_postgres, folder, path):
    from pyspark.sql import SparkSession

    start = time.perf_counter()
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.jars.packages", "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.0")
        .config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.lake.type", "hadoop")
        .config("spark.sql.catalog.lake.warehouse", f"file://{folder}/spark")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.sql("select 1").collect()
    started = time.perf_counter() - start
    number = iter(range(10**6))

    def work():
        trips = session.read.parquet(path)
        for name, renamed in RENAMED.items():
            trips = trips.withColumnRenamed(name, renamed)
        trips.createOrReplaceTempView("raw")
        table = f"lake.nyc_taxi.trips_{next(number)}"
        session.sql(
            f"""create table {table} using iceberg partitioned by (year, month) as
            select *, current_timestamp() load_date, year(pickup_datetime) year, month(pickup_datetime) month,
              day(pickup_datetime) day, '{os.path.basename(path)}' source_file
            from raw where pickup_datetime is not null and dropoff_datetime is not null and trip_distance > 0
              and fare_amount > 0 and total_amount > 0 and passenger_count between 1 and 6 order by year, month"""
        )
        session.sql(
            f"""create table {table}_daily using iceberg as
            select to_date(pickup_datetime) trip_date, count(*) total_trips, sum(passenger_count) total_passengers,
              avg(trip_distance) avg_trip_distance, avg(fare_amount) avg_fare_amount, avg(tip_amount) avg_tip_amount,
              avg(total_amount) avg_total_amount from {table} group by 1"""
        )

    say("Spark", "taxi3m_s", seconds(work, 1), start_ms=started * 1e3)
    session.stop()


# --- trips, weather and zones → analytics -----------------------------------------------------------------------------

TRIPS = {
    "pickup_datetime": "pickup",
    "dropoff_datetime": "dropoff",
    "pickup_location_id": "pu",
    "dropoff_location_id": "dest",
    "vendor_id": "vendor",
    "passenger_count": "passengers",
    "trip_distance": "distance",
    "fare_amount": "fare",
    "tip_amount": "tip",
    "total_amount": "total",
}


def analytics(folder, warehouse, first, last):
    each_alone([("DuckDB", analytics_duckdb), ("pandas", analytics_pandas)], folder, warehouse, first, last)


def told_of_month(peer, work):
    import resource

    say(peer, "analytics3m_s", seconds(work, 1))
    say(peer, "analytics3m_rss_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def analytics_duckdb(folder, warehouse, first, last):
    import duckdb

    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../dags/tests/dags/analytics"))
    from tables import EXPECTED, prepare

    def files(table):
        return f"read_parquet('{warehouse}/{table}/data/**/*.parquet', hive_partitioning = false)"

    def work():
        db = duckdb.connect()
        db.execute("set timezone = 'UTC'")
        columns = ", ".join(f"{column} as {name}" for column, name in TRIPS.items())
        db.execute(f"create table trips as select {columns} from {files('nyc_taxi/trips')}")
        db.execute(f"create table zones as select * from {files('reference/taxi_zones')}")
        db.execute(
            f"""create table weather as select make_timestamp("year", "month", "day", "hour", 0, 0) as hour,
            weather_condition as condition, temperature_celsius as temperature, humidity_percent as humidity,
            wind_speed_kmh as wind from {files('weather/hourly_weather')} where location = 'New York'
            qualify row_number() over (partition by "year", "month", "day", "hour" order by load_date desc, "timestamp" desc) = 1"""
        )
        db.execute("create table forecasts (zone int, hour timestamp, demand double, sure double)")
        prepare(db, first, last)
        for table, (_, select) in EXPECTED.items():
            db.execute(f"copy ({select}) to '{folder}/{table}.parquet'")
        db.close()

    told_of_month("DuckDB", work)


def analytics_pandas(folder, warehouse, first, last):
    """As people write it down with pandas: the same columns that cost something, without hashes as names of trips."""
    import glob

    import numpy as np
    import pandas as pd

    def read(table, columns=None):
        paths = glob.glob(f"{warehouse}/{table}/data/**/*.parquet", recursive=True)
        return pd.concat([pd.read_parquet(path, columns=columns, partitioning=None) for path in paths], ignore_index=True)

    def correlation(trips, weather):
        hours = trips.assign(minutes=(trips.dropoff - trips.pickup).dt.total_seconds() / 60).groupby("hour")
        sums = hours.agg(
            total_trips=("fare", "size"),
            avg_trip_distance=("distance", "mean"),
            avg_fare_amount=("fare", "mean"),
            avg_tip_amount=("tip", "mean"),
            avg_trip_duration_minutes=("minutes", "mean"),
            pickup_zone_diversity=("pu", "nunique"),
        )
        return sums.join(weather)

    def performance(trips, weather, zones):
        ups = trips.assign(share=trips.tip / trips.fare * 100).groupby(["pu", "hour"])
        ups = ups.agg(pickups=("fare", "size"), fare=("fare", "mean"), share=("share", "mean"), distance=("distance", "mean"))
        downs = trips.assign(slot=trips.dropoff.dt.floor("h")).groupby(["dest", "slot"]).size().rename("dropoffs")
        downs.index.names = ["pu", "hour"]
        both = ups.join(downs, how="outer").fillna({"pickups": 0, "dropoffs": 0}).reset_index()
        both["day"] = both.hour.dt.date
        usual = both[both.pickups > 0].groupby(["pu", "day"]).pickups.mean().rename("usual").reset_index()
        both = both.merge(usual, on=["pu", "day"], how="left").merge(weather, left_on="hour", right_index=True, how="left")
        both["peak"] = (both.pickups / both.usual).fillna(1.0)
        return both.merge(zones[["location_id", "zone", "borough", "zone_type"]], left_on="pu", right_on="location_id")

    def demand(trips, weather, zones):
        counts = trips.groupby(["hour", "pu"]).size().unstack(fill_value=0)
        hours = pd.date_range(counts.index.min().floor("D"), counts.index.max(), freq="h")
        counts = counts.reindex(index=hours, columns=zones.location_id, fill_value=0)
        places = zones.set_index("location_id")
        spread = np.hypot(
            places.latitude.to_numpy()[:, None] - places.latitude.to_numpy(), places.longitude.to_numpy()[:, None] - places.longitude.to_numpy()
        )
        np.fill_diagonal(spread, np.inf)
        near = np.argsort(np.nan_to_num(spread, nan=np.inf), axis=1)[:, :5]
        before = counts.shift(1)
        columns = {f"ago_{ago}": counts.shift(ago) for ago in (1, 2, 3, 24, 168)}
        columns |= {
            "n": counts,
            "mean_7d": before.rolling(168, min_periods=1).mean(),
            "mean_30d": before.rolling(720, min_periods=1).mean(),
            "std_7d": before.rolling(168, min_periods=2).std(),
            "nearby": pd.DataFrame(before.to_numpy()[:, near].sum(axis=2), index=hours, columns=counts.columns),
        }
        long = pd.concat({name: frame.stack() for name, frame in columns.items()}, axis=1)
        long.index.names = ["hour", "location_id"]
        long = long.reset_index().merge(weather, left_on="hour", right_index=True, how="left")
        return long.merge(zones.drop(columns=["geometry"]), on="location_id")

    def fares(trips, weather, zones):
        trips = trips.sort_values("pickup", ignore_index=True)
        by_time = trips.set_index("pickup")
        route = by_time.groupby(["pu", "dest"]).fare.rolling("7D", closed="left").mean()
        around = by_time.groupby("pu").fare.rolling("1h", closed="left").agg(["mean", "count"])
        order = trips.sort_values(["pu", "dest"], kind="stable").index
        trips.loc[order, "route_7d"] = route.to_numpy()
        order = trips.sort_values("pu", kind="stable").index
        trips.loc[order, ["zone_1h", "before"]] = around.to_numpy()
        busy = trips.groupby(["pu", "hour"]).size().rename("n").reset_index("pu").groupby("pu").n
        usual = busy.rolling("168h", closed="left").mean().rename("usual").reset_index()
        trips = trips.merge(usual, on=["pu", "hour"], how="left").merge(weather, left_on="hour", right_index=True, how="left")
        places = zones.set_index("location_id")[["borough", "zone_type", "latitude", "longitude"]]
        trips = trips.merge(places.add_suffix("_a"), left_on="pu", right_index=True).merge(places.add_suffix("_b"), left_on="dest", right_index=True)
        trips["km"] = np.hypot(trips.latitude_a - trips.latitude_b, trips.longitude_a - trips.longitude_b) * 111
        surge = (trips.before + 1) / trips.usual
        trips["surge"] = np.select([surge > 1.5, surge < 0.5], [1.2, 0.8], 1.0)
        trips["minutes"] = (trips.dropoff - trips.pickup).dt.total_seconds() / 60
        trips["speed"] = np.where(trips.minutes > 0, trips.distance / (trips.minutes / 60), 0)
        trips["rush"] = trips.pickup.dt.hour.isin([7, 8, 9, 17, 18, 19])
        trips["weekend"] = trips.pickup.dt.dayofweek >= 5
        return trips

    def work():
        trips = read("nyc_taxi/trips", list(TRIPS)).rename(columns=TRIPS)
        trips = trips.astype({name: "float64" for name in ("distance", "fare", "tip", "total")})
        trips["hour"] = trips.pickup.dt.floor("h")
        trips = trips[trips.pickup.between(first, pd.Timestamp(last) + pd.Timedelta(days=1), inclusive="left")]
        zones = read("reference/taxi_zones")
        weather = read("weather/hourly_weather").query("location == 'New York'")
        weather["at"] = pd.to_datetime(weather[["year", "month", "day", "hour"]])
        weather = weather.sort_values(["load_date", "timestamp"]).drop_duplicates("at", keep="last").set_index("at")
        weather = weather[["weather_condition", "temperature_celsius", "humidity_percent", "wind_speed_kmh"]]
        correlation(trips, weather).to_parquet(f"{folder}/correlation.parquet")
        performance(trips, weather, zones).to_parquet(f"{folder}/performance.parquet")
        demand(trips, weather, zones).to_parquet(f"{folder}/demand.parquet")
        fares(trips, weather, zones).to_parquet(f"{folder}/fares.parquet")

    told_of_month("pandas", work)


def points(folder, path):
    import geopandas
    import pandas as pd
    import shapely

    zones = pd.read_csv(os.path.join(folder, "zones.csv"))
    zones = geopandas.GeoDataFrame(zones[["id"]], geometry=[shapely.from_geojson(text) for text in zones.outline])
    places = pd.read_csv(path)

    def work():
        frame = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(places.longitude, places.latitude))
        frame.sjoin(zones, predicate="within")

    say("geopandas", "zone_points_per_s", len(places) / seconds(work, 1))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    parts = {"mysql": mysql, "tables": tables, "retail": retail, "taxi": taxi, "analytics": analytics, "topic": topic, "points": points}
    parts[sys.argv[1]](*sys.argv[2:])
