"""Requests of health checks to real servers on the loopback."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytinc.net.http_check import MAX_BODY, HttpChecks, needs_library, target
from pytinc.wire.address import Address
from pytinc.wire.virtual_ip import HttpCheck, TcpCheck, VirtualIP

if TYPE_CHECKING:
    from net.conftest import OnLoop

pytest.importorskip("httpx")


@dataclass
class Server:
    """Answers every request with the same bytes."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    ended: int = 0
    """Connections that the client has closed."""

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", str(self.port))

    def check(self, path: str = "/", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def server(answer: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    state = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            state.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            await writer.drain()
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            state.ended += 1
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    state.port = listening.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        listening.close()
        while len(state.requests) > state.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def ok(body: bytes = b"fine", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


async def ask(check: HttpCheck, address: Address) -> tuple[bool, str]:
    return await HttpChecks(asyncio.get_running_loop()).ask(check, address)


def test_a_request_tells_who_asks_and_wants_its_own_connection(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with server(ok()) as web:
            assert await ask(HttpCheck(web.check("/health?deep=1")), web.address) == (True, "status 200")
        lines = web.requests[0].splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        assert lines[0] == "GET /health?deep=1 HTTP/1.1"
        assert headers["host"] == f"127.0.0.1:{web.port}"
        assert headers["connection"] == "close"
        assert headers["accept-encoding"] == "identity"
        assert headers["user-agent"].startswith("pytinc/")

    on_loop(main)


@pytest.mark.parametrize(
    ("status", "expected", "well"),
    [
        ("200 OK", (200, 399), True),
        ("302 Found", (200, 399), True),
        ("404 Not Found", (200, 399), False),
        ("503 Service Unavailable", (200, 399), False),
        ("503 Service Unavailable", (503, 503), True),
        ("200 OK", (204, 204), False),
    ],
)
def test_the_status_must_be_an_expected_one(
    on_loop: OnLoop, status: str, expected: tuple[int, int], well: bool
) -> None:
    async def main() -> None:
        async with server(ok(status=status, headers="Location: http://192.0.2.1/\r\n")) as web:
            found = await ask(HttpCheck(web.check(), status=expected), web.address)
            assert found == (well, f"status {status.split()[0]}")

    on_loop(main)


@pytest.mark.parametrize(
    ("body", "well"),
    [
        (b"all is \xc3\xbcbel well", True),
        (b"all is bad", False),
        (b"x" * (MAX_BODY - 6) + "übel".encode(), True),
        (b"x" * MAX_BODY + "übel".encode(), False),
        (b"", False),
    ],
)
def test_the_text_must_be_in_the_first_part_of_the_body(on_loop: OnLoop, body: bytes, well: bool) -> None:
    async def main() -> None:
        async with server(ok(body)) as web:
            found = await ask(HttpCheck(web.check(), text="übel"), web.address)
            assert found == (well, "status 200" if well else "status 200, but not the expected text")

    on_loop(main)


def test_a_body_without_end_is_not_read(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with server(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(4 * MAX_BODY)) as web:
            assert await ask(HttpCheck(web.check()), web.address) == (True, "status 200")
            found = await ask(HttpCheck(web.check(), text="fine"), web.address)
            assert found == (False, "status 200, but not the expected text")

    on_loop(main)


def test_the_environment_does_not_lead_requests_to_a_proxy(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        async with server(ok()) as web:
            assert await ask(HttpCheck(web.check()), web.address) == (True, "status 200")

    on_loop(main)


def test_no_answer_is_the_error_of_the_system(on_loop: OnLoop) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await ask(HttpCheck(f"http://127.0.0.1:{port}/"), Address("127.0.0.1", str(port)))

    on_loop(main)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200\x00OK\r\n\r\n"])
def test_an_answer_that_is_not_http_is_an_error(on_loop: OnLoop, answer: bytes) -> None:
    async def main() -> None:
        async with server(answer) as web:
            with pytest.raises(OSError, match=r"."):
                await ask(HttpCheck(web.check()), web.address)

    on_loop(main)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate of localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_certificates_are_checked_only_when_asked_to(on_loop: OnLoop, certificate: Path) -> None:
    async def main() -> None:
        async with server(ok(), serving(certificate)) as web:
            url = web.check(scheme="https")
            assert await ask(HttpCheck(url), web.address) == (True, "status 200")
            with pytest.raises(OSError, match=r"certificate not accepted: self.signed certificate"):
                await ask(HttpCheck(url, verify=True), web.address)

    on_loop(main)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_a_known_authority_is_accepted_for_the_host_in_the_url(
    on_loop: OnLoop, certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def main() -> None:
        async with server(ok(), serving(certificate)) as web:
            check = HttpCheck(web.check(scheme="https", host=host), verify=True)
            assert await ask(check, web.address) == (True, "status 200")
            assert f"\r\nhost: {host}:{web.port}\r\n" in web.requests[0].lower()
            other = HttpCheck(web.check(scheme="https", host="elsewhere.example"), verify=True)
            with pytest.raises(OSError, match="certificate not accepted: Hostname mismatch"):
                await ask(other, web.address)

    on_loop(main)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://10.1.1.10", ("10.1.1.10", "80")),
        ("http://10.1.1.10:8080/health", ("10.1.1.10", "8080")),
        ("https://[fd00::10]/", ("fd00::10", "443")),
        ("https://user:word@web.example:1/x?y#z", ("web.example", "1")),
    ],
)
def test_the_target_is_in_the_url(url: str, where: tuple[str, str]) -> None:
    assert target(url) == where


@pytest.mark.parametrize("url", ["http://", "/health", "http://web:port/", "http://[fd00::10/"])
def test_a_url_without_a_target_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):
        target(url)


def test_the_library_is_needed_only_by_http_checks() -> None:
    plain = VirtualIP(bytes(4), 32, checks=(TcpCheck(80),))
    web = VirtualIP(bytes(4), 32, checks=(TcpCheck(80), HttpCheck("http://10.1.1.10/")))
    assert not needs_library([plain])
    assert needs_library([plain, web])
