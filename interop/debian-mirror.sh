#!/bin/sh
# Print the Debian mirror that this machine's apt is configured for. install-tincd.sh gets its package lists from it,
# and make-base.sh its base system.
set -eu

# Look in deb822 files first (bookworm's default), then in files with one line per source.
mirror=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null \
    | grep -v -- '-security' | grep '/debian' | head -n 1 || true)
if [ -z "$mirror" ]; then
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null \
        | sed -n 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
        | grep -v -- '-security' | grep '/debian' | head -n 1 || true)
fi
if [ -z "$mirror" ]; then
    echo "no Debian mirror found in /etc/apt" >&2
    exit 1
fi
echo "$mirror"
