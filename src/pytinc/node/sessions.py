"""The keys of the tunnels: the datagram session between this node and each other one (tinc: protocol_key.c).

See docs/protocol-meta.md, "Sessions between nodes".

The handshake travels along the meta connections (REQ_KEY, ANS_KEY). `tunnels` acts on new keys.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from pytinc.crypto.keys import PublicKey
from pytinc.datapath.compression import usable
from pytinc.datapath.held import drop_held
from pytinc.errors import DecodeError
from pytinc.node.actions import AppendPublicKey
from pytinc.node.ciphers import cipher_with
from pytinc.node.core import Core
from pytinc.node.meta_output import MetaOutput
from pytinc.node.public_keys import PublicKeys
from pytinc.node.records import NEVER, Peer
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire import b64
from pytinc.wire.records import KEX_SIZE, PLAIN_DATAGRAM_MIN, SEQNO_SIZE, TYPE_HANDSHAKE
from pytinc.wire.requests import AnsKey, Number, ReqKey

SESSION_RETRY: Final = 10.0
"""Seconds after which an unanswered key request is repeated, and the shortest time between two restarts."""
FIRST_RETRIES: Final = (2.0, 4.0, 8.0)
"""Seconds to wait after the first requests, which are often lost because routes are still unknown."""
COLLISION_WINDOW: Final = 2.0
"""Seconds within which a REQ_KEY from a node counts as crossing ours.

See docs/protocol-meta.md, "Colliding requests".
"""
CROSSED_RETRY: Final = 0.5
"""Seconds after which this node asks again if requests crossed and its own seems lost."""
KEY_ASK_INTERVAL: Final = 1.0
"""Seconds between two requests for a node's public key."""
KEY_ANSWER_WINDOW: Final = 30.0
"""Seconds to wait for the answer to such a request. A key that was not asked for is ignored."""
SILENCE: Final = 3.0
"""Seconds of only bad records from a confirmed address after which the session is restarted."""
REKEY_SPACING: Final = 0.2
"""Seconds from one peer's new key to the next one's when keys expire: all at once they would fill the meta
connections of a large mesh, and stop the traffic of slow nodes."""
REKEY_SHARE: Final = 0.25
"""All keys are renewed within this share of KeyExpire."""
NO_LEGACY: Final = -1
"""Cipher, digest and MAC length in an ANS_KEY that carries an SPTPS handshake record."""

_FIRST_RECORD: Final = bytes(SEQNO_SIZE) + bytes((TYPE_HANDSHAKE,))
"""The first bytes of the first record of each end of a session."""


def udp_label(initiator: str, responder: str) -> bytes:
    """Return the SPTPS label of a node session; its NUL byte is signed as well."""
    return b"tinc UDP key expansion %s %s\0" % (initiator.encode(), responder.encode())


class Sessions:
    """The datagram sessions with all nodes."""

    def __init__(self, core: Core, meta_output: MetaOutput, public_keys: PublicKeys) -> None:
        self._core = core
        self._meta_output = meta_output
        self._public_keys = public_keys
        self._rekeys: deque[str] = deque()
        """Nodes that must get a new key, in order."""
        self._next_rekey = math.inf
        self._rekey_step = 0.0
        self._crossed: dict[str, float] = {}
        """Nodes whose request was ignored because it crossed ours, and when this node asks again."""

    # -- starting --

    def forget(self, peer: Peer) -> None:
        """Drop all keys with ``peer``."""
        peer.asking = peer.answering = peer.slot.session = None
        peer.slot.assembly = None
        drop_held(peer.slot)
        peer.last_req_key = NEVER
        peer.key_attempts = 0
        peer.failed_since = NEVER
        peer.keeps_session = False
        peer.exchange_seen = (0, NEVER)
        peer.slot.upkeep_due = NEVER

    def request(self, peer: Peer, now: float) -> None:
        """Ask for a key; again only after a while without an answer (tinc: try_sptps())."""
        if not peer.sptps:
            return
        if peer.waiting_for_key:
            attempt = peer.key_attempts - 1
            patience = FIRST_RETRIES[attempt] if attempt < len(FIRST_RETRIES) else SESSION_RETRY
            if now - peer.last_req_key < patience:
                return
            self._core.log(
                3, "debug", f"No key from {peer.name} after {patience:.0f} seconds, restarting SPTPS"
            )
        self.start(peer, now)

    def start(self, peer: Peer, now: float) -> None:
        """Start a new session as initiator: REQ_KEY with the first handshake record.

        The session in use stays until the peer has signed its part of the new one.
        """
        core = self._core
        key = self._key_of(peer, now)
        if key is None:
            return
        peer.last_req_key = now
        peer.failed_since = peer.slot.upkeep_due = NEVER
        peer.key_attempts += 1
        # A session that the peer started may be almost ready, so it stays.
        peer.asking = self._make_session(Role.INITIATOR, peer, key)
        (first,) = peer.asking.start()
        request = ReqKey(core.me.name, peer.name, Number.REQ_KEY, b64.encode(first))
        self._meta_output.send_towards(peer, request.format())

    def _make_session(self, role: Role, peer: Peer, key: PublicKey) -> DatagramSession:
        me = self._core.me.name
        label = udp_label(me, peer.name) if role is Role.INITIATOR else udp_label(peer.name, me)
        return DatagramSession(
            role,
            self._core.private_key,
            key,
            label,
            self._core.random_bytes,
            self._core.settings.replay_window,
            cipher_with(self._core, peer.name),
        )

    def _key_of(self, peer: Peer, now: float) -> PublicKey | None:
        """Return the peer's public key; ask it for the key if we have none.

        See docs/protocol-meta.md, "Unknown keys".

        While an answer is awaited the host file is not read again for every frame.
        """
        if peer.learned_key is None and now - peer.key_asked < KEY_ASK_INTERVAL:
            return None
        key = self._public_keys.of(peer.name)
        if key is None:
            peer.key_asked = now
            request = ReqKey(self._core.me.name, peer.name, Number.REQ_PUBKEY)
            self._meta_output.send_towards(peer, request.format())
        return key

    # -- public keys --

    def on_public_key_request(self, peer: Peer, now: float) -> None:
        """A node asks for our public key; ask for its key first if we lack it."""
        self._key_of(peer, now)
        me = self._core.me.name
        answer = ReqKey(me, peer.name, Number.ANS_PUBKEY, self._core.private_key.public.text)
        self._meta_output.send_towards(peer, answer.format())

    def on_public_key(self, peer: Peer, text: str, now: float) -> None:
        """Learn a node's public key that we asked for; trust on first use, as tinc does."""
        core = self._core
        if self._public_keys.of(peer.name) is not None or now - peer.key_asked > KEY_ANSWER_WINDOW:
            return
        try:
            PublicKey.from_text(text)
        except DecodeError:
            core.log(2, "error", f"Got bad public key from {peer.name}")
            return
        core.log(2, "info", f"Learned Ed25519 public key from {peer.name}")
        peer.learned_key = text
        # Every node with a host file may log in, so no host file is created here. Otherwise an insider could
        # announce invented nodes, supply keys for them, and come back as one of them after its own file is
        # removed.
        if core.hosts.host_settings(peer.name) is not None:
            core.act(AppendPublicKey(peer.name, text))

    # -- handshakes --

    def answer(self, peer: Peer, record: bytes, now: float) -> bool:
        """Answer a node that starts a session with us (REQ_KEY 15); False if it was ignored or refused.

        Any node can say this in another one's name, so nothing that works is given up yet.
        """
        core = self._core
        key = self._key_of(peer, now) if peer.answers.take(now) else None
        if key is None:
            return False
        crossing = peer.asking is not None and now - peer.last_req_key < COLLISION_WINDOW
        if crossing and core.me.name < peer.name:
            # The other side yields: a C node always does, a pytinc node by the order of names. But ours may
            # be lost if a node on the path did not know the peer yet: `tick` asks again.
            core.log(3, "debug", f"Key requests crossed with {peer.name}, keeping ours")
            self._crossed.setdefault(peer.name, now + CROSSED_RETRY)
            return False
        session = self._make_session(Role.RESPONDER, peer, key)
        output = session.start()
        if not session.receive_handshake(record):
            core.log(5, "debug", f"Bad key request from {peer.name}")
            return False
        if not crossing:
            # Otherwise this node cannot know whether the other side yields (a C node) or keeps its own
            # request: the session whose handshake the other side continues counts.
            peer.asking = None
            if not peer.valid_key and peer.answering is None:
                # Give the peer time. Further requests do not extend it, or forged ones would keep this node
                # from asking.
                peer.last_req_key, peer.key_attempts = now, 1
        peer.answering = session
        self._send_handshake(peer, output + session.take_output())
        return True

    def receive(self, peer: Peer, record: bytes, compression: int, now: float) -> bool:
        """Take a handshake record that came over the mesh (ANS_KEY); tell whether it is authentic.

        Each session takes only what belongs to it. The first record of a handshake (KEX) is not authentic
        before the next one, which has a signature.
        """
        for session in (peer.asking, peer.answering, peer.slot.session):
            if session is not None and session.receive_handshake(record):
                break
        else:
            self._refuse(peer, record, now)
            return False
        self._send_handshake(peer, session.take_output())
        if not session.key_changes:
            return False
        peer.out_compression = compression
        peer.slot.compression = usable(compression)
        peer.note_key(session, now)
        if peer.slot.session is not session:
            self._use(peer, session, now)
        return True

    def _refuse(self, peer: Peer, record: bytes, now: float) -> None:
        """Act on a record that belongs to no session: the peer may have another session, or it is forged."""
        is_first = len(record) == PLAIN_DATAGRAM_MIN + KEX_SIZE and record.startswith(_FIRST_RECORD)
        if is_first and not peer.keeps_session and peer.answers.take(now):
            # It answers a request that we did not send, and a C node has dropped its keys for that request.
            self.start(peer, now)
        elif peer.valid_key:
            self.failed(peer, now)
        elif peer.waiting_for_key:
            self.restart_after_failure(peer, now)

    def _use(self, peer: Peer, session: DatagramSession, now: float) -> None:
        """Seal and open with a new session from now on."""
        peer.slot.session = session
        peer.asking = peer.answering = None
        peer.last_req_key = now
        peer.key_attempts = 0
        peer.exchange_seen = (0, NEVER)
        peer.failed_since = peer.slot.upkeep_due = NEVER
        self._core.log(3, "info", f"SPTPS key exchange with {peer.name} successful")

    def send_answers(self, peer: Peer) -> None:
        """Send the session's answer to a handshake record that came by UDP."""
        session = peer.slot.session
        if session is not None:
            self._send_handshake(peer, session.take_output())

    def _send_handshake(self, peer: Peer, records: list[bytes]) -> None:
        me = self._core.me.name
        level = self._core.settings.compression
        for record in records:
            answer = AnsKey(me, peer.name, b64.encode(record), NO_LEGACY, NO_LEGACY, NO_LEGACY, level)
            self._meta_output.send_towards(peer, answer.format())

    # -- new keys --

    def restart_after_failure(self, peer: Peer, now: float) -> None:
        """Records of a node cannot be opened: start anew, unless a session started within `SESSION_RETRY`."""
        if now - peer.last_req_key > SESSION_RETRY:
            self._core.log(3, "debug", f"Restarting SPTPS with {peer.name}")
            self.start(peer, now)

    def failed(self, peer: Peer, now: float) -> None:
        """Records of a peer cannot be opened with the keys in force: restart if no good ones come either.

        A forger can make single records fail; only the silence of the true peer counts.
        """
        if peer.failed_since == NEVER or peer.slot.in_packets != peer.failure_mark:
            peer.failed_since, peer.failure_mark = now, peer.slot.in_packets
        elif now - peer.failed_since > SILENCE:
            self.restart_after_failure(peer, now)

    def renew_worn_key(self, peer: Peer, now: float) -> None:
        """Get a new key before the present one has sealed its maximum number of records.

        See docs/protocol-sptps.md, "Worn-out keys".

        A key exchange that does not end, because one of its messages was lost, gives way to a new session.
        """
        session = peer.slot.session
        if session is None:
            return
        if session.in_handshake:
            if peer.exchange_seen[0] != session.key_changes:
                peer.exchange_seen = session.key_changes, now
            if now - peer.exchange_seen[1] > SESSION_RETRY or not session.can_send:
                self.restart_after_failure(peer, now)
        elif session.needs_rekey:
            self._rekey(peer)

    def rekey_all(self, now: float) -> None:
        """Queue all running sessions for new keys (KeyExpire); `tick` renews one after the other."""
        core = self._core
        self._rekeys = deque(name for name, peer in core.peers.items() if peer.slot.session is not None)
        if self._rekeys:
            self._rekey_step = min(REKEY_SPACING, REKEY_SHARE * core.settings.key_expire / len(self._rekeys))
            self._next_rekey = now

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min(self._next_rekey, *self._crossed.values()) if self._crossed else self._next_rekey

    def tick(self, now: float) -> None:
        """Renew the keys that are due, and ask again where requests crossed. Called by `Tunnels.tick`."""
        for name, due in [each for each in self._crossed.items() if now >= each[1]]:
            del self._crossed[name]
            peer = self._core.peers.get(name)
            if peer is None or peer.asking is None or not peer.reachable:
                continue
            if peer.last_req_key <= due - CROSSED_RETRY:  # this request is still the one that crossed
                self.start(peer, now)
        while self._rekeys and now >= self._next_rekey:
            peer = self._core.peers.get(self._rekeys.popleft())
            if peer is not None:
                self._rekey(peer)
            self._next_rekey += self._rekey_step
        if not self._rekeys:
            self._next_rekey = math.inf

    def _rekey(self, peer: Peer) -> None:
        session = peer.slot.session
        if session is not None and peer.reachable and not session.in_handshake:
            session.force_rekey()
            self._send_handshake(peer, session.take_output())
