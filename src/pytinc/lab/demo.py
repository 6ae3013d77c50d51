"""``python -m pytinc.lab.demo``: a virtual IP address that survives its node, shown live on this machine.

Five hosts in network namespaces, a switch-mode network of pytinc nodes between them: node-1 is the entry
everyone connects to, nodes 2 to 4 each hold the virtual address next to their own, node-5 is the client. The
client pings the virtual address, the network tells which node owns the MAC address that answered, that node
is stopped, and another one takes over. ``make demo`` runs it.

Nothing is faked for the show: several nodes answer ARP for the virtual address, and the client goes on
sending to the one that answered first until its neighbour entry times out. The demo waits for that and says
how long it took.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytinc.lab.namespaces import Lab, LabError, sweep
from pytinc.lab.narrator import Narrator
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.privileges import ensure_root, is_rootless
from pytinc.lab.traffic import answers, neighbour, ping

VIP: Final = "10.1.1.10"
ENTRY: Final = "node_1"
CLIENT: Final = "node_5"
HOLDERS: Final = ("node_2", "node_3", "node_4")
ADDRESSES: Final = {
    ENTRY: ["10.1.1.1/24"],
    **{name: [f"10.1.1.10{number}/24", f"{VIP}/24"] for number, name in enumerate(HOLDERS, 2)},
    CLIENT: ["10.1.1.2/24"],
}
TAKEOVER_LIMIT_S: Final = 120.0  # the kernel's neighbour entry lives 45 s at most, and 8 s of probes follow
ANSWER_LIMIT_S: Final = 20.0
UDP_LIMIT_S: Final = 10.0
COMMAND: Final = "python -m pytinc.lab.demo"


def roles() -> dict[str, str]:
    """What each node is in the story."""
    return {ENTRY: "entry", **dict.fromkeys(HOLDERS, "holds the VIP"), CLIENT: "client"}


class Demo:
    """The story, chapter by chapter."""

    def __init__(self, narrator: Narrator, lab: Lab, kind: Kind) -> None:
        self.tell = narrator
        self.lab = lab
        self.kind = kind
        self.network = Network(lab)

    @property
    def client(self) -> Node:
        """The node that uses the virtual address."""
        return self.network[CLIENT]

    def run(self) -> None:
        """Tell it all; LabError when something does not come as it should."""
        self.build()
        self.show_network()
        owner = self.who_answers()
        self.fail_over(owner)

    def build(self) -> None:
        """Make the hosts, the configuration and the network."""
        self.tell.chapter("Five hosts on one switch")
        with self.tell.step("making hosts, keys and configuration") as detail:
            for name, addresses in ADDRESSES.items():
                detail(name)
                self.network.add(name, self.kind, addresses, [] if name == ENTRY else [ENTRY])
            self.network.exchange_keys()
        self.tell.table(
            "Hosts",
            ("node", "role", "outside address", "inside addresses", "tap's MAC address", "daemon"),
            (
                (node.name, roles()[node.name], node.host.address, ", ".join(node.addresses), node.mac,
                 self.kind.title)
                for node in self.network
            ),
        )  # fmt: skip
        with self.tell.step("starting the daemons") as detail:
            for node in self.network:
                detail(node.name)
                node.start()
        with self.tell.step("waiting until every node sees every other"):
            self.network.wait_converged()

    def show_network(self) -> None:
        """The nodes and edges as the entry knows them."""
        self.tell.chapter("The network, as node_1 sees it")
        entry = self.network[ENTRY]
        with self.tell.step("one ping between the client and each other node"):
            for node in self.network:
                if node is not self.client:
                    self.wait_for_answer(node.address)
        # Nice to see complete, and no failure when it is not: frames flow all the same.
        with self.tell.step("waiting for UDP and path MTU discovery"), contextlib.suppress(LabError):
            wait_until(lambda: self.udp_confirmed(entry), UDP_LIMIT_S, "UDP to all")
        program = Path(entry.tinc_program).name
        self.tell.table(
            f"{program} dump nodes",
            ("node", "address", "reachable", "next hop", "UDP", "path MTU"),
            (
                (view.name, f"{view.address} port {view.port}", "yes" if view.reachable else "no",
                 view.nexthop, "itself" if view.name == ENTRY else "confirmed" if view.by_udp else "not yet",
                 str(view.pmtu) if view.by_udp else "-")
                for view in entry.nodes().values()
            ),
        )  # fmt: skip
        self.tell.table(
            f"{program} dump edges",
            ("from", "to", "address", "weight"),
            (
                (edge.start, edge.end, f"{edge.address} port {edge.port}", str(edge.weight))
                for edge in entry.edges()
            ),
        )

    def udp_confirmed(self, node: Node) -> bool:
        """Whether a node has found UDP and a path MTU to all others."""
        return all(view.mtu_known for view in node.nodes().values() if view.name != node.name)

    def wait_for_answer(self, address: str) -> None:
        """Ping from the client until there is an answer."""
        wait_until(lambda: answers(self.client.host, address), ANSWER_LIMIT_S, f"{address} answers")

    def who_answers(self) -> Node:
        """Ping the virtual address and find the node behind the MAC address that answers."""
        self.tell.chapter(f"The client pings the virtual address {VIP}")
        report = ping(self.client.host, VIP, 3)
        if report.received == 0:
            self.wait_for_answer(VIP)
            report = ping(self.client.host, VIP, 3)
        for number, milliseconds in sorted(report.times_ms.items()):
            self.tell.say(f"  reply {number} from {VIP} in {milliseconds:g} ms")
        return self.owner()

    def owner(self) -> Node:
        """Which node owns the MAC address in the client's neighbour table; the network itself is asked."""
        mac, _ = neighbour(self.client.host, VIP)
        if mac is None:
            raise LabError(f"the client has no MAC address for {VIP}")
        # A learned MAC address is announced when its node sends something; that may be on its way.
        found: dict[str, str] = {}

        def known() -> bool:
            found.update(self.client.info(mac))
            return "Owner" in found

        wait_until(known, 5, f"the network knows who owns {mac}")
        program = Path(self.client.tinc_program).name
        self.tell.say(f"  the client's neighbour table says  {VIP} is at {mac}")
        self.tell.say(f"  {program} info {mac} says  Owner: {found['Owner']}")
        self.tell.result(f"{VIP} is answered by [bold]{found['Owner']}[/]")
        return self.network[found["Owner"]]

    def fail_over(self, owner: Node) -> None:
        """Stop the node that answers and wait until another one does."""
        self.tell.chapter(f"{owner.name} is stopped")
        with self.tell.step(f"stopping the daemon of {owner.name}"):
            owner.stop()
        self.tell.say(
            "  The two other holders answer ARP as well, but the client does not ask: it believes its\n"
            "  neighbour table until the entry times out and three probes stay unanswered. That is the\n"
            "  kernel's doing and takes 10 to 60 s. (Telling the client at once is what gratuitous ARP is\n"
            "  for: a later version's work.)"
        )
        start = time.monotonic()
        with self.tell.step(f"pinging {VIP} until another node answers") as detail:
            while not answers(self.client.host, VIP, wait=0.9):
                mac, state = neighbour(self.client.host, VIP)
                detail(f"no answer · neighbour entry {mac or 'without MAC'} [bold]{state}[/]")
                if time.monotonic() - start > TAKEOVER_LIMIT_S:
                    raise LabError(f"{VIP} did not come back within {TAKEOVER_LIMIT_S:g} s")
        gap = time.monotonic() - start
        new = self.owner()
        if new is owner:
            raise LabError(f"{VIP} is still at the stopped {owner.name}")
        self.tell.result(f"{VIP} moved from [bold]{owner.name}[/] to [bold]{new.name}[/] after {gap:.1f} s")


def explain_keep(narrator: Narrator, demo: Demo) -> None:
    """Say how to play with a lab that stays up."""
    narrator.chapter("The network stays up")
    enter = ""
    if is_rootless():
        enter = f"nsenter -t {os.getpid()} --user --net --mount --pid --preserve-credentials "
        narrator.say(
            "  It lives in a user namespace of this process. From another terminal, by the outer pid:"
        )
    for node in demo.network:
        narrator.say(f"  {node.name}: {enter}ip netns exec {node.host.namespace} bash")
    program = demo.client.tinc_program
    narrator.say(
        f"  its control program: {program} -c {demo.client.confbase} --pidfile={demo.client.pidfile}"
    )
    narrator.say(f"  logs: {demo.lab.directory}/*/log")


def tear_down(narrator: Narrator) -> int:
    """Take down every lab left up on purpose or by a crash; the exit status."""
    swept = sweep(kept=True)
    narrator.say(f"taken down: {', '.join(swept)}" if swept else "nothing to take down")
    return 0


def play(narrator: Narrator, kind: Kind, *, keep: bool) -> int:
    """Show the demo; the exit status."""
    narrator.title(
        "pytinc: one address, three nodes",
        "A tinc 1.1 network of five nodes in namespaces of this machine. Three of them hold the virtual\n"
        f"address {VIP}; the one that answers is stopped, and another one answers.",
    )
    with Lab() as lab:
        demo = Demo(narrator, lab, kind)
        try:
            demo.run()
        except LabError as error:
            narrator.result(f"{error}", good=False)
            narrator.say(demo.network.logs().replace("[", "\\["))
            return 1
        if keep:
            explain_keep(narrator, demo)
            if not is_rootless():
                narrator.say(f"  to take it down: {sys.executable} -m pytinc.lab.demo --teardown")
                lab.keep()
                return 0
            narrator.say("  to take it down: press Ctrl-C here")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
        narrator.chapter("The end")
        with narrator.step("taking everything down"):
            lab.close()
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The demo's options."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="A virtual IP address that survives its node.")
    parser.add_argument("--keep", action="store_true", help="leave the network up to play with")
    parser.add_argument(
        "--teardown", action="store_true", help="take down what --keep left up, and nothing else"
    )
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default=Kind.PY.value,
                        help="whose daemons to run: pytinc's (default) or the C ones")  # fmt: skip
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
        narrator.result(str(error), good=False)
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted; everything was taken down")
        return 130


if __name__ == "__main__":
    sys.exit(main())
