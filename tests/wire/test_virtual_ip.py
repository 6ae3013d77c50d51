"""The lines VirtualIP of tinc.conf and of host files: docs/virtual-ip.md, "Virtual IPs by policy"."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.virtual_ip import (
    DEFAULT_PRIORITY,
    INTERVALS,
    KEYS,
    MAX_CHECKS,
    MAX_COUNT,
    MAX_PRIORITY,
    MAX_TEXT,
    MAX_URL,
    MAX_WEIGHT,
    PREEMPT_DELAYS,
    STATUSES,
    TIMEOUTS,
    Balance,
    Check,
    ExecCheck,
    HttpCheck,
    TcpCheck,
    VirtualIP,
    line_key,
    parse_address,
    parse_virtual_ip,
    quote,
)

IPV4 = bytes([10, 1, 1, 10])
IPV6 = ipaddress.IPv6Address("fd00:1::10").packed


def with_checks(text: str) -> tuple[Check, ...]:
    return parse_virtual_ip(f"10.1.1.10 {text}").checks


class TestAddress:
    def test_an_address_alone_has_the_defaults(self) -> None:
        assert parse_virtual_ip("10.1.1.10") == VirtualIP(IPV4, 32)
        assert parse_virtual_ip("FD00:1:0::10") == VirtualIP(IPV6, 128)
        assert VirtualIP(IPV4, 32).priority == DEFAULT_PRIORITY

    @pytest.mark.parametrize(
        ("text", "address", "prefix"),
        [
            ("10.1.1.10/24", IPV4, 24),
            ("10.1.1.10/32", IPV4, 32),
            ("10.1.1.10/1", IPV4, 1),
            ("fd00:1::10/64", IPV6, 64),
            ("10.1.1.10/31", IPV4, 31),  # both addresses of such a network are hosts (RFC 3021)
            ("fd00:1::10/127", IPV6, 127),
        ],
    )
    def test_a_prefix_length_may_follow(self, text: str, address: bytes, prefix: int) -> None:
        assert parse_virtual_ip(text) == VirtualIP(address, prefix)

    def test_the_highest_address_of_an_ipv6_network_is_an_ordinary_one(self) -> None:
        assert parse_virtual_ip("fd00::ffff/112").prefix == 112

    @pytest.mark.parametrize(
        "text", ["", "x", "10.1.1", "10.1.1.10.", "fd00::1::2", "priority=5", "\xa0", "/24"]
    )
    def test_a_line_begins_with_an_address(self, text: str) -> None:
        with pytest.raises(DecodeError, match=r"is not ADDRESS\[/PREFIX\]$"):
            parse_virtual_ip(text)

    @pytest.mark.parametrize(
        "text",
        [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.18",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.1.1.10",
            "64:ff9b::1",
            "fe80::1",
            "ff02::12",
            "fd00::1%eth0",
        ],
    )
    def test_addresses_that_hosts_do_not_share_are_refused(self, text: str) -> None:
        with pytest.raises(DecodeError, match="cannot be a virtual IP"):
            parse_virtual_ip(text)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("10.1.1.10/0", "the prefix length is a number from 1 to 32, not 0"),
            ("10.1.1.10/33", "the prefix length is a number from 1 to 32, not 33"),
            ("10.1.1.10/", "the prefix length is a number from 1 to 32, not nothing"),
            ("10.1.1.10/255.255.255.0", "a number from 1 to 32, not 255.255.255.0"),
            ("fd00::1/129", "the prefix length is a number from 1 to 128, not 129"),
            ("10.1.1.0/24", "10.1.1.0/24 is a network, and not an address in it"),
            ("fd00:1::/64", "fd00:1::/64 is a network, and not an address in it"),
            ("10.1.1.255/24", "10.1.1.255/24 is the broadcast address of its network"),
        ],
    )
    def test_an_address_that_does_not_fit_its_network_is_refused(self, text: str, complaint: str) -> None:
        with pytest.raises(DecodeError) as caught:
            parse_virtual_ip(text)
        assert complaint in str(caught.value)

    def test_the_address_of_a_line_is_found_whatever_follows_it(self) -> None:
        assert line_key("10.1.1.10/24 priority=5 nonsense") == line_key("10.1.1.10") == (IPV4, None)
        assert line_key("10.1.1.10 Node=n3 nonsense") == line_key('10.1.1.10 node="n3"') == (IPV4, "n3")
        with pytest.raises(DecodeError):
            line_key("nonsense")
        with pytest.raises(DecodeError):
            line_key("")


class TestWard:
    def test_a_line_may_be_about_another_node(self) -> None:
        line = parse_virtual_ip("10.1.1.10 node=node_3 priority=5 check=tcp:10.1.1.103:80 check=exec:look")
        assert (line.node, line.priority, line.key) == ("node_3", 5, (IPV4, "node_3"))
        assert parse_virtual_ip("10.1.1.10").key == (IPV4, None)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("node=", "node has no value"),
            ("node=a-b", "node is the name of a node, not a-b"),
            ("node=a node=b", "node occurs twice"),
            ("node=a manage=yes", "manage=yes sets an address on this host"),
            (
                "node=a check=tcp:80",
                "check=tcp:80 would check the member that serves the address: name an address of a",
            ),
            ("check=tcp:10.1.1.10:80 node=a", "check=tcp:10.1.1.10:80 would check the member that serves"),
            ("node=a check=http://10.1.1.10/", "check=http://10.1.1.10/ would check the member that serves"),
        ],
    )
    def test_a_setting_that_a_ward_cannot_have_is_refused(self, text: str, complaint: str) -> None:
        with pytest.raises(DecodeError) as caught:
            parse_virtual_ip(f"10.1.1.10 {text}")
        assert complaint in str(caught.value)

    @pytest.mark.parametrize(
        "check",
        ["tcp:ward.example:80", "tcp:[fd00::3]:80", "https://[fd00::3]/", "http://ward.example/", "exec:a"],
    )
    def test_checks_of_another_host_are_taken(self, check: str) -> None:
        assert [str(each) for each in parse_virtual_ip(f"10.1.1.10 node=a check={check}").checks] == [check]

    def test_an_ipv6_address_is_the_virtual_one_however_it_is_written(self) -> None:
        with pytest.raises(DecodeError, match="would check the member that serves"):
            parse_virtual_ip("fd00:1::10 node=a check=https://[fd00:1:0::10]:8443/")


class TestHostFile:
    def test_a_line_of_a_host_file_is_an_address(self) -> None:
        assert parse_address("10.1.1.10") == IPV4
        assert parse_address("fd00:1::10") == IPV6

    @pytest.mark.parametrize("text", ["10.1.1.10/32", "10.1.1.10 priority=5", "10.1.1.10 10.1.1.11"])
    def test_nothing_follows_it(self, text: str) -> None:
        with pytest.raises(DecodeError, match="a host file has neither prefix length nor keys"):
            parse_address(text)

    @pytest.mark.parametrize("text", ["", "node_2", "224.0.0.1"])
    def test_nothing_else_stands_there(self, text: str) -> None:
        with pytest.raises(DecodeError):
            parse_address(text)


class TestKeys:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("priority=1", VirtualIP(IPV4, 32, priority=1)),
            ("priority=254", VirtualIP(IPV4, 32, priority=254)),
            ("PRIORITY=7", VirtualIP(IPV4, 32, priority=7)),
            ('priority="7"', VirtualIP(IPV4, 32, priority=7)),
            ("balance=failover", VirtualIP(IPV4, 32)),
            ("balance=CLIENT", VirtualIP(IPV4, 32, balance=Balance.CLIENT)),
            ("balance=flow weight=255", VirtualIP(IPV4, 32, balance=Balance.FLOW, weight=255)),
            ("preempt=no", VirtualIP(IPV4, 32)),
            ("preempt=0", VirtualIP(IPV4, 32, preempt=0)),
            ("preempt=30", VirtualIP(IPV4, 32, preempt=30)),
            ("interval=0.25 timeout=0.5", VirtualIP(IPV4, 32, interval=0.25, timeout=0.5)),
            ("rise=1 fall=100", VirtualIP(IPV4, 32, rise=1, fall=100)),
            ("manage=Yes", VirtualIP(IPV4, 32, manage=True)),
            ("manage=no", VirtualIP(IPV4, 32)),
            ("  rise=1\t fall=1 ", VirtualIP(IPV4, 32, rise=1, fall=1)),
        ],
    )
    def test_a_key_sets_its_field(self, text: str, wanted: VirtualIP) -> None:
        assert parse_virtual_ip(f"10.1.1.10 {text}") == wanted

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("priority=0", "priority is a number from 1 to 254, not 0"),
            ("priority=255", "priority is a number from 1 to 254, not 255"),
            ("priority=high", "priority is a number from 1 to 254, not high"),
            ("priority=1.5", "priority is a number from 1 to 254, not 1.5"),
            ("priority=-1", "priority is a number from 1 to 254, not -1"),
            ("priority=٣", "priority is a number from 1 to 254, not ٣"),
            ('priority=""', "priority is a number from 1 to 254, not nothing"),
            (
                "preempt=yes",
                "preempt is no, or for how many seconds this node must have been well first, not yes",
            ),
            ("balance=per-client", "balance is failover, client, flow, not per-client"),
            ("weight=0", "weight is a number from 1 to 255, not 0"),
            ("preempt=86400.001", "preempt is 0 to 86400 seconds, not 86400.001"),
            ("interval=0.05", "interval is 0.1 to 3600 seconds, not 0.05"),
            ("interval=1e3", "interval is 0.1 to 3600 seconds, not 1e3"),
            ("interval=nan", "interval is 0.1 to 3600 seconds, not nan"),
            ("interval=1s", "interval is 0.1 to 3600 seconds, not 1s"),
            ("timeout=61", "timeout is 0.1 to 60 seconds, not 61"),
            ("rise=0", "rise is a number from 1 to 100, not 0"),
            ("fall=101", "fall is a number from 1 to 100, not 101"),
            ("manage=maybe", "manage is yes or no, not maybe"),
            ("priority=5 priority=6", "priority occurs twice"),
            ("rise=1 fall=1 RISE=1", "rise occurs twice"),
            ("prio=5", "prio is not a key of a virtual IP, did you mean priority?"),
            ("quux=5", f"quux is not a key of a virtual IP; the keys are {', '.join(KEYS)}"),
            ("10.1.1.11", "10.1.1.11 is not KEY=VALUE"),
            ("priority = 5", "priority is not KEY=VALUE"),
            ("=5", "=5 is not KEY=VALUE"),
            ("\xa0", "is not KEY=VALUE"),
            ("priority=", "priority has no value"),
            ('text="a b', 'the quotes in text="a do not match'),
            ('text=a"b', 'the quotes in text=a"b do not match'),
            (r'text="a\"', r'the quotes in text="a\" do not match'),
            (r'text="a\n"', "do not match"),
            ('text="a"b', "do not match"),
        ],
    )
    def test_a_bad_one_is_refused_with_the_allowed_values(self, text: str, complaint: str) -> None:
        with pytest.raises(DecodeError) as caught:
            parse_virtual_ip(f"10.1.1.10 {text}")
        assert complaint in str(caught.value)


class TestChecks:
    @pytest.mark.parametrize(
        ("text", "check", "written"),
        [
            ("tcp:80", TcpCheck(80), "tcp:80"),
            ("tcp:65535", TcpCheck(65535), "tcp:65535"),
            ("tcp:10.1.1.2:80", TcpCheck(80, "10.1.1.2"), "tcp:10.1.1.2:80"),
            ("tcp:[FD00::2]:80", TcpCheck(80, "fd00::2"), "tcp:[fd00::2]:80"),
            ("tcp:db-1.example.:5432", TcpCheck(5432, "db-1.example."), "tcp:db-1.example.:5432"),
            ("exec:vip-check", ExecCheck("vip-check"), "exec:vip-check"),
            ("exec:checks/web_1.sh", ExecCheck("checks/web_1.sh"), "exec:checks/web_1.sh"),
            ("http://10.1.1.10:8080/a?b=c&d", HttpCheck("http://10.1.1.10:8080/a?b=c&d"), None),
            ("https://[fd00::1]/", HttpCheck("https://[fd00::1]/"), None),
            ("http://x", HttpCheck("http://x"), None),
        ],
    )
    def test_a_check_has_a_kind_and_a_target(self, text: str, check: Check, written: str | None) -> None:
        assert with_checks(f"check={text}") == (check,)
        assert str(check) == (written or text)

    def test_options_belong_to_the_http_check_before_them(self) -> None:
        assert with_checks(
            'check=http://a/ status=200-299 text="all is well" check=tcp:80 '
            "check=https://b/ verify=yes fall=2 status=204"
        ) == (
            HttpCheck("http://a/", (200, 299), "all is well"),
            TcpCheck(80),
            HttpCheck("https://b/", (204, 204), verify=True),
        )

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("ok", "ok"),
            ('"ok"', "ok"),
            ('" a  b "', " a  b "),
            (r'"say \"hi\" \\o/"', r'say "hi" \o/'),
            (r"a\b", r"a\b"),
            ("a=b", "a=b"),
            ("größe", "größe"),
            ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ],
    )
    def test_a_text_with_blanks_stands_in_quotes(self, text: str, value: str) -> None:
        assert with_checks(f"check=http://a/ text={text}") == (HttpCheck("http://a/", text=value),)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            (
                "check=80",
                "check is tcp:PORT, tcp:HOST:PORT, http://HOST/PATH, https://HOST/PATH or exec:SCRIPT",
            ),
            ("check=udp:53", "not udp:53"),
            ("check=tcp:0", "the port is a number from 1 to 65535, not 0"),
            ("check=tcp:65536", "the port is a number from 1 to 65535, not 65536"),
            ("check=tcp:http", "tcp:http is not tcp:PORT, tcp:HOST:PORT or tcp:[IPV6]:PORT"),
            ("check=tcp::80", "tcp::80 is not tcp:PORT"),
            ("check=tcp:fd00::1:80", "tcp:fd00::1:80 is not tcp:PORT"),
            ("check=tcp:[fe80::1%eth0]:80", "is not tcp:PORT"),
            ("check=tcp:[10.1.1.1]:80", "[10.1.1.1] in tcp:[10.1.1.1]:80 is not an address"),
            ("check=tcp:10.1.1.256:80", "10.1.1.256 in tcp:10.1.1.256:80 is not an address"),
            ("check=tcp:a..b/c:80", "a..b/c in tcp:a..b/c:80 is not the name of a host"),
            (f"check=tcp:{'a' * 254}:80", "is not the name of a host"),
            ("check=http://", "http:// is not a URL such as http://10.1.1.10:8080/health"),
            ("check=http:/a", "is not a URL"),
            ("check=http://a:0/", "is not a URL"),
            ("check=http://a:65536/", "is not a URL"),
            ("check=http://[::1/", "is not a URL"),
            ("check=http://user:secret@a/", "without user and fragment"),
            ("check=http://a/#b", "is not a URL"),
            ('check="http://a/ b"', "is not a URL"),
            ("check=http://größe/", "is not a URL"),
            (f"check=http://a/{'b' * MAX_URL}", f"a URL has at most {MAX_URL} characters"),
            ("check=exec:", "exec: is not exec:SCRIPT, a file of the configuration directory"),
            ("check=exec:/bin/true", "exec:/bin/true is not exec:SCRIPT"),
            ("check=exec:../x", "exec:../x is not exec:SCRIPT"),
            ("check=exec:a/./x", "is not exec:SCRIPT"),
            ('check="exec:a b"', "the script gets no arguments"),
            (f"check=exec:{'a' * 254}", "is not exec:SCRIPT"),
            ("check=tcp:80 check=tcp:80", "check=tcp:80 occurs twice"),
            ("check=http://a/ text=x check=http://a/ text=y", "check=http://a/ occurs twice"),
            ("status=200", "status must follow a check=http://... or check=https://..."),
            ("check=http://a/ check=tcp:80 text=ok", "text must follow a check=http://"),
            ("check=exec:x verify=yes", "verify must follow a check=http://"),
            ("check=http://a/ verify=yes", "verify is for https://... only"),
            ("check=https://a/ verify=1", "verify is yes or no, not 1"),
            (
                "check=http://a/ status=99",
                "status is a number such as 200 or a range such as 200-299, not 99",
            ),
            ("check=http://a/ status=600", "not 600"),
            ("check=http://a/ status=299-200", "not 299-200"),
            ("check=http://a/ status=200,204", "not 200,204"),
            ("check=http://a/ status=200 status=204", "status occurs twice"),
            ('check=http://a/ text=""', f"text is 1 to {MAX_TEXT} printable characters"),
            (f"check=http://a/ text={'x' * (MAX_TEXT + 1)}", "printable characters"),
            ("check=http://a/ text=a\x1bb", "printable characters"),
            ("check=http://a/ text=a\udcffb", "printable characters"),
        ],
    )
    def test_a_bad_one_is_refused_with_the_allowed_values(self, text: str, complaint: str) -> None:
        with pytest.raises(DecodeError) as caught:
            with_checks(text)
        assert complaint in str(caught.value)

    def test_an_address_has_a_limited_number_of_them(self) -> None:
        most = " ".join(f"check=tcp:{port}" for port in range(1, MAX_CHECKS + 1))
        assert len(with_checks(most)) == MAX_CHECKS
        with pytest.raises(DecodeError, match=f"at most {MAX_CHECKS} checks"):
            with_checks(f"{most} check=tcp:80")


def test_the_page_explains_each_key_and_its_examples_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs/virtual-ip.md").read_text()
    assert [key for key in KEYS if f"\n| `{key}` | " not in page] == []
    examples = re.findall(r"^    VirtualIP = (.*)$", page, re.MULTILINE)
    assert len(examples) > 2
    for example in examples:
        assert parse_virtual_ip(example).checks


# -- properties --


def is_ordinary(address: bytes) -> bool:
    with contextlib.suppress(DecodeError):
        return parse_address(str(ipaddress.ip_address(address))) == address
    return False


def fits(virtual_ip: VirtualIP) -> bool:
    """Tell whether the address is neither the first nor the last of its network."""
    below = (1 << 8 * len(virtual_ip.address) - virtual_ip.prefix) - 1
    return below < 2 or int.from_bytes(virtual_ip.address, "big") & below not in (0, below)


def seconds(bounds: tuple[float, float]) -> st.SearchStrategy[float]:
    lowest, highest = bounds
    return st.integers(round(lowest * 1000), round(highest * 1000)).map(lambda number: number / 1000)


ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)).filter(
    is_ordinary
)
HOSTS = st.one_of(
    st.none(),
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z_]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True),
)
URLS = st.builds(
    "{}://{}{}/{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["10.1.1.10", "[fd00::1]", "health.example"]),
    st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)),
    st.from_regex(r"[A-Za-z0-9._~%/?=&+-]{0,20}", fullmatch=True),
)
TEXTS = st.text(st.characters(), min_size=1, max_size=MAX_TEXT).filter(str.isprintable)


@st.composite
def http_checks(draw: st.DrawFn) -> HttpCheck:
    url = draw(URLS)
    lowest = draw(st.integers(*STATUSES))
    return HttpCheck(
        url,
        (lowest, draw(st.integers(lowest, STATUSES[1]))),
        draw(st.none() | TEXTS),
        verify=url.startswith("https") and draw(st.booleans()),
    )


CHECKS = st.one_of(
    st.builds(TcpCheck, st.integers(1, 65535), HOSTS),
    http_checks(),
    st.builds(ExecCheck, st.from_regex(r"[a-z0-9_-]{1,8}(/[a-z0-9_-]{1,8}){0,2}", fullmatch=True)),
)


@st.composite
def virtual_ips(draw: st.DrawFn) -> VirtualIP:
    address = draw(ADDRESSES)
    return VirtualIP(
        address,
        draw(st.integers(1, 8 * len(address))),
        priority=draw(st.integers(1, MAX_PRIORITY)),
        preempt=draw(st.none() | seconds(PREEMPT_DELAYS)),
        balance=draw(st.sampled_from(Balance)),
        weight=draw(st.integers(1, MAX_WEIGHT)),
        checks=tuple(draw(st.lists(CHECKS, max_size=MAX_CHECKS, unique_by=str))),
        interval=draw(seconds(INTERVALS)),
        timeout=draw(seconds(TIMEOUTS)),
        rise=draw(st.integers(1, MAX_COUNT)),
        fall=draw(st.integers(1, MAX_COUNT)),
        manage=draw(st.booleans()),
    )


@st.composite
def ward_lines(draw: st.DrawFn) -> VirtualIP:
    line = draw(virtual_ips().filter(fits))
    checks = tuple(check for check in line.checks if isinstance(check, ExecCheck))
    node = draw(st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True))
    return replace(line, node=node, checks=checks, manage=False)


@given(st.one_of(virtual_ips().filter(fits), ward_lines()))
def test_written_values_are_read_back(virtual_ip: VirtualIP) -> None:
    assert parse_virtual_ip(str(virtual_ip)) == virtual_ip
    assert line_key(str(virtual_ip)) == virtual_ip.key
    assert virtual_ip.address == parse_address(virtual_ip.address_text)


def test_defaults_are_not_written() -> None:
    line = (
        "10.1.1.10/24 priority=150 preempt=0.5 balance=client weight=20 interval=2 timeout=1.25 "
        "rise=1 fall=5 manage=yes "
        r'check=tcp:80 check=https://a/b status=200 text="a \"b\" \\" verify=yes check=http://c/ '
        "status=200-299 check=exec:x"
    )
    assert str(parse_virtual_ip(line)) == line
    ward = "10.1.1.10 node=node_3 check=tcp:10.1.1.103:80"
    assert str(parse_virtual_ip(ward)) == ward
    assert str(parse_virtual_ip("10.1.1.10/32 priority=100 preempt=no check=http://a/ status=200-399")) == (
        "10.1.1.10 check=http://a/"
    )


@given(TEXTS)
def test_a_quoted_text_is_read_back(text: str) -> None:
    assert with_checks(f"check=http://a/ text={quote(text)}") == (HttpCheck("http://a/", text=text),)


@given(
    st.text(),
    st.text(alphabet='=" \t\\:/.[]0159abcdefkhpt-'),
    st.lists(st.tuples(st.sampled_from(KEYS), st.text())).map(
        lambda pairs: " ".join(f"{key}={value}" for key, value in pairs)
    ),
)
def test_any_text_raises_nothing_but_decode_error(anything: str, dense: str, keys: str) -> None:
    for text in (anything, dense, f"10.1.1.10 {anything}", f"10.1.1.10 {dense}", f"10.1.1.10 {keys}"):
        for parse in (parse_virtual_ip, parse_address, line_key):
            with contextlib.suppress(DecodeError):
                parse(text)
        with contextlib.suppress(DecodeError):
            made = parse_virtual_ip(text)
            assert parse_virtual_ip(str(made)) == made
