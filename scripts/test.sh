#!/usr/bin/env bash
# What CI runs, in this order: format, lints, build of the tests, tests. `test.sh lint` ends after the lints.
# ORCH_TEST_LONG=1 makes the fault and simulation tests run longer.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
if [[ -t 1 ]]; then export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}; fi

if [[ ${1:-} != lint ]]; then scripts/setup.sh test; fi

report=""
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" || {
        printf '\n== %s failed after %d s\n' "$name" $((SECONDS - start))
        exit 1
    }
    report+=$(printf '%s %d s, ' "$name" $((SECONDS - start)))
}

# Lints are told while the tests are built, by clippy's compiler in the place of rustc for our own packages: `cargo clippy`
# would look at seven hundred dependencies once more, ten minutes on two cores. Not by the environment, which the compilers
# that tests start would inherit.
checked() {
    CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__" cargo --config 'build.rustc-workspace-wrapper="clippy-driver"' "$@"
}

run_tests() {
    mkdir -p target
    local log=target/test.log outcome=0
    checked test --workspace --no-fail-fast 2>&1 | tee "$log" || outcome=1
    sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /^ *Running / { name = $2 == "unittests" ? $4 : $2; gsub(/[()]/, "", name); sub(/.*\//, "", name); sub(/-[0-9a-f]+$/, "", name) }
        /^ *Doc-tests / { name = "doc-tests of " $2 }
        /^test result:/ {
            passed += $4; failed += $6
            if (match($0, /finished in [0-9.]+/)) {
                seconds = substr($0, RSTART + 12, RLENGTH - 12); total += seconds
                if (seconds > 2) slow = slow sprintf("   %7.1f s  %s\n", seconds, name)
            }
        }
        END {
            if (slow != "") printf "\n== slow test binaries\n%s", slow
            printf "\n== %d passed, %d failed, %.1f s in tests\n", passed, failed, total
        }'
    return "$outcome"
}

step format cargo fmt --all --check
step "build with lints" checked test --workspace --all-targets --no-run --quiet
if [[ ${1:-} == lint ]]; then exit 0; fi
step tests run_tests
printf '== %s%d s in all\n' "$report" "$SECONDS"
