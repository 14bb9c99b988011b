"""The tables of the analytics, computed once more by DuckDB from the files, and held against what the lake has.

python expected.py FOLDER FIRST LAST TRIPS...

FOLDER has weather.csv (the rows of weather.hourly_weather), zones.csv (those of reference.taxi_zones), forecasts.csv (those of
ml.demand_forecast) and found/TABLE.csv.
TRIPS are the files of the city. Tables and columns are those of docs/guides/analytics.md; here they are joins and windows of SQL,
there they are sums in a grid, so that a mistake in one of the two shows.
"""

import csv
import datetime
import math
import sys
from decimal import Decimal

import duckdb
from tables import EXPECTED, prepare

FOLDER, FIRST, LAST, *FILES = sys.argv[1:]
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.execute(
    f"""
    create table trips as
    select vendor_id::double::int as vendor, pickup_datetime::timestamp as pickup, dropoff_datetime::timestamp as dropoff,
        passenger_count::double::int as passengers, trip_distance::decimal(12, 2) as distance,
        pickup_location_id::int as pu, dropoff_location_id::int as dest, fare_amount::decimal(12, 2) as fare,
        tip_amount::decimal(12, 2) as tip, total_amount::decimal(12, 2) as total
    from read_csv({FILES}, header = true, all_varchar = true, union_by_name = true, new_line = '\\n', strict_mode = false)
    where pickup_datetime is not null and dropoff_datetime is not null and trip_distance::double > 0
        and fare_amount::double > 0 and total_amount::double > 0 and passenger_count::double between 1 and 6
    """
)
db.execute(f"create table zones as select * from read_csv('{FOLDER}/zones.csv', header = true)")
# One reading for each hour on the clocks of the city.
db.execute(
    f"""
    create table weather as
    select make_timestamp("year", "month", "day", "hour", 0, 0) as hour, weather_condition as condition,
        temperature_celsius as temperature, humidity_percent as humidity, wind_speed_kmh as wind
    from read_csv('{FOLDER}/weather.csv', header = true) where location = 'New York'
    qualify row_number() over (partition by "year", "month", "day", "hour" order by load_date desc, "timestamp" desc) = 1
    """
)
# Of each zone and hour the newest forecast that was made before its day.
db.execute(
    f"""
    create table forecasts as
    select location_id as zone, prediction_hour::timestamp as hour, predicted_demand::double as demand,
        confidence_score::double as sure
    from read_csv('{FOLDER}/forecasts.csv', header = true) where reference_date::date < prediction_hour::date
    qualify row_number() over (partition by zone, hour order by reference_date::date desc) = 1
    """
)
prepare(db, FIRST, LAST)


def written(value):
    """As the lake's rows are written down."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value


def is_same(found, expected):
    expected = written(expected)
    if isinstance(expected, (int, float, Decimal)):
        return found != "" and math.isclose(float(found), float(expected), rel_tol=1e-9, abs_tol=1e-12)
    return found == expected


rows = {}
for table, (key, select) in EXPECTED.items():
    with open(f"{FOLDER}/found/{table}.csv", newline="") as file:
        names, *found = csv.reader(file)
    answer = db.execute(select)
    columns = [column[0] for column in answer.description]
    assert sorted(names) == sorted(columns), f"{table} has {names}, not {columns}"
    by_key = {tuple(row[names.index(column)] for column in key): dict(zip(names, row)) for row in found}
    assert len(by_key) == len(found), f"{table} has a key twice"
    expected = [dict(zip(columns, row)) for row in answer.fetchall()]
    for row in expected:
        place = tuple(str(written(row[column])) for column in key)
        of_lake = by_key.pop(place, None)
        assert of_lake is not None, f"{table} lacks {place}; it has {sorted(by_key)[:3]}"
        for column, value in row.items():
            assert is_same(of_lake[column], value), f"{table} {place}: {column} is {of_lake[column]}, not {value}"
    assert not by_key, f"{table} has more than it should: {list(by_key)[:3]}"
    rows[table] = len(expected)
assert all(rows.values()), rows
print(rows)
