"""The SPTPS handshake: its messages, their order and its keys (docs/protocol-sptps.md, "Handshake").

Each session has one `Handshake`, which handles the first key exchange and every later one. It sees only the
data of handshake records; the session handles framing, sequence numbers and ciphers. The keys in force at the
moment of sending protect each record, so a `Step` lists what to send *before* keys change.

This module is stricter than tinc in two places: it refuses an all-zero shared secret, and when the peer
starts a key exchange, it checks the peer's KEX before it makes ours.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from pytinc.crypto.keys import EphemeralKey, PrivateKey, PublicKey
from pytinc.crypto.prf import prf
from pytinc.errors import AuthenticationError, DecodeError, UnexpectedRequest, UsageError
from pytinc.wire.records import ACK, KEX_SIZE, NONCE_SIZE, SIG_SIZE, format_kex, parse_kex

KEY_SIZE: Final = 64
REKEY_AFTER: Final = 2**31
"""Records under one key after which a new key exchange is due: half of all sequence numbers."""
KEY_LIMIT: Final = 2**32 - 2**16
"""Records under one key after which it seals no more data: no number may be used twice. The remaining numbers
are for the records of the key exchange itself.

See docs/protocol-sptps.md, "Worn-out keys".
"""
_SEED_PREFIX: Final = b"key expansion"


class Role(enum.Enum):
    """Fixed for the life of a session, whichever side starts a later key exchange."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class State(enum.Enum):
    """What the machine waits for. tinc has four states and a flag, which together give these states."""

    NEW = "not started"
    FIRST_KEX = "first KEX"
    FIRST_SIG = "first SIG"
    ESTABLISHED = "nothing: keys are in force"
    REKEY_KEX = "KEX of a key exchange we started"
    REKEY_SIG = "SIG of a later key exchange"
    REKEY_ACK = "ACK of a later key exchange"


class Step(NamedTuple):
    """The effects of one handshake message, in this order."""

    send: tuple[bytes, ...] = ()
    """Data of handshake records to send under the keys in force now."""
    new_out: bytes | None = None
    """Key for sending from now on."""
    new_in: bytes | None = None
    """Key for receiving from now on."""
    early_in: bytes | None = None
    """Key that the peer may use before its SIG arrives here: datagrams can overtake it."""
    pending_in: bytes | None = None
    """Key for receiving once the peer's ACK has arrived."""
    done: bool = False
    """(New) keys are in force in both directions."""

    def __repr__(self) -> str:
        """Show no keys."""
        return f"<Step sends {len(self.send)}{', done' if self.done else ''}>"


class Handshake:
    """Handshake state machine of one session.

    Errors (`ProtocolError`) leave the machine as it was, so that a datagram session can go on.
    """

    def __init__(
        self,
        role: Role,
        private_key: PrivateKey,
        peer_key: PublicKey,
        label: bytes,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.role = role
        self.state = State.NEW
        self._private_key = private_key
        self._peer_key = peer_key
        self._label = label
        self._random_bytes = random_bytes
        self._own_kex = b""
        self._peer_kex = b""
        self._ephemeral: EphemeralKey | None = None
        self._derived: tuple[bytes, bytes] | None = None
        """The keys of an exchange whose SIG is not here yet: for sending, for receiving."""
        self._pending_in: bytes | None = None

    def __repr__(self) -> str:
        """Role and state; no keys."""
        return f"<Handshake {self.role.value}, waits for {self.state.value}>"

    def start(self) -> bytes:
        """Begin the first handshake; return the data of our KEX."""
        if self.state is not State.NEW:
            raise UsageError("handshake started twice")
        self.state = State.FIRST_KEX
        return self._make_kex()

    def force(self) -> bytes:
        """Begin a key exchange in a running session; return the data of our KEX."""
        if self.state is not State.ESTABLISHED:
            raise UsageError(f"key exchange forced while waiting for {self.state.value}")
        self.state = State.REKEY_KEX
        return self._make_kex()

    def receive(self, data: bytes) -> Step:
        """Handle the data of one handshake record from the peer."""
        entry = _TABLE.get(self.state)
        if entry is None:
            raise UnexpectedRequest("handshake record before the handshake was started")
        handler, following = entry
        step = handler(self, data)
        self.state = following
        return step

    # -- one method for each message --

    def _take_kex(self, data: bytes) -> Step:
        parse_kex(data)
        self._peer_kex = data
        if self.role is Role.RESPONDER:
            return Step()
        if self.state is State.FIRST_KEX:
            return Step(send=(self._make_sig(),))
        # The peer changes its sending key as soon as it has our SIG.
        try:
            self._derived = self._derive()
        except AuthenticationError:
            self._derived = None  # its SIG will meet the same error
        return Step(send=(self._make_sig(),), early_in=self._derived[1] if self._derived else None)

    def _answer_kex(self, data: bytes) -> Step:
        parse_kex(data)
        kex = self._make_kex()
        step = self._take_kex(data)
        return step._replace(send=(kex, *step.send))

    def _take_first_sig(self, data: bytes) -> Step:
        out_key, in_key, own_sig = self._conclude(data)
        return Step(send=own_sig, new_out=out_key, new_in=in_key, done=True)

    def _take_rekey_sig(self, data: bytes) -> Step:
        out_key, in_key, own_sig = self._conclude(data)
        self._pending_in = in_key
        return Step(send=(*own_sig, ACK), new_out=out_key, pending_in=in_key)

    def _take_ack(self, data: bytes) -> Step:
        if data != ACK:
            raise DecodeError("ACK with data")
        new_in, self._pending_in = self._pending_in, None
        return Step(new_in=new_in, done=True)

    # -- helpers --

    def _make_kex(self) -> bytes:
        nonce = self._random_bytes(NONCE_SIZE)
        self._ephemeral = EphemeralKey(self._random_bytes(32))
        self._own_kex = format_kex(nonce, self._ephemeral.public)
        return self._own_kex

    def _signed_message(self, signer_is_initiator: bool, first: bytes, second: bytes) -> bytes:
        return bytes((signer_is_initiator,)) + first + second + self._label

    def _make_sig(self) -> bytes:
        own_initiator = self.role is Role.INITIATOR
        return self._private_key.sign(self._signed_message(own_initiator, self._own_kex, self._peer_kex))

    def _conclude(self, signature: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """Check the peer's SIG; return output key, input key, and our SIG if it must still be sent."""
        if len(signature) != SIG_SIZE:
            raise DecodeError("SIG of wrong size")
        is_initiator = self.role is Role.INITIATOR
        message = self._signed_message(not is_initiator, self._peer_kex, self._own_kex)
        if not self._peer_key.verify(signature, message):
            raise AuthenticationError("signature of the peer is not valid (other key or SPTPSCipher)")
        out_key, in_key = self._derived or self._derive()
        own_sig = () if is_initiator else (self._make_sig(),)
        self._own_kex = self._peer_kex = b""
        self._ephemeral = self._derived = None
        return out_key, in_key, own_sig

    def _derive(self) -> tuple[bytes, bytes]:
        """Return the keys for sending and for receiving."""
        assert self._ephemeral is not None
        own, peer = parse_kex(self._own_kex), parse_kex(self._peer_kex)
        shared = self._ephemeral.shared(peer.public)
        nonces = own.nonce + peer.nonce if self.role is Role.INITIATOR else peer.nonce + own.nonce
        material = prf(shared, _SEED_PREFIX + nonces + self._label, 2 * KEY_SIZE)
        key0, key1 = material[:KEY_SIZE], material[KEY_SIZE:]
        return (key1, key0) if self.role is Role.INITIATOR else (key0, key1)


_TABLE: Final[dict[State, tuple[Callable[[Handshake, bytes], Step], State]]] = {
    # waits for            handled by                  and then waits for
    State.FIRST_KEX: (Handshake._take_kex, State.FIRST_SIG),
    State.FIRST_SIG: (Handshake._take_first_sig, State.ESTABLISHED),
    State.ESTABLISHED: (Handshake._answer_kex, State.REKEY_SIG),  # the peer starts a key exchange
    State.REKEY_KEX: (Handshake._take_kex, State.REKEY_SIG),
    State.REKEY_SIG: (Handshake._take_rekey_sig, State.REKEY_ACK),
    State.REKEY_ACK: (Handshake._take_ack, State.ESTABLISHED),
}

FIRST_HANDSHAKE_SIZES: Final = {State.FIRST_KEX: KEX_SIZE, State.FIRST_SIG: SIG_SIZE}
"""The only lengths that a plain record can have, by the state."""
