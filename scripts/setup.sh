#!/usr/bin/env bash
# Installs what is missing on this machine to build and run orch: a C compiler, Perl, Postgres' server programs and a Rust
# toolchain; with the word `test` also what the tests need: Python, for Airflow's own client; Chromium and Node.js, for the
# pages; MariaDB, to read from; PgBouncer, to stand before Postgres; Java and Maven, for Kafka and Spark; OpenSSL, to build faster. Asks
# nothing, says what it does, and is silent and quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-}

say() { printf 'setup: %s\n' "$*" >&2; }
give_up() {
    say "$1"
    say "remedy: $2"
    exit 1
}
have() { command -v "$1" > /dev/null 2>&1; }

have_postgres() {
    local folder
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
        if [[ -x $folder/initdb && -x $folder/postgres ]]; then return 0; fi
    done
    have initdb && have postgres
}

# OpenSSL, which comes with the client of Kafka, is configured by a Perl with its modules.
have_perl() {
    perl -MFindBin -MFile::Compare -MIPC::Cmd -e 1 > /dev/null 2>&1
}

needs_python() {
    [[ $purpose == test ]] && ! python3 -c 'import ensurepip, venv' > /dev/null 2>&1
}

needs_pgbouncer() {
    [[ $purpose == test ]] && ! have pgbouncer && [[ ! -x /usr/sbin/pgbouncer ]]
}

needs_mariadb() {
    [[ $purpose == test ]] && ! have mariadbd && [[ ! -x /usr/sbin/mariadbd ]]
}

# `java` is also there as a program of macOS that only says where to find one.
needs_java() {
    [[ $purpose == test ]] && ! java -version > /dev/null 2>&1
}

# Only to build faster: what runs in production has an OpenSSL of its own.
needs_openssl() {
    [[ $purpose == test ]] && ! { have pkg-config && pkg-config --exists openssl; }
}

needs_maven() {
    [[ $purpose == test ]] && ! have mvn
}

# missing_for_pages chromium nodejs → the names of those that are not there, as this system's packages are called
missing_for_pages() {
    [[ $purpose == test ]] || return 0
    have chromium || have chromium-browser || have google-chrome-stable || have google-chrome || printf '%s\n' "$1"
    have node || printf '%s\n' "$2"
    have npm || printf '%s\n' "${3:-$2}"
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif have sudo; then
        # Where nobody could type a password, a question would hang: fail instead.
        if [[ -t 0 ]]; then sudo "$@"; else sudo -n "$@"; fi
    else
        give_up "no root rights and no sudo here" "run as root: $*"
    fi
}

install_with_apt() {
    local packages=()
    have cc || packages+=(build-essential)
    have make || packages+=(make)
    have pkg-config || packages+=(pkg-config)
    have curl || packages+=(curl)
    have ps || packages+=(procps)
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
    have_postgres || packages+=(postgresql)
    have psql || packages+=(postgresql-client)
    needs_python && packages+=(python3-venv)
    needs_mariadb && packages+=(mariadb-server)
    needs_pgbouncer && packages+=(pgbouncer)
    needs_java && packages+=(default-jre-headless)
    needs_maven && packages+=(maven)
    needs_openssl && packages+=(libssl-dev)
    have_perl || packages+=(perl)
    mapfile -t -O "${#packages[@]}" packages < <(missing_for_pages chromium nodejs npm)
    if [[ ${#packages[@]} == 0 ]]; then return 0; fi
    say "installing by apt: ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
}

install_with_brew() {
    local packages=()
    have cc || give_up "the command line tools of Xcode are missing" "xcode-select --install"
    have pkg-config || packages+=(pkg-config)
    have_postgres || packages+=(postgresql@17)
    have psql || packages+=(libpq)
    needs_python && packages+=(python3)
    needs_mariadb && packages+=(mariadb)
    needs_pgbouncer && packages+=(pgbouncer)
    needs_java && packages+=(openjdk)
    needs_maven && packages+=(maven)
    if [[ ${#packages[@]} == 0 ]]; then return 0; fi
    have brew || give_up "missing: ${packages[*]}, and no Homebrew to install them" "install Homebrew from https://brew.sh, then run make setup again"
    say "installing by Homebrew: ${packages[*]}"
    HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet "${packages[@]}"
}

name_what_is_missing() {
    local missing=()
    have cc || missing+=("a C compiler")
    have_postgres || missing+=("the Postgres server (initdb and postgres)")
    have psql || missing+=("psql")
    needs_python && missing+=("Python 3 with venv")
    needs_mariadb && missing+=("MariaDB's server (mariadbd)")
    needs_pgbouncer && missing+=("pgbouncer")
    needs_java && missing+=("Java 17 or newer")
    needs_maven && missing+=("Maven (mvn)")
    have_perl || missing+=("perl")
    if [[ ${#missing[@]} == 0 ]]; then return 0; fi
    local list
    list=$(printf ', %s' "${missing[@]}")
    give_up "missing: ${list:2}" "install them with this system's package manager, then run make setup again"
}

# at_least 1.95.0 1.95 → true
at_least() {
    local have_major have_minor need_major need_minor
    IFS=. read -r have_major have_minor _ <<< "$1"
    IFS=. read -r need_major need_minor _ <<< "$2"
    ((have_major > need_major || (have_major == need_major && have_minor >= need_minor)))
}

installed_rust() {
    if have rustc && have cargo; then rustc --version 2> /dev/null | cut -d ' ' -f 2; fi
}

install_rust() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(installed_rust)
    if [[ -n $found ]] && at_least "${found%%-*}" "$needed"; then return 0; fi

    local problem="Rust $needed or newer is needed, ${found:-none} is installed"
    local host=https://static.rust-lang.org
    if ! curl -fsS --max-time 20 -o /dev/null "$host/rustup/release-stable.toml" 2> /dev/null; then
        if have rustup; then
            give_up "$problem, and $host does not answer" "with access to it: rustup update stable && rustup default stable"
        fi
        give_up "$problem, and $host does not answer" \
            "with access to it: curl -sSf $host/rustup/rustup-init.sh | sh -s -- -y --profile minimal -c rustfmt -c clippy"
    fi
    say "$problem; installing stable by rustup"
    if have rustup; then
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy
        # For this folder only: which toolchain is the default elsewhere is not ours to change.
        rustup override set stable
    else
        curl -fsS "$host/rustup/rustup-init.sh" |
            RUSTUP_INIT_SKIP_PATH_CHECK=yes sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain stable --component rustfmt --component clippy
        say "Rust is in $bin; make finds it there, add it to your PATH for your own use"
    fi
    hash -r
    found=$(installed_rust)
    if [[ -z $found ]] || ! at_least "${found%%-*}" "$needed"; then
        give_up "Rust ${found:-none} still comes first" "put $bin first in the PATH"
    fi
}

bin=${CARGO_HOME:-$HOME/.cargo}/bin
export PATH="$bin:$PATH"

if have apt-get; then
    install_with_apt
elif [[ $(uname) == Darwin ]]; then
    install_with_brew
else
    name_what_is_missing
fi
install_rust
