// Shared addresses and virtual IPs, and the timeline of fail-overs.
import { $, h, reconcile, say } from "./dom.js";
import { duration, ms, precise, rtt } from "./format.js";
import { store } from "./store.js";

const STRETCHES = ["silence", "detection", "healing"];
const SAME_S = 2.5; // a change of owner and a fail-over within this time are one thing
const REASONS = { silent: "fell silent", unreachable: "became unreachable", withdrawn: "withdrew", removed: "lost the address", moved: "moved by policy", drain: "is drained", fault: "failed its checks", order: "moved by an order", preempt: "gave way to a higher priority", claim: "was taken over from", first: "first owner" };

export function updateAddresses() {
  if (!store.picture) return;
  timeline();
  const known = Object.values(store.picture.addresses);
  const list = $("address-list");
  if (!known.length) {
    const text = store.picture.guard === null ? "This daemon does not tell about shared addresses: it is tincd, or an older pytincd." : "No address is held by several nodes, and there is no virtual IP.";
    list.replaceChildren(h("p", { class: "card empty" }, text));
    return;
  }
  list.querySelector(".empty")?.remove();
  reconcile(list, known, (each) => each.address, (each) => h("article", { class: "card address" }), fill);
}

function fill(card, known) {
  const open = card.querySelector("details")?.open ?? false;
  const focused = card.contains(document.activeElement);
  const { vip, shared } = known;
  card.replaceChildren(...[
    h("div", { class: "address-head" },
      h("h2", { class: "mono" }, known.address),
      h("span", { class: "badge plain" }, vip ? "virtual IP" : "shared address"),
      vip?.frozen ? h("span", { class: "badge relayed" }, "frozen") : null,
      h("span", { class: "spring" }),
      h("span", { class: "owner" }, vip ? (vip.owner ? "served by " : "served by nobody") : mainHolder(shared) ? "mostly used: " : "held by nobody", h("b", {}, vip ? vip.owner ?? "" : mainHolder(shared) ?? ""))),
    vip ? members(vip) : null,
    shared ? holders(shared) : null,
    vip?.checks.length ? checks(vip.checks) : null,
    shared?.clients.length ? clients(shared) : null].filter(Boolean));
  const details = card.querySelector("details");
  if (details) { details.open = open; if (focused) details.querySelector("summary").focus(); }
}

const mainHolder = (shared) => { const best = [...shared.holders].sort((a, b) => b.clients - a.clients)[0]; return best && (best.node ?? best.mac); };

function table(caption, heads, rows) {
  return h("div", { class: "table-box" }, h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...heads.map(([title, number]) => h("th", { scope: "col", class: number ? "num" : null }, title)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell, index) => h("td", { class: heads[index][1] ? "num" : null, "data-title": heads[index][0] }, cell)))))));
}

const GOOD = { own: "udp", alive: "udp", suspect: "relayed", silent: "silent", unreachable: "unreachable", unwatched: "plain", active: "udp", backup: "plain", init: "plain", absent: "plain", drain: "relayed", fault: "unreachable" };
const badge = (word) => h("span", { class: `badge ${GOOD[word] ?? "plain"}` }, word);

function holders(shared) {
  return table(`Holders (${shared.holders_total})`, [["Node"], ["MAC address"], ["State"], ["Round trip", 1], ["Answered", 1], ["Clients", 1]],
    shared.holders.map((each) => [each.node ?? "–", h("span", { class: "mono" }, each.mac), badge(each.state), rtt(each.rtt_us), `${duration(each.answered_ms / 1000)} ago`, String(each.clients)]));
}

function members(vip) {
  return table(`Members (${vip.members_total}), balance ${vip.balance}, term ${vip.term}`, [["Member"], ["State"], ["Heard", 1], ["Priority", 1], ["Weight", 1], ["Clients", 1], ["Flows", 1], ["Guardian"]],
    vip.members.map((each) => [each.node, badge(each.alive ? each.state : "silent"), each.heard_ms === null ? "this node" : `${ms(each.heard_ms)} ago`, String(each.priority), String(each.weight), each.clients === null ? "–" : String(each.clients), each.flows === null ? "–" : String(each.flows), each.guardian ?? "–"]));
}

function checks(list) {
  return table("Health checks of this node", [["Check"], ["About"], ["Result"], ["Says"], ["Took", 1], ["Since", 1]],
    list.map((each) => [each.check, each.node ?? "this node", each.well === null ? badge("init") : h("span", { class: `badge ${each.well ? "udp" : "unreachable"}` }, each.well ? "good" : "bad"), each.detail || "–", rtt(each.took_us), each.since_ms === null ? "–" : duration(each.since_ms / 1000)]));
}

function clients(shared) {
  const holderOf = new Map(shared.holders.map((each) => [each.mac, each.node ?? each.mac]));
  return h("details", {}, h("summary", {}, `Clients (${shared.clients_total})`), table("Latest first", [["Address"], ["MAC address"], ["Behind"], ["Uses"], ["Idle", 1]],
    shared.clients.map((each) => [each.address ?? "–", h("span", { class: "mono" }, each.mac), each.node ?? "–", (each.holder && (holderOf.get(each.holder) ?? each.holder)) ?? "–", duration(each.idle_ms / 1000)])));
}

// -- fail-overs --

/** Every fail-over that is known, latest first. */
export function failovers() {
  const found = [], owners = [];
  for (const event of store.events) {
    if (event.kind === "failover") found.push({ ...event });
    if (event.kind === "vip-owner" && event.reason !== "first") owners.push({ ...event, healing_ms: null, total_ms: null, clients: null });
  }
  for (const owner of owners) if (!found.some((each) => each.address === owner.address && Math.abs(each.time - owner.time) < SAME_S)) found.push(owner);
  if (!store.state?.events && store.picture) { // a daemon without events tells the last one of each address
    for (const { address, shared } of Object.values(store.picture.addresses)) {
      const last = shared?.failover;
      if (last) found.push({ seq: 0, address, time: Date.now() / 1000 - last.ago_ms / 1000, from_node: last.from_node, to_node: last.to_node, reason: last.reason, silence_ms: last.silent_ms, detection_ms: null, healing_ms: last.took_ms === null ? null : Math.max(0, last.took_ms - last.silent_ms), total_ms: last.took_ms, clients: last.clients });
    }
  }
  return found.sort((a, b) => b.time - a.time).slice(0, 50);
}

function timeline() {
  const found = failovers();
  const total = (each) => STRETCHES.reduce((sum, name) => sum + (each[`${name}_ms`] ?? 0), 0);
  const longest = Math.max(500, ...found.map(total));
  say($("timeline-note"), found.length ? "From the last sign of the old holder to the first sign of the new one." : store.picture.guard === null ? "This daemon does not tell about fail-overs." : "There has been none since the daemon started.");
  reconcile($("timeline"), found, (each) => `${each.seq} ${each.address} ${each.from_node}`, (each) => h("li"), (line, each) => {
    const key = JSON.stringify([each, longest]);
    if (line.shown === key) return;
    line.shown = key;
    const parts = STRETCHES.filter((name) => each[`${name}_ms`] !== null && each[`${name}_ms`] !== undefined);
    line.replaceChildren(
      h("time", {}, precise(each.time)),
      h("div", { class: "what" },
        h("p", {}, h("b", { class: "mono" }, each.address), " ", h("span", {}, each.from_node ?? "nobody"), " → ", h("b", {}, each.to_node ?? "nobody"), h("small", {}, ` ${each.from_node ?? ""} ${REASONS[each.reason] ?? each.reason}${each.clients ? `, ${each.clients} client${each.clients === 1 ? "" : "s"} led over` : ""}`)),
        h("div", { class: "bar", "aria-hidden": "true" }, ...parts.map((name) => h("i", { class: name, width: `${Math.max(0.4, (100 * each[`${name}_ms`]) / longest)}%`, title: `${name} ${each[`${name}_ms`]} ms` }))),
        h("p", { class: "parts" }, ...parts.map((name) => h("span", {}, `${name} ${ms(each[`${name}_ms`])}`)), parts.length ? null : h("span", {}, "planned: nobody was silent"))),
      h("span", { class: "total" }, each.total_ms !== null && each.total_ms !== undefined ? ms(each.total_ms) : parts.length ? `> ${ms(total(each))}` : "–"));
  });
}
