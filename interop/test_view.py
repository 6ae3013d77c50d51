"""The page of `pytinc view` in a real browser, on a real mixed network and on a simulated one of 300 nodes.

    one, two, three, client ──> entry        all others connect to entry, which runs tincd

one, two and three hold an address that the client pings; the page is that of the client's node. A browser
is slow to start, so ``make test`` leaves these tests out; ``make view-test`` runs them. With
``PYTINC_INTEROP_VIEW_IMAGES=DIR`` they write the pictures of docs/view.md.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import Page, is_installed, page, picture, problems, set_size, set_theme, viewing
from faults import cut_off
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import neighbour
from shared_address import VIP4, addresses, pinging, wait_guarded, wait_served
from view.fake_daemon import FakeDaemon, FakeMesh

CASTS = ("CPPPP",)
ROLES = ("entry", "one", "two", "three", "client")
HOLDERS = ("one", "two", "three")
VIEWS = ("mesh", "nodes", "addresses", "events", "health")
SILENT_S = 1.0
"""Within this time after a cut, the page shows that the node is silent."""
TRIES = 3
"""A busy machine may be late once."""
QUIET_S = 3.0
MARKUP = "<img/src=x/onerror=window.hacked=1>"
MANY = 300
FRAMES_A_SECOND = 30
MEGABYTES = 200
PAN_FRAMES = 120
"""At 30 a second, four updates of the picture come meanwhile."""
PANS = 12
"""One of them must be fast enough: other programs may want the machine."""

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="session", autouse=True)
def _wanted() -> None:
    if not os.environ.get("PYTINC_INTEROP_VIEW"):
        pytest.skip("the tests of the page in a browser are slow: make view-test runs them")
    if not is_installed():
        pytest.skip("there is no Chromium with its driver, or no selenium: make view-test installs them")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go."""
    given = os.environ.get("PYTINC_INTEROP_VIEW_IMAGES")
    return Path(given) if given else tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if cast[-1] is Kind.C:
        pytest.skip("the page of tincd's view is a test of its own here")
    network = new_network()
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        shared = [VIP4] if role in HOLDERS else []
        network.add(role, kind, addresses(number, *shared), () if role == "entry" else ("entry",))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    with ExitStack() as stack:
        client = network["client"].host
        stack.enter_context(pinging(client, [VIP4]))
        for number, size in ((1, 900), (2, 1200), (3, 300), (4, 60)):  # something to see
            words = ("ping", "-n", "-q", "-i", "0.02", "-s", str(size), f"10.1.1.{100 + number}")
            process = client.spawn(*words, output=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        wait_guarded(network, [VIP4])
        yield network


@pytest.fixture(scope="module")
def shown(network: Network) -> Iterator[Page]:
    """The page of the client's node."""
    with page(network["client"].pidfile) as made:
        yield made


def holder_of(network: Network) -> Node:
    """Return the node that the client uses."""
    found: list[Node] = []

    def is_known() -> bool:
        mac, _ = neighbour(network["client"].host, VIP4)
        found[:] = [network[name] for name in HOLDERS if network[name].mac == mac]
        return bool(found)

    wait_until(is_known, PATIENCE_S, "the client uses a holder")
    return found[0]


def is_watched(network: Network, node: Node) -> bool:
    told = json.loads(network["client"].tinc("dump", "--json", "shared").stdout)
    return any(
        holder["node"] == node.name and holder["state"] == "alive"
        for address in told["addresses"]
        for holder in address["holders"]
    )


# -- the real network --


def test_the_graph_shows_all_nodes_with_their_programs_and_paths(shown: Page, network: Network) -> None:
    shown.wait("window.pytinc.graph.drawn.length === 5", "all nodes are drawn")
    assert sorted(shown.js("return window.pytinc.graph.drawn")) == sorted(ROLES)
    for name in ROLES:
        x, y = shown.js("return window.pytinc.graph.place(arguments[0])", name)
        assert x > 0
        assert y > 0
    kinds = {name: "tincd" if network[name].kind is Kind.C else "pytinc" for name in ROLES}
    told = "Object.fromEntries(Object.values(window.pytinc.store.picture.nodes).map((n) => [n.name, n.kind]))"
    wait_until(lambda: shown.js(f"return {told}") == kinds, PATIENCE_S, "the programs are known")
    paths = "Object.values(window.pytinc.store.picture.nodes).filter((n) => n.path === 'udp').length"
    shown.wait(f"{paths} === 4", "all are reached by UDP")
    assert "5 nodes, 0 unreachable, 0 silent" in str(
        shown.js("return document.getElementById('graph-summary').textContent")
    )


def test_a_cut_member_turns_silent_and_the_fail_over_is_on_the_timeline(
    shown: Page, network: Network, images: Path
) -> None:
    took = []
    for _ in range(TRIES):
        holder = holder_of(network)
        wait_until(lambda: is_watched(network, holder), PATIENCE_S, "the guard watches")  # noqa: B023
        before = len(timeline(shown))
        shown.js(
            "window.silentAt = null; const wanted = arguments[0];"
            "clearInterval(window.looking); window.looking = setInterval(() => {"
            "  const node = window.pytinc.store.picture.nodes[wanted];"
            "  if (node.silent && window.silentAt === null) window.silentAt = Date.now();"
            "}, 10);",
            holder.name,
        )
        begin = time.time()
        with cut_off(holder):
            shown.wait("window.silentAt !== null", f"{holder.name} is shown as silent")
            took.append(shown.js("return window.silentAt") / 1000 - begin)
            assert "1 silent" in shown.text("#tiles")
            others = [network[name] for name in HOLDERS if name != holder.name]
            wait_served(network["client"].host, others, PATIENCE_S, [VIP4])
            wait_until(lambda: len(timeline(shown)) > before, PATIENCE_S, "the fail-over is listed")  # noqa: B023
            time.sleep(0.5)
            picture(shown.driver, images / "view-silent-light.png")
        check_timeline(timeline(shown)[0], network, holder)
        shown.wait(
            f"!window.pytinc.store.picture.nodes[{json.dumps(holder.name)}].silent", "it answers again"
        )
        if took[-1] < SILENT_S:
            break
    print(f"silent on the page after {', '.join(f'{each:.3f}' for each in took)} s")
    assert min(took) < SILENT_S


def timeline(shown: Page) -> list[str]:
    shown.open("addresses")
    lines = shown.js("return [...document.querySelectorAll('#timeline li')].map((each) => each.innerText)")
    shown.open("mesh")
    return list(lines)


def check_timeline(text: str, network: Network, holder: Node) -> None:
    """Compare the latest line of the timeline with what the daemon tells."""
    lines = network["client"].tinc("events", "--json").stdout.splitlines()
    event = [told for told in map(json.loads, lines) if told["kind"] == "failover"][-1]
    assert VIP4 in text
    assert re.search(rf"{holder.name} → {event['to_node']}", text)
    assert event["from_node"] == holder.name
    for name in ("silence", "detection", "healing"):
        if event[f"{name}_ms"] is not None:
            assert f"{name} {event[f'{name}_ms']} ms" in text
    clock = time.strftime("%H:%M:%S", time.gmtime(event["time"]))
    assert clock in text or time.strftime("%H:%M:%S", time.localtime(event["time"])) in text


def test_pictures_of_all_views(shown: Page, images: Path) -> None:
    shown.js("document.activeElement.blur()")
    for theme in ("light", "dark"):
        set_theme(shown.driver, theme)
        for view in VIEWS:
            shown.open(view)
            time.sleep(1.5)  # the picture is for people: charts and positions come to rest
            picture(shown.driver, images / f"view-{view}-{theme}.png")
    set_theme(shown.driver, "light")
    set_size(shown.driver, 390, 844)
    for view in ("mesh", "nodes"):
        shown.open(view)
        time.sleep(1.5)
        assert shown.js("return document.documentElement.scrollWidth <= innerWidth"), "the page is too wide"
        picture(shown.driver, images / f"view-{view}-phone.png")
    set_size(shown.driver, 1280, 800)
    shown.open("mesh")
    assert len(list(images.glob("view-*.png"))) >= 2 * len(VIEWS) + 2


def test_keys_choose_views_and_nodes(shown: Page) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    shown.open("mesh")
    tab = shown.driver.find_element(By.ID, "tab-mesh")
    tab.send_keys(Keys.ARROW_RIGHT)
    assert shown.js("return document.activeElement.id") == "tab-nodes"
    assert shown.js("return document.getElementById('nodes').hidden") is False
    shown.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    graph = shown.driver.find_element(By.ID, "graph")
    graph.send_keys("n")
    assert shown.js("return window.pytinc.graph.focus") == "client"
    assert "this node, " in shown.js("return document.getElementById('said').textContent")
    graph.send_keys(Keys.ESCAPE)
    assert shown.js("return window.pytinc.graph.focus") is None
    shown.driver.find_element(By.ID, "find").send_keys("thr", Keys.ENTER)
    assert shown.js("return window.pytinc.graph.focus") == "three"
    assert "tincd" not in shown.text("#detail")
    shown.js("window.pytinc.graph.select(null)")


def test_a_silent_daemon_turns_the_page_grey(shown: Page, network: Network) -> None:
    assert shown.is_live()
    pid = network["client"].pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        shown.wait("document.body.dataset.live === 'lost'", "the page is grey")
        assert time.monotonic() - begin > QUIET_S - 1.5
        assert "Nothing heard from the daemon" in shown.text("#banner")
        assert "grayscale" in shown.js("return getComputedStyle(document.querySelector('main')).filter")
    finally:
        os.kill(pid, signal.SIGCONT)
    shown.wait_live()
    assert shown.js("return document.getElementById('banner').hidden")


def test_a_silent_server_turns_the_page_grey(shown: Page) -> None:
    shown.server.send_signal(signal.SIGSTOP)
    try:
        shown.wait("document.body.dataset.live === 'lost'", "the page is grey")
        assert "Nothing heard from the page's server" in shown.text("#banner")
    finally:
        shown.server.send_signal(signal.SIGCONT)
    shown.wait_live()


def test_the_browser_asked_nobody_else_and_had_no_complaint(shown: Page) -> None:
    asked = shown.js("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert len(asked) > 10
    assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/" for url in asked} == {shown.origin}
    assert "token" not in shown.js("return location.href")
    assert [each for each in problems(shown.driver) if "/stream" not in each["message"]] == []


def test_the_page_of_tincd_shows_what_it_tells(network: Network) -> None:
    with page(network["entry"].pidfile) as shown:
        shown.wait("window.pytinc.graph.drawn.length === 5", "all nodes are drawn")
        assert "seen from entry (tincd)" in shown.text("header")
        shown.open("addresses")
        assert "This daemon does not tell" in shown.text("#address-list")
        shown.open("events")
        shown.wait("document.getElementById('log').innerText.includes('tells no events')", "it says so")
        shown.open("health")
        assert "it is tincd" in shown.text("#storm-note")
        shown.open("nodes")
        shown.wait("document.querySelectorAll('#node-table tbody tr').length === 5", "all nodes are listed")
        assert problems(shown.driver) == []


# -- who may see it --


def ask(url: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    """Return status, cookie and the address that the browser is sent to."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            cookie = str(answer.headers["set-cookie"] or "").partition(";")[0]
            return answer.status, cookie, str(answer.headers["location"] or "")
    finally:
        connection.close()


def test_wrong_tokens_foreign_hosts_and_foreign_origins_are_refused(network: Network) -> None:
    with viewing(network["client"].pidfile) as (url, _):
        token = urlsplit(url).query
        assert ask(url, "/?token=wrong", {}) == (403, "", "")
        assert ask(url, "/", {})[0] == 401
        assert ask(url, f"/?{token}", {"Host": "attacker.example"}) == (421, "", "")
        status, cookie, page = ask(url, f"/?{token}", {})
        assert status == 303
        assert ask(url, page, {"Cookie": cookie})[0] == 200
        assert ask(url, page, {"Cookie": cookie, "Host": "attacker.example"})[0] == 421
        assert ask(url, page, {"Cookie": cookie, "Origin": "http://attacker.example"})[0] == 403


ATTACK = """<!doctype html><title>attack</title><script>
window.got = [];
const note = (how) => (what) => window.got.push([how, String(what)]);
fetch(URL_ + "stream", {credentials: "include"}).then(note("read"), note("refused"));
fetch(URL_ + "stream", {credentials: "include", mode: "no-cors"})
  .then((answer) => note("opaque")(answer.type), note("refused"));
const source = new EventSource(URL_ + "stream", {withCredentials: true});
source.addEventListener("picture", note("read"));
source.onerror = note("refused");
const script = document.createElement("script"); script.src = URL_ + "static/main.js";
script.onload = note("read"); script.onerror = note("refused"); document.head.append(script);
const frame = document.createElement("iframe"); frame.src = URL_; document.documentElement.append(frame);
</script>"""


def test_another_page_in_the_same_browser_gets_nothing(network: Network) -> None:
    with page(network["client"].pidfile) as shown:
        # As if the attacker knew the random path, which nobody does.
        address, cookies = shown.js("return location.href"), []

        class Attacker(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cookies.append(self.headers["Cookie"])
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(ATTACK.replace("URL_", json.dumps(address)).encode())

            def log_message(self, *_words: object) -> None:
                pass

        # Another port of the same host: for cookies the same site, so that they are sent along to our page.
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            shown.driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
            shown.wait("window.got.length >= 4", "all attempts have ended")
            got = shown.js("return window.got")
            server.shutdown()
        assert {how for how, _ in got} == {"refused"}, got
        assert set(cookies) == {None}, "the cookie belongs to the page's path"
        blocked = [each["message"] for each in problems(shown.driver) if "frame" in each["message"].lower()]
        assert blocked, "a frame of the page is blocked"


# -- a simulated one --


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Callable[[FakeMesh], FakeDaemon]]:
    """A function that makes a daemon with a mesh."""
    with ExitStack() as stack:
        yield lambda mesh: stack.enter_context(FakeDaemon(tmp_path, mesh))


def test_names_with_markup_stay_text(fake: Callable[[FakeMesh], FakeDaemon]) -> None:
    mesh = FakeMesh(8)
    mesh.names[3] = MARKUP
    mesh.add_addresses()
    mesh.vips[0]["checks"][0]["detail"] = MARKUP
    mesh.tell("node-down", node=MARKUP)
    mesh.tell("failover", address="10.1.1.10", reason=MARKUP, from_node=MARKUP, to_node=MARKUP, clients=1,
              silence_ms=1, detection_ms=2, healing_ms=3, total_ms=6)  # fmt: skip
    with page(fake(mesh).pidfile) as shown:
        shown.wait("window.pytinc.graph.drawn.length === 8", "all nodes are drawn")
        mesh.names[4] = "__proto__"  # a name as good as any other, for a node that comes later
        shown.wait("window.pytinc.graph.drawn.includes('__proto__')", "a node with a name of JavaScript's")
        shown.js("window.pytinc.graph.select(arguments[0])", MARKUP)
        assert MARKUP in shown.text("#detail")
        for view in VIEWS[1:4]:
            shown.open(view)
            shown.wait(f"document.getElementById('{view}').innerText.includes({json.dumps(MARKUP)})", view)
        time.sleep(1)
        assert shown.js("return document.images.length") == 1  # our own sign
        assert shown.js("return window.hacked") is None
        assert problems(shown.driver) == []


def memory_of(driver: Any) -> float:
    """Return the megabytes that the page's process has: its own, and its part of what it shares."""
    found = []
    browser_pid = driver.service.process.pid
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()  # a renderer writes its own, with blanks
            if b"--type=renderer" not in words or b"--extension-process" in words:
                continue
            if not is_below(int(entry.name), browser_pid):
                continue
            text = (entry / "smaps_rollup").read_text()
        except OSError:
            continue
        found.append(int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024)  # type: ignore[index]
    return max(found)


def is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


PAN = """
const done = arguments[arguments.length - 1], frames = arguments[0], graph = window.pytinc.graph;
const times = []; let count = 0;
const step = (now) => {
  times.push(now);
  if (count++ === frames) { done(times); return; }
  graph.pan(6 * Math.cos(count / 20), 4 * Math.sin(count / 17));
  requestAnimationFrame(step);
};
requestAnimationFrame(step);
"""


def test_three_hundred_nodes_stay_smooth_and_small(
    fake: Callable[[FakeMesh], FakeDaemon], images: Path
) -> None:
    mesh = FakeMesh(MANY)
    mesh.add_addresses()
    with page(fake(mesh).pidfile) as shown:
        shown.wait(f"window.pytinc.graph.drawn.length === {MANY}", "all nodes are drawn")
        time.sleep(5)  # the forces come to rest
        rates = []
        for _ in range(PANS):
            before = shown.js("return window.pytinc.graph.frames")
            times = shown.driver.execute_async_script(PAN, PAN_FRAMES)
            drawn = shown.js("return window.pytinc.graph.frames") - before
            assert drawn >= PAN_FRAMES - 2, "each step is drawn"
            rates.append((len(times) - 1) / (times[-1] - times[0]) * 1000)
            if max(rates) > FRAMES_A_SECOND:
                break
        shown.open("nodes")
        time.sleep(3)
        shown.open("mesh")
        memory = memory_of(shown.driver)
        print(f"{max(rates):.0f} frames a second of {[round(each) for each in rates]}, {memory:.0f} MB")
        shown.js("window.pytinc.graph.fit(false)")
        time.sleep(1)
        picture(shown.driver, images / "view-many-light.png")
        shown.js("document.getElementById('fold').click();")
        shown.wait("window.pytinc.graph.nodes.size < 40", "the groups are folded")
        time.sleep(2)
        picture(shown.driver, images / "view-many-folded-light.png")
        assert max(rates) > FRAMES_A_SECOND
        assert memory < MEGABYTES
