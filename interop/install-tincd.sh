#!/bin/sh
# Install the real tincd: Debian's tinc 1.1 package, which is only in the suite "experimental".
#
# The package comes from the mirror that this machine's apt is configured for. The suite is used
# for this one download only: the configuration of apt does not change.
#
#   install-tincd.sh                   install it, unless it is installed already
#   install-tincd.sh --download DIR    only put the package file into DIR
set -eu

download=
if [ "${1:-}" = --download ]; then
    download=$(cd "$2" && pwd)
elif command -v tincd >/dev/null 2>&1 && tincd --version 2>/dev/null | head -n 1 | grep -q ' 1\.1'; then
    echo "tincd is installed: $(tincd --version | head -n 1)"
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "install-tincd: needs root to install Debian's tinc package" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "install-tincd: no apt-get here; install tinc 1.1 by hand to run the interop tests" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mirror=$(sh "$(dirname "$0")/debian-mirror.sh")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$work/lists/partial" "$work/parts"
echo "deb [signed-by=$keyring] $mirror experimental main" >"$work/experimental.list"
experimental() {
    apt-get -qq -o Dir::Etc::sourcelist="$work/experimental.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root "$@"
}
experimental update
(cd "${download:-$work}" && experimental download tinc)
[ -z "$download" ] || exit 0

# The package's dependencies come from the configured suites.
[ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt-get -qq update
# The package's postinst writes into /etc/tinc, and fails if the package does not contain that directory.
mkdir -p /etc/tinc
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$work"/tinc_*.deb >/dev/null
tincd --version | head -n 1
