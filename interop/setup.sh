#!/bin/sh
# Install the system packages that a make target needs; print nothing if all are installed.
#
#   setup.sh demo          what the lab needs to build hosts
#   setup.sh test          the same, the tools that the interop tests use, and the real tincd
#   setup.sh bench         the same, programs to compare with (VPNs, keepalived) and loads (sockperf, nginx, wrk, ab), as far
#                          as Debian has them
#   setup.sh containers    a Docker engine and the tools that make its images
#   setup.sh view          the browser that looks at the page of pytinc view, and promtool
#   setup.sh fleet         what makes hosts that Ansible can reach
#   setup.sh packages      what looks at Debian and RPM packages
#   setup.sh PACKAGE...    only these packages
set -eu

here=$(dirname "$0")
PATH=$PATH:/usr/sbin:/sbin

# Print the package for each missing program; the arguments are "program:package".
missing_of() {
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s ' "${pair##*:}"
    done
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@"
}

install() {
    [ -n "$*" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: please install these packages first (Debian's names): $*" >&2
        exit 1
    fi
    echo "installing $* ..."
    [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt-get -qq update
    log=$(mktemp)
    # The package lists may be so old that the mirror no longer has the files: then try again with new lists.
    if ! apt_install "$@" >"$log" 2>&1 && ! { apt-get -qq update && apt_install "$@"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
}

lab="ip:iproute2 nft:nftables ping:iputils-ping unshare:util-linux"
tests="iperf3:iperf3 tcpdump:tcpdump arping:iputils-arping ethtool:ethtool vde_switch:vde2"
proxies="tinyproxy:tinyproxy-bin danted:dante-server microsocks:microsocks socat:socat"
upnp="miniupnpd:miniupnpd-nftables"
# Programs that read what our command prints: drawings, completion scripts, man pages.
readers="dot:graphviz zsh:zsh fish:fish mandoc:mandoc"
others="openvpn:openvpn edge:n2n wireguard-go:wireguard-go wg:wireguard-tools openssl:openssl keepalived:keepalived"
loads="sockperf:sockperf nginx:nginx-light wrk:wrk ab:apache2-utils curl:curl"
view="chromium:chromium chromedriver:chromium-driver promtool:prometheus"
fleet="debootstrap:debootstrap ssh:openssh-client ssh-keygen:openssh-client"
packages="debootstrap:debootstrap lintian:lintian rpm:rpm"
containers="docker:docker.io dockerd:docker.io debootstrap:debootstrap"

case "${1:-}" in
    demo)
        # shellcheck disable=SC2046,SC2086  # words are wanted
        install $(missing_of $lab)
        ;;
    test)
        # shellcheck disable=SC2046,SC2086
        install $(missing_of $lab $tests $readers)
        # shellcheck disable=SC2046,SC2086
        (install $(missing_of $proxies)) || echo "setup: not all proxies: tests that need them will be skipped" >&2
        # shellcheck disable=SC2046,SC2086
        (install $(missing_of $upnp)) || echo "setup: no miniupnpd: the tests that need it will be skipped" >&2
        sh "$here/install-tincd.sh" >&2 || echo "setup: no real tincd: the tests that need it will be skipped" >&2
        ;;
    bench)
        sh "$0" test
        # shellcheck disable=SC2086
        for package in $(missing_of $others $loads); do
            (install "$package") || echo "setup: no $package: it will be left out" >&2
        done
        ;;
    containers)
        # shellcheck disable=SC2046,SC2086
        install $(missing_of $containers)
        ;;
    view)
        # shellcheck disable=SC2046,SC2086
        install $(missing_of $view)
        ;;
    fleet)
        # shellcheck disable=SC2046,SC2086
        install $(missing_of $fleet)
        ;;
    packages)
        # shellcheck disable=SC2046,SC2086
        install $(missing_of $packages)
        ;;
    "")
        echo "usage: setup.sh demo | test | bench | containers | fleet | view | packages | PACKAGE..." >&2
        exit 1
        ;;
    *)
        install "$@"
        ;;
esac
