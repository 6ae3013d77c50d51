// The table of nodes, with lines of their last minute.
import { $, colour, h, reconcile, say } from "./dom.js";
import { STATES, duration, rate, rtt, stateOf } from "./format.js";
import { spark } from "./chart.js";
import { store } from "./store.js";

const ORDER = ["self", "udp", "relayed", "tcp", "none", "silent", "unreachable"];
const COLUMNS = [
  { id: "name", title: "Node", of: (node) => node.name },
  { id: "kind", title: "Program", of: (node) => node.kind ?? "" },
  { id: "state", title: "Path", of: (node) => ORDER.indexOf(stateOf(node)) },
  { id: "rtt", title: "Round trip", of: (node) => node.rtt_us ?? Infinity, number: true },
  { id: "in", title: "In", of: (node) => -node.rx_rate, number: true },
  { id: "out", title: "Out", of: (node) => -node.tx_rate, number: true },
  { id: "spark", title: "Traffic, round trip" },
  { id: "pmtu", title: "Path MTU", of: (node) => -(node.pmtu ?? 0), number: true },
  { id: "subnets", title: "Subnets", of: (node) => -node.subnets_total, number: true },
  { id: "drops", title: "Dropped", of: (node) => -(node.drops ?? 0), number: true },
];

export class NodeTable {
  #sort = "name"; #down = false; #seen = new Set(); #watch;

  constructor(choose) {
    this.choose = choose;
    $("node-table").tHead.append(h("tr", {}, ...COLUMNS.map((column) =>
      h("th", { scope: "col", class: column.number ? "num" : null, "data-column": column.id, "aria-sort": column.id === "name" ? "ascending" : null },
        column.of ? h("button", { on: { click: () => this.#sortBy(column.id) } }, column.title) : column.title))));
    $("node-filter").addEventListener("input", () => this.update());
    this.#watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) { if (isIntersecting) { this.#seen.add(target); this.#lines(target); } else this.#seen.delete(target); }
    });
  }

  #sortBy(id) {
    this.#down = this.#sort === id && !this.#down;
    this.#sort = id;
    for (const head of $("node-table").tHead.querySelectorAll("th")) {
      if (head.dataset.column === id) head.setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.update();
  }

  update() {
    if (!store.picture) return;
    const wanted = $("node-filter").value.trim().toLowerCase();
    const all = Object.values(store.picture.nodes);
    const of = COLUMNS.find((column) => column.id === this.#sort).of, sign = this.#down ? -1 : 1;
    const shown = all.filter((node) => matches(node, wanted)).sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x === y ? 0 : x < y ? -1 : 1;
      return sign * order || a.name.localeCompare(b.name, "en", { numeric: true });
    });
    say($("node-count"), shown.length === all.length ? `${all.length} nodes` : `${shown.length} of ${all.length} nodes`);
    reconcile($("node-table").tBodies[0], shown, (node) => node.name, (node) => this.#row(node), (row, node) => this.#fill(row, node));
    for (const row of this.#seen) if (row.isConnected) this.#lines(row); else this.#seen.delete(row);
  }

  #row(node) {
    const row = h("tr", {},
      h("th", { scope: "row" }, h("button", { class: "name", on: { click: () => this.choose(node.name) } }, node.name), h("small")),
      h("td", { "data-title": "Program" }), h("td", { "data-title": "Path" }, h("span", { class: "badge" })),
      ...["Round trip", "In", "Out"].map((title) => h("td", { class: "num", "data-title": title })),
      h("td", { class: "sparks" }, h("canvas", { class: "spark", role: "img", "aria-label": "traffic of the last minute" }), h("canvas", { class: "spark", role: "img", "aria-label": "round trip time of the last minute" })),
      ...["Path MTU", "Subnets", "Dropped"].map((title) => h("td", { class: "num", "data-title": title })));
    this.#watch.observe(row);
    return row;
  }

  #fill(row, node) {
    const cells = row.cells, state = stateOf(node);
    say(cells[0].lastElementChild, node.self ? "this node" : node.host ?? "");
    say(cells[1], node.kind ?? "–");
    const badge = cells[2].firstElementChild;
    say(badge, STATES[state] + (state === "relayed" && node.relay ? ` by ${node.relay}` : ""));
    badge.className = `badge ${state}`;
    say(cells[3], rtt(node.rtt_us));
    say(cells[4], rate(node.rx_rate));
    say(cells[5], rate(node.tx_rate));
    say(cells[7], node.pmtu ? String(node.pmtu) : "–");
    say(cells[8], String(node.subnets_total));
    say(cells[9], node.drops === null ? "–" : String(node.drops));
    row.classList.toggle("off", state === "unreachable" || state === "silent");
  }

  #lines(row) {
    const known = store.history.get(row.dataset.key);
    if (!known) return;
    const [traffic, delay] = row.querySelectorAll("canvas");
    spark(traffic, [[known.rx, colour("in")], [known.tx, colour("out")]]);
    spark(delay, [[known.rtt, colour("rtt")]]);
  }
}

/** Tell whether a node is meant by what somebody typed. */
export function matches(node, wanted) {
  if (!wanted) return true;
  return [node.name, node.host, node.kind, STATES[stateOf(node)], ...node.subnets].some((text) => text?.toLowerCase().includes(wanted));
}

/** The fields of a node that the panel beside the graph lists. */
export function facts(node) {
  const state = stateOf(node);
  return [
    ["State", STATES[state] + (node.relay && state === "relayed" ? ` by ${node.relay}` : "")],
    ["Program", node.kind ?? "not known"],
    ["Address", node.host ? `${node.host} port ${node.port}` : "–"],
    ["Next hop", node.nexthop ?? "–"],
    ["Round trip", rtt(node.rtt_us)],
    ["Path MTU", node.pmtu ? `${node.pmtu} bytes` : "–"],
    ["In, out", `${rate(node.rx_rate)}, ${rate(node.tx_rate)}`],
    ["Key since", node.key_age_s === null ? "–" : duration(node.key_age_s)],
    [node.reachable ? "Reachable since" : "Unreachable since", node.last_state_change ? duration(Date.now() / 1000 - node.last_state_change) : "–"],
    ["Dropped packets", node.drops === null ? "–" : String(node.drops)],
    ["Subnets", node.subnets.join(", ") + (node.subnets_total > node.subnets.length ? ` and ${node.subnets_total - node.subnets.length} more` : "") || "none"],
  ];
}
