"""Virtual IPs by policy at one node: records in, records out, withheld answers, and log lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytinc.errors import DecodeError, PolicyError
from pytinc.vip.actions import Gone, SendFrame, SendRecord, ServiceChanged
from pytinc.vip.addresses import MAX_ADDRESSES as MAX_IN_USE
from pytinc.vip.members import FAR_RECORD_LIFE, HAND_OVER_TIME, RECORD_LIFE
from pytinc.vip.own_member import INIT_TIME
from pytinc.vip.policy import LONGEST_STOP, MAX_ADDRESSES, MAX_ADDRESSES_OF_NODE, NEWS_PAUSE
from pytinc.vip.telling import FAR_INTERVAL, INTERVAL, REPEATS
from pytinc.vip.views import MemberState, VirtualIpView
from pytinc.wire import neighbour
from pytinc.wire.neighbour import Kind
from pytinc.wire.vip_record import NO_HOLDER, Claim, Entry, EntryState, MemberRecord, parse_record
from pytinc.wire.virtual_ip import VirtualIP
from vip.world import ALPHA, BETA, LOCAL, REMOTE, VIP, World, asks

MINE = b"\x02\0\0\0\0\x99"
NOBODY = Claim(0, NO_HOLDER)
NODES = [f"node{number}" for number in range(5)]
MACS = {"alpha": ALPHA, "beta": BETA} | dict.fromkeys(NODES, ALPHA)


def id_of(node: str) -> bytes:
    return node.encode().ljust(6, b"-")[:6]


class Members(World):
    """This node is a member with alpha and beta, which say what the test has them say."""

    def __init__(self, *, member: bool = True, **config: object) -> None:
        super().__init__()
        self.mesh.mac = MINE
        self.mesh.owners[MINE] = "me"
        self.mesh.pytinc_nodes |= {"alpha", "beta", "pyclient"}
        self.servers = {}
        self.sequences = dict.fromkeys(MACS, 0)
        if member:
            self.configure(VirtualIP(VIP, 32, **config))  # type: ignore[arg-type]

    def configure(self, *virtual_ips: VirtualIP) -> None:
        self.guard.configure(self.now, enabled=True, addresses=True, interval=0.1, virtual_ips=virtual_ips)
        self.take()

    def says(
        self,
        node: str,
        state: EntryState = EntryState.BACKUP,
        *,
        claim: Claim = NOBODY,
        priority: int = 100,
        address: bytes = VIP,
    ) -> None:
        self.says_entry(node, Entry(address, state, priority, MACS[node], claim))

    def says_entry(self, node: str, entry: Entry) -> None:
        self.sequences[node] += 1
        payload = MemberRecord(7, self.sequences[node], (entry,)).pack()
        self.guard.member_record(node, id_of(node), payload, self.now)
        self.take()

    def keep_saying(self, until: float, **words: tuple[EntryState, Claim]) -> None:
        """Have members say the same twice a second."""
        while self.now < until:
            for node, (state, claim) in words.items():
                self.says(node, state, claim=claim)
            self.until(min(self.now + 0.5, until))

    @property
    def virtual(self) -> VirtualIpView:
        (view,) = self.guard.policy.view(self.now).addresses
        return view

    def records(self, node: str, *, after: float = -1.0) -> list[tuple[float, MemberRecord]]:
        return [
            (at, parse_record(action.payload))
            for at, action in self.actions
            if isinstance(action, SendRecord) and action.node == node and at > after
        ]

    def claim(self) -> Claim:
        """Return what this node said last."""
        return self.records("alpha")[-1][1].entries[0].claim

    @property
    def serves(self) -> bool:
        return VIP not in self.guard.policy.withheld


def test_a_member_that_is_alone_serves_after_it_has_listened() -> None:
    world = Members()
    assert VIP in world.guard.rules.withheld
    world.until(INIT_TIME - 0.05)
    assert not world.serves
    assert world.virtual.state is MemberState.INIT
    world.until(INIT_TIME + 0.1)
    assert world.serves
    assert VIP not in world.guard.rules.withheld
    assert (world.virtual.owner, world.virtual.state) == ("me", MemberState.ACTIVE)
    assert world.claim() == Claim(1, world.id, 100)


def test_a_member_that_begins_to_serve_announces_it_to_all() -> None:
    world = Members()
    world.until(INIT_TIME + 0.1)
    frames = [action.frame for action in world.all(SendFrame)]
    assert neighbour.announcement(MINE, VIP) in frames
    (up,) = world.all(ServiceChanged)
    assert up.script == "vip-up"
    assert up.environment["VIP"] == "10.1.1.10"
    assert up.environment["OWNER"] == "me"
    assert "10.1.1.10: me serves; nobody did" in world.notices()


def test_a_member_that_starts_leaves_the_address_to_the_one_that_has_it() -> None:
    world = Members(priority=254)
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    assert not world.serves
    assert world.virtual.owner == "alpha"
    assert world.claim() == Claim(4, id_of("alpha"))


@pytest.mark.parametrize("state", [EntryState.DRAIN, EntryState.FAULT])
def test_a_member_takes_over_from_one_that_does_not_want_to_serve(state: EntryState) -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    before = world.now
    world.says("alpha", state, claim=claim)
    assert world.serves, "at once"
    assert world.claim() == Claim(5, world.id, 100)
    assert world.records("alpha", after=before - 0.01)[0][0] == before


def test_connections_go_on_at_a_member_that_hands_over_as_long_as_it_is_there() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    assert world.guard.rules.taken_over == {}
    world.says("alpha", EntryState.DRAIN, claim=claim)
    until = world.now + HAND_OVER_TIME
    assert world.guard.rules.taken_over == {VIP: (ALPHA, until)}
    mine = Claim(5, world.id, 100)
    world.keep_saying(until - 1.0, alpha=(EntryState.DRAIN, mine))
    assert world.guard.rules.taken_over == {VIP: (ALPHA, until)}
    world.keep_saying(until + 1.5, alpha=(EntryState.DRAIN, mine))
    assert world.guard.rules.taken_over == {}


def test_clients_are_told_again_when_another_member_leaves_that_may_have_served_them_unheard() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.until(4.0)
    world.keep_saying(10.0, alpha=(EntryState.BACKUP, Claim(1, world.id, 100)))
    assert world.serves
    world.sent.clear()
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    told = [sent.message for sent in world.sent if sent.message.to == REMOTE]
    assert [(message.kind, message.mac) for message in told] == [(Kind.QUESTION, MINE)]


def test_connections_of_a_member_that_is_gone_are_passed_on_to_nobody() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    assert world.serves
    assert world.guard.rules.taken_over == {}


def test_a_former_member_that_was_gone_gets_no_connections_when_it_returns() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    assert VIP in world.guard.rules.taken_over
    for reachable in (False, True):
        world.mesh.unreachable ^= {"alpha"}
        world.guard.reachability("alpha", world.now, reachable=reachable)
        world.take()
    world.says("alpha", EntryState.BACKUP, claim=Claim(5, world.id, 100))
    world.until(world.now + 1.5)
    assert world.serves
    assert world.guard.rules.taken_over == {}, "what began here meanwhile would be passed on as well"


def test_a_node_whose_guard_is_switched_off_serves_no_more_and_says_so() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NOBODY))
    assert world.serves
    world.now += 0.01
    world.guard.configure(world.now, enabled=False, addresses=True, interval=0.1)
    world.take()
    assert [action.script for _, action in world.actions if isinstance(action, ServiceChanged)] == [
        "vip-up",
        "vip-down",
    ]
    (record,) = [record for at, record in world.records("alpha") if at == world.now]
    assert [entry.state for entry in record.entries] == [EntryState.REMOVED]


def test_a_holder_that_is_heard_itself_and_leaves_at_once_is_replaced_at_once() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NOBODY))
    world.says("alpha", EntryState.ACTIVE, claim=Claim(6, id_of("alpha")))
    assert not world.serves
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    assert world.serves


def test_a_member_that_gives_the_address_back_passes_on_late_segments() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    taken_over = world.guard.rules.taken_over
    world.says("alpha", EntryState.ACTIVE, claim=Claim(6, id_of("alpha")))
    assert not world.serves
    assert world.guard.rules.taken_over == taken_over


def test_a_member_that_hands_over_notes_late_segments_and_passes_on_others_when_it_takes_over_again() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NOBODY))
    assert world.serves
    assert world.guard.rules.taken_over == {}
    claim = Claim(6, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    assert not world.serves
    assert world.guard.rules.taken_over == {VIP: (MINE, world.now + HAND_OVER_TIME)}
    world.keep_saying(world.now + 2.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    assert world.serves
    assert world.guard.rules.taken_over == {VIP: (ALPHA, world.now + HAND_OVER_TIME)}


def test_a_member_takes_over_from_one_that_is_not_heard_any_more() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    last = world.now - 0.5
    world.until(last + RECORD_LIFE - 0.1)
    assert not world.serves
    world.until(last + RECORD_LIFE + 0.1)
    assert world.serves


def test_a_member_takes_over_at_once_from_one_whose_node_left_the_mesh() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    assert world.serves
    assert "10.1.1.10: me serves; alpha has left the mesh" in world.notices()


def test_a_member_takes_over_from_one_that_is_silent_unless_it_answers_over_meta_connections() -> None:
    for answers in (False, True):
        world = Members()
        world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
        world.kill("alpha")
        world.until(6.2)
        if answers:
            world.guard.meta_answered("alpha", world.now)
        world.until(6.5)
        assert world.serves is not answers


def test_the_member_with_the_lower_claim_stops_serving_at_once() -> None:
    world = Members()
    world.until(4.0)
    assert world.serves
    world.says("alpha", EntryState.ACTIVE, claim=Claim(2, id_of("alpha")))
    assert not world.serves
    assert VIP in world.guard.rules.withheld
    assert world.virtual.owner == "alpha"
    assert [change.script for change in world.all(ServiceChanged)] == ["vip-up", "vip-down"]


def test_one_that_serves_under_a_lower_claim_is_told_and_so_are_the_clients() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.until(4.0)
    world.says("alpha")
    world.until(5.0)
    world.sent.clear()
    before = world.now
    world.says("alpha", EntryState.ACTIVE, claim=Claim(0, id_of("alpha")))
    assert world.serves
    assert world.records("alpha", after=before - 0.01)
    told = [sent.message for sent in world.sent if sent.message.to == REMOTE]
    assert [(message.kind, message.mac) for message in told] == [(Kind.QUESTION, MINE)]
    for _ in range(20):
        world.says("alpha", EntryState.ACTIVE, claim=Claim(0, id_of("alpha")))
    assert sum(sent.message.to == REMOTE for sent in world.sent) == 1, "not for each record"


def test_other_members_hear_every_second_and_other_nodes_now_and_then() -> None:
    world = Members()
    world.keep_saying(10.0, alpha=(EntryState.BACKUP, NOBODY))
    start = world.now
    world.keep_saying(start + 20.0, alpha=(EntryState.BACKUP, Claim(1, world.id, 100)))
    assert len(world.records("alpha", after=start)) == pytest.approx(20 / INTERVAL, abs=2)
    assert len(world.records("pyclient", after=start)) == pytest.approx(20 / FAR_INTERVAL, abs=1)


def test_all_are_told_several_times_of_a_change() -> None:
    world = Members()
    world.until(10.0)
    before = world.now
    world.guard.policy.drain(before, on=True)
    world.guard.act_now(before)
    world.take()
    world.until(before + 0.9)
    times = [at - before for at, _ in world.records("pyclient", after=before - 0.01)]
    assert times == pytest.approx(REPEATS)


def test_a_node_without_addresses_of_its_own_sends_no_record_and_learns_who_serves() -> None:
    world = Members(member=False)
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    assert world.all(SendRecord) == []
    assert (world.virtual.owner, world.virtual.state) == ("alpha", None)


def test_a_node_that_is_no_member_follows_the_members_when_all_have_forgotten_a_claim() -> None:
    world = Members(member=False)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(7, id_of("alpha")))
    assert world.virtual.owner == "alpha"
    world.says("alpha", claim=Claim(2, id_of("beta")))
    world.says("beta", EntryState.ACTIVE, claim=Claim(2, id_of("beta")))
    assert world.virtual.owner == "beta"


def test_a_member_that_is_heard_again_after_a_gap_serves_again_for_other_nodes() -> None:
    world = Members(member=False)
    claim = Claim(7, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    world.until(FAR_RECORD_LIFE + 1.0)
    assert world.virtual.owner is None
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    assert world.virtual.owner == "alpha"


def test_a_station_of_our_own_is_led_to_the_new_owner() -> None:
    world = Members(member=False)
    world.servers = {VIP: (ALPHA, BETA)}
    claim = Claim(4, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    world.says("beta")
    world.local_client(ALPHA, until=1.0)
    world.keep_saying(5.0, alpha=(EntryState.ACTIVE, claim), beta=(EntryState.BACKUP, claim))
    assert world.in_names() == []
    world.says("beta", EntryState.ACTIVE, claim=Claim(5, id_of("beta")))
    world.until(world.now + 0.05)
    assert {sent.message.to for sent in world.in_names()} == {BETA}
    assert world.streams[LOCAL] == BETA
    assert world.guard.rules.absent == {ALPHA + VIP}


def test_a_stopping_member_waits_until_another_one_serves() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.BACKUP, NOBODY))
    assert world.serves
    world.guard.withdraw(world.now)
    world.take()
    assert world.all(Gone) == []
    assert world.records("alpha")[-1][1].entries[0].state is EntryState.DRAIN
    world.until(world.now + 0.1)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(2, id_of("alpha")))
    assert not world.serves
    world.until(world.now + 0.5)
    assert len(world.all(Gone)) == 1


def test_a_stopping_member_does_not_wait_without_other_members() -> None:
    world = Members()
    world.until(4.0)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    waiting = Members()
    waiting.keep_saying(6.0, alpha=(EntryState.BACKUP, NOBODY))
    waiting.guard.withdraw(waiting.now)
    waiting.take()
    waiting.until(waiting.now + LONGEST_STOP + 0.2)
    assert len(waiting.all(Gone)) == 1, "it never took over"


def test_addresses_that_are_no_longer_configured_are_taken_back_and_others_told() -> None:
    world = Members()
    world.until(4.0)
    before = world.now
    world.configure()
    world.until(before + 2.0)
    assert world.virtual.state is None
    states = [record.entries[0].state for _, record in world.records("alpha", after=before - 0.01)]
    assert states == [EntryState.REMOVED] * len(REPEATS)
    assert [change.script for change in world.all(ServiceChanged)] == ["vip-up", "vip-down"]
    count = len(world.records("alpha"))
    world.until(before + 10.0)
    assert len(world.records("alpha")) == count


def test_records_of_nodes_without_the_right_are_ignored() -> None:
    world = Members()
    world.mesh.without_right.add("alpha")
    world.until(4.0)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(9, id_of("alpha")))
    assert world.serves
    assert world.virtual.owner == "me"


def test_a_malformed_record_is_an_error_for_the_caller() -> None:
    with pytest.raises(DecodeError):
        Members().guard.member_record("alpha", id_of("alpha"), b"\x03\x01", 0.0)


def test_made_up_addresses_are_bounded() -> None:
    world = Members(member=False)
    for number, node in enumerate(NODES):
        for last in range(MAX_ADDRESSES_OF_NODE + 5):
            world.says(node, address=bytes((10, 2, number, last)))
        count = len(world.guard.policy.view(world.now).addresses)
        assert count == min((number + 1) * MAX_ADDRESSES_OF_NODE, MAX_ADDRESSES)


def test_a_scan_does_not_make_us_forget_whom_to_tell_of_a_new_owner() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.keep_saying(4.0, alpha=(EntryState.ACTIVE, Claim(1, id_of("alpha"))))
    for number in range(2 * MAX_IN_USE):
        world.hear(asks(REMOTE, bytes((10, 3)) + number.to_bytes(2, "big")))
    world.sent.clear()
    world.says("alpha", EntryState.DRAIN, claim=Claim(1, id_of("alpha")))
    assert world.serves
    assert [sent.message.mac for sent in world.sent if sent.message.to == REMOTE] == [MINE]


def test_a_flood_of_news_costs_little_and_the_last_word_counts() -> None:
    world = Members()
    world.until(4.0)
    states = (EntryState.BACKUP, EntryState.FAULT)
    for number in range(1000):
        world.says("alpha", states[number % 2])
    world.says("alpha", EntryState.ACTIVE, claim=Claim(9, id_of("alpha")))
    world.until(4.0 + NEWS_PAUSE + 0.01)
    assert not world.serves
    assert world.virtual.owner == "alpha"


def test_a_node_that_comes_and_goes_does_not_make_us_tell_everybody_each_time() -> None:
    world = Members()
    world.until(6.0)
    before = world.now
    for number in range(100):
        world.says("alpha", (EntryState.BACKUP, EntryState.REMOVED)[number % 2])
    assert not world.records("pyclient", after=before - 0.01)
    assert world.records("alpha", after=before - 0.01)


def test_a_member_without_the_right_does_not_serve_even_if_it_is_alone() -> None:
    world = Members(priority=254, preempt=0.0)
    world.until(4.0)
    assert world.serves
    world.mesh.without_right.add("me")
    world.configure(VirtualIP(VIP, 32, priority=254, preempt=0.0))
    assert not world.serves
    assert world.virtual.state is MemberState.ABSENT
    world.until(10.0)
    assert not world.serves
    world.mesh.without_right.clear()
    world.configure(VirtualIP(VIP, 32, priority=254, preempt=0.0))
    world.until(11.0)
    assert world.serves


def test_an_address_that_is_back_at_once_is_not_said_to_be_removed() -> None:
    world = Members()
    world.until(4.0)
    config, more = VirtualIP(VIP, 32), [VirtualIP(bytes((10, 2, 1, last)), 32) for last in range(20)]
    world.configure(*more)
    before = world.now
    world.configure(*more, config)
    world.until(before + 2.0)
    states = {
        entry.state
        for at, record in world.records("alpha", after=before - 0.01)
        for entry in record.entries
        if entry.address == VIP
    }
    assert EntryState.REMOVED not in states


def test_a_member_that_comes_back_drops_claims_from_its_time_alone() -> None:
    world = Members(priority=254)
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.mesh.alone = True
    world.mesh.unreachable |= {"alpha", "beta"}
    for node in ("alpha", "beta"):
        world.guard.reachability(node, world.now, reachable=False)
    world.until(world.now + 10.0)
    assert world.serves
    world.mesh.alone = False
    world.mesh.unreachable.clear()
    world.guard.reachability("alpha", world.now, reachable=True)
    assert not world.serves
    world.keep_saying(world.now + 5.0, alpha=(EntryState.ACTIVE, claim))
    assert not world.serves
    assert world.claim() == claim
    world.until(world.now + RECORD_LIFE + 0.1)
    assert world.serves, "nobody has it any more"


def test_a_holder_that_only_another_member_hears_stays() -> None:
    world = Members(priority=254)
    world.mesh.ids[id_of("beta")] = "beta"
    world.until(4.0)
    claim = Claim(9, id_of("beta"))
    hears = Entry(VIP, EntryState.BACKUP, 100, ALPHA, claim, hears_holder=True)
    for _ in range(20):
        world.says_entry("alpha", hears)
        world.until(world.now + 0.5)
    assert world.virtual.owner == "beta"
    assert not world.serves
    world.says_entry("alpha", replace(hears, hears_holder=False))
    assert world.serves, "nobody hears it any more"
    assert world.claim().term == 10


def test_a_long_stall_of_our_own_does_not_make_others_look_dead() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    world.sleep(5.0)
    world.until(world.now + 5.1)
    assert not world.serves
    world.says("alpha", EntryState.ACTIVE, claim=Claim(4, id_of("alpha")))
    world.until(world.now + 1.0)
    assert not world.serves


def test_commands_about_unknown_addresses_and_members_are_refused() -> None:
    world = Members()
    world.until(4.0)
    policy = world.guard.policy
    with pytest.raises(PolicyError, match=r"beta is no member of 10\.1\.1\.10 that can be reached"):
        policy.move(VIP, "beta", world.now)
    with pytest.raises(PolicyError, match=r"10\.1\.1\.9 is no virtual IP with members"):
        policy.freeze(bytes((10, 1, 1, 9)), world.now, on=True)
    outsider = Members(member=False)
    outsider.says("alpha")
    with pytest.raises(PolicyError, match=r"me is no member of 10\.1\.1\.10"):
        outsider.guard.policy.freeze(VIP, outsider.now, on=True)


def test_the_picture_has_members_and_changes() -> None:
    world = Members(priority=50)
    world.until(4.0)
    world.says("alpha")
    world.guard.policy.drain(world.now, on=True)
    view = world.virtual
    assert [(member.node, member.priority) for member in view.members] == [("alpha", 100), ("me", 50)]
    assert view.transitions[0].owner == "alpha"
    assert view.transitions[0].reason == "me drains"
    assert world.guard.policy.view(world.now).draining
