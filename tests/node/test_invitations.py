"""The daemon's handling of invitations, against our own joiner.

See docs/protocol-invitations.md, "Inviter" and "Failures of invitations".
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pytinc.config.settings import HostSettings, Settings
from pytinc.crypto.keys import PrivateKey, format_private_key, invitation_file_name, key_hash
from pytinc.errors import ConfigError
from pytinc.node.actions import CloseMeta, Log, RunScript, SaveAddressCache, SendMeta
from pytinc.node.node import Node
from pytinc.protocol.joining import InvitationReceived, InviterGreeted, JoinAccepted, Joiner
from pytinc.wire.address import Address

INVITATION_KEY = PrivateKey.from_seed(b"i" * 32)
NEW_KEY = PrivateKey.from_seed(b"k" * 32)
COOKIE = bytes(range(18))
FILE_NAME = invitation_file_name(COOKIE, INVITATION_KEY.public.text)
WALL = 1_800_000_000.0
CONTENT = b"Name = beta\nConnectTo = alpha\n"


class Files:
    """The configuration directory, in memory."""

    def __init__(self) -> None:
        self.key: str | None = format_private_key(INVITATION_KEY)
        self.open = {FILE_NAME: (CONTENT, WALL - 1000)}
        self.taken: dict[str, bytes] = {}
        self.hosts: dict[str, str] = {}

    def host_settings(self, name: str) -> HostSettings | None:
        return HostSettings(name) if name in self.hosts else None

    def host_names(self) -> list[str]:
        return list(self.hosts)

    def host_mtime(self, name: str) -> float | None:
        return 0.0 if name in self.hosts else None

    def load_address_cache(self, name: str) -> tuple[Address, ...]:
        return ()

    def invitation_key_text(self) -> str | None:
        if self.key == "unreadable":
            raise ConfigError("Cannot open KEY: Permission denied")
        return self.key

    def take_invitation(self, file_name: str) -> tuple[bytes, float] | None:
        found = self.open.pop(file_name, None)
        if found is not None:
            self.taken[file_name] = found[0]
        return found

    def forget_taken(self, file_name: str) -> None:
        del self.taken[file_name]

    def add_host(self, name: str, public_key: str) -> bool:
        if name in self.hosts:
            return False
        self.hosts[name] = public_key
        return True


class World:
    """A daemon's core and the strangers who knock."""

    def __init__(self, **settings: object) -> None:
        self.files = Files()
        self.now = 0.0
        self.wall = WALL
        self.actions: list[object] = []
        self.node = Node(
            Settings("alpha", auto_connect=False, **settings),  # type: ignore[arg-type]
            PrivateKey.from_seed(b"n" * 32),
            self.files,
            random_bytes=random.Random(1).randbytes,
            random_float=lambda: 0.5,
            path_mtu=lambda address: None,
            queued=lambda connection: 0,
            wall_clock=lambda: self.wall,
        )
        self.node.start(0.0)
        self.node.take_actions()

    def knock(self, cookie: bytes = COOKIE) -> Visit:
        hash_ = key_hash(INVITATION_KEY.public.text)
        joiner = Joiner(hash_, cookie, PrivateKey.from_seed(b"t" * 32), random.Random(2).randbytes)
        return Visit(self, joiner)

    def log_lines(self) -> list[str]:
        return [action.message for action in self.actions if isinstance(action, Log)]


class Visit:
    """One joiner and its connection."""

    def __init__(self, world: World, joiner: Joiner) -> None:
        self.world = world
        self.joiner = joiner
        self.closed: CloseMeta | None = None
        self.number = world.node.meta_accepted(
            Address("192.0.2.7", "40000"), Address("192.0.2.1", "655"), world.now
        )

    def talk(self) -> list[object]:
        heard: list[object] = []
        while data := self.joiner.take_output():
            self.world.node.meta_data(self.number, data, self.world.now)
            self.carry_out()
            while (event := self.joiner.next_event()) is not None:
                heard.append(event)
        return heard

    def carry_out(self) -> None:
        for action in self.world.node.take_actions():
            self.world.actions.append(action)
            if isinstance(action, SendMeta) and action.connection == self.number:
                self.joiner.feed(action.data)
            if isinstance(action, CloseMeta) and action.connection == self.number:
                self.closed = action


def accepted(world: World) -> Visit:
    visit = world.knock()
    assert visit.talk() == [InviterGreeted("alpha"), InvitationReceived(CONTENT)]
    visit.joiner.register(NEW_KEY.public)
    visit.joiner.feed(b"")
    world.node.meta_data(visit.number, visit.joiner.take_output(), world.now)
    visit.carry_out()
    assert visit.joiner.next_event() == JoinAccepted()
    return visit


def test_an_invitation_makes_its_bearer_a_known_node_and_is_gone() -> None:
    world = World()
    visit = accepted(world)
    assert world.files.hosts == {"beta": NEW_KEY.public.text}
    assert not world.files.open
    assert not world.files.taken
    assert RunScript("invitation-accepted", {"NODE": "beta", "REMOTEADDRESS": "192.0.2.7"}) in world.actions
    assert SaveAddressCache("beta", (Address("192.0.2.7", "655"),)) in world.actions
    assert "beta" in world.node.peers
    assert visit.closed is None  # the joiner closes


def test_the_new_node_is_registered_before_it_is_told_so() -> None:
    world = World()
    visit = accepted(world)
    script = world.actions.index(
        RunScript("invitation-accepted", {"NODE": "beta", "REMOTEADDRESS": "192.0.2.7"})
    )
    last = max(n for n, action in enumerate(world.actions) if isinstance(action, SendMeta))
    assert script < last
    assert visit.number


def test_a_second_use_is_refused_and_told_at_once() -> None:
    world = World()
    accepted(world)
    second = world.knock()
    assert second.talk() == [InviterGreeted("alpha")]
    assert second.closed == CloseMeta(second.number, tarpit=False)
    assert any("tried to use non-existing invitation" in line for line in world.log_lines())


def test_two_at_once_get_one_invitation() -> None:
    world = World()
    first, second = world.knock(), world.knock()
    assert InvitationReceived(CONTENT) in first.talk()
    assert InvitationReceived(CONTENT) not in second.talk()


def test_a_made_up_cookie_is_refused_and_opens_nothing() -> None:
    world = World()
    visit = world.knock(b"x" * 18)
    visit.talk()
    assert visit.closed is not None
    assert FILE_NAME in world.files.open


@pytest.mark.parametrize(("age", "served"), [(99, True), (100, True), (101, False)])
def test_an_invitation_older_than_invitation_expire_is_kept_as_used_but_not_served(
    age: float, served: bool
) -> None:
    world = World(invitation_expire=100)
    world.files.open[FILE_NAME] = (CONTENT, WALL - age)
    visit = world.knock()
    assert (InvitationReceived(CONTENT) in visit.talk()) is served
    assert (FILE_NAME in world.files.taken) is not served
    assert (visit.closed is None) is served
    said = (
        f"Error while processing data from <unknown> (192.0.2.7): tried to use expired invitation {FILE_NAME}"
    )
    assert (said in world.log_lines()) is not served


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"Name = beta", "beta"),
        (b"name\tbeta  \r\nMode = switch\n", "beta"),
        (b"NAME=beta\n", "beta"),
        (b"", None),
        (b"\nName = beta\n", None),
        (b" Name = beta\n", None),
        (b"Named = beta\n", None),
        (b"ConnectTo = beta\n", None),
        (b"Name = ../beta\n", None),
        (b"Name = \xff\n", None),
        (b"Name = alpha\n", None),
        (b"Name =\nbeta\n", None),
    ],
)
def test_the_first_line_must_name_another_node(content: bytes, name: str | None) -> None:
    world = World()
    world.files.open[FILE_NAME] = (content, WALL)
    visit = world.knock()
    heard = visit.talk()
    if name is None:
        assert visit.closed is not None
        assert FILE_NAME in world.files.taken
    else:
        assert InvitationReceived(content) in heard
        assert next(iter(world.node.core.connections.values())).name == name


def test_the_log_tells_a_wrong_first_line() -> None:
    world = World()
    world.files.open[FILE_NAME] = (b"# for beta, from \xff\n" + CONTENT, WALL)
    world.knock().talk()
    expected = f"line 1 of invitation {FILE_NAME} must be `Name = NODE', but is `# for beta, from \ufffd'"
    assert any(expected in line for line in world.log_lines())


def test_a_name_that_was_taken_meanwhile_is_refused() -> None:
    world = World()
    visit = world.knock()
    visit.talk()
    world.files.hosts["beta"] = "somebody else"
    visit.joiner.register(NEW_KEY.public)
    visit.talk()
    assert visit.closed is not None
    assert world.files.hosts == {"beta": "somebody else"}


def test_a_slow_client_is_cut_off_after_ping_timeout_at_any_stage() -> None:
    world = World(ping_timeout=5)
    visit = world.knock()
    visit.talk()
    for world.now in range(1, 8):
        world.node.tick(float(world.now))
        visit.carry_out()
    assert visit.closed == CloseMeta(visit.number, tarpit=False)
    assert not world.files.hosts


def test_an_invitation_key_made_later_counts_after_a_reload() -> None:
    world = World()
    world.files.key = None
    world.node.reload(world.node.settings, 1.0)
    refused = world.knock()
    assert refused.talk() == []
    assert refused.closed is not None
    assert any("we don't have an invitation key" in line for line in world.log_lines())
    world.files.key = format_private_key(INVITATION_KEY)
    assert world.knock().talk() == []
    world.node.reload(replace(world.node.settings), 2.0)
    accepted(world)


@pytest.mark.parametrize("key", ["unreadable", "no key at all"])
def test_an_unusable_invitation_key_is_reported_and_nobody_is_served(key: str) -> None:
    world = World()
    world.files.key = key
    world.node.reload(world.node.settings, 1.0)
    visit = world.knock()
    visit.talk()
    assert visit.closed is not None
    assert any("invitation key" in line for line in world.log_lines())


def test_no_log_line_holds_the_cookie_or_the_key() -> None:
    from pytinc.wire import b64

    world = World()
    accepted(world)
    world.knock(b"y" * 18).talk()
    text = "\n".join(world.log_lines())
    for secret in (COOKIE, b"y" * 18):
        for form in (b64.encode(secret), b64.encode(secret, urlsafe=True), secret.hex()):
            assert form not in text
