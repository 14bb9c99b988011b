"""Prints orch's figures beside those of the peers: table.py RESULTS_JSON PEER_JSONL…"""

import json
import os
import sys

ROWS = [
    "light40_total_ms",
    "chain100_gap_p50_ms",
    "chain100_gap_p95_ms",
    "fan1000_total_ms",
    "runs200x5_total_ms",
    "trigger_to_start_p50_ms",
    "cli_trigger_ms",
    "start_to_healthy_ms",
    "noop_tasks_per_s",
    "idle_rss_mb",
    "idle_cpu_percent",
    "mysql_parquet_rows_per_s",
    "iceberg_commit_p50_ms",
    "iceberg_upsert1000_p50_ms",
    "scan_rows_per_s",
    "silver_gold_ms",
    "taxi3m_s",
    "taxi3m_rss_mb",
    "analytics3m_s",
    "analytics3m_rss_mb",
    "zone_points_per_s",
    "kafka_iceberg_records_per_s",
    "kafka_iceberg_rss_mb",
]


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main(results, files):
    columns = {"orch": {}}
    if os.path.exists(results):
        with open(results) as file:
            columns["orch"] = {row["name"]: row["value"] for row in json.load(file)}
    for path in sorted(files):
        with open(path) as file:
            found = [json.loads(line) for line in file if '"name"' in line]
        for row in found:
            mode = row["settings"].get("mode", "default")
            name = row["peer"] if mode == "default" else f"{row['peer']}, {mode}"
            columns.setdefault(name, {})[row["name"]] = row["value"]
    width = max(12, *(len(name) for name in columns)) + 1
    print("row".ljust(26), *(name.rjust(width) for name in columns))
    measured = [row for row in ROWS if any(row in figures for name, figures in columns.items() if name != "orch")]
    for row in measured:
        cells = (short(figures[row]) if row in figures else "–" for figures in columns.values())
        print(row.ljust(26), *(cell.rjust(width) for cell in cells))


main(sys.argv[1], sys.argv[2:])
