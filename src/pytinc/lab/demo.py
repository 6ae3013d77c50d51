"""``python -m pytinc.lab.demo``: a virtual IP address that survives its node, shown live on this machine.

Five hosts in network namespaces form a switch-mode network of pytinc nodes: node_1 is the entry that all
others connect to, node_2 to node_4 hold the virtual address next to their own, and node_5 is the client
(``lab.stage``). The client pings the address every 10 ms and makes a new TCP connection every 20 ms. The node
that answers is cut off and comes back; then the next one is stopped as planned and comes back. Each time
another node takes over, and the demo shows what the client noticed. ``make demo`` runs it.

If tincd is installed, a network of the same shape with only tincds runs at the same time (in the code: the
contrast). Its holder is cut off at the same moment, and the demo shows this network for 15 s.

With ``--kind c`` the main network consists of tincds, and there is no second one. No guard watches the
address then: each fault is shown for 15 s, and the demo does not fail if the address does not move in that
time. With pytinc the exit status is 0 only if the address moves each time, within `MOVE_LIMIT_S`.

All figures are measured by the client's own pings (``lab.outage``).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rich.markup import escape

from pytinc.lab.namespaces import LabError, sweep
from pytinc.lab.narrator import Narrator
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.page import make_socket, served
from pytinc.lab.privileges import ensure_root, is_rootless
from pytinc.lab.pulse import CELL_S, COLOURED, COLUMNS, PLAIN, Marks, Outcome, objections
from pytinc.lab.stage import ENTRY, VIP, Stage, roles

COMMAND: Final = "python -m pytinc.lab.demo"
GUIDE: Final = "docs/virtual-ip.md"
MOVE_LIMIT_S: Final = 10.0
"""The demo fails if the address takes longer to move. An idle machine needs a twentieth of this."""
SHOWN_S: Final = 15.0
"""How many seconds a fault is shown at most."""
BEFORE_S: Final = 3.0
AFTER_S: Final = 2.5
"""How many seconds of pings are shown before a fault, and at least after it begins."""
RETURN_S: Final = 3.5
REFRESH_S: Final = 0.1
FOUND_LIMIT_S: Final = 3.0
UDP_LIMIT_S: Final = 10.0
MOST_MARKS: Final = 60
BESIDE_MARKS: Final = 40
"""The columns of the terminal that the text beside the marks takes."""
CUT: Final = "cut off"
STOP: Final = "stopped"


class Demo:
    """The chapters of the demo."""

    def __init__(
        self,
        narrator: Narrator,
        stage: Stage,
        contrast: Stage | None,
        open_page: Callable[[], str] | None = None,
    ) -> None:
        """``open_page`` serves the page of the client's node and returns its URL."""
        self.tell = narrator
        self.stage = stage
        self.contrast = contrast
        self._open_page = open_page
        self.outcomes: list[Outcome] = []
        self._guarded = stage.kind is Kind.PY
        self._contrast_cut: tuple[Node, float] | None = None

    def run(self) -> bool:
        """Show all chapters; return whether the address survived. Raises LabError if the network fails."""
        self.build()
        self.show_page()
        self.show_network()
        self.show_pings()
        self.cut_off()
        self.stop()
        self.end_contrast()
        return self.sum_up()

    # The network

    def build(self) -> None:
        """Make and start the networks."""
        self.tell.chapter("Five hosts on one switch")
        if self.contrast is not None:
            self._build_contrast(self.contrast)
        stage = self.stage
        with self.tell.step("making hosts, keys and configuration") as detail:
            stage.build(detail)
        self.tell.table(
            f"Hosts, each with a {stage.kind.title}",
            ("node", "role", "outside", "inside", "MAC address inside"),
            (
                (node.name, roles()[node.name], node.host.address, ", ".join(plain(node.addresses)), node.mac)
                for node in stage.network
            ),
        )
        with self.tell.step("starting the daemons") as detail:
            stage.start(detail)
        with self.tell.step("waiting until every node sees every other"):
            stage.network.wait_converged()

    def show_page(self) -> None:
        """Tell where the page is, if it is wanted, and leave a person time to open it."""
        if self._open_page is None:
            return
        self.tell.chapter("The same in a browser")
        url = self._open_page()
        self.tell.say(
            f"  The page of {self.stage.client.name}, the client's node, is at\n\n  {escape(url)}\n"
        )
        self.tell.say("  Open it now; the view Addresses shows the fail-overs that follow.")
        if sys.stdin.isatty():
            self.tell.say("  Press Enter to go on.")
            sys.stdin.readline()

    def _build_contrast(self, contrast: Stage) -> None:
        """Make the contrast. If that fails, the rest is shown without it."""
        try:
            with self.tell.step("making a network of the same shape with tincds, for comparison"):
                contrast.build(lambda _: None)
                contrast.start(lambda _: None)
                contrast.start_watching()
        except LabError as error:
            self._drop_contrast(str(error))

    def _drop_contrast(self, why: str) -> None:
        if self.contrast is not None:
            self.contrast.close()
            self.contrast = None
        self.tell.say(escape(f"  The comparison with tincd is left out: {why}"))

    def show_network(self) -> None:
        """Show the nodes as the entry sees them."""
        self.tell.chapter(f"The network, as {ENTRY} sees it")
        entry = self.stage.network[ENTRY]
        with self.tell.step("one ping between the client and each other node"):
            self.stage.warm_up()
        # The table looks better with all MTUs, but frames flow without them, so a timeout is no failure.
        with self.tell.step("waiting for UDP and path MTU discovery"), contextlib.suppress(LabError):
            wait_until(lambda: udp_confirmed(entry), UDP_LIMIT_S, "UDP to all")
        self.tell.table(
            f"{Path(entry.tinc_program).name} dump nodes",
            ("node", "address", "reachable", "next hop", "UDP", "path MTU"),
            (
                (view.name, f"{view.address} port {view.port}", "yes" if view.reachable else "no",
                 view.nexthop, "itself" if view.name == ENTRY else "confirmed" if view.by_udp else "not yet",
                 str(view.pmtu) if view.by_udp else "-")
                for view in entry.nodes().values()
            ),
        )  # fmt: skip

    # The client

    def show_pings(self) -> None:
        """Show the client's pings, and which node answers them."""
        self.tell.chapter(f"The client pings {VIP} every 10 ms")
        begin = time.monotonic()
        self.stage.start_watching()
        with self.tell.step("waiting until the pings are answered"):
            self.stage.watch.wait_steady(begin, PATIENCE_S)
            self._await_contrast()
        marks = self._marks
        self.tell.say(
            "  It also makes a TCP connection every 20 ms. "
            f"One mark stands for the pings of {CELL_S:g} s:\n"
            f"  {marks.all} all are answered, {marks.some} some, {marks.none} none."
        )
        self._show(lambda: True, BEFORE_S, BEFORE_S)
        self._tell_owner()
        self._tell_guard()

    def _await_contrast(self) -> None:
        if self.contrast is not None:
            try:
                self.contrast.watch.wait_steady(time.monotonic(), PATIENCE_S)
            except LabError as error:
                self._drop_contrast(str(error))

    def _tell_owner(self) -> None:
        """Show which node owns the MAC address in the client's neighbour table, according to the mesh."""
        holder, client = self.stage.holder(), self.stage.client
        self.tell.say(f"  The client's neighbour table says: {VIP} is at {holder.mac}")
        owner = client.info(holder.mac).get("Owner", "nobody")
        self.tell.say(f"  {Path(client.tinc_program).name} info {holder.mac} says: Owner: {owner}")
        self.tell.result(f"[bold]{owner}[/] answers the client")

    def _tell_guard(self) -> None:
        """Show what the guard of the client's node has found out about the address."""
        if not self._guarded:
            self.tell.say(f"  Nobody watches over {VIP}: tincd has no neighbour guard.")
            return
        client = self.stage.client
        with contextlib.suppress(LabError):
            wait_until(lambda: "holders 3" in shared_lines(client), FOUND_LIMIT_S, "all holders are found")
        self.tell.say(
            f"  {client.name}'s neighbour guard has found the holders of the address and its users. Nothing\n"
            f"  is configured for that ({GUIDE}). pytinc dump shared says:"
        )
        self.tell.say(escape(shared_lines(client)))

    # Faults

    def cut_off(self) -> None:
        """Cut the holder off, show another one taking over, and connect it again."""
        holder = self.stage.holder()
        self.tell.chapter(f"{holder.name} is cut off, and nobody is told")
        self.tell.say("  The switch drops all its packets. Its link and its connections stay up.")
        sizes = self.stage.log_sizes()
        self._cut_contrast()
        begin = self.stage.cut(holder)
        self._show(lambda: self.stage.served(begin), AFTER_S, SHOWN_S)
        self._judge(self.stage.outcome(CUT, holder, begin, SHOWN_S))
        self._tell_log(sizes)
        self._come_back(holder, lambda: self.stage.lab.reconnect(holder.host), "is connected again")

    def _cut_contrast(self) -> None:
        if self.contrast is not None:
            holder = self.contrast.holder()
            self._contrast_cut = holder, self.contrast.cut(holder)

    def stop(self) -> None:
        """Stop the holder as planned, show another one taking over, and start it again."""
        holder = self.stage.holder()
        program = Path(holder.tinc_program).name
        self.tell.chapter(f"{holder.name} is stopped as planned: {program} stop")
        sizes = self.stage.log_sizes()
        begin = time.monotonic()
        with ThreadPoolExecutor(1) as worker:
            stopping = worker.submit(stop_node, holder)
            self._show(lambda: stopping.done() and self.stage.served(stopping.result()), AFTER_S, SHOWN_S)
            stopping.result()
        self._judge(self.stage.outcome(STOP, holder, begin, SHOWN_S))
        self._tell_log(sizes)
        self._come_back(holder, lambda: holder.start(), "is started again")

    def _judge(self, outcome: Outcome) -> None:
        """Show the outcome of a fault. Raises LabError if the next chapters make no sense after it."""
        self.outcomes.append(outcome)
        if outcome.moved:
            self.tell.result(moved(outcome), good=not self._guarded or outcome.silence <= MOVE_LIMIT_S)
        elif self._guarded:
            raise LabError(f"{VIP} is not answered by another node after {outcome.watched:.0f} s")
        else:
            self.tell.note(still_silent(outcome))

    def _tell_log(self, sizes: dict[str, int]) -> None:
        for name, line in self.stage.log_lines(sizes, f"{VIP}:"):
            self.tell.say(f"  The guard of {name} says in its log: {escape(line)}")

    def _come_back(self, node: Node, bring_back: Callable[[], object], how: str) -> None:
        """Bring a node back, and show whether the client stays with the node that took over."""
        self.tell.say(f"  Now {node.name} {how}.")
        before, begin = self.stage.served_by(), time.monotonic()
        with ThreadPoolExecutor(1) as worker:
            coming = worker.submit(bring_back)
            self._show(lambda: coming.done() and self.stage.served(begin), RETURN_S, SHOWN_S)
            coming.result()
        after = self.stage.outcome(how, node, begin, SHOWN_S)
        if after.successor is None:
            raise LabError(f"{VIP} is not answered after {node.name} {how}")
        if before is None:
            self.tell.note(f"{node.name} is back; [bold]{after.successor}[/] answers the client")
        elif after.successor == before:
            self.tell.result(f"{node.name} is back; the client stays with [bold]{before}[/]; {after.brief}")
        else:
            self.tell.note(f"{node.name} is back; the client moves to {after.successor}; {after.brief}")

    def end_contrast(self) -> None:
        """Show the contrast until its address has moved, or `SHOWN_S` after its cut."""
        contrast = self.contrast
        if contrast is None or self._contrast_cut is None:
            return
        holder, begin = self._contrast_cut
        self.tell.chapter("The same cut in the network of tincds")
        self._show(lambda: contrast.served(begin), 0, begin + SHOWN_S - time.monotonic())
        outcome = contrast.outcome(CUT, holder, begin, SHOWN_S)
        self.outcomes.append(outcome)
        if outcome.moved:
            self.tell.note(moved(outcome))
        else:
            self.tell.note(still_silent(outcome))
        self.tell.say("  The client's kernel believes its neighbour table until the entry times out.\n"
                      "  One pytinc node anywhere in such a network is enough to end this.")  # fmt: skip

    def sum_up(self) -> bool:
        """Show all measurements; return whether the address moved in time, which only a guard has to do."""
        self.tell.chapter("What the clients noticed")
        self.tell.table("Measured by the clients", COLUMNS, (outcome.row() for outcome in self.outcomes))
        self.tell.say(
            "  Silence: the longest time between two answered pings; they leave every 0.01 s.\n"
            "  TCP: the longest time between two new connections, which are started every 0.02 s."
        )
        if not self._guarded:
            return True
        mine = [outcome for outcome in self.outcomes if outcome.network == self.stage.kind.title]
        found = objections(mine, MOVE_LIMIT_S)
        for objection in found:
            self.tell.result(objection, good=False)
        if not found:
            self.tell.say(
                f"  All this is automatic: three nodes have the address, nothing else is set. See {GUIDE}."
            )
        return not found

    # The live lines

    @property
    def _marks(self) -> Marks:
        return COLOURED if self.tell.live else PLAIN

    def _show(self, done: Callable[[], bool], least: float, most: float) -> None:
        """Show the pings until ``done()``, but for at least ``least`` and at most ``most`` seconds."""
        begin = time.monotonic()
        with self.tell.lines() as show:
            while (elapsed := time.monotonic() - begin) < most and not (elapsed >= least and done()):
                show(self._lines())
                time.sleep(REFRESH_S)

    def _lines(self) -> list[str]:
        """Return a line with the last pings for each network that is shown now."""
        count = max(1, min(MOST_MARKS, self.tell.console.width - BESIDE_MARKS))
        stages = [self.stage]
        if self.contrast is not None and self._in_view():
            stages.append(self.contrast)
        return [f"  {stage.kind.title:9} {stage.line(count, self._marks)}" for stage in stages]

    def _in_view(self) -> bool:
        cut = self._contrast_cut
        return cut is None or time.monotonic() < cut[1] + SHOWN_S


def plain(addresses: Iterable[str]) -> Iterator[str]:
    """Return addresses without their prefix lengths."""
    return (address.partition("/")[0] for address in addresses)


def udp_confirmed(node: Node) -> bool:
    """Return whether a node reaches all others by UDP and knows the path MTU to them."""
    return all(view.mtu_known for view in node.nodes().values() if view.name != node.name)


def shared_lines(node: Node) -> str:
    """Return the lines of ``dump shared`` about the virtual address, indented."""
    lines = node.tinc("dump", "shared").stdout.splitlines()
    return "\n".join(f"    {line}" for line in lines if line.startswith(f"{VIP} "))


def stop_node(node: Node) -> float:
    """Stop a node's daemon, and return the time when it is gone."""
    node.stop()
    return time.monotonic()


def moved(outcome: Outcome) -> str:
    """Return the sentence about an address that moved."""
    return f"{VIP} moved from [bold]{outcome.holder}[/] to [bold]{outcome.successor}[/]; {outcome.brief}"


def still_silent(outcome: Outcome) -> str:
    """Return the sentence about an address that did not move."""
    return f"{VIP} is still silent after {outcome.watched:.0f} s; it takes up to a minute"


def explain_keep(narrator: Narrator, stage: Stage) -> None:
    """Print how to use a lab that stays up."""
    narrator.chapter("The network stays up")
    enter = ""
    if is_rootless():
        enter = f"nsenter -t {os.getpid()} --user --net --mount --pid --preserve-credentials "
        narrator.say(
            "  It lives in a user namespace of this process. From another terminal, by the outer pid:"
        )
    for node in stage.network:
        narrator.say(f"  {node.name}: {enter}ip netns exec {node.host.namespace} bash")
    client = stage.client
    narrator.say(
        f"  its control program: {client.tinc_program} -c {client.confbase} --pidfile={client.pidfile}"
    )
    narrator.say(f"  logs: {stage.lab.directory}/*/log")


def leave_up(narrator: Narrator, stage: Stage) -> None:
    """Leave the network up. Without root it ends with this process, so wait for Ctrl-C then."""
    stage.stop_watching()
    explain_keep(narrator, stage)
    if is_rootless():
        narrator.say("  to take it down: press Ctrl-C here")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    else:
        narrator.say(f"  to take it down: {sys.executable} -m pytinc.lab.demo --teardown")
        stage.keep()


def stay(narrator: Narrator) -> None:
    """Wait for Ctrl-C while the page is open."""
    narrator.chapter("The page stays up")
    narrator.say("  The client goes on pinging. Press Ctrl-C to end.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def tear_down(narrator: Narrator) -> int:
    """Take down every lab that was left up, on purpose or by a crash; return the exit status."""
    swept = sweep(kept=True)
    narrator.say(f"taken down: {', '.join(swept)}" if swept else "nothing to take down")
    return 0


def open_contrast(narrator: Narrator, kind: Kind, stack: contextlib.ExitStack) -> Stage | None:
    """Make the stage of the contrast; return None if it is not wanted or tincd is not installed."""
    if kind is Kind.C:
        return None
    try:
        Kind.C.programs()
        return stack.enter_context(Stage(Kind.C))
    except LabError as error:
        narrator.say(escape(f"\nThe comparison with tincd is left out: {error}"))
        return None


def play(narrator: Narrator, kind: Kind, *, keep: bool, view: bool = False) -> int:
    """Show the demo, and return the exit status. With ``view``, a page shows it as well."""
    narrator.title(
        "pytinc: an address that survives its node",
        "A tinc 1.1 network of five nodes in namespaces of this machine. Three of them hold the virtual\n"
        f"address {VIP}. The one that answers the client goes away, twice, and another one answers.",
    )
    with contextlib.ExitStack() as stack:
        contrast = open_contrast(narrator, kind, stack)
        stage = stack.enter_context(Stage(kind))

        def open_page() -> str:
            return stack.enter_context(served(stage.client))

        try:
            survived = Demo(narrator, stage, contrast, open_page if view else None).run()
        except LabError as error:
            narrator.result(escape(str(error)), good=False)
            narrator.say(escape(stage.network.logs()))
            return 1
        if view:
            stay(narrator)
        if keep:
            leave_up(narrator, stage)
        else:
            narrator.chapter("The end")
        with narrator.step("taking everything else down" if stage.kept else "taking everything down"):
            stack.close()
    return 0 if survived else 1


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the demo's options."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="A virtual IP address that survives its node.")
    parser.add_argument("--keep", action="store_true", help="leave the network up to play with")
    parser.add_argument(
        "--teardown", action="store_true", help="take down what --keep left up, and nothing else"
    )
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default=Kind.PY.value,
                        help="whose daemons to run: pytinc's (default) or the C ones, which have no guard: "
                        "each fault is shown for 15 s then")  # fmt: skip
    parser.add_argument("--view", action="store_true",
                        help="show the network in a browser as well: prints the URL of a page (pytinc view), "
                        "and goes on until Ctrl-C is pressed")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="plain lines also in a terminal")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the program, and return its exit status."""
    options = parse_arguments(sys.argv[1:])
    narrator = Narrator(plain=options.plain)
    try:
        if options.view and not options.teardown:
            make_socket()  # before the lab has a network of its own
        ensure_root([sys.executable, "-m", "pytinc.lab.demo", *sys.argv[1:]])
        if options.teardown:
            return tear_down(narrator)
        return play(narrator, Kind(options.kind), keep=options.keep, view=options.view)
    except LabError as error:
        narrator.result(escape(str(error)), good=False)
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted; everything was taken down")
        return 130


if __name__ == "__main__":
    sys.exit(main())
