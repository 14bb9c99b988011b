"""Every figure of the dashboards of trips and weather, held against DuckDB over the file of the city and over the tables.

python expected.py FOLDER ZONES TRIPS
"""

import json
import sys

import duckdb

FOLDER, ZONES, TRIPS = sys.argv[1:]
db = duckdb.connect()
db.execute(f"create table zones as select LocationID as id, Borough as borough, Zone as zone from read_csv('{ZONES}', header = true)")
db.execute(
    f"""
    create table trips as
    select pickup_datetime::timestamp as pickup, pickup_location_id::int as pu, fare_amount::decimal(12, 2) as fare,
        total_amount::decimal(12, 2) as total, borough, zone
    from read_csv('{TRIPS}', header = true, all_varchar = true, new_line = '\\n', strict_mode = false)
    left join zones on id = pickup_location_id::int
    where dropoff_datetime is not null and trip_distance::double > 0 and fare_amount::double > 0 and total_amount::double > 0
        and passenger_count::double between 1 and 6
    """
)
for table in ("analytics.trip_weather_correlation", "ml.borough_forecast", "weather.hourly_weather"):
    name = table.split(".")[1]
    db.execute(f"create table {name} as select * from read_csv('{FOLDER}/{table}.csv', header = true)")


def expected(sql):
    return db.execute(sql).fetchall()


def near(one, other):
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(float(one) - float(other)) <= 0.0051
    return str(one) == str(other)


def looked(name):
    with open(f"{FOLDER}/{name}.json") as file:
        return {panel["id"]: panel for panel in json.load(file)["panels"]}


def number(cell):
    return float(cell) if cell is not None else None


def assert_same(panel, rows, what):
    assert panel["problem"] is None, (what, panel["problem"])
    found = panel["rows"]
    assert len(found) == len(rows) > 0, (what, len(found), len(rows))
    for one, other in zip(found, rows):
        one = one[: len(other)]
        same = [near(number(a), float(b)) if isinstance(b, float) and a is not None else near(a, b) for a, b in zip(one, other, strict=True)]
        assert all(same), (what, one, other)


def day(name, of):
    panels = looked(name)
    today, before = f"pickup::date = '2019-01-05' and {of}", f"pickup::date = '2019-01-04' and {of}"
    assert_same(panels["trips"], expected(f"select count(*) filter ({today}), count(*) filter ({before}) from trips"), "trips")
    assert_same(
        panels["revenue"],
        expected(f"select sum(total) filter ({today})::double, sum(total) filter ({before})::double from trips"),
        "revenue",
    )
    assert_same(
        panels["average-fare"],
        expected(f"select avg(fare) filter ({today})::double, avg(fare) filter ({before})::double from trips"),
        "fare",
    )
    busiest = f"select hour(pickup) || ':00' from trips where {today} group by hour(pickup) order by count(*) desc, hour(pickup) limit 1"
    assert_same(panels["busiest-hour"], expected(busiest), "busiest hour")
    hours = f"""select strftime(date_trunc('hour', pickup), '%Y-%m-%d %H:%M:%S'), count(*) from trips
        where pickup::date between '2019-01-03' and '2019-01-05' and {of} group by 1 order by 1"""
    found = [[str(hour).replace("T", " ")[:19], count] for hour, count in panels["trips-by-hour"]["rows"]]
    assert_same({"problem": None, "rows": found}, expected(hours), "hours")
    began = dict(expected(f"select pu, count(*) from trips where {today} group by 1"))
    mapped = {row[0]: row[2] for row in panels["where-trips-began"]["rows"]}
    assert len(mapped) > 50 and all(row[3].startswith('{"') for row in panels["where-trips-began"]["rows"])
    # Two zones of the list lie nowhere.
    assert {zone: count for zone, count in mapped.items() if count} == {z: n for z, n in began.items() if z <= 263}
    zones = f"""select coalesce(zone, 'unknown'), sum(total)::double from trips where {today} group by 1
        order by round(sum(total), 2) desc, 1 limit 10"""
    assert_same(panels["zones-by-revenue"], expected(zones), "zones")
    weather = """select weather_condition, round(avg(total_trips), 1) from trip_weather_correlation
        where trip_date between '2019-01-03' and '2019-01-05' group by 1 order by 2 desc, 1"""
    assert_same(panels["trips-in-an-hour-by-weather"], expected(weather), "weather")
    return panels


city = day("city", "true")
queens = day("queens", "borough = 'Queens'")
worst = """select weather_condition from trip_weather_correlation where trip_date = '2019-01-05'
    group by 1 order by sum(total_trips) desc, 1 limit 1"""
assert_same(city["weather"], expected(worst), "weather of the day")
for panels, borough in ((city, "Manhattan"), (queens, "Queens")):
    rows = panels["what-is-expected"]["rows"]
    foretold = [row[2:] for row in rows if row[2] is not None]
    of = f"from borough_forecast where reference_date = '2019-01-20' and borough = '{borough}' and hours_ahead <= 72"
    assert_same(
        {"problem": None, "rows": foretold},
        expected(f"select round(predicted_demand, 1), round(lower, 1), round(upper, 1) {of} order by prediction_hour"),
        "forecast",
    )
    happened = [row[1] for row in rows if row[1] is not None]
    real = f"""select count(*) from trips where borough = '{borough}' and pickup >= '2019-01-19' and pickup < '2019-01-22'
        group by date_trunc('hour', pickup) order by date_trunc('hour', pickup)"""
    assert happened == [count for (count,) in expected(real)], (borough, happened)
# No change of the taxi's database was captured there.
assert "not in the lake yet" in city["live-activity"]["problem"], city["live-activity"]

weather = looked("weather")
place = """from hourly_weather where "timestamp" < timestamptz '2019-01-06 00:00:00+00'
    and location = (select location from hourly_weather group by 1 order by count(*) desc, 1 limit 1)"""
days = f"""{place} and "timestamp" >= timestamptz '2019-01-04 00:00:00+00'"""
last = f"""(select * {place} order by "timestamp" desc limit 1)"""
for panel, column in (
    ("temperature", "temperature_celsius"),
    ("humidity", "humidity_percent"),
    ("wind", "wind_speed_kmh"),
    ("conditions", "weather_condition"),
):
    assert_same(weather[panel], expected(f"select {column} from {last}"), panel)
by_hour = expected(f"""select avg(temperature_celsius) {days} group by "timestamp" order by "timestamp" """)
assert_same({"problem": None, "rows": [row[1:] for row in weather["temperature-by-hour"]["rows"]]}, by_hour, "by hour")
conditions = f"""select weather_condition, count(distinct "timestamp") {days} group by 1 order by 2 desc, 1"""
assert_same(weather["hours-by-condition"], expected(conditions), "conditions")
db.execute("set timezone = 'UTC'")
by_day = f"""select min(temperature_celsius), max(temperature_celsius), round(avg(temperature_celsius), 1),
    round(avg(humidity_percent), 1), count(*) {days} group by "timestamp"::date order by "timestamp"::date desc"""
assert_same({"problem": None, "rows": [row[1:] for row in weather["day-by-day"]["rows"]]}, expected(by_day), "by day")
print("done")
