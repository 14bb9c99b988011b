"""A program that is asked over standard input: one line of JSON is a question, one line of JSON its answer.

Cells travel as text, null as null, so that both sides compare what they would print.
"""

import json
import sys
import traceback


def cell(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)


def answer_all(answer):
    for line in sys.stdin:
        try:
            told = {"ok": answer(json.loads(line))}
        except Exception:
            told = {"error": traceback.format_exc()}
        print(json.dumps(told), flush=True)
