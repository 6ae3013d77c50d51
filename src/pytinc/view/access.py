"""Access to the page: the token, the cookie, and the headers that a browser sends and gets. Pure.

The page is read-only, but it shows the members of the network. Other users of this machine and other pages in
the same browser must not get it: a request needs the cookie, which only the printed URL gives; a foreign Host
is refused (DNS rebinding), and so is a request of another page (Origin, Sec-Fetch-Site).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

TOKEN: Final = "token"  # noqa: S105  # the name of the parameter
MAX_TOKEN: Final = 128
"""Most characters of a token or cookie that are read."""
METHODS: Final = ("GET", "HEAD")

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Headers of every answer. Trusted types forbid innerHTML and its like: names are never read as markup."""

_OWN_SITES: Final = ("same-origin", "none")
_LOCAL: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no answer: the status, and a line for people."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Access:
    """What the server compares requests with."""

    address: str
    """The address it listens at, as text."""
    port: int
    token: str = field(repr=False)
    """What the printed URL has."""
    session: str = field(repr=False)
    """The value of the cookie; it says nothing about the token."""
    folder: str
    """The page and its files are below this path, which is new at each start.

    Browsers keep cookies for a host, not for a port: a server of another user on this machine would get ours
    if it had no path, or one that everybody knows.
    """
    names: Collection[str] = ()
    """Further host names by which browsers may ask."""

    @property
    def cookie(self) -> str:
        """The cookie's name. Cookies belong to a host, not to a port: several servers need several names."""
        return f"pytinc_view_{self.port}"

    @property
    def url(self) -> str:
        """The URL to open, with the token."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        if host in ("0.0.0.0", "[::]"):  # noqa: S104  # nobody can open that
            host = _LOCAL
        return f"http://{host}:{self.port}/?{TOKEN}={self.token}"

    @property
    def page(self) -> str:
        """The path of the page."""
        return f"/{self.folder}/"

    def path_in_page(self, path: str) -> str | None:
        """Return a path as seen from the page's folder, with a slash; None if it is not below the folder."""
        return path[len(self.page) - 1 :] if path.startswith(self.page) else None

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused before anyone looks at its cookie; None if it is not.

        ``headers`` has names in lower case.
        """
        if method not in METHODS:
            return Refusal(405, "This page only shows: it takes GET and HEAD.")
        host = headers.get("host", "")
        if not self._is_ours(host):
            return Refusal(421, "This host name is not one of this server's.")
        origin = headers.get("origin")
        # https: a proxy in front of us encrypts.
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return Refusal(403, "Another page may not ask this server.")
        # A link to the page from elsewhere is fine: it shows nothing without the cookie.
        if path not in ("/", self.page) and headers.get("sec-fetch-site", "none") not in _OWN_SITES:
            return Refusal(403, "Another page may not ask this server.")
        return None

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        if name == _LOCAL or name in self.names:
            return True
        try:
            asked = ipaddress.ip_address(name)
        except ValueError:
            return False
        own = ipaddress.ip_address(self.address)
        # An address cannot be rebound to another one; names can.
        return asked.is_loopback or asked == own or own.is_unspecified

    def is_token(self, given: str) -> bool:
        """Return whether this is the token of the URL."""
        return _same(given, self.token)

    def is_session(self, given: str | None) -> bool:
        """Return whether this is the value of the cookie."""
        return given is not None and _same(given, self.session)

    def set_cookie(self) -> str:
        """Return the header that gives the cookie: until the browser ends, for the page, not for scripts."""
        return f"{self.cookie}={self.session}; Path={self.page}; HttpOnly; SameSite=Strict"


def host_name(host: str) -> str | None:
    """Return the name or address of a Host header in lower case, without port; None if invalid."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port.removeprefix(":"))):
            return None
        return name.lower()
    name, colon, port = host.partition(":")
    if not name or (colon and not _is_port(port)):
        return None
    return name.lower().removesuffix(".")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _same(given: str, expected: str) -> bool:
    return len(given) <= MAX_TOKEN and hmac.compare_digest(given.encode(), expected.encode())
