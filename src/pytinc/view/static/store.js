// What the server has told, and what was measured since the page was opened.

export const POINTS = 120;
const KEYED = ["nodes", "edges", "addresses"];

class Store extends EventTarget {
  picture = null;
  events = [];
  state = null;
  history = new Map();
  totals = { time: [], rx: [], tx: [], announcements: [], graph: [] };
  heard = null; // when the daemon was heard last, by our clock
  message = null; // when the server was heard last

  whole(picture) {
    // A node may be called __proto__ or constructor.
    for (const name of KEYED) Object.setPrototypeOf(picture[name], null);
    this.picture = picture;
    this.#remember();
    this.dispatchEvent(new Event("picture"));
  }

  change(difference) {
    if (!this.picture) return;
    for (const [name, value] of Object.entries(difference)) {
      if (!KEYED.includes(name)) { this.picture[name] = value; continue; }
      Object.assign(this.picture[name], value.set);
      for (const key of value.gone) { delete this.picture[name][key]; if (name === "nodes") this.history.delete(key); }
    }
    this.#remember();
    this.dispatchEvent(new Event("picture"));
  }

  told(events) {
    this.events.push(...events);
    if (this.events.length > 2000) this.events.splice(0, this.events.length - 2000);
    this.dispatchEvent(new CustomEvent("events", { detail: events }));
  }

  #remember() {
    const now = Date.now() / 1000, { totals } = this;
    // A silent node changes the picture between two measurements: that is no point of its own.
    const last = totals.time.at(-1);
    const again = last !== undefined && now - last < 0.5;
    let rx = 0, tx = 0;
    for (const node of Object.values(this.picture.nodes)) {
      if (!node.self) { rx += node.rx_rate; tx += node.tx_rate; }
      let known = this.history.get(node.name);
      if (!known) this.history.set(node.name, (known = { time: [], rx: [], tx: [], rtt: [] }));
      push(known, again, now, { rx: node.rx_rate, tx: node.tx_rate, rtt: node.rtt_us === null ? null : node.rtt_us / 1000 });
    }
    const health = this.picture.health;
    push(totals, again, now, { rx, tx, announcements: health?.announcement_rate ?? null, graph: health?.graph_rate ?? null });
  }
}

function push(series, again, now, values) {
  if (again) return;
  series.time.push(now);
  for (const [name, value] of Object.entries(values)) series[name].push(value);
  if (series.time.length > POINTS) for (const list of Object.values(series)) list.shift();
}

export const store = new Store();
