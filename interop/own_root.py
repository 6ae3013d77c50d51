"""What hosts with a Debian of their own have in common: a root of which the Debian is the lower layer.

Used by ``interop/booted.py`` and ``interop/fleet.py``, whose hosts become systemd, OpenRC or sshd in it.
"""

from __future__ import annotations

from typing import Final

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN_ROOT: Final = f"""\
mount -t overlay -o "lowerdir=$BASE,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount -t sysfs -o "$SYSFS" sysfs sys
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=0755 dev dev
mkdir dev/net
for device in {" ".join(DEVICES)}; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
echo 127.0.0.1 localhost >etc/hosts
"""
"""Shell: makes the root in ``$WORK`` over ``$BASE``, and goes into it. ``$SYSFS`` is ``ro`` or ``rw``.

It is run in mounts of its own, with which all of this goes away.
"""
BECOME_SYSTEMD: Final = """\
mount -t cgroup2 cgroup2 sys/fs/cgroup
# systemd passes credentials by a mount in another namespace.
mount --make-rshared .
exec env -i container=lab "PATH=$PATH" chroot . /lib/systemd/systemd --log-target=console
"""
"""Shell: becomes systemd in that root, as process 1 in control groups of its own."""
