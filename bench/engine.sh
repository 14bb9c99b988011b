#!/usr/bin/env bash
# Measures every engine row with a release build: a table on stdout, the figures in bench/results.json. What is given
# goes to `orch-bench measure`: row names, --quick, --out FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet -p orch-control -p orch-dags -p orch-bench --bin orch-bench # with the features of `make engine`
exec target/release/orch-bench measure "$@"
