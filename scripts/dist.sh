#!/usr/bin/env bash
# Makes packages of built binaries: an archive, a Debian package, a Python wheel.
#
#   scripts/dist.sh                           of target/release, into target/packages
#   scripts/dist.sh BINARIES PACKAGES --fast  of and into these folders, packed quickly: for tests
set -euo pipefail
cd "$(dirname "$0")/.."

release=${CARGO_TARGET_DIR:-target}/release
binaries=$(realpath "${1:-$release}")
packages=${2:-${CARGO_TARGET_DIR:-target}/packages}
[[ ${3:-} == --fast ]] && level=1 || level=9

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
machine=$(uname -m)
mkdir -p "$packages"
work=$(mktemp -d "$packages/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# All packages contain the binaries without debug information.
mkdir "$work/bin"
for name in orch orch-pipelines; do
    strip -o "$work/bin/$name" "$binaries/$name"
done

# The image of deploy/Dockerfile has the same two, and certificates with what they need: 5 MB. Binaries of tests are larger.
most_mb=220
image_mb=$(wc -c "$work"/bin/* | awk 'END { print int(($1 + 999999) / 1000000) + 5 }')
if [[ $level == 9 ]]; then
    if ((image_mb > most_mb)); then
        printf 'the image is %d MB larger than its base, and may be %d MB\n' "$image_mb" "$most_mb" >&2
        printf 'hint: `cargo tree -e normal -p orch-dags` shows what is new\n' >&2
        exit 1
    fi
    printf 'the image is %d MB larger than its base\n' "$image_mb" >&2
fi

# The licenses of what is compiled in ask that their texts go with the binaries.
third_party=THIRD-PARTY-LICENSES.txt
python3 scripts/licenses.py "$work/$third_party"

# All packages contain this folder. Below doc/orch are the folders of this repository, so links between documents work.
share=$work/share
doc=$share/doc/orch
mkdir -p "$doc/dags/examples" "$doc/deploy" "$share"/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
cp README.md CHANGELOG.md SECURITY.md LICENSE "$doc"
cp -r docs "$doc"
cp dags/README.md "$doc/dags"
cp -r dags/examples/files "$doc/dags/examples"
cp -r deploy/systemd deploy/prometheus deploy/grafana "$doc/deploy"
python3 scripts/man.py "$share/man" "$version"
cp cli/src/cmd/completion/orch.bash "$share/bash-completion/completions/orch"
cp cli/src/cmd/completion/orch.zsh "$share/zsh/site-functions/_orch"
cp cli/src/cmd/completion/orch.fish "$share/fish/vendor_completions.d/orch.fish"

archive() {
    local folder=orch-$version-$machine-linux
    mkdir "$work/$folder"
    cp "$work"/bin/* "$work/$third_party" README.md LICENSE CHANGELOG.md "$work/$folder"
    cp -r "$share" "$work/$folder"
    cp -r deploy/systemd "$work/$folder/systemd"
    tar -C "$work" -c "$folder" | gzip "-$level" > "$packages/$folder.tar.gz"
    printf '%s\n' "$packages/$folder.tar.gz"
}

debian() {
    if ! command -v dpkg-deb > /dev/null; then
        printf 'no Debian package: dpkg-deb is not here\n' >&2
        return
    fi
    local root=$work/debian architecture file depends
    architecture=$(dpkg --print-architecture)
    file=$packages/orch_${version}_$architecture.deb
    mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/systemd/system"
    cp "$work"/bin/* "$root/usr/bin"
    cp deploy/systemd/*.service "$root/usr/lib/systemd/system"
    cp -r "$share" "$root/usr"
    # Debian's zsh reads completions of packages from here.
    mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
    cat LICENSE "$work/$third_party" > "$root/usr/share/doc/orch/copyright"
    # The C library that they were linked with, or a newer one; what else they load is in its package.
    depends="libc6 (>= $(newest_glibc)), libgcc-s1"
    if loads libssl.so.3; then depends="$depends, libssl3 | libssl3t64"; fi
    sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@DEPENDS@/$depends/" \
        -e "s/@SIZE@/$(du -sk "$root" | cut -f 1)/" deploy/debian/control > "$root/DEBIAN/control"
    install -m 755 deploy/debian/postinst deploy/debian/prerm "$root/DEBIAN"
    dpkg-deb --root-owner-group -Zgzip "-z$level" --build "$root" "$file" > /dev/null
    printf '%s\n' "$file"
}

# The newest version of the C library that a symbol of the binaries asks for.
newest_glibc() {
    objdump -T "$work"/bin/* | grep -o 'GLIBC_2\.[0-9.]*' | sort -Vu | tail -n 1 | cut -d _ -f 2
}

loads() {
    objdump -p "$work"/bin/* | grep -q "NEEDED *$1"
}

wheel() {
    python3 scripts/wheel.py "$work/bin" "$share" "$work/$third_party" "$packages" "$version" "$(newest_glibc)" "$level"
}

archive
debian
wheel
