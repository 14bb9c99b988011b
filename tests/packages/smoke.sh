#!/usr/bin/env bash
# Installs the Debian package, the archive and the wheel in a minimal root made by debootstrap, and runs DAGs there.
# `make torture` runs it. Needs Debian or Ubuntu, root rights and their package mirror.
#
#   tests/packages/smoke.sh BINARIES              packs these binaries
#   tests/packages/smoke.sh --packages PACKAGES   uses the packages of this folder, such as target/packages
set -euo pipefail
self=$(realpath "$0")

say() { printf 'packages: %s\n' "$*" >&2; }
give_up() {
    say "$1"
    say "hint: $2"
    exit 1
}
as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# Packs, makes the root, and starts this script again in separate namespaces: its mounts and processes end with it.
prepare() {
    cd "$(dirname "$self")/../.."
    local work packages suite mirror components=main
    command -v apt-get > /dev/null || give_up "this system has no apt-get" "run it on Debian or Ubuntu"
    if ! command -v debootstrap > /dev/null; then
        say "installing by apt: debootstrap"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends debootstrap
    fi
    work=$(mktemp -d "${TMPDIR:-/tmp}/orch-packages.XXXXXX")
    # shellcheck disable=SC2064
    trap "as_root rm -rf --one-file-system '$work'" EXIT
    if [[ ${1:-} == --packages ]]; then
        packages=$(realpath "$2")
    else
        packages=$work/packages
        say "packing the binaries of $1"
        scripts/dist.sh "$1" "$packages" --fast > /dev/null
    fi
    # The binaries need the C library of the system that built them.
    suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # Ubuntu has the package python3-venv in `universe`.
    grep -qx 'ID=ubuntu' /etc/os-release && components=main,universe
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' | awk -v suite="$suite" '$1 == suite && !seen++ { print $2 }')
    say "making a root with $suite from ${mirror:-the default mirror}"
    # Downloaded packages are kept for the next time.
    mkdir -p target/debootstrap
    as_root "$(command -v debootstrap)" --variant=minbase --components="$components" --cache-dir="$PWD/target/debootstrap" \
        "$suite" "$work/root" ${mirror:+"$mirror"} > "$work/log" ||
        give_up "debootstrap failed: $(tail -n 3 "$work/log")" "check the network: ${mirror:-the default mirror}"
    as_root unshare --mount --pid --fork --kill-child "$self" --inside "$work/root" "$packages"
}

# Runs a program in the root, with a small environment.
inside() {
    chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

# Like `inside`, as the user `$user` with the programs of the folder `$bin`.
as_user() {
    chroot --userspec="$user_id" "$root" env -i "HOME=$home" "PATH=$bin:/usr/bin:/bin" LC_ALL=C.UTF-8 "$@"
}

# Installs or removes Debian packages. Prints the output only if that fails.
apt_get() {
    inside apt-get -qq -y "$@" > "$root/apt.log" 2>&1 || {
        cat "$root/apt.log" >&2
        give_up "apt-get $* failed" "the output is above"
    }
}

# check USER BIN SHARE: the files of the package are complete, and DAGs run.
check() {
    local user=$1 bin=$2 share=$3 home user_id file log offered pid server
    home=$(inside getent passwd "$user" | cut -d : -f 6)
    user_id=$(inside id -u "$user"):$(inside id -g "$user")
    for file in doc/orch/docs/guides/install.md doc/orch/docs/commands.md doc/orch/docs/settings.md doc/orch/deploy/prometheus/alerts.yml \
        doc/orch/deploy/grafana/orch.json man/man1/orch.1.gz man/man1/orch-dags.1.gz man/man5/orch.toml.5.gz bash-completion/completions/orch \
        fish/vendor_completions.d/orch.fish; do
        [[ -s $root$share/$file ]] || give_up "$share/$file does not exist" "see the folder \`share\` in scripts/dist.sh"
    done
    gzip --test "$root$share"/man/man*/orch*.gz
    as_user orch --version
    as_user orch-pipelines --version
    as_user orch dags test "$share/doc/orch/dags/examples/files/hello.yaml"

    log=$root/standalone.log
    as_user orch standalone --port 0 > "$log" 2>&1 &
    server=$!
    wait_for standalone "$log" as_user test -e "$home/.local/share/orch/standalone.json"
    wait_for example_hello "$log" completes example_hello
    as_user orch dags trigger example_hello --wait --timeout 3m
    pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$root$home/.local/share/orch/standalone.json")
    kill "$pid"
    # Stops with the exit code 0 after SIGTERM.
    wait "$server"
}

# The completion of `orch dags trigger example_hel` offers this DAG.
completes() {
    # shellcheck disable=SC2016
    offered=$(as_user bash -c 'source "$0"; COMP_WORDS=(orch dags trigger example_hel); COMP_CWORD=3; _orch orch; printf "%s" "${COMPREPLY[*]}"' \
        "$share/bash-completion/completions/orch")
    [[ $offered == "$1" ]]
}

# wait_for WHAT LOG COMMAND...: retries the command for two minutes.
wait_for() {
    local what=$1 log=$2 start=$SECONDS
    shift 2
    until "$@"; do
        if ((SECONDS - start > 120)); then
            cat "$log" >&2
            give_up "$what: not ready after two minutes" "the output of the standalone is above"
        fi
        sleep 0.5
    done
}

only() {
    local found=("$packages"/$1)
    [[ -e ${found[0]} && ${#found[@]} == 1 ]] || give_up "$packages has ${#found[@]} files $1" "remove packages of other versions"
    printf '%s' "${found[0]}"
}

install_and_check() {
    root=$1 packages=$2
    mount -t proc proc "$root/proc"
    # Postgres keeps shared memory here.
    mkdir -p "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    # No service starts in a root without an init.
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir "$root/packages"
    cp "$(only '*.deb')" "$root/packages/orch.deb"
    cp "$(only '*.tar.gz')" "$root/packages/orch.tar.gz"
    cp "$(only '*.whl')" "$root/packages"
    apt_get update

    say "the Debian package"
    # With its recommendation, Postgres.
    apt_get install /packages/orch.deb
    check orch /usr/bin /usr/share
    apt_get purge orch
    [[ ! -e $root/usr/bin/orch ]] || give_up "the removed package left /usr/bin/orch" "see deploy/debian"

    say "the archive"
    inside useradd --create-home archive
    inside mkdir /home/archive/orch
    inside tar -xzf /packages/orch.tar.gz --strip-components=1 -C /home/archive/orch
    check archive /home/archive/orch /home/archive/orch/share

    say "the wheel"
    apt_get install --no-install-recommends python3-venv
    inside useradd --create-home wheel
    inside python3 -m venv /home/wheel/venv
    inside /home/wheel/venv/bin/pip install --quiet --no-index /packages/"$(basename "$(only '*.whl')")"
    check wheel /home/wheel/venv/bin /home/wheel/venv/share
    say "all three packages run DAGs"
}

case ${1:-} in
    --inside) install_and_check "$2" "$3" ;;
    "") give_up "no binaries named" "$0 target/debug" ;;
    *) prepare "$@" ;;
esac
