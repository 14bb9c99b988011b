"""Every endpoint by the Python client, held against DuckDB over the file of the city.

python walk.py ADDRESS KEY ZONES TRIPS
"""

import asyncio
import datetime
import os
import sys

import duckdb
import polars
from serving.client import AsyncLakehouseClient, LakehouseClient, LakehouseError

ADDRESS, KEY, ZONES, TRIPS = sys.argv[1:]
FIRST, LAST = datetime.date(2019, 1, 3), datetime.date(2019, 1, 5)

db = duckdb.connect()
db.execute(f"create table zones as select LocationID as id, Borough as borough, Zone as zone from read_csv('{ZONES}', header = true)")
db.execute(
    f"""
    create table trips as
    select pickup_datetime::timestamp as pickup, pickup_location_id::int as pu, trip_distance::double as distance,
        fare_amount::decimal(12, 2) as fare, tip_amount::decimal(12, 2) as tip, total_amount::decimal(12, 2) as total
    from read_csv('{TRIPS}', header = true, all_varchar = true, new_line = '\\n', strict_mode = false)
    where dropoff_datetime is not null and trip_distance::double > 0 and fare_amount::double > 0 and total_amount::double > 0
        and passenger_count::double between 1 and 6
    """
)
db.execute(f"create table asked as select * from trips where pickup::date between '{FIRST}' and '{LAST}'")


def expected(sql):
    return db.execute(sql).fetchall()


def near(one, other):
    if isinstance(one, float) or isinstance(other, float):
        return abs(float(one) - float(other)) <= 0.0051
    return one == other


def assert_same(found, rows, what):
    assert len(found) == len(rows) > 0, (what, len(found), len(rows))
    for one, other in zip(found, rows):
        assert all(near(a, b) for a, b in zip(one, other, strict=True)), (what, one, other)


client = LakehouseClient(ADDRESS, KEY)

zones = client.get_zone_metrics(FIRST, LAST, limit=500)
found = [tuple(row) for row in zones.itertuples(index=False)]
rows = expected(
    """
    select pu, zone, borough, count(*), avg(fare)::double, sum(total)::double, avg(distance),
        100.0 * count(*) filter (hour(pickup) between 17 and 19) / count(*)
    from asked left join zones on id = pu group by all order by sum(total) desc, pu
    """
)
assert_same(found, rows, "zones")

stats = client.get_dashboard_stats(day=LAST)
day = f"from trips left join zones on id = pu where pickup::date = '{LAST}'"
(one,) = expected(f"select count(*), sum(total)::double, avg(fare)::double, count(distinct pu) {day}")
names = ("total_trips_today", "total_revenue_today", "avg_fare_today", "active_zones")
assert all(near(stats[name], value) for name, value in zip(names, one)), (stats, one)
((hour,),) = expected(f"select hour(pickup) {day} group by 1 order by count(*) desc, 1 limit 1")
assert stats["peak_hour"] == f"{hour}:00", stats
top = expected(f"select zone, count(*), sum(total)::double {day} group by all order by sum(total) desc, 1 limit 5")
assert_same([(zone["zone_name"], zone["trips"], zone["revenue"]) for zone in stats["top_zones"]], top, "top zones")
assert stats["weather_condition"], stats

for metric, value in (("trip_count", "count(*)"), ("revenue", "sum(total)::double"), ("avg_fare", "avg(fare)::double")):
    series = client.get_time_series(metric, days_back=3, day=LAST)
    assert series["metric_name"] == metric and series["unit"] == ("trips" if metric == "trip_count" else "USD")
    rows = expected(f"select strftime(date_trunc('hour', pickup), '%Y-%m-%dT%H:%M:%S'), {value} from asked group by 1 order by 1")
    assert_same([(point["timestamp"], point["value"]) for point in series["series"]], rows, metric)

recent = client.get_recent_trips(limit=7, hours_back=24, as_of=datetime.datetime(2019, 1, 6))
rows = expected(f"select pickup {day} order by 1 desc limit 7")
assert [row.to_pydatetime() for row in recent["pickup_datetime"]] == [pickup for (pickup,) in rows], recent
assert recent["trip_id"].is_unique

impact = client.get_weather_impact(FIRST, LAST)
((trips,),) = expected("select count(*) from asked")
assert impact["total_trips"].sum() == trips and {"rain", "snow"} <= set(impact["weather_condition"]), impact

# A month is too little for a model: as many as a week before.
demand = client.get_demand_predictions(hours_ahead=24, top_zones=5, reference_date=datetime.date(2019, 1, 20))
assert set(demand["model"]) == {"seasonal_naive"} and len(demand) == 5 * 24, demand
week_before = {(pu, hour): count for pu, hour, count in expected("select pu, date_trunc('hour', pickup), count(*) from trips group by all")}
week = datetime.timedelta(days=7)
for row in demand.itertuples():
    assert row.predicted_demand == week_before.get((row.location_id, row.prediction_hour.to_pydatetime() - week), 0), row

export = client.export_trips(FIRST, LAST, format="parquet")
assert (export["records"], export["pages"]) == (trips, 1), export
pages = [client.get_trips(FIRST, LAST, limit=trips // 3 + 1, offset=page * (trips // 3 + 1)) for page in range(3)]
total = sum(float(page["total_amount"].sum()) for page in pages)
((revenue,),) = expected("select sum(total)::double from asked")
assert sum(map(len, pages)) == trips and abs(total - revenue) < 0.01, (total, revenue)

as_polars = LakehouseClient(ADDRESS, KEY, frames="polars").get_trips(FIRST, LAST, limit=10)
assert as_polars.schema["pickup_datetime"] == polars.Datetime("us") and as_polars.height == 10, as_polars.schema


async def both():
    async with AsyncLakehouseClient(ADDRESS, KEY) as client:
        return await asyncio.gather(client.get_dashboard_stats(day=LAST), client.get_zone_metrics(FIRST, LAST, limit=500))


again, frame = asyncio.run(both())
assert again == stats and frame.equals(zones)

# Without arguments it reads the address and the key from the environment.
os.environ.update(ORCH_SERVING_URL=ADDRESS, ORCH_API_TOKEN=KEY)
assert LakehouseClient().get_dashboard_stats(day=LAST) == stats
del os.environ["ORCH_API_TOKEN"]

for ask, status, words in (
    (lambda: client.get_time_series("length"), 422, "metric: Input should be 'trip_count', 'revenue' or 'avg_fare'"),
    (lambda: client.get_zone_metrics("2019-01-03", "' or 1 = 1 --"), 422, "end_date: Input should be a valid date"),
    (lambda: client.get_real_time_activity(), 404, "realtime"),
    (lambda: client.rows("/api/v1/nothing"), 404, "no endpoint"),
    (lambda: LakehouseClient(ADDRESS, "orch_wrong").get_dashboard_stats(), 401, "key"),
    (lambda: LakehouseClient(ADDRESS).get_dashboard_stats(), 401, "key"),
):
    try:
        ask()
    except LakehouseError as error:
        assert error.status == status and words in str(error), error
    else:
        raise AssertionError(f"{words} was answered")
print("done")
