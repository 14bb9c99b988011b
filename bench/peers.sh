#!/usr/bin/env bash
# Measures other orchestrators on the same workloads, one after the other, then orch, and prints them in one table.
# peers.sh [--quick] [PEER…]: airflow prefect dagster dbos restate graphile; all when none is named. `--quick` leaves
# out what takes minutes. The first time a peer is installed from its package index (about 1 GB for all of them).
# A whole measurement replaces bench/peers/results/PEER.jsonl, from which documents quote.
set -euo pipefail
cd "$(dirname "$0")/.."
export ORCH_PEERS=${ORCH_PEERS:-$HOME/.cache/orch-peers}

quick=()
peers=()
for word in "$@"; do
    case $word in
    --quick) quick=(--quick) ;;
    -*)
        sed -n '2,5s/^# //p' "$0" >&2
        exit 2
        ;;
    *) peers+=("$word") ;;
    esac
done
if [[ ${#peers[@]} == 0 ]]; then peers=(airflow prefect dagster dbos restate graphile); fi

# The packages whose versions the results name.
packages_of() {
    case $1 in
    airflow) echo apache-airflow apache-airflow-task-sdk ;;
    prefect) echo prefect ;;
    dagster) echo dagster dagster-webserver dagster-postgres ;;
    dbos) echo dbos ;;
    restate) echo @restatedev/restate-server @restatedev/restate-sdk ;;
    graphile) echo graphile-worker ;;
    esac
}

# A port each, so that a server that does not go away in time disturbs nobody.
port_of() {
    case $1 in
    airflow) echo 25432 ;;
    prefect) echo 25435 ;;
    dagster) echo 25437 ;;
    dbos) echo 25436 ;;
    graphile) echo 25433 ;;
    restate) echo 0 ;;
    esac
}

measure() {
    local peer=$1 home=$ORCH_PEERS/homes/$1
    rm -rf "$home"
    mkdir -p "$home/dags" "$ORCH_PEERS/logs" "$ORCH_PEERS/results"
    # `set -e` does not hold in a function whose outcome is asked for.
    bench/peers/install.sh "$peer" || return
    if [[ -d bench/peers/dags/$peer ]]; then cp bench/peers/dags/"$peer"/* "$home/dags/"; fi
    PGPORT=$(port_of "$peer")
    export PGPORT
    if [[ $PGPORT != 0 ]]; then bench/peers/pg.sh start "$peer" "$PGPORT" || return; fi
    local program=(node "bench/peers/run_$peer.js")
    if [[ -e bench/peers/run_$peer.py ]]; then
        program=(env PYTHONDONTWRITEBYTECODE=1 "$ORCH_PEERS/envs/$peer/bin/python" "bench/peers/run_$peer.py")
    fi
    echo "measuring $peer" >&2
    local outcome=0 packages
    read -ra packages < <(packages_of "$peer")
    python3 bench/peers/about.py "$peer" "bench/peers.sh $peer" "${packages[@]}" > "$ORCH_PEERS/results/$peer.partial"
    "${program[@]}" "${quick[@]}" >> "$ORCH_PEERS/results/$peer.partial" || outcome=$?
    if [[ $PGPORT != 0 ]]; then bench/peers/pg.sh stop "$peer"; fi
    mv "$ORCH_PEERS/results/$peer.partial" "$ORCH_PEERS/results/$peer.jsonl"
    if [[ ${#quick[@]} == 0 && $outcome == 0 ]]; then
        mkdir -p bench/peers/results
        cp "$ORCH_PEERS/results/$peer.jsonl" bench/peers/results/
    fi
    return "$outcome"
}

failed=()
for peer in "${peers[@]}"; do
    measure "$peer" || failed+=("$peer")
done
outcome=0
bench/engine.sh "${quick[@]}" || outcome=$?
files=()
for peer in "${peers[@]}"; do
    if [[ -s $ORCH_PEERS/results/$peer.jsonl ]]; then files+=("$ORCH_PEERS/results/$peer.jsonl"); fi
done
echo
python3 bench/peers/table.py bench/results.json "${files[@]}"
if [[ ${#failed[@]} != 0 ]]; then
    echo "not measured, or not all of it: ${failed[*]}; logs are in $ORCH_PEERS/logs" >&2
    exit 1
fi
exit "$outcome"
