#!/usr/bin/env bash
# Measures the data plane with a release build, on a MariaDB and a Postgres of its own: a table on stdout, the figures in
# bench/results.json. lake.sh [--peers] [ROW…] [--quick]: with `--peers` others do the same work in the same run (the first
# time they are installed from their package index, about 1.5 GB; Spark needs Java 17), and their results replace
# bench/peers/results/lake.jsonl, from which documents quote.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORCH_PEERS=${ORCH_PEERS:-$HOME/.cache/orch-peers}
rest=()
for word in "$@"; do
    if [[ $word == --peers ]]; then
        bench/peers/install.sh lake
        mkdir -p "$ORCH_PEERS/results"
        export ORCH_BENCH_LAKE_PYTHON=$ORCH_PEERS/envs/lake/bin/python ORCH_BENCH_LAKE_RESULTS=$ORCH_PEERS/results/lake.jsonl
        packages=(connectorx polars pandas dlt pyiceberg pyarrow duckdb geopandas confluent-kafka pysail pyspark)
        python3 bench/peers/about.py lake "bench/lake.sh $*" "${packages[@]}" > "$ORCH_BENCH_LAKE_RESULTS"
    else
        rest+=("$word")
    fi
done
cargo build --release --quiet -p orch-control -p orch-dags -p orch-bench -p orch-bench-lake --bin orch-bench-lake
outcome=0
target/release/orch-bench-lake measure "${rest[@]}" || outcome=$?
if [[ -n ${ORCH_BENCH_LAKE_RESULTS:-} && -s $ORCH_BENCH_LAKE_RESULTS ]]; then
    echo
    python3 bench/peers/table.py bench/results.json "$ORCH_BENCH_LAKE_RESULTS"
    mkdir -p bench/peers/results
    cp "$ORCH_BENCH_LAKE_RESULTS" bench/peers/results/lake.jsonl
fi
exit "$outcome"
