// The page: the stream of the server, the tabs, and whether what is shown is still true.
import { $, h, reconcile, say } from "./dom.js";
import { duration, ms, perSecond, rate } from "./format.js";
import { Chart } from "./chart.js";
import { failovers, updateAddresses } from "./addresses.js";
import { setUpEvents, updateEvents } from "./events.js";
import { Graph, legend } from "./graph.js";
import { updateHealth } from "./health.js";
import { NodeTable, facts, matches } from "./nodes.js";
import { store } from "./store.js";

const QUIET_MS = 3000; // after this without a word, what is shown is an old picture
const VIEWS = ["mesh", "nodes", "addresses", "events", "health"];

const graph = new Graph((name) => showDetail(name));
const table = new NodeTable((name) => { open("mesh"); graph.select(name, true); });
let view = "mesh", refused = "";
const UPDATES = { mesh: updateMesh, nodes: () => table.update(), addresses: updateAddresses, events: updateEvents, health: updateHealth };

// -- the stream --

function connect() {
  const source = new EventSource("stream");
  const on = (kind, act) => source.addEventListener(kind, (event) => { store.message = performance.now(); act(JSON.parse(event.data)); });
  on("picture", (document) => store.whole(document));
  on("change", (document) => store.change(document));
  on("events", (document) => store.told(document));
  on("full", ({ text }) => { refused = text; source.close(); setTimeout(connect, 5000); });
  on("state", (state) => {
    const before = store.state?.events;
    store.state = state;
    refused = "";
    store.heard = state.heard_ms === null ? null : performance.now() - state.heard_ms;
    if (state.events !== before) refresh();
    judge();
  });
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000); });
}

/** Tell whether the picture is fresh; if not, who is silent. */
function judge() {
  const now = performance.now();
  const server = store.message === null ? null : now - store.message, daemon = store.heard === null ? null : now - store.heard;
  let live = "live", text = "live", banner = "";
  if (refused) { live = "lost"; text = "refused"; banner = refused; }
  else if (server === null) { live = "waiting"; text = "waiting"; if (now > QUIET_MS) { live = "lost"; banner = "Nothing has come from the page's server yet."; } }
  else if (server > QUIET_MS) { live = "lost"; text = "no server"; banner = `Nothing heard from the page's server for ${duration(server / 1000)}: it has ended, or cannot be reached. What you see is old. If it was started again, open the URL that it printed.`; }
  else if (daemon === null ? now > QUIET_MS || store.state?.problem : daemon > QUIET_MS) {
    live = "lost"; text = "no daemon";
    const why = store.state?.problem ? ` (${store.state.problem})` : "";
    banner = daemon === null ? `The daemon does not answer${why}.` : `Nothing heard from the daemon for ${duration(daemon / 1000)}${why}. What you see is old.`;
  }
  document.body.dataset.live = live;
  say($("live-text"), text);
  $("banner").hidden = !banner;
  if ($("banner").textContent.replace(/\d+ (s|min|h)/, "") !== banner.replace(/\d+ (s|min|h)/, "")) say($("banner"), banner);
  else if (banner) $("banner").firstChild.data = banner;
}

store.addEventListener("picture", refresh);
store.addEventListener("events", ({ detail }) => {
  for (const event of detail) if (["silent", "failover", "node-down"].includes(event.kind) && Date.now() / 1000 - event.time < 5) say($("said"), event.text);
  refresh();
});

function refresh() {
  const about = store.picture?.about;
  if (about) {
    say($("net"), about.net || "pytinc");
    say($("who"), `seen from ${about.name} (${about.program})`);
    document.title = `${about.net || "pytinc"} · ${about.name}`;
  }
  if (store.picture || view === "events") UPDATES[view]();
}

// -- the mesh --

function updateMesh() {
  graph.update();
  const nodes = Object.values(store.picture.nodes), others = nodes.filter((node) => !node.self);
  const by = (path) => others.filter((node) => node.reachable && !node.silent && node.path === path).length;
  const silent = others.filter((node) => node.silent && node.reachable), gone = others.filter((node) => !node.reachable);
  const last = failovers()[0], { totals } = store, health = store.picture.health;
  const tiles = [
    ["Nodes", `${nodes.length - gone.length - silent.length} / ${store.picture.about.nodes_total}`, [silent.length ? `${silent.length} silent` : "", gone.length ? `${gone.length} unreachable` : ""].filter(Boolean).join(", ") || "all are reachable", silent.length || gone.length ? "bad" : ""],
    ["Paths", `${by("udp")} direct`, `${by("relayed")} relayed, ${by("tcp")} TCP${by("none") ? `, ${by("none")} without key` : ""}`, ""],
    ["Traffic", rate((totals.rx.at(-1) ?? 0) + (totals.tx.at(-1) ?? 0)), `in ${rate(totals.rx.at(-1) ?? 0)}, out ${rate(totals.tx.at(-1) ?? 0)}`, ""],
    ["Announcements", health?.announcement_rate == null ? "–" : `${perSecond(health.announcement_rate)} /s`, health?.announcements == null ? "not counted" : "a quiet mesh has none", ""],
    ["Last fail-over", last ? ms(last.total_ms ?? last.silence_ms) : "none", last ? `${last.address}: ${last.from_node ?? "nobody"} → ${last.to_node ?? "nobody"}` : "since the daemon started", ""],
  ];
  reconcile($("tiles"), tiles, ([name]) => name, ([name]) => h("div", { class: "tile" }, h("span", {}, name), h("b"), h("small")), (tile, [, value, note, state]) => {
    say(tile.children[1], value); say(tile.children[2], note); tile.className = `tile ${state}`;
  });
  const summary = `${nodes.length} nodes, ${gone.length} unreachable, ${silent.length} silent${silent.length ? `: ${silent.map((node) => node.name).join(", ")}` : ""}. ${by("udp")} by UDP, ${by("relayed")} relayed, ${by("tcp")} by TCP.`;
  say($("graph-summary"), summary);
  const names = nodes.map((node) => node.name);
  if ($("names").childElementCount !== names.length) $("names").replaceChildren(...names.map((name) => h("option", { value: name })));
  if (graph.focus) showDetail(graph.focus);
  if ($("find").value) search();
}

let charts = null, detailOf = null;
function showDetail(name) {
  const box = $("detail"), node = name && store.picture?.nodes[name];
  box.hidden = !node;
  if (!node) { detailOf = null; return; }
  if (detailOf !== name) {
    detailOf = name;
    const traffic = h("div", { class: "chart" }), delay = h("div", { class: "chart" });
    box.replaceChildren(
      h("div", { class: "address-head" }, h("h2", {}, name), h("span", { class: "spring" }), h("button", { class: "quiet", "aria-label": "Show all nodes", on: { click: () => { graph.select(null); $("graph").focus(); } } }, "✕")),
      h("dl", { class: "facts one" }), h("h3", {}, "Traffic"), traffic, h("h3", {}, "Round trip time"), delay);
    charts = [new Chart(traffic, [{ label: "in", colour: "in", fill: true }, { label: "out", colour: "out" }], rate, 110), new Chart(delay, [{ label: "round trip", colour: "rtt" }], (value) => `${value} ms`, 110)];
  }
  reconcile(box.querySelector("dl"), facts(node), ([title]) => title, ([title]) => h("div", {}, h("dt", {}, title), h("dd")), (line, [, value]) => say(line.lastElementChild, value));
  const known = store.history.get(name);
  charts[0].set([known.time, known.rx, known.tx]);
  charts[1].set([known.time, known.rtt]);
}

function search() {
  const wanted = $("find").value.trim().toLowerCase();
  if (!store.picture) return;
  graph.mark(wanted ? new Set(Object.values(store.picture.nodes).filter((node) => matches(node, wanted)).map((node) => node.name)) : null);
}

function choose() { graph.set({ group: $("group").value, fold: $("fold").checked, links: $("links").checked, paths: $("paths").value }); }

$("find").addEventListener("input", search);
$("find").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { $("find").value = ""; search(); }
  if (event.key !== "Enter" || !graph.hits?.size) return;
  const typed = $("find").value.trim();
  graph.select(graph.hits.has(typed) ? typed : [...graph.hits].sort()[0], true);
});
for (const id of ["group", "links", "paths"]) $(id).addEventListener("change", choose);
$("fold").addEventListener("change", () => {
  if ($("fold").checked && !$("group").value) $("group").value = "hub"; // there is nothing to fold without groups
  choose();
});
$("zoom-in").addEventListener("click", () => graph.scale(1.4));
$("zoom-out").addEventListener("click", () => graph.scale(0.7));
$("zoom-fit").addEventListener("click", () => graph.fit());
$("legend").append(...legend());

// -- tabs and theme --

function open(name) {
  view = VIEWS.includes(name) ? name : "mesh";
  for (const each of VIEWS) {
    $(each).hidden = each !== view;
    const tab = $(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === view));
    tab.tabIndex = each === view ? 0 : -1;
  }
  if (location.hash !== `#/${view}`) history.replaceState(null, "", `#/${view}`);
  refresh();
}

for (const name of VIEWS) {
  $(`tab-${name}`).addEventListener("click", () => open(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = VIEWS[(VIEWS.indexOf(name) + step + VIEWS.length) % VIEWS.length];
    open(next);
    $(`tab-${next}`).focus();
  });
}
addEventListener("hashchange", () => open(location.hash.slice(2)));

const dark = matchMedia("(prefers-color-scheme: dark)");
$("theme").addEventListener("click", () => {
  const root = document.documentElement, now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds until the page is closed */ }
  graph.repaint();
  refresh();
});
dark.addEventListener("change", () => { graph.repaint(); refresh(); });

setUpEvents();
choose();
open(location.hash.slice(2));
connect();
setInterval(judge, 250);

// For the tests in a browser.
window.pytinc = { graph, store };
