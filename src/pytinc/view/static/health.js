// The storm meter, drops by reason, and what the daemon says of itself.
import { $, h, reconcile, say } from "./dom.js";
import { count, duration, perSecond, rate } from "./format.js";
import { Chart } from "./chart.js";
import { store } from "./store.js";

const REASONS = {
  short: "too short to be a packet", looped: "would have gone back where it came from", unreachable: "no way to its destination", no_key: "no key yet", no_path: "DirectOnly forbids the relay", not_for_us: "Forwarding = off",
  unknown_source: "unknown sender", unknown_destination: "unknown destination", not_authentic: "forged, damaged, repeated or too late", bad_record: "of a kind that is not allowed there", oversized: "too long", incomplete: "a super-frame lost pieces", ttl_exceeded: "its TTL ended", storm: "beyond BroadcastLimit",
};
let charts = null;

export function updateHealth() {
  if (!store.picture) return;
  charts ??= {
    storm: new Chart($("storm-chart"), [{ label: "announcements a second", colour: "accent", fill: true }, { label: "runs of the graph a second", colour: "rtt" }], (value) => perSecond(value)),
    traffic: new Chart($("traffic-chart"), [{ label: "in", colour: "in", fill: true }, { label: "out", colour: "out" }], rate),
  };
  const { health, about, connections, guard } = store.picture, { totals } = store;
  $("storm-chart").hidden = health?.announcements == null;
  charts.storm.set([totals.time, totals.announcements, totals.graph]);
  charts.traffic.set([totals.time, totals.rx, totals.tx]);
  say($("traffic-now"), rate((totals.rx.at(-1) ?? 0) + (totals.tx.at(-1) ?? 0)));
  say($("storm-now"), perSecond(health?.announcement_rate));
  say($("storm-note"), !health ? "This daemon does not count them: it is tincd." : health.announcements === null ? "This daemon does not count them: it is an older pytincd." : `ADD and DEL of edges and subnets, received and sent; ${count(health.announcements)} since the start. A quiet mesh has none.`);
  const drops = Object.entries(health?.drops ?? {}).filter(([, total]) => total).sort((a, b) => b[1] - a[1]);
  say($("drops-note"), !health ? "This daemon does not tell them: it is tincd." : drops.length ? "Packets of all nodes since the daemon's start." : "Nothing has been dropped since the daemon's start.");
  $("drops").hidden = !drops.length;
  const most = Math.max(1, ...drops.map(([, total]) => total));
  reconcile($("drops").tBodies[0], drops, ([reason]) => reason, ([reason]) => h("tr", {}, h("th", { scope: "row" }, h("span", {}, reason.replaceAll("_", " ")), h("small", {}, REASONS[reason] ?? "")), h("td", { class: "num", "data-title": "in all" }), h("td", { class: "num", "data-title": "a second" }), h("td", { class: "meter", "aria-hidden": "true" }, h("i"))), (row, [reason, total]) => {
    say(row.cells[1], count(total));
    say(row.cells[2], perSecond(health.drop_rates?.[reason]));
    row.cells[3].firstElementChild.style.width = `${(100 * total) / most}%`;
  });
  const facts = [
    ["Program", about.program], ["Process", String(about.pid)], ["Running for", duration(about.uptime_s)], ["Neighbours", String(connections.length)],
    ["MAC addresses", count(health?.macs)], ["Own MAC addresses", count(health?.own_macs)], ["Runs of the graph", count(health?.graph_runs)],
    ["Loop late by at most", health?.lag_max_us == null ? "–" : `${(health.lag_max_us / 1000).toFixed(1)} ms`],
    ["Frames that came back", count(health?.frames_returned)], ["Nodes watched by the guard", guard ? String(guard.watched) : "–"], ["Fail-overs", guard ? String(guard.failovers) : "–"], ["False suspicions", guard ? String(guard.false_suspicions) : "–"],
  ];
  reconcile($("facts"), facts, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")), (line, [, value]) => say(line.lastElementChild, value));
}
