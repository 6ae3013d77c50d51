#!/bin/sh
# Make a small Debian system as a tar file, for container images where none can be pulled.
#
#   make-base.sh FILE PACKAGE...     write FILE, with these packages in the system
#
# The system is of the same suite as this machine, from the same mirror. FILE appears only when it is complete.
set -eu

file=$1
shift
[ "$(id -u)" -eq 0 ] || { echo "make-base: needs root for debootstrap" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "make-base: debootstrap is not installed" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(sh "$(dirname "$0")/debian-mirror.sh")
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
packages=$(echo "$*" | tr ' ' ',')
log=$work/log
if ! debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" "$mirror" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    exit 1
fi
rm -rf "$work/root/var/cache/apt/archives/"*.deb "$work/root/var/lib/apt/lists/"*
tar -C "$work/root" --one-file-system -c -f "$file.new" .
mv "$file.new" "$file"
