"""Asks Airflow for its decisions and writes the tables beside this file: `python tests/oracle/record.py --seed 7`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from random import Random

import sandbox

HERE = Path(__file__).parent
TABLES = ("trigger_rules", "runs", "skips", "clears", "params")
RUNS, BRANCHES, SHORT_CIRCUITS, CLEARS = 1500, 100, 50, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=TABLES, action="append", help="record these tables only")
    parser.add_argument("--runs", type=int, default=RUNS, help="random DAGs in runs.json")
    parser.add_argument("--clears", type=int, default=CLEARS, help="clears in clears.json")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the tables")
    args = parser.parse_args()
    session = sandbox.open_session()
    all_well = True
    header = {"airflow": sandbox.PINNED, "seed": args.seed}
    for table in args.only or TABLES:
        if table == "trigger_rules":
            import rules

            body = rules.record(session)
            _write(args.out / "trigger_rules.json", header, body, lines_in=())
            _report(table, rules.summary(body))
        elif table == "params":
            import params

            body = params.record()
            _write(args.out / "params.json", header, body, lines_in=tuple(body))
            _report(table, params.summary(body))
        else:
            wanted = [("run", args.runs)]
            if table == "skips":
                wanted = [("branch", BRANCHES), ("short_circuit", SHORT_CIRCUITS)]
            elif table == "clears":
                wanted = [("clear", args.clears)]
            cases, trouble = _record_cases(session, args.seed, wanted)
            _write(args.out / f"{table}.json", header, {"cases": cases}, lines_in=("cases",))
            _report(table, {**_summary(cases), **trouble})
            all_well = all_well and not trouble["crashed"]
    if not all_well:
        raise SystemExit("some cases crashed and are not in the tables")


def _record_cases(session, seed: int, wanted: list[tuple[str, int]]) -> tuple[list[dict], dict]:
    import cases
    import clears

    recorded, refused, crashed = [], Counter(), []
    for kind, count in wanted:
        for number in range(count):
            rng = Random(f"{seed} {kind} {number}")
            case_id = f"{kind}_{number:04}"
            while True:
                try:
                    if kind == "clear":
                        recorded.append(clears.record(session, case_id, rng))
                    else:
                        recorded.append(cases.record(session, case_id, cases.draw(rng, kind), rng))
                    break
                except cases.RefusedError as refusal:
                    # Airflow does not take this DAG: draw the next one from the same stream.
                    refused[str(refusal)] += 1
                except Exception as error:  # counted and shown; the exit code says so
                    session.rollback()
                    crashed.append(f"{case_id}: {type(error).__name__}: {error}")
                    break
            if number % 100 == 99:
                print(f"{kind} {number + 1}", file=sys.stderr, flush=True)
    if crashed:
        print("\n".join(crashed), file=sys.stderr)
    return recorded, {"refused by Airflow and drawn again": dict(refused), "crashed": len(crashed)}


def _summary(recorded: list[dict]) -> dict:
    by_rule: dict[str, Counter] = {}
    for case in recorded:
        rules = {task["id"]: task["rule"] for task in case["tasks"]}
        for name, state in case["final"].items():
            by_rule.setdefault(rules[name.rsplit("[", 1)[0]], Counter())[str(state)] += 1
    return {
        "cases": len(recorded),
        "run states": dict(Counter(case["run"] for case in recorded)),
        "instances ended": sum(len(case["executed"]) for case in recorded),
        "with mapped tasks": sum(any("map" in t for t in case["tasks"]) for case in recorded),
        "with mapped groups": sum(any("map" in g for g in case["groups"]) for case in recorded),
        "with setup or teardown": sum(any("role" in t for t in case["tasks"]) for case in recorded),
        "order of dependencies matters": sum("otherwise" in case for case in recorded),
        "quirks": dict(Counter(q for case in recorded for q in case.get("quirks", {}))),
        "final states by rule": {rule: dict(sorted(states.items())) for rule, states in sorted(by_rule.items())},
    }


def _write(path: Path, header: dict, body: dict, lines_in: tuple[str, ...]) -> None:
    """Compact JSON with one case or one section a line, so that a diff shows which changed."""
    lines = [f'{json.dumps(k)}:{json.dumps(v, separators=(",", ":"))}' for k, v in header.items()]
    for name, value in body.items():
        if name in lines_in:
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f'"{name}":[\n{rows}\n]')
        else:
            lines.append(f'{json.dumps(name)}:{json.dumps(value, separators=(",", ":"))}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _report(table: str, summary: dict) -> None:
    print(f"== {table}")
    for name, value in summary.items():
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            print(f"{name}:")
            for row, cells in value.items():
                print(f"  {row:28} {cells}")
        else:
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
