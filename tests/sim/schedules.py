"""Random schedules of faults for virtual IPs by policy, and the rules that must hold after each.

A *schedule* is a few faults at random times: loss, nodes that are cut off, mute or without UDP to one
another, stalls, crashes and starts, reloads, steps of the wall clock, failed checks, drains and moves. Some
of what was cut stays cut at the end, so that the rules are checked in divided meshes as well. They are:

* *one*: of two members that can hear each other, at most one serves an address;
* *some*: where a client can hear a healthy member, its pings are answered.

`Schedules.run` measures how long after the last event a rule is broken. An event is a fault, its end, a
change of what a node can reach (after a cut has ended, meta connections, keys and probes take their time), or
of who could serve (a member that starts listens for a while). What is true only for a moment, while a record
is on its way, does not count.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TypeVar

from pytinc.errors import PolicyError
from pytinc.vip.views import MemberState
from sim.simulator import SimNode
from sim.test_guard import MEMBERS
from sim.test_virtual_ips import CHECK, UNWELL, WELL, World, build

Thing = TypeVar("Thing", str, tuple[str, ...])

CLIENT = "n5"
STEP = 0.05
"""Virtual seconds between two looks."""
QUIET = 1.0
"""Seconds after the last event within which the rules must hold again."""
LONGEST = 60.0
"""Seconds after which a schedule whose rules do not hold is given up."""
ANSWER_TIME = 0.1
"""Seconds after which a ping is answered, if it ever is."""
STATES = (MemberState.BACKUP, MemberState.ACTIVE)


@dataclass
class Result:
    """The outcome of one schedule."""

    seed: int
    number: int
    story: list[str]
    broken_s: float
    """Seconds after the last event until all rules held for good."""
    rule: str
    """The rule that was broken last; empty if none was."""


@dataclass
class Schedules:
    """One mesh, which suffers one schedule after the other."""

    seed: int
    rng: random.Random = field(init=False)
    world: World = field(init=False)
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.world = build(
            self.rng.choice(("pytinc", "members")),
            seed=self.seed,
            priorities=tuple(self.rng.choice((90, 100, 150)) for _ in MEMBERS),
            preempt=self.rng.choice((None, None, 2.0)),
            checks=(CHECK,),
        )
        self._settings = {name: self.world.node(name).settings for name in MEMBERS}
        self._busy_until = dict.fromkeys(self.world.mesh.nodes, 0.0)

    # -- faults --

    def _fault(self) -> None:
        """Do something to a node."""
        world, rng = self.world, self.rng
        underlay, now = world.mesh.underlay, world.mesh.now
        name = rng.choice(("n1", *MEMBERS, *MEMBERS, CLIENT))
        sim = world.node(name)
        kinds = ["loss", "cut", "mute", "clock"]
        if now >= self._busy_until[name]:
            kinds.append("crash" if sim.running else "start")
            if sim.running:
                kinds.append("stall")
                if name in MEMBERS:
                    kinds += ["no_udp", "reload", "check", "drain", "move"]
        kind = rng.choice(kinds)
        self.story.append(f"{now:.2f} {kind} {name}")
        match kind:
            case "loss":
                underlay.loss = rng.choice((0.0, 0.02, 0.1))
            case "cut":
                underlay.cut ^= {name}
            case "mute":
                underlay.mute ^= {name}
            case "clock":
                sim.wall_offset = rng.choice((0.0, -3600.0, 3600.0))
            case "crash":
                sim.crash()
            case "start":
                self._start(sim)
            case "stall":
                seconds = rng.choice((0.2, 0.5, 2.0, 6.0))
                self._busy_until[name] = now + seconds + STEP
                sim.stall(seconds)
            case "no_udp":
                underlay.no_udp ^= {frozenset((name, rng.choice([each for each in MEMBERS if each != name])))}
            case "reload":
                config = self._settings[name].virtual_ips[0]
                changed = replace(config, priority=rng.choice((90, 100, 150)))
                self._settings[name] = replace(self._settings[name], virtual_ips=(changed,))
                world.call(name, "reload", self._settings[name])
            case "check":
                world.check(name, rng.choice((WELL, UNWELL)))
            case "drain":
                world.call(name, rng.choice(("vip_drain", "vip_undrain")))
            case _:
                self._move(name)

    def _start(self, sim: SimNode) -> None:
        """Start a node; a new device has a new neighbour table."""
        self.world.hosts[sim.name].entries.clear()
        sim.start()

    def _move(self, name: str) -> None:
        try:
            self.world.call(name, "vip_move", self.world.vip, self.rng.choice(MEMBERS))
        except PolicyError as error:
            self.story[-1] += f": {error}"

    # -- rules --

    def _members(self) -> list[SimNode]:
        """Return the members whose processes run and are not stopped."""
        nodes = (self.world.node(name) for name in MEMBERS)
        return [sim for sim in nodes if sim.running and not sim.asleep]

    def _hear_each_other(self, one: SimNode, other: SimNode) -> bool:
        underlay = self.world.mesh.underlay
        if frozenset((one.name, other.name)) in underlay.no_udp:
            return False
        return all(
            near.node.peers[far.name].reachable
            and underlay.carries(near.name, far.name)
            and near.node.peers[far.name].slot.confirmed
            for near, far in ((one, other), (other, one))
        )

    def _broken_rule(self) -> str:
        """Return the rule that is broken now; empty if none is."""
        serving, members = self.world.serving(), self._members()
        for one, other in combinations(members, 2):
            if one.name in serving and other.name in serving and self._hear_each_other(one, other):
                return f"one: {one.name} and {other.name} serve"
        client, now = self.world.node(CLIENT), self.world.mesh.now
        if not client.running or client.asleep:
            return ""
        healthy = [
            sim.name
            for sim in members
            if self._hear_each_other(client, sim) and self.world.view(sim.name).state in STATES
        ]
        ping = self.world.ping
        last = max(number for number, sent in enumerate(ping.sent) if sent <= now - ANSWER_TIME)
        if healthy and last not in ping.answered:
            return f"some: no answer with {' '.join(healthy)} there"
        return ""

    def _surroundings(self) -> tuple[list[tuple[str, frozenset[str]]], list[str]]:
        """Return what each node can reach by UDP, and the members that could serve."""
        reach = [
            (
                sim.name,
                frozenset(
                    name
                    for name, peer in sim.node.peers.items()
                    if peer.reachable and (peer.slot.confirmed or peer.slot.is_me)
                ),
            )
            for sim in self.world.mesh.running()
        ]
        return reach, [sim.name for sim in self._members() if self.world.view(sim.name).state in STATES]

    # -- running --

    def _repair_some(self) -> None:
        """Repair some of the faults, so that they do not accumulate."""
        world, rng = self.world, self.rng
        underlay = world.mesh.underlay
        underlay.loss = 0.0
        underlay.cut -= self._some(underlay.cut)
        underlay.mute -= self._some(underlay.mute)
        underlay.no_udp -= {frozenset(pair) for pair in self._some(map(tuple, map(sorted, underlay.no_udp)))}
        for name in world.mesh.nodes:
            sim = world.node(name)
            if not sim.running and rng.random() < 0.7:
                self._start(sim)
            if name in MEMBERS and sim.running and not sim.asleep and rng.random() < 0.7:
                world.call(name, "vip_undrain")
                world.check(name, WELL)

    def _some(self, things: Iterable[Thing]) -> set[Thing]:
        # Sorted, because the order of a set is another one in every run.
        return {thing for thing in sorted(things) if self.rng.random() < 0.5}

    def run(self, number: int) -> Result:
        """Run one schedule, and check whether the rules hold afterwards."""
        mesh, rng = self.world.mesh, self.rng
        self.story = [f"cut {sorted(mesh.underlay.cut)} mute {sorted(mesh.underlay.mute)}"]
        for _ in range(rng.randint(1, 5)):
            self._fault()
            mesh.run(rng.choice((0.02, 0.1, 0.3, 1.0, 3.0)))
        self._repair_some()
        mesh.run(max(0.0, max(self._busy_until.values()) - mesh.now))
        self.story.append(f"{mesh.now:.2f} end")
        event = begin = broken = mesh.now
        before, rule, last_rule = self._surroundings(), "", ""
        while mesh.now < max(event + QUIET, broken) + 2 * QUIET and mesh.now < begin + LONGEST:
            mesh.run(STEP)
            if (surroundings := self._surroundings()) != before:
                before, event = surroundings, mesh.now
            was_broken, rule = rule, self._broken_rule()
            if rule and was_broken:
                broken, last_rule = mesh.now, rule
        return Result(self.seed, number, self.story, max(0.0, broken - event), last_rule)


def results(seed: int, count: int) -> Iterator[Result]:
    """Run ``count`` schedules in one mesh."""
    schedules = Schedules(seed)
    for number in range(count):
        yield schedules.run(number)
