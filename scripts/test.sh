#!/usr/bin/env bash
# Format, lints, build of the tests, tests. `test.sh`: all of it, as CI runs it. `test.sh check`: what a change of the engine breaks
# first, in minutes (spec, core, sdk, document, store, web, the simulation). `test.sh torture`: the long tests, with random seeds.
# `test.sh lint` ends after the lints.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
if [[ -t 1 ]]; then export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}; fi

tier=${1:-all}
if [[ $tier != lint ]]; then scripts/setup.sh test; fi
packages=(--workspace)
if [[ $tier == check ]]; then packages=(-p orch-spec -p orch-core -p orch-sdk -p orch-document -p orch-store -p orch-web -p orch-sim); fi
if [[ $tier == torture ]]; then
    export ORCH_TEST_LONG=${ORCH_TEST_LONG:-10}
    packages+=(--features orch-dags/torture,orch-test-lake/torture)
else
    # A gate that fails must fail again.
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-407112}
fi

# The OpenSSL of this system is as good for tests as one that is built for three minutes with the client of Kafka.
if pkg-config --exists openssl 2> /dev/null; then export OPENSSL_NO_VENDOR=${OPENSSL_NO_VENDOR:-1}; fi

# A build that fills the disk ends in a linker's message that names no cause.
needed_gb=14
free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
if [[ ! -d target/debug && $free_gb -lt $needed_gb ]]; then
    printf 'test: %d GB are free here; a build from an empty target folder needs about %d GB\n' "$free_gb" "$needed_gb" >&2
    printf 'hint: free some space first\n' >&2
fi

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

checked_tests() {
    CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__" python3 scripts/run_tests.py "$@" -- \
        cargo --config 'build.rustc-workspace-wrapper="clippy-driver"' test "${packages[@]}"
}

step format cargo fmt --all --check
step "build with lints" checked test "${packages[@]}" --all-targets --no-run --quiet
case $tier in
    lint) exit 0 ;;
    check) step tests checked_tests --no-doc ;;
    torture)
        step packages tests/packages/smoke.sh target/debug
        step "live upgrade" python3 tests/upgrade/live.py target/debug/orch target/debug/orch-cluster
        step tests checked_tests --only orch-torture,orch-sim,orch-test-lake::model,orch-test-lake::catalogs,orch-store::postgres,orch-dags::dags,orch-streams::streams,orch-attack-tests::attack,orch-cli-tests::cli
        ;;
    all) step tests checked_tests ;;
esac
printf '== %s%d s in all\n' "$report" "$SECONDS"
