"""Trino, asked over standard input: one line of JSON is a statement, one line of JSON its rows.

Cells travel as text, null as null, so that both sides compare what they would print.
"""

import json
import sys
import traceback

import trino


def causes(failure):
    """Its own words and those of what brought it about."""
    while failure:
        yield failure.get("message")
        failure = failure.get("cause")


def cell(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)


connection = trino.dbapi.connect(host="127.0.0.1", port=int(sys.argv[1]), user="orch", catalog=sys.argv[2], timezone="UTC")

for line in sys.stdin:
    try:
        cursor = connection.cursor()
        cursor.execute(json.loads(line)["sql"])
        told = {"ok": [[cell(value) for value in row] for row in cursor.fetchall()]}
    except trino.exceptions.TrinoQueryError as error:
        told = {"error": f"{error}: {list(causes(error.failure_info))}"}
    except Exception:
        told = {"error": traceback.format_exc()}
    print(json.dumps(told), flush=True)
