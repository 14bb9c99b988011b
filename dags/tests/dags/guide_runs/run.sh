# Runs `commands.sh`, the commands of a guide, after the script $BEFORE, which creates what the guide presumes.
# Variables that the test sets:
# - BINARY, PIPELINES: paths of `orch` and `orch-pipelines`
# - FAILURES: file that gets a line for each failed command: `before` or `guide`, line, exit code, command, with tabs
# - OUTPUT: folder for what the blocks of commands print
# - GUIDE: name of the guide, URL: address of the web server, DAGS: folder of DAG files of the standalone
# - DATABASE, DATABASE_URL: a database with the schema of orch that no process uses
# - PASSWORD: what a command gets that reads a password, FREE_PORT: port of the logging server

set -o pipefail

# Exit codes other than 0 that a guide announces, by command: `exits 1 orch dags diff daily_sales`.
declare -A announced=()
# Line of the guide by process id, for processes that serve until they are stopped.
declare -A serving=()

exits() {
    announced["${*:2}"]=$1
}

failed() {
    printf '%s\t%s\t%s\t%s\n' "$script" "$1" "$2" "${3//$'\n'/ }" >> "$FAILURES"
}

# Commands of orch report their failure here and return 0, so the rest of a list or of a pipeline runs as well.
orch() {
    run "${BASH_LINENO[0]}" "$BINARY" "$@"
}

orch-pipelines() {
    run "${BASH_LINENO[0]}" "$PIPELINES" "$@"
}

run() {
    local line=$1 binary=$2 code=0
    shift 2
    local text="${binary##*/} $*"
    case $1 in
        standalone | scheduler | web | worker | serving | catalog | logging-server)
            serve "$line" "$binary" "$@" || code=$?
            ;;
        *)
            # Standard input of the script is /dev/null. A command that reads a password gets one.
            if [[ -c /dev/stdin ]]; then
                timeout 120 "$binary" "$@" <<< "$PASSWORD" || code=$?
            else
                timeout 120 "$binary" "$@" || code=$?
            fi
            ;;
    esac
    if [[ $code -ne ${announced[$text]:-0} ]]; then failed "$line" "$code" "$text"; fi
}

# Starts a process at a free port and waits until it is ready. The process runs until the guide has ended.
serve() {
    local line=$1 binary=$2 log=$PWD/serving-$1.log end=$((SECONDS + 60)) arguments=() argument previous='' pid
    local ORCH_DATA_DIR=${ORCH_DATA_DIR:-} ORCH_DATABASE_URL=${ORCH_DATABASE_URL:-}
    shift 2
    for argument in "$@"; do
        case $previous in
            --port) argument=0 ;;
            --metrics-address) argument=127.0.0.1:0 ;;
        esac
        arguments+=("$argument")
        previous=$argument
    done
    : > "$log"
    case $1 in
        # Each standalone has its own database, and its pipelines do not run: the test would wait for their end.
        standalone)
            export ORCH_DATA_DIR=$PWD/data-$line
            unset ORCH_DATABASE_URL
            local -x ORCH_PAUSED_AT_CREATION=true ORCH_GRACE=1s
            ;;
        # Writes into the database of the standalone that the test started.
        logging-server) arguments+=(--port "$FREE_PORT") ;;
        *) export ORCH_DATABASE_URL=${ORCH_DATABASE_URL:-$DATABASE_URL} ;;
    esac
    ORCH_PORT=0 "$binary" "${arguments[@]}" &> "$log" < /dev/null &
    pid=$!
    serving[$pid]=$line
    while kill -0 "$pid" 2> /dev/null && [[ $SECONDS -lt $end ]]; do
        if grep -q ' is up' "$log"; then return 0; fi
        sleep 0.1
    done
    cat "$log" >&2
    return 1
}

# Cancels the active backfills of a DAG, so that other guides do not wait for their runs.
cancel_backfills() {
    local id
    for id in $(orch backfill list --active --dag-id "$1" -o json | grep -o '"id": *[0-9]*' | tr -dc '0-9\n'); do
        orch backfill cancel "$id" --stop-running
    done
}

# Stops the processes of the guide. A process that does not end with exit code 0 after SIGTERM has failed.
stop_serving() {
    local pid code
    trap - ERR
    for pid in "${!serving[@]}"; do
        code=0
        kill -TERM "$pid" 2> /dev/null
        wait "$pid" || code=$?
        if [[ $code -ne 0 ]]; then failed "${serving[$pid]}" "$code" 'stopped by SIGTERM'; fi
    done
    if declare -F after > /dev/null; then after; fi
}

# Prints an API token of a user with the role admin that no guide changes.
token() {
    orch users create -u "guide-$GUIDE" -r admin >&2
    orch users create-token -u "guide-$GUIDE" --name guide
}

# Repeats a command until it succeeds, for at most 30 seconds.
until_ok() {
    local end=$((SECONDS + 30))
    until "$@" &> /dev/null; do
        if [[ $SECONDS -gt $end ]]; then return 1; fi
        sleep 0.1
    done
}

curl() {
    command curl --fail --max-time 60 "$@"
}

trap stop_serving EXIT
trap 'failed "$LINENO" "$?" "$BASH_COMMAND"' ERR

script=before
if [[ -e $BEFORE ]]; then source "$BEFORE"; fi
script=guide
source ./commands.sh
