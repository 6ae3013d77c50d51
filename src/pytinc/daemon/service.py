"""The running daemon: from network set-up to ``Terminating`` (docs/tinc-program.md, "Start", steps 12 to 18).

`pytinc.daemon.app` calls `Service.run` in the process that stays. The service connects node and shell,
answers signals and the control socket, and at the end undoes what it did at the start.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import secrets
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pytinc.config.settings import Mode, Settings
from pytinc.config.store import CREDENTIALS, ConfigTree
from pytinc.control.messages import ConnectionRow, Greeting, Request
from pytinc.control.pidfile import COOKIE_SIZE, PidFile
from pytinc.control.vips import Order, format_order
from pytinc.crypto.aead import is_aes_faster, poly1305_library
from pytinc.crypto.keys import PrivateKey, parse_private_key
from pytinc.daemon import sandbox
from pytinc.daemon.helper import Helper, SandboxTree
from pytinc.daemon.launch import Launch
from pytinc.daemon.logging_setup import TRACE_LEVEL, trace_lines, unexpected
from pytinc.daemon.notify import Notifier, watchdog_interval
from pytinc.daemon.predecessor import stop_predecessor
from pytinc.daemon.privileges import drop_privileges, prepare_directories, set_priority
from pytinc.daemon.runfiles import RunFiles, contact_address
from pytinc.daemon.scripts import ScriptContext, ScriptRunner
from pytinc.errors import ConfigError, DecodeError, PytincError
from pytinc.net import http_check
from pytinc.net.control import ControlServer
from pytinc.net.devices import open_device
from pytinc.net.loop import Tasks, run
from pytinc.net.managed_addresses import ManagedAddresses
from pytinc.net.metrics import MetricsServer, bind_metrics_socket, require_library
from pytinc.net.shell import Shell
from pytinc.net.sockets import Listener, open_listeners, own_address, path_mtu
from pytinc.net.tap import FRAME_LEVEL, FrameDevice, TapDevice, missing_setup
from pytinc.net.timers import uptime
from pytinc.net.upnp import PortMapper, missing_library, plan
from pytinc.net.vde import VdeDevice
from pytinc.node.event_ring import EventRing
from pytinc.node.node import Node
from pytinc.node.request_log import REQUEST_LEVEL
from pytinc.wire.address import SockAddr
from pytinc.wire.version import PROTOCOL_MINOR

SHORT_WATCHDOG: Final = 2.0
"""Seconds; with a shorter watchdog interval a service manager may kill a busy daemon."""
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the daemon ends."""

    status: int
    orderly: bool = True
    """Before the end, close the connections and run the down scripts."""


class Service:
    """One run of the daemon; also the target of control requests (`pytinc.net.control.ControlTarget`)."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._log = launch.log
        self._tree = launch.tree
        self._run_files = RunFiles(launch.paths.pidfile, launch.paths.socket)
        self._notifier = Notifier(os.environ)
        self._ending: Ending | None = None
        self._ended = asyncio.Event()
        self._device: FrameDevice | None = None
        self._metrics: MetricsServer | None = None
        self._metrics_socket: socket.socket | None = None
        self._port_mapper: PortMapper | None = None
        self._helper: Helper | None = None
        """None unless this process will be in the sandbox."""
        self._is_confined = False
        self._tinc_up_changed: float | None = None
        """The time of the script that was run, or that a reload has complained about."""
        # Made by `_main` and `_set_up`.
        self._control: ControlServer
        self._settings: Settings
        self._listeners: list[Listener]
        self._scripts: ScriptRunner
        self._shell: Shell
        self._managed: ManagedAddresses

    def run(self) -> int:
        """Run until told to stop; return the exit status. Raises `DeviceError`."""
        if self._launch.sandbox != "off" and sandbox.is_possible():
            self._helper = Helper.start()
            sandbox.load_numpy()
        try:
            return run(self._main)
        except BaseExceptionGroup as group:
            self._report_unexpected(group)
            return 1
        finally:
            self._remove_run_files()
            self._notifier.close()
            if self._helper is not None:
                self._helper.close()

    # -- life --

    async def _main(self, tasks: Tasks) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._callback_failed)
        cookie = secrets.token_hex(COOKIE_SIZE).upper()
        self._control = ControlServer(loop, self, cookie, clock=uptime)
        try:
            status = await self._live(loop, tasks)
        except PytincError as error:
            self._log(0, "error", str(error))
            status = 1
        if self._device is not None:
            self._device.close()
        self._remove_run_files()
        self._log(0, "notice", "Terminating")
        await self._let_clients_go()
        return status

    async def _live(self, loop: asyncio.AbstractEventLoop, tasks: Tasks) -> int:
        """Do steps 12 to 18, run the main loop, and take everything down again. Raises `PytincError`."""
        listening = self._set_up(loop)
        try:
            tasks.spawn("scripts", self._scripts.run_forever())
            await self._run_up_scripts()
            # Now, because it looks into /proc, which a chroot or the sandbox hides.
            self._warn_of_interface()
            # tinc-up may only just have set the address that it binds to.
            self._bind_metrics()
            self._load_what_checks_need()
            self._give_up_privileges()
            self._enter_sandbox()
            await self._control.start(listening, login_timeout=self._settings.ping_timeout)
            await self._start_metrics(loop)
            self._become_ready(loop, tasks)
            await self._ended.wait()
            assert self._ending is not None
            return self._ending.status
        finally:
            if self._metrics is not None:
                self._metrics.close()
            if self._ending is None or self._ending.orderly:
                await self._shell.withdraw()
            if self._port_mapper is not None:
                await self._port_mapper.stop()
            if self._ending is None or self._ending.orderly:
                await self._bring_down()

    def _set_up(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Do steps 12 and 13: everything that can fail before anything outside has changed."""
        self._settings = self._load_settings()
        key = self._load_private_key()
        if self._settings.metrics_listen is not None:
            require_library()
        if self._launch.options.replace:
            stop_predecessor(self._launch.paths, self._log)
        device = self._device = open_device(self._settings, self._launch.paths.netname, self._log)
        listeners = self._listeners = open_listeners(
            self._settings, self._log, inherited=self._launch.inherited_sockets
        )
        self._managed = ManagedAddresses(loop, device.name, self._log)
        first = listeners[0].address
        listening = self._run_files.create(
            PidFile(os.getpid(), self._control.cookie, contact_address(first.host), first.port)
        )
        self._scripts = ScriptRunner(self._script_context(device), self._log, lambda: self._log.level)
        self._scripts.on_end = self._script_ended
        self._shell = self._make_shell(loop, key, device, listeners)
        self._log.on_levels = self._trace
        self._trace()
        offloads = self._shell.statistics().udp_offloads
        self._log(0, "info", f"UDP offloads: {', '.join(offloads) or 'none'}")
        self._log(0, "info", f"Poly1305: {poly1305_library()}")
        return listening

    def _make_shell(
        self,
        loop: asyncio.AbstractEventLoop,
        key: PrivateKey,
        device: FrameDevice,
        listeners: list[Listener],
    ) -> Shell:
        node = Node(
            self._settings,
            key,
            self._tree,
            random_bytes=os.urandom,
            random_float=random.random,
            path_mtu=self._path_mtu,
            queued=self._queued,
            wall_clock=time.time,
            own_address=own_address,
            insecure=self._launch.options.bypass_security,
            takes_super_frames=isinstance(device, TapDevice) and "TSO4" in device.offloads,
            prefers_aes=is_aes_faster(time.perf_counter),
        )
        node.set_sockets([(listener.family, listener.address) for listener in listeners])
        return Shell(
            loop,
            node,
            device,
            listeners,
            files=self._tree,
            netname=self._launch.paths.netname,
            log=self._log,
            run_script=self._scripts.run,
            start_check=self._scripts.start_check,
            on_fatal=self._fatal,
            deliver_capture=self._control.write_frames,
            events_added=self._control.events_added,
        )

    def _path_mtu(self, destination: SockAddr) -> int | None:
        """Return the MTU that the kernel knows for a destination; None if it knows none."""
        return path_mtu(destination, self._settings)

    def _queued(self, connection: int) -> int:
        """Return how many bytes wait in the output of a meta connection; the node asks only once it runs."""
        return self._shell.meta.queued(connection)

    def _trace(self) -> None:
        self._shell.node.trace_requests(self._log.wants(REQUEST_LEVEL))
        self._shell.trace_frames(self._log.wants(FRAME_LEVEL))

    def _load_what_checks_need(self) -> None:
        """Load it now: after a change of the root directory it would not be found.

        Nothing waits for the loop yet, and a thread would be older than the sandbox.
        """
        if http_check.needs_library(self._settings.virtual_ips):
            with ThreadPoolExecutor(1) as thread:
                thread.submit(http_check.load_library).result()

    def _bind_metrics(self) -> None:
        if self._settings.metrics_listen is not None:
            self._metrics_socket = bind_metrics_socket(self._settings.metrics_listen)

    async def _start_metrics(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._metrics_socket is not None:
            self._metrics = MetricsServer(loop, self._shell.statistics)
            address = await self._metrics.start(self._metrics_socket)
            self._log(1, "notice", f"Serving metrics on {address}")

    async def _run_up_scripts(self) -> None:
        if not self._settings.device_standby:
            self._tinc_up_changed = self._time_of_tinc_up()
            self._scripts.run("tinc-up", {})
            await self._scripts.idle()
        # Only now, because tinc-up sets the host's own address, which must be the first one.
        self._managed.set(self._settings.virtual_ips)
        await self._managed.settled()
        assert self._device is not None
        # Only now: tinc-up may have given the interface another MAC address.
        self._shell.node.set_hwaddr(self._device.hwaddr)
        self._shell.start()
        await self._scripts.idle()

    def _become_ready(self, loop: asyncio.AbstractEventLoop, tasks: Tasks) -> None:
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGALRM, self._on_alarm)
        self._log.attach_stream(self._control)
        self._log(0, "notice", "Ready")
        if self._launch.umbilical is not None:
            self._launch.umbilical.finish()
        self._shell.open()
        self._start_upnp(tasks)
        self._notifier.send("READY=1")
        self._start_watchdog(tasks)
        # The present objects stay: if the collector skips them, packets are spared a pause of 7 ms each time.
        gc.collect()
        gc.freeze()

    def _warn_of_interface(self) -> None:
        """Say if tinc-up has left the interface unusable."""
        if self._device is None or self._settings.device_standby:
            return
        name = self._device.name
        if missing := missing_setup(name):
            script = self._scripts.path("tinc-up")
            self._log(0, "warning", f"Interface {name} {missing}: {script} should set it up")

    def _time_of_tinc_up(self) -> float | None:
        try:
            return Path(self._scripts.path("tinc-up")).stat().st_mtime
        except OSError:
            return None

    async def _bring_down(self) -> None:
        self._notifier.send("STOPPING=1")
        self._shell.close()
        await self._scripts.idle()
        self._managed.set(())
        await self._managed.settled()
        if not self._settings.device_standby:
            self._scripts.run("tinc-down", {})
            await self._scripts.idle()

    async def _let_clients_go(self) -> None:
        """Close control connections last: clients interpret their end as the end of the daemon."""
        self._log.attach_stream(None)
        await asyncio.sleep(0)  # the last log lines leave
        self._control.close()
        await asyncio.sleep(0)

    # -- parts of the start --

    def _load_settings(self) -> Settings:
        settings = self._tree.load_settings()
        self._report(settings)
        return settings

    def _report(self, settings: Settings) -> None:
        for warning in settings.warnings:
            self._log(0, "warning", warning)

    def _load_private_key(self) -> PrivateKey:
        try:
            text, path, insecure = self._tree.private_key_text()
            if insecure:
                self._log(
                    0, "warning", f"Warning: insecure file permissions for Ed25519 private key file `{path}'!"
                )
            key = parse_private_key(text)
            # Scripts inherit the environment, and may start another network, whose key this is not.
            os.environ.pop(CREDENTIALS, None)
            return key
        except DecodeError as error:
            self._log(0, "error", f"Error reading Ed25519 private key file `{path}': {error}")
            first = "Restore the file from a backup. If there is none, create"
        except ConfigError as error:
            self._log(0, "error", str(error))
            first = "Create" if isinstance(error.__cause__, FileNotFoundError) else ""
        net = f" -n {self._launch.paths.netname}" if self._launch.paths.netname else ""
        advice = (
            f"{first} an Ed25519 key pair with `pytinc{net} generate-ed25519-keys'."
            if first
            else f"The user that starts the daemon (uid {os.geteuid()}) must be able to read the file."
        )
        self._log(0, "info", advice)
        raise ConfigError("No private keys available, cannot start tinc!")

    def _script_context(self, device: FrameDevice) -> ScriptContext:
        environment = {
            "NAME": self._settings.name,
            "DEVICE": device.path,
            "INTERFACE": device.name,
        }
        if self._launch.paths.netname is not None:
            environment["NETNAME"] = self._launch.paths.netname
        return ScriptContext(
            self._tree.confbase,
            self._settings.scripts_extension,
            self._settings.scripts_interpreter,
            environment,
        )

    def _give_up_privileges(self) -> None:
        """Do steps 16 and 17."""
        options = self._launch.options
        if self._settings.process_priority is not None:
            set_priority(self._settings.process_priority)
        prepare_directories(self._tree.confbase)
        if self._helper is not None:
            self._set_up_helper(self._helper)
        drop_privileges(options.user, self._tree.confbase if options.chroot else None)
        if options.chroot:
            self._tree = ConfigTree("", options.settings)
            self._shell.use_files(self._tree)
            self._scripts.context = replace(self._scripts.context, confbase="")

    def _set_up_helper(self, helper: Helper) -> None:
        options, settings = self._launch.options, self._settings
        if isinstance(self._device, VdeDevice):
            self._run_files.remember(self._device.own_path)
        helper.set_up(
            level=self._launch.sandbox,
            user=options.user,
            chroot=options.chroot,
            priority=settings.process_priority,
            confbase=self._tree.confbase,
            interpreter=settings.scripts_interpreter,
            extension=settings.scripts_extension,
            environment=dict(self._scripts.context.environment),
            proxy=settings.proxy.command,
            log=self._launch.paths.logfile,
            run_files=[(path, *identity) for path, identity in self._run_files.made],
        )

    def _enter_sandbox(self) -> None:
        """Do the last part of step 17."""
        level = self._launch.sandbox
        if level == "high":
            self._scripts.is_forbidden = True
        if level == "off":
            return
        if self._helper is None:
            self._log(
                0, "warning", f"Sandbox = {level}: this kernel has no Landlock, so files are not protected"
            )
            return
        sandbox.enter(level, self._tree.confbase, self._log)
        self._tree = SandboxTree(self._tree.confbase, self._launch.options.settings, self._helper)
        self._shell.use_files(self._tree)
        self._shell.meta.start_proxy = self._helper.start_proxy
        self._scripts.helper = self._helper
        self._log.open_files_with(self._helper.open_log)
        self._helper.watch(asyncio.get_running_loop(), self._helper_ended)
        self._is_confined = True

    def _helper_ended(self, why: str) -> None:
        self._log(
            0,
            "error",
            f"The helper process of the sandbox has ended ({why}): until a restart no script runs, and no "
            "host file is written",
        )

    def _remove_run_files(self) -> None:
        if self._is_confined and self._helper is not None:
            self._helper.remove_run_files()
        else:
            self._run_files.remove()

    def _start_upnp(self, tasks: Tasks) -> None:
        settings = self._settings
        if settings.upnp == "no":
            return
        ports = [listener.address.port for listener in self._listeners if listener.family == 4]
        if self._launch.options.chroot:
            problem: str | None = "UPnP does not work together with --chroot; no ports are mapped"
        elif self._launch.sandbox == "high":
            problem = "UPnP does not work with Sandbox = high; no ports are mapped"
        elif not ports:
            problem = "UPnP maps only IPv4 ports, and this node does not listen on IPv4"
        else:
            problem = missing_library()
        if problem is not None:
            self._log(0, "warning", problem)
            return
        self._port_mapper = PortMapper(
            plan(
                ports,
                udp_only=settings.upnp == "udponly",
                wait=settings.upnp_discover_wait,
                period=settings.upnp_refresh_period,
            ),
            self._log,
        )
        tasks.spawn("upnp", self._port_mapper.run_forever())

    def _start_watchdog(self, tasks: Tasks) -> None:
        interval = watchdog_interval(os.environ, os.getpid())
        if interval is None:
            self._log(0, "info", "Watchdog is disabled")
            return
        if interval < SHORT_WATCHDOG:
            self._log(0, "warning", f"Watchdog interval of {interval:g} seconds is very short")
        tasks.spawn("watchdog", self._feed_watchdog(interval / 2))
        self._log(0, "info", "Watchdog started")

    async def _feed_watchdog(self, interval: float) -> None:
        while True:
            self._notifier.send("WATCHDOG=1")
            await asyncio.sleep(interval)

    # -- ends --

    def _end(self, ending: Ending) -> None:
        """Leave the main loop; the first reason counts."""
        if self._ending is None:
            self._ending = ending
            self._ended.set()

    def _fatal(self, text: str) -> None:
        self._log(0, "error", text)
        self._end(Ending(1))

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an unexpected error in a callback of the loop."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._report_unexpected(error)
            self._end(Ending(1))
        else:
            self._log(TRACE_LEVEL, "warning", str(context.get("message")))

    def _report_unexpected(self, error: BaseException) -> None:
        self._log(0, "critical", unexpected(error))
        for line in trace_lines(error):
            self._log(TRACE_LEVEL, "debug", line)

    # -- signals --

    def _on_stop_signal(self, number: signal.Signals) -> None:
        self._log_signal(number)
        self._end(Ending(0))

    def _on_hangup(self) -> None:
        self._log_signal(signal.SIGHUP)
        self._log.reopen()
        if self._reload_configuration() != 0:
            self._log(0, "error", "Unable to reload configuration, exiting!")
            self._end(Ending(1, orderly=False))

    def _on_alarm(self) -> None:
        self._log_signal(signal.SIGALRM)
        self._shell.retry()

    def _log_signal(self, number: signal.Signals) -> None:
        self._log(0, "notice", f"Got {signal.strsignal(number)} signal")

    # -- requests of the control socket --

    def greeting(self) -> Greeting:
        """Return the daemon's greeting."""
        return Greeting(self._settings.name, PROTOCOL_MINOR, os.getpid())

    def stop(self) -> None:
        """End the daemon in an orderly way."""
        self._log(0, "notice", "Got 'stop' command")
        self._end(Ending(0))

    def reload(self) -> int:
        """Read the configuration again; return 0 or an errno."""
        self._log(0, "notice", "Got 'reload' command")
        return self._reload_configuration()

    def _reload_configuration(self) -> int:
        try:
            settings = self._tree.load_settings(self._settings)
        except ConfigError as error:
            self._log(0, "error", str(error))
            return errno.EINVAL
        self._report(settings)
        if (settings.mode is Mode.ROUTER) != (self._settings.mode is Mode.ROUTER):
            # Router mode has a data path of its own, and usually another kind of device.
            self._log(
                0, "error", "Changing to or from Mode = router needs a restart: the mode stays as it was"
            )
            settings = replace(settings, mode=self._settings.mode)
        self._settings = settings
        self._scripts.context = replace(
            self._scripts.context,
            extension=settings.scripts_extension,
            interpreter=settings.scripts_interpreter,
        )
        changed = self._time_of_tinc_up()
        if changed != self._tinc_up_changed:
            self._tinc_up_changed = changed
            self._log(0, "warning", "tinc-up was changed: a reload does not run it, a restart does")
        self._managed.set(settings.virtual_ips)
        self._shell.reload(self._settings)
        return 0

    def purge(self) -> None:
        """Forget unreachable nodes."""
        self._shell.purge()

    def retry(self) -> None:
        """Try the waiting outgoing connections now."""
        self._shell.retry()

    def disconnect(self, name: str) -> bool:
        """Close the connections with a node; return whether there were any."""
        return self._shell.disconnect(name)

    def set_debug(self, level: int) -> int:
        """Set the debug level unless it is negative; return the previous one."""
        before = self._log.level
        if level >= 0:
            self._log.level = level
        return before

    def vip_order(self, order: Order) -> None:
        """Carry out an order about virtual IPs. Raises `PolicyError`."""
        self._log(0, "notice", f"Got 'vip {' '.join(format_order(order))}' command")
        self._shell.vip_order(order)

    def dump(self, request: Request, control_rows: list[tuple[float, ConnectionRow]]) -> list[str]:
        """Return the lines of a dump."""
        return self._shell.dump(request, control_rows)

    @property
    def events(self) -> EventRing:
        """The recent events."""
        return self._shell.node.history.ring

    def _script_ended(self, name: str, status: int | None, seconds: float, error: str | None) -> None:
        self._shell.script_ended(name, status, seconds, error)

    def streams_changed(self) -> None:
        """Note that clients have begun or ended streams of log lines or frames."""
        self._log.streams_changed()
        self._shell.capture(wanted=self._control.wants_frames)
