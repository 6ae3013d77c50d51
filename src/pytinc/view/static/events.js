// The log of events, latest first, with filters.
import { $, h, reconcile, say } from "./dom.js";
import { precise } from "./format.js";
import { store } from "./store.js";

const GROUPS = {
  nodes: ["node-up", "node-down", "suspect", "cleared", "silent", "answers"],
  paths: ["path"],
  connections: ["connection-up", "connection-down"],
  addresses: ["failover", "vip-owner", "vip-state", "mac-moved"],
  trouble: ["drops", "storm", "loop", "gap"],
  daemon: ["start", "reload", "script"],
};
const OF = new Map(Object.entries(GROUPS).flatMap(([group, kinds]) => kinds.map((kind) => [kind, group])));
const BAD = new Set(["node-down", "silent", "connection-down", "drops", "storm", "loop", "gap"]);
const GOOD = new Set(["node-up", "answers", "cleared", "failover", "connection-up"]);
const MOST = 400;
const off = new Set();

export function setUpEvents() {
  for (const group of [...Object.keys(GROUPS), "other"]) {
    $("event-kinds").append(h("button", { class: "chip", "aria-pressed": "true", on: { click: (event) => {
      const on = off.has(group);
      if (on) off.delete(group); else off.add(group);
      event.currentTarget.setAttribute("aria-pressed", String(on));
      updateEvents();
    } } }, group));
  }
  $("event-filter").addEventListener("input", updateEvents);
}

export function updateEvents() {
  const wanted = $("event-filter").value.trim().toLowerCase();
  const found = store.events.filter((event) => !off.has(OF.get(event.kind) ?? "other") && (!wanted || `${event.kind} ${event.text}`.toLowerCase().includes(wanted)));
  const known = store.state?.events;
  say($("event-count"), known === false ? "this daemon tells no events" : `${found.length} of ${store.events.length} events`);
  const log = $("log");
  if (!found.length) {
    log.replaceChildren(h("li", { class: "empty" }, known === false ? "This daemon tells no events: it is tincd, or an older pytincd." : store.events.length ? "No event matches." : "Nothing has been told yet."));
    return;
  }
  log.querySelector(".empty")?.remove();
  reconcile(log, found.slice(-MOST).reverse(), (event) => `${event.time} ${event.seq}`, (event) => h("li", { class: BAD.has(event.kind) ? "bad" : GOOD.has(event.kind) ? "good" : "" },
    h("time", {}, precise(event.time)), h("span", { class: "kind" }, event.kind), h("span", { class: "text" }, event.text)), () => {});
}
