"""Asks Airflow's own code when runs happen, and writes its answers beside this file.

    python3 -m venv venv
    venv/bin/pip install apache-airflow-core==3.3.2 apache-airflow-task-sdk==1.3.2 croniter==7.0.0 tzdata==2025.2
    AIRFLOW_HOME=$(mktemp -d) PYTHONTZPATH= venv/bin/python record.py

tzdata is the release that crate chrono-tz holds (2025b): Airflow must not read a newer one from the system. The tables
are committed and compared by spec/tests/schedule_oracle.rs; one row per line, instants in minutes or microseconds since
1970. Everything random is seeded: two recordings are equal.
"""

import datetime as dt
import json
import pathlib
import random
import zoneinfo
from types import SimpleNamespace

import pendulum

from airflow.exceptions import AirflowTimetableInvalid
from airflow.models import dagrun
from airflow.models.taskinstance import TaskInstance
from airflow.timetables import interval as interval_module
from airflow.timetables import simple as simple_module
from airflow.timetables import trigger as trigger_module
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import ContinuousTimetable, OnceTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from airflow.utils.types import DagRunType
from croniter import CroniterBadCronError, CroniterBadDateError, croniter

HERE = pathlib.Path(__file__).parent
UTC = pendulum.UTC
NOW = [pendulum.datetime(2026, 1, 1)]

# Airflow's timetables look at the clock; here it stands where the question wants it.
interval_module.utcnow = lambda: NOW[0]
trigger_module.utcnow = lambda: NOW[0]
simple_module.timezone = SimpleNamespace(
    utcnow=lambda: NOW[0], coerce_datetime=simple_module.timezone.coerce_datetime
)


def minutes(at):
    seconds = int(at.timestamp())
    assert seconds % 60 == 0 and at.microsecond == 0, at
    return seconds // 60


def micros(at):
    return None if at is None else int(at.timestamp()) * 1_000_000 + at.microsecond


def write(name, rows):
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / name).write_text(f"[\n{lines}\n]\n")
    print(name, len(rows), "rows", (HERE / name).stat().st_size, "bytes")


# --- ticks ----------------------------------------------------------------------------------------------------------


def changes(zone, year):
    """The instants in that year at which the offset of a zone changes, with the seconds it changes by."""
    info = zoneinfo.ZoneInfo(zone)
    at = pendulum.datetime(year, 1, 1)
    offset = at.astimezone(info).utcoffset()
    while at.year == year:
        later = at.add(minutes=15)
        if (new := later.astimezone(info).utcoffset()) != offset:
            yield later, (new - offset).total_seconds()
            offset = new
        at = later


def tick_row(expression, zone, start, count=22):
    trigger = CronTriggerTimetable(expression, timezone=zone)
    intervals = CronDataIntervalTimetable(expression, zone)
    restriction = TimeRestriction(earliest=start, latest=None, catchup=True)
    ticks, pairs, last = [], [], None
    for _ in range(count):
        info = trigger.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        ticks.append(minutes(info.run_after))
        last = info.data_interval
    last = None
    for _ in range(count - 2):
        try:
            info = intervals.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        except ValueError:  # Half-hour changes: "timetable did not advance".
            pairs.append("raises")
            break
        last = info.data_interval
        pairs.append([minutes(last.start), minutes(last.end)])
    back, at = [], pendulum.from_timestamp(ticks[-1] * 60)
    for _ in range(8):
        at = trigger._get_prev(at)
        back.append(minutes(at))
    return [expression, zone, minutes(start), ticks, pairs, back]


SHORT = ["0 * * * *", "*/15 * * * *", "*/30 * * * *", "10,50 * * * *", "35 */2 * * *", "0 1-4 * * *", "*/20 2 * * *"]
DAILY = ["0 0 * * *", "30 2 * * *", "15 1 * * *", "0 3 * * *", "45 2 * * 1-5", "0 2 * * 0", "20 1,2 * * *"]
LONG = [
    "@weekly", "@monthly", "@quarterly", "@yearly", "0 6 L * *", "0 6 15,L * *", "30 2 * * 1#1", "30 2 * * mon#2,fri#4",
    "0 0 * * L5", "0 0 * * l0", "0 0 * * 3#5", "0 0 1 * 1", "0 12 13 * fri", "0 0 1,15 * mon#3", "0 0 29 2 *",
    "0 0 31 * *", "0 0 30 * *", "0 4 */10 * *", "5 4 * * sun", "0 22 * * fri-mon", "0 0 1 jan-jun/2 *", "0 9 15W * *",
    "0 9 1w * *", "0 9 31W * *", "0 0 * feb 7", "23 0-20/2 * * *", "0 0,12 1 */2 *", "59 23 28-31 * *", "0 0 1-7 * 1",
    "15 14 1 * *", "0 */6 * * *", "0 8 * * 1-5", "0 0 1-31 * 5", "0 0 * */3 0-6", "0 0 */2 * 1", "0 0 15 * 0-6",
    "0 5 * nov-feb tue", "0 0 31 12 *", "30 3 L 2 *", "0 0 ? * 1",
]
HOURLY_SOME_DAYS = ["0 * 1 * *", "30 * * * 1", "0 * * 4,11 *"]


def tick_rows():
    zones = [
        ("Europe/Berlin", 2025), ("America/New_York", 2026), ("Australia/Lord_Howe", 2025), ("Africa/Casablanca", 2026),
        ("Pacific/Apia", 2011), ("Asia/Kathmandu", 1986), ("America/Caracas", 2016), ("Asia/Pyongyang", 2015),
        ("America/Santiago", 2030),
    ]
    for zone, year in zones:
        # Kathmandu changed in the first minute of the year.
        found = list(changes(zone, year)) or [(pendulum.datetime(1985, 12, 31, 18, 30), 900)]
        for change, _ in found[:2]:
            for expression in SHORT:
                yield tick_row(expression, zone, change.subtract(hours=5, minutes=10))
            for expression in DAILY:
                yield tick_row(expression, zone, change.subtract(days=4, minutes=17))
    for expression in LONG:
        for zone in ("Europe/Berlin", "Asia/Kathmandu"):
            yield tick_row(expression, zone, pendulum.datetime(2024, 1, 1, tz=zone).in_timezone(UTC))
    for expression in SHORT + DAILY:
        yield tick_row(expression, "UTC", pendulum.datetime(2026, 10, 25))
    for zone, start in (("Europe/Berlin", (2025, 3, 1)), ("Europe/Berlin", (2025, 10, 1)), ("UTC", (2025, 10, 1))):
        for expression in HOURLY_SOME_DAYS:
            yield tick_row(expression, zone, pendulum.datetime(*start, 18), count=60)
    for zone in ("Pacific/Apia", "America/New_York"):
        for expression in ("0 0 30 12 *", "30 2 30,31 12 *", "0 12 * * 5"):
            yield tick_row(expression, zone, pendulum.datetime(2011, 12, 20))


# --- what an expression means -------------------------------------------------------------------------------------


def parse_row(expression):
    table = CronTriggerTimetable(expression, timezone="UTC")
    try:
        table.validate()
    except AirflowTimetableInvalid:
        return [expression, None]
    start = pendulum.datetime(2024, 2, 10, 12, 34)
    after, before, at = [], [], start
    try:
        for _ in range(6):
            at = table._get_next(at)
            after.append(minutes(at))
        at = start
        for _ in range(3):
            at = table._get_prev(at)
            before.append(minutes(at))
    except CroniterBadDateError:
        return [expression, "never"]
    return [expression, after, before]


WORDS = [
    "", "*", "* * * *", "@daily", "@DAILY", "@midnight", "@annually", "@fortnightly", "a b c d e", "60 * * * *",
    "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 8", "* * * * 7", "0 0 * * 5-7",
    "0 0 * * 0-7", "0 0 * * 7-7", "0 0 * * 6-7/2", "0 0 * * 7/2", "0 0 * * 6/2", "0 0 * * fri-mon", "59/15 * * * *",
    "10/5 * * * *", "*/0 * * * *", "*/-1 * * * *", "*/x * * * *", "*/999999999999999999999 * * * *", "*/61 * * * *",
    "5-1 * * * *", "50-10/7 * * * *", "22-2/2 22-2/2 * * *", "1,2,,3 * * * *", ",1 * * * *", "-1 * * * *", "1- * * * *",
    "1-2-3 * * * *", "1/2/3 * * * *", "1-5/2 * * * *", "* * L * *", "0 0 l * *", "0 0 15-L * *", "0 0 L-15 * *",
    "0 0 L,5 * *", "0 0 L/2 * *", "* * * * L", "0 0 * * L5", "0 0 * * 5L", "0 0 * * friL", "0 0 * * Lfri",
    "0 0 * * L8", "0 0 * * L1,L3", "0 0 * * L1,3#1", "0 0 * * 1#1", "0 0 * * 1#6", "0 0 * * 1#0", "0 0 * * mon#1",
    "0 0 * * mon-wed#1", "0 0 * * fri-mon#2", "0 0 * * 1-3#1", "0 0 * * jan#1", "0 0 * * 1#", "0 0 * * #1",
    "0 0 * * 7#3", "0 0 * * 1#1,2", "0 0 * * 1,1#2", "0 0 * * 0-6,1#2", "0 0 * * *,1#2", "0 0 * * *,5,1#2",
    "0 0 1 * 1#1", "0 0 10W * *", "0 0 W10 * *", "0 0 32W * *", "0 0 0W * *", "0 0 10W,20 * *", "0 0 20,10W * *",
    "0 0 W * *", "0 0 10W * 1", "0 0 10W * 1#2", "0 10W * * *", "0 0 ? * ?", "? * * * *", "0 0 ?,1 * *", "0 0 1? * *",
    "0 0 31 2 *", "0 0 30 2 *", "0 0 29 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2,4 *", "0 0 30 2 1", "0 0 0-0 * *",
    "0 0 5-0 * *", "0 0 0-5 * *", "0 0 0/5 * *", "0 0 31/5 * *", "0 0 25-5 * *", "0 0 * 0-0 *", "0 0 * nov-feb *",
    "0 0 * nov-feb/2 *", "0 0 * dec/3 *", "0 0 * jan-jan *", "0 0 * january *", "jan * * * *", "0 0 * * monday",
    "0 *,5 * * *", "0 0-23 1 * *", "0 0-23 * * *", "0 */1 * * *", "0 0 1-31 * 1", "0 0 */1 * 1", "0 0 */2 * */2",
    "0 0 1-31 * */2", "0 0 5 * 0-6", "0 0 1-30,L * 1", "007 08 * * *", "0\t0  *\n* *", "0 0\u00a0* * * *", "٣ * * * *",
    "0 0 * * mon,wed,fri", "0 0 1,31 * *", "0 0 29-31 * *", "0 0 * FEB SUN", "1.5 * * * *", "+5 * * * *", "0x5 * * * *",
]


def random_expression(rng):
    def number(low, high):
        return rng.randint(low, high) if rng.random() < 0.98 else rng.randint(high, high + 3)

    def element(low, high, names):
        def value():
            return rng.choice(names) if names and rng.random() < 0.3 else str(number(low, high))

        shape = rng.random()
        if shape < 0.25:
            return "*"
        if shape < 0.4:
            return f"*/{rng.randint(1, high + 2)}"
        if shape < 0.6:
            return value()
        if shape < 0.8:
            return f"{value()}-{value()}"
        if shape < 0.92:
            return f"{value()}-{value()}/{rng.randint(1, 9)}"
        return f"{value()}/{rng.randint(1, 12)}"

    def field(low, high, names=(), special=()):
        parts = [element(low, high, names) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        if special and rng.random() < 0.25:
            parts = [rng.choice(special) for _ in parts]
        return ",".join(parts)

    months = ["jan", "feb", "MAR", "apr", "may", "jun", "Jul", "aug", "sep", "oct", "nov", "dec"]
    days = ["sun", "mon", "TUE", "wed", "thu", "fri", "Sat"]
    month = "*" if rng.random() < 0.5 else field(1, 12, months)
    return " ".join([
        field(0, 59), field(0, 23), field(1, 31, special=["L", "15W", "31W", "30"]), month,
        field(0, 7, days, special=["1#1", "fri#3", "L2", "0#5", "mon-wed#2", "L0"]),
    ])


def parse_rows():
    rng = random.Random("expressions")
    for expression in WORDS + [random_expression(rng) for _ in range(700)]:
        yield parse_row(expression)


def second_rows():
    """Expressions with six fields, in seconds since 1970; Airflow reads them by croniter as it is."""
    rng = random.Random("seconds")
    start = dt.datetime(2024, 2, 10, 12, 34, 17, tzinfo=dt.timezone.utc)
    plain = ["* * * * *", "*/15 * * * *", "0 5 * * *", "30 6,18 * * mon-fri", "59 23 31 12 *", "0 0 29 2 *", "34 12 * * *"]
    seconds = ["*", "0", "59", "*/10", "17", "16,18", "5-9", "7/20", "50-10", "3-3", "60", "?", "L", "*/0"]
    for fields in plain:
        for second in seconds + [f"{rng.randint(0, 59)},{rng.randint(0, 59)}/{rng.randint(1, 40)}" for _ in range(6)]:
            expression = f"{fields} {second}"
            try:
                after, before = croniter(expression, start), croniter(expression, start)
                ticks = lambda step, count: [int(step(dt.datetime).timestamp()) for _ in range(count)]
                yield [expression, ticks(after.get_next, 8), ticks(before.get_prev, 4)]
            except CroniterBadCronError:
                yield [expression, None, None]


# --- which run comes next -----------------------------------------------------------------------------------------


def timetable_of(schedule, kind):
    match schedule:
        case "once":
            return OnceTimetable()
        case "continuous":
            return ContinuousTimetable()
        case int(ms):
            delta = dt.timedelta(milliseconds=ms)
            return DeltaTriggerTimetable(delta) if kind == "trigger" else DeltaDataIntervalTimetable(delta)
        case [expression, zone]:
            if kind == "trigger":
                return CronTriggerTimetable(expression, timezone=zone)
            return CronDataIntervalTimetable(expression, zone)


def sequence_row(schedule, kind, start, end, catchup, nows):
    """A scheduler that looks at these times and creates the run if it is due."""
    table = timetable_of(schedule, kind)
    restriction = TimeRestriction(earliest=start, latest=end, catchup=catchup)
    last, steps = None, []
    for now in nows:
        NOW[0] = now
        info = table.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info is None:
            steps.append([micros(now)])
            continue
        assert info.logical_date == info.data_interval.start
        steps.append([micros(now), micros(info.run_after), micros(info.data_interval.start), micros(info.data_interval.end)])
        if info.run_after <= now:
            last = info.data_interval
    return [schedule, kind, micros(start), micros(end), catchup, steps]


SEQUENCES = [
    (["0 * * * *", "UTC"], 3600), (["*/15 * * * *", "Europe/Berlin"], 900), (["30 2 * * *", "Europe/Berlin"], 86400),
    (["@daily", "America/New_York"], 86400), (["0 6 * * 1-5", "Asia/Kathmandu"], 86400), (["@weekly", "UTC"], 604800),
    (["@monthly", "Europe/Berlin"], 2592000), (["0 0 L * *", "Africa/Casablanca"], 2592000),
    (["*/30 * * * *", "Australia/Lord_Howe"], 1800), (["0 0 29 2 *", "UTC"], 31536000 * 4),
    (3_600_000, 3600), (90_000, 90), (86_400_000, 86400), (604_800_000, 604800), ("once", 3600), ("continuous", 3600),
]


def sequence_rows():
    rng = random.Random("sequences")
    for schedule, period in SEQUENCES:
        for kind in ("trigger", "data_interval"):
            if isinstance(schedule, str) and kind != "trigger":
                continue
            for catchup in (True, False):
                for case in range(7):
                    begin = pendulum.datetime(2026, 1, 1).add(seconds=rng.randrange(0, 86400 * 300))
                    begin = begin.start_of("hour") if case % 2 else begin
                    start = None if case in (3, 6) else begin
                    # A bound on the tick itself and one second beside it.
                    end = begin.add(seconds=period * 3 + rng.choice([-1, 0, 1])) if case in (2, 4) else None
                    # Behind the start, just after it, long after it.
                    now = begin.add(seconds=int(period * rng.choice([-1.5, 0, 0.02, 0.3, 1, 2.5, 6])))
                    nows = []
                    for _ in range(9):
                        nows.append(now)
                        step = rng.choice([0, 0.01, 0.4, 1, 1, 1.2, 3.7])
                        now = now.add(seconds=int(period * step), microseconds=rng.choice([0, 0, 1, 250_000]))
                    yield sequence_row(schedule, kind, start, end, catchup, nows)


def manual_rows():
    rng = random.Random("manual")
    for schedule, period in SEQUENCES:
        for kind in ("trigger", "data_interval"):
            for case in range(4):
                at = pendulum.datetime(2026, 3, 1).add(seconds=rng.randrange(0, 86400 * 250))
                at = at.start_of("day") if case == 0 else at.add(microseconds=rng.choice([0, 1]))
                found = timetable_of(schedule, kind).infer_manual_data_interval(run_after=at)
                yield [schedule, kind, micros(at), micros(found.start), micros(found.end)]


def run_id_rows():
    dagrun.get_random_string = lambda: "u0FKjY9l"
    times = [(2026, 11, 20, 6, 0, 0, 0), (2026, 11, 20, 6, 47, 50, 20230), (1999, 1, 2, 3, 4, 5, 999999), (2026, 1, 1, 0, 0, 0, 1)]
    for run_type in DagRunType:
        for parts in times:
            at = pendulum.datetime(*parts)
            for logical in (at, None):
                name = dagrun.DagRun.generate_run_id(run_type=run_type, logical_date=logical, run_after=at)
                yield [str(run_type), micros(at), micros(logical), name]


# --- retries --------------------------------------------------------------------------------------------------------


def retry_row(base_ms, multiplier, max_ms, dag_id, task_id, logical, try_no):
    end = pendulum.datetime(2026, 1, 1)
    task = SimpleNamespace(
        retry_delay=dt.timedelta(milliseconds=base_ms),
        retry_exponential_backoff=multiplier,
        max_retry_delay=None if max_ms is None else dt.timedelta(milliseconds=max_ms),
    )
    ti = SimpleNamespace(
        task=task, dag_id=dag_id, task_id=task_id, logical_date=logical, try_number=try_no, end_date=end,
        retry_delay_override=None, log=SimpleNamespace(warning=lambda *_: None),
    )
    delay = TaskInstance.next_retry_datetime(ti) - end
    return [base_ms, multiplier, max_ms, dag_id, task_id, micros(logical), try_no, round(delay.total_seconds() * 1000)]


def retry_rows():
    rng = random.Random("retries")
    dates = [None, pendulum.datetime(2026, 11, 20, 6), pendulum.datetime(2026, 11, 20, 6, 47, 50, 20230)]
    fixed = [
        (300_000, 0.0, None, 1), (300_000, 1.0, 1000, 9), (300_000, 2.0, None, 1), (300_000, 2.0, None, 2),
        (300_000, 2.0, 0, 3), (0, 2.0, None, 4), (1, 2.0, None, 1), (1_500, 1.5, None, 3), (500, 0.5, None, 5),
        (300_000, -2.0, None, 3), (1_000, 2.0, None, 2000), (1_000, 1e308, None, 3), (86_400_000, 2.0, None, 1),
        (86_399_000, 1.1, None, 1), (200_000_000, 2.0, None, 1), (200_000_000, 0.0, None, 1), (43_200_000, 2.0, None, 2),
        (1_000, 10.0, 30_000, 4), (1_000, 3.0, 2_500, 2),
    ]
    for base, multiplier, cap, try_no in fixed:
        yield retry_row(base, multiplier, cap, "dag", "task", dates[1], try_no)
    for _ in range(120):
        yield retry_row(
            rng.choice([0, 1, 250, 1_000, 10_000, 300_000, 3_600_000]), rng.choice([1.1, 1.5, 2.0, 2.5, 3.0, 10.0]),
            rng.choice([None, None, 60_000, 3_600_000]), rng.choice(["example_retry", "größe", "a.b-c"]),
            rng.choice(["load", "group.task"]), rng.choice(dates), rng.randint(1, 14),
        )


if __name__ == "__main__":
    write("ticks.json", list(tick_rows()))
    write("expressions.json", list(parse_rows()))
    write("seconds.json", list(second_rows()))
    write("sequences.json", list(sequence_rows()))
    write("manual.json", list(manual_rows()))
    write("run_ids.json", list(run_id_rows()))
    write("retries.json", list(retry_rows()))
