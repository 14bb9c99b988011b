#!/usr/bin/env bash
# Starts `orch standalone` with the arguments. The bundle with the pipelines is built beside it at low priority, when it is not
# up to date, and joins when it is there; the home page says how far it is.
set -euo pipefail
cd "$(dirname "$0")/.."

release=${CARGO_TARGET_DIR:-target}/release
bundle=$release/orch-pipelines
note=$bundle.building
log=$release/orch-pipelines.log

# build PID → builds the bundle while that process lives
build() {
    local orch=$1 built all ended
    set +e +o pipefail # how cargo ended is asked below
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 nice -n 19 cargo build --release -p orch-control -p orch-dags --bin orch-pipelines 2>&1 |
        tee "$log" | grep -ao --line-buffered '\] [0-9]*/[0-9]*' | while IFS=' /' read -r _ built all; do
        kill -0 "$orch" 2> /dev/null || break
        printf '%s %s %s\n' "$BASHPID" "$built" "$all" > "$note.new" && mv "$note.new" "$note"
    done
    ended=${PIPESTATUS[0]}
    rm -f "$note"
    if [[ $ended != 0 ]] && kill -0 "$orch" 2> /dev/null; then
        printf 'the pipelines did not build: see %s\n' "$log" >&2
    fi
}

build $$ &
exec "$release/orch" standalone --bundle "$bundle" "$@"
