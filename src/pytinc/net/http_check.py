"""Makes the HTTP requests of health checks, with the library httpx, loaded only when there is such a check.

Each request is made by a client of its own, on a connection of its own: the check includes whether the
service accepts a connection. Proxies in the environment are ignored, redirections are answers like others,
and data from the server is not trusted: no more than `MAX_BODY` of the body is read, without decompression.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import pytinc
from pytinc.wire.address import Address
from pytinc.wire.virtual_ip import HttpCheck, VirtualIP

MAX_BODY: Final = 65_536
"""Bytes of the body in which the expected text is looked for: it belongs on the first page."""


def needs_library(virtual_ips: Sequence[VirtualIP]) -> bool:
    """Return whether there is any check by HTTP."""
    return any(isinstance(check, HttpCheck) for vip in virtual_ips for check in vip.checks)


def load_library() -> None:
    """Import httpx and all that it loads at its first use.

    This takes some tenths of a second, so it must not be done on the loop.
    """
    import anyio
    import httpx  # noqa: F401

    anyio.run(anyio.sleep, 0)


def target(url: str) -> tuple[str, str]:
    """Return host and port of a URL. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("no host in the URL")
    return parts.hostname, str(parts.port or (443 if parts.scheme == "https" else 80))


class HttpChecks:
    """Makes the requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loaded = False
        self._contexts: dict[bool, ssl.SSLContext] = {}
        """With and without a check of certificates; made once, because loading the system's takes a while."""

    async def ask(self, check: HttpCheck, address: Address) -> tuple[bool, str]:
        """Ask the server at a numeric address, one of those of the host in the URL.

        Return whether the answer is as expected, and words for people. Raises OSError if there was none, and
        ImportError without httpx. The caller limits the time.
        """
        context = await self._context(verify=check.verify)
        import httpx

        try:
            url = httpx.URL(check.url)
            headers = {
                "Host": url.netloc.decode("ascii"),
                "User-Agent": f"pytinc/{pytinc.__version__} (health check)",
                "Accept-Encoding": "identity",
                "Connection": "close",
            }
            # The name that the server's certificate is for.
            extensions = {} if _is_numeric(url.host) else {"sni_hostname": url.raw_host.decode("ascii")}
            async with (
                httpx.AsyncClient(verify=context, trust_env=False, timeout=httpx.Timeout(None)) as client,
                client.stream(
                    "GET", url.copy_with(host=address.host), headers=headers, extensions=extensions
                ) as response,
            ):
                return await _judge(check, response.status_code, response.aiter_raw())
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _without_layers(error) from error

    async def _context(self, *, verify: bool) -> ssl.SSLContext:
        if not self._loaded:
            await self._loop.run_in_executor(None, load_library)
            self._loaded = True
        context = self._contexts.get(verify)
        if context is None:
            context = self._contexts[verify] = await self._loop.run_in_executor(None, _make_context, verify)
        return context


def _make_context(verify: bool) -> ssl.SSLContext:
    """Return a context that checks certificates with the system's authorities, or one that checks nothing."""
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_numeric(host: str) -> bool:
    return Address(host, "0").family != 0


async def _judge(check: HttpCheck, status: int, body: AsyncIterator[bytes]) -> tuple[bool, str]:
    lowest, highest = check.status
    words = f"status {status}"
    if not lowest <= status <= highest:
        return False, words
    if check.text is None:
        return True, words
    wanted, read = check.text.encode("utf-8", "surrogateescape"), b""
    async for chunk in body:
        read += chunk[: MAX_BODY - len(read)]
        if wanted in read:
            return True, words
        if len(read) == MAX_BODY:
            break
    return False, f"{words}, but not the expected text"


def _without_layers(error: Exception) -> OSError:
    """Return the system's error beneath those of the library, which say only that something failed."""
    found: BaseException | None = error
    lowest: OSError | None = None
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            lowest = found
        found = found.__cause__ or found.__context__
    if isinstance(lowest, ssl.SSLCertVerificationError):
        return OSError(f"certificate not accepted: {lowest.verify_message}")
    if isinstance(lowest, ssl.SSLError):  # its numbers are not errnos
        return OSError(lowest.strerror)
    if lowest is not None:
        return OSError(lowest.errno, lowest.strerror)
    return OSError(str(error) or type(error).__name__)
