#!/usr/bin/env python3
"""What the six recorded answers of WeatherAPI must come to. Writes the three files beside it; needs nothing but Python.

    python3 dags/tests/data/golden/weather_events.py
"""

import csv
import datetime
import json
import pathlib

HERE = pathlib.Path(__file__).parent
LINES = (HERE.parent / "weather" / "weatherapi_current.jsonl").read_text().splitlines()


def row(answer):
    location, current = answer["location"], answer["current"]
    at = current["last_updated_epoch"]
    return {
        "city_name": location["name"],
        "event_timestamp_ms": at * 1000,
        "event_time": datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S"),
        "temperature_celsius": f'{float(current["temp_c"]):.1f}',
        "humidity_percent": current["humidity"],
        "weather_description": current["condition"]["text"],
        "weather_code": current["condition"]["code"],
        "is_day": str(current["is_day"] == 1).lower(),
        "pm2_5": f'{current["air_quality"]["pm2_5"]:.1f}' if "air_quality" in current else "",
    }


def write(name, columns, rows):
    with open(HERE / f"{name}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows([one[column] for column in columns] for one in rows)


# One row for each city and reading, however often it was told.
rows = {(one["city_name"], one["event_timestamp_ms"]): one for one in map(row, map(json.loads, LINES))}
rows = [rows[key] for key in sorted(rows)]
cities = sorted({one["city_name"] for one in rows})
of = {city: [one for one in rows if one["city_name"] == city] for city in cities}

counts = [{"city_name": city, "readings": len(of[city])} for city in cities]
write("weather_events_by_city", ["city_name", "readings"], counts)

latest = ["city_name", "event_timestamp_ms", "temperature_celsius", "humidity_percent", "weather_description",
          "weather_code", "is_day", "pm2_5"]
write("weather_events_latest", latest, [of[city][-1] for city in cities])

london = ["city_name", "temperature_celsius", "weather_description", "event_time"]
write("weather_events_london", london, list(reversed(of["London"]))[:5])
