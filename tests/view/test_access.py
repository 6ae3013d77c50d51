from __future__ import annotations

import pytest

from pytinc.view.access import HEADERS, Access, host_name

ACCESS = Access("127.0.0.1", 6550, "the-token", "the-session", "folder", ("view.example",))


def status(path: str = "/stream", method: str = "GET", **headers: str) -> int | None:
    told = {"host": "127.0.0.1:6550", **{name.replace("_", "-"): value for name, value in headers.items()}}
    refusal = ACCESS.refusal(method, path, told)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:6550", "localhost:6550", "LOCALHOST", "localhost.:1", "[::1]:9", "127.3.2.1", "view.example"]
)  # fmt: skip
def test_a_browser_may_ask_by_names_and_addresses_of_this_machine(host: str) -> None:
    # The port may be another one: that of the near end of an ssh tunnel.
    assert status(host=host) is None


@pytest.mark.parametrize(
    "host",
    ["", "attacker.example", "localhost.attacker.example", "192.0.2.1:6550", "[::1", "localhost:x", ":6550",
     "localhost:6550; localhost", "127.0.0.1.nip.example:6550", "0x7f000001", "[::1]6550x"],
)  # fmt: skip
def test_a_foreign_host_name_is_refused(host: str) -> None:
    assert status(host=host) == 421


def test_a_server_at_all_addresses_takes_any_address_but_no_foreign_name() -> None:
    everywhere = Access("0.0.0.0", 80, "t", "s", "f")
    assert everywhere.refusal("GET", "/", {"host": "192.0.2.7"}) is None
    assert everywhere.refusal("GET", "/", {"host": "attacker.example"}) is not None


def test_other_pages_are_refused() -> None:
    assert status(origin="http://127.0.0.1:6550") is None
    assert status(origin="http://attacker.example") == 403
    assert status(origin="http://127.0.0.1:6551") == 403
    assert status(origin="https://127.0.0.1:6550") is None
    assert status(origin="https://attacker.example") == 403
    assert status(origin="null") == 403
    assert status(sec_fetch_site="same-origin") is None
    assert status(sec_fetch_site="none") is None
    for site in ("cross-site", "same-site"):
        assert status(sec_fetch_site=site) == 403


def test_a_link_from_elsewhere_may_open_the_page() -> None:
    assert status("/", sec_fetch_site="cross-site") is None


def test_nothing_can_be_changed() -> None:
    assert status(method="HEAD") is None
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"):
        assert status(method=method) == 405


def test_token_and_cookie_are_different_secrets_and_are_compared_as_a_whole() -> None:
    assert ACCESS.is_token("the-token")
    assert not ACCESS.is_token("the-session")
    assert not ACCESS.is_token("the-toke")
    assert not ACCESS.is_token("")
    assert not ACCESS.is_token("ü" * 20)
    assert not ACCESS.is_token("x" * 1_000_000)
    assert ACCESS.is_session("the-session")
    assert not ACCESS.is_session("the-token")
    assert not ACCESS.is_session(None)


def test_the_cookie_is_for_this_server_only_and_not_for_scripts() -> None:
    name, *attributes = ACCESS.set_cookie().split("; ")
    assert name == "pytinc_view_6550=the-session"
    assert attributes == ["Path=/folder/", "HttpOnly", "SameSite=Strict"]


def test_the_secrets_are_not_in_the_text_for_logs() -> None:
    assert "the-" not in repr(ACCESS)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/?token=t"),
        ("::1", "http://[::1]:80/?token=t"),
        ("0.0.0.0", "http://localhost:80/?token=t"),
        ("::", "http://localhost:80/?token=t"),
    ],
)
def test_the_url_can_be_opened(address: str, url: str) -> None:
    assert Access(address, 80, "t", "s", "f").url == url


def test_the_policy_allows_own_files_only_and_no_markup_from_scripts() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in policy if name.endswith("-src")} == {"'none'", "'self'"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"


@pytest.mark.parametrize(
    ("host", "name"),
    [("A.example:80", "a.example"), ("[FE80::1]:80", "fe80::1"), ("a:b:c", None), ("", None), ("[x]y", None)],
)
def test_host_names_are_taken_apart(host: str, name: str | None) -> None:
    assert host_name(host) == name
