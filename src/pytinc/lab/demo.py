"""``python -m pytinc.lab.demo``: a virtual IP address that survives its node, shown live on this machine.

Five hosts in network namespaces, a switch-mode network of pytinc nodes between them: node_1 is the entry
everyone connects to, node_2 to node_4 each hold the virtual address next to their own, node_5 is the client
(``lab.stage``). The client pings the address every 10 ms and makes a new TCP connection every 20 ms. The node
that answers is cut off and comes back; the next one is stopped as planned and comes back. Another node takes
over each time, and the demo tells what the client noticed. ``make demo`` runs it.

Where the real tincd is installed, a network of the same shape runs beside it, all of tincds. Its holder is
cut off at the same moment; the demo looks at it for 15 s.

With ``--kind c`` the main network is one of tincds, and there is none beside it. Nobody watches over the
address then: each fault is shown for 15 s, and an address that does not move by then is no failure of the
demo. With pytinc it is: the exit status is 0 only if the address has moved each time, and within 5 s.

Nothing is faked for the show: all figures are measured by the client's own pings (``lab.outage``).
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
from pytinc.lab.privileges import ensure_root, is_rootless
from pytinc.lab.pulse import CELL_S, COLOURED, COLUMNS, PLAIN, Marks, Outcome, objections
from pytinc.lab.stage import ENTRY, VIP, Stage, roles

COMMAND: Final = "python -m pytinc.lab.demo"
GUIDE: Final = "docs/virtual-ip.md"
MOVE_LIMIT_S: Final = 10.0
"""An address that takes longer to move does not survive; twenty times what an idle machine needs."""
SHOWN_S: Final = 15.0
"""So long a fault is shown at most."""
BEFORE_S: Final = 3.0
AFTER_S: Final = 2.5
"""Seconds of pings that are shown before a fault, and from its beginning."""
RETURN_S: Final = 3.5
REFRESH_S: Final = 0.1
FOUND_LIMIT_S: Final = 3.0
UDP_LIMIT_S: Final = 10.0
MOST_MARKS: Final = 60
BESIDE_MARKS: Final = 40
"""Columns that the words beside the marks take."""
CUT: Final = "cut off"
STOP: Final = "stopped"


class Demo:
    """The story, chapter by chapter."""

    def __init__(self, narrator: Narrator, stage: Stage, contrast: Stage | None) -> None:
        self.tell = narrator
        self.stage = stage
        self.contrast = contrast
        self.outcomes: list[Outcome] = []
        self._guarded = stage.kind is Kind.PY
        self._contrast_cut: tuple[Node, float] | None = None

    def run(self) -> bool:
        """Tell it all; whether the address survived. LabError when something does not come as it should."""
        self.build()
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

    def _build_contrast(self, contrast: Stage) -> None:
        """Make the network beside. What goes wrong with it is no reason to leave out the rest."""
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
        """The nodes as the entry knows them."""
        self.tell.chapter(f"The network, as {ENTRY} sees it")
        entry = self.stage.network[ENTRY]
        with self.tell.step("one ping between the client and each other node"):
            self.stage.warm_up()
        # Nice to see complete, and no failure when it is not: frames flow all the same.
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
        """The client's pings, and who answers them."""
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
        """Which node owns the MAC address in the client's neighbour table; the network itself is asked."""
        holder, client = self.stage.holder(), self.stage.client
        self.tell.say(f"  The client's neighbour table says: {VIP} is at {holder.mac}")
        owner = client.info(holder.mac).get("Owner", "nobody")
        self.tell.say(f"  {Path(client.tinc_program).name} info {holder.mac} says: Owner: {owner}")
        self.tell.result(f"[bold]{owner}[/] answers the client")

    def _tell_guard(self) -> None:
        """What the client's node knows of the address without having been told."""
        if not self._guarded:
            self.tell.say(f"  Nobody watches over {VIP}: tincd has no neighbour guard.")
            return
        client = self.stage.client
        with contextlib.suppress(LabError):
            wait_until(lambda: "holders 3" in shared_lines(client), FOUND_LIMIT_S, "all holders are found")
        self.tell.say(
            f"  {client.name}'s neighbour guard has found out who has the address, and who uses it. Nothing\n"
            f"  is configured for that ({GUIDE}). pytinc dump shared says:"
        )
        self.tell.say(escape(shared_lines(client)))

    # Faults

    def cut_off(self) -> None:
        """Cut the holder off, see another one take over, and connect it again."""
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
        """Stop the holder as planned, see another one take over, and start it again."""
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
        """Say what a fault was like; LabError when the rest of the story makes no sense after it."""
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

    def _come_back(self, node: Node, deed: Callable[[], object], how: str) -> None:
        """Bring a node back; the clients of another one should stay there."""
        self.tell.say(f"  Now {node.name} {how}.")
        before, begin = self.stage.served_by(), time.monotonic()
        with ThreadPoolExecutor(1) as worker:
            coming = worker.submit(deed)
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
        """Look at the network beside until its address has moved, or its time is over."""
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
        """All that was measured; whether it is as it should be."""
        self.tell.chapter("What the clients noticed")
        self.tell.table("Measured by the clients", COLUMNS, (outcome.row() for outcome in self.outcomes))
        self.tell.say(
            "  Silence: the longest time between two answered pings; they leave every 0.01 s.\n"
            "  TCP: the longest time between two new connections, which are begun every 0.02 s."
        )
        if not self._guarded:
            return True
        mine = [outcome for outcome in self.outcomes if outcome.network == self.stage.kind.title]
        complaints = objections(mine, MOVE_LIMIT_S)
        for complaint in complaints:
            self.tell.result(complaint, good=False)
        if not complaints:
            self.tell.say(
                f"  All this is automatic: three nodes have the address, nothing else is set. See {GUIDE}."
            )
        return not complaints

    # The live lines

    @property
    def _marks(self) -> Marks:
        return COLOURED if self.tell.live else PLAIN

    def _show(self, done: Callable[[], bool], least: float, most: float) -> None:
        """Show the pings until it is done: for ``least`` seconds at least, and for ``most`` at most."""
        begin = time.monotonic()
        with self.tell.lines() as show:
            while (elapsed := time.monotonic() - begin) < most and not (elapsed >= least and done()):
                show(self._lines())
                time.sleep(REFRESH_S)

    def _lines(self) -> list[str]:
        """The pings in the networks that have something to show."""
        count = max(1, min(MOST_MARKS, self.tell.console.width - BESIDE_MARKS))
        stages = [self.stage]
        if self.contrast is not None and self._in_view():
            stages.append(self.contrast)
        return [f"  {stage.kind.title:9} {stage.line(count, self._marks)}" for stage in stages]

    def _in_view(self) -> bool:
        cut = self._contrast_cut
        return cut is None or time.monotonic() < cut[1] + SHOWN_S


def plain(addresses: Iterable[str]) -> Iterator[str]:
    """Addresses without their prefix lengths."""
    return (address.partition("/")[0] for address in addresses)


def udp_confirmed(node: Node) -> bool:
    """Whether a node has found UDP and a path MTU to all others."""
    return all(view.mtu_known for view in node.nodes().values() if view.name != node.name)


def shared_lines(node: Node) -> str:
    """What a node's guard knows of the virtual address."""
    lines = node.tinc("dump", "shared").stdout.splitlines()
    return "\n".join(f"    {line}" for line in lines if line.startswith(f"{VIP} "))


def stop_node(node: Node) -> float:
    """Stop a node's daemon; when it was gone."""
    node.stop()
    return time.monotonic()


def moved(outcome: Outcome) -> str:
    """What to say of an address that moved."""
    return f"{VIP} moved from [bold]{outcome.holder}[/] to [bold]{outcome.successor}[/]; {outcome.brief}"


def still_silent(outcome: Outcome) -> str:
    """What to say of an address that did not move."""
    return f"{VIP} is still silent after {outcome.watched:.0f} s; it takes up to a minute"


def explain_keep(narrator: Narrator, stage: Stage) -> None:
    """Say how to play with a lab that stays up."""
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
    """Leave the network up: for good, or where it would end with this process, until Ctrl-C."""
    stage.stop_watching()
    explain_keep(narrator, stage)
    if is_rootless():
        narrator.say("  to take it down: press Ctrl-C here")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    else:
        narrator.say(f"  to take it down: {sys.executable} -m pytinc.lab.demo --teardown")
        stage.keep()


def tear_down(narrator: Narrator) -> int:
    """Take down every lab left up on purpose or by a crash; the exit status."""
    swept = sweep(kept=True)
    narrator.say(f"taken down: {', '.join(swept)}" if swept else "nothing to take down")
    return 0


def open_contrast(narrator: Narrator, kind: Kind, stack: contextlib.ExitStack) -> Stage | None:
    """The hosts for a network of tincds to compare with; None where there is nothing to compare."""
    if kind is Kind.C:
        return None
    try:
        Kind.C.programs()
        return stack.enter_context(Stage(Kind.C))
    except LabError as error:
        narrator.say(escape(f"\nThe comparison with tincd is left out: {error}"))
        return None


def play(narrator: Narrator, kind: Kind, *, keep: bool) -> int:
    """Show the demo; the exit status."""
    narrator.title(
        "pytinc: an address that survives its node",
        "A tinc 1.1 network of five nodes in namespaces of this machine. Three of them hold the virtual\n"
        f"address {VIP}. The one that answers the client goes away, twice, and another one answers.",
    )
    with contextlib.ExitStack() as stack:
        contrast = open_contrast(narrator, kind, stack)
        stage = stack.enter_context(Stage(kind))
        try:
            survived = Demo(narrator, stage, contrast).run()
        except LabError as error:
            narrator.result(escape(str(error)), good=False)
            narrator.say(escape(stage.network.logs()))
            return 1
        if keep:
            leave_up(narrator, stage)
        else:
            narrator.chapter("The end")
        with narrator.step("taking everything else down" if stage.kept else "taking everything down"):
            stack.close()
    return 0 if survived else 1


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The demo's options."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="A virtual IP address that survives its node.")
    parser.add_argument("--keep", action="store_true", help="leave the network up to play with")
    parser.add_argument(
        "--teardown", action="store_true", help="take down what --keep left up, and nothing else"
    )
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default=Kind.PY.value,
                        help="whose daemons to run: pytinc's (default) or the C ones, which have no guard: "
                        "each fault is shown for 15 s then")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="plain lines also in a terminal")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the program; the exit status."""
    options = parse_arguments(sys.argv[1:])
    narrator = Narrator(plain=options.plain)
    try:
        ensure_root([sys.executable, "-m", "pytinc.lab.demo", *sys.argv[1:]])
        if options.teardown:
            return tear_down(narrator)
        return play(narrator, Kind(options.kind), keep=options.keep)
    except LabError as error:
        narrator.result(escape(str(error)), good=False)
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted; everything was taken down")
        return 130


if __name__ == "__main__":
    sys.exit(main())
