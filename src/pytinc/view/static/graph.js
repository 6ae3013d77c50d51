// The mesh as a graph on a canvas: positions by d3's forces, drawn only when something has changed.
import { $, colour, h, say } from "./dom.js";
import { PATHS, rate, rtt, stateOf } from "./format.js";
import { store } from "./store.js";

const RTT_LOW = 0.3, RTT_HIGH = 200; // ms, the ends of the colours
const LABEL = "12px system-ui, -apple-system, 'Segoe UI', sans-serif";
const MANY = 60; // from so many nodes on, paths without traffic are hidden unless asked for

const traffic = (node) => (node.rx_rate ?? 0) + (node.tx_rate ?? 0);

export class Graph {
  nodes = new Map(); links = []; focus = null; hits = null;
  #canvas = $("graph"); #pen = this.#canvas.getContext("2d", { alpha: true });
  #at = d3.zoomIdentity; #dirty = false; #fits = true; #paints = {}; #shape = ""; #unfolded = new Set();
  #scene = document.createElement("canvas"); #sceneAt = null; #margin = [0, 0];
  #labels = null; #members = new Map(); #centres = new Map(); #zoom; #forces; #width = 0; #height = 0;
  frames = 0; // for the tests that measure

  constructor(onFocus) {
    this.onFocus = onFocus;
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#forces = d3.forceSimulation([])
      .force("charge", d3.forceManyBody().strength(-260).distanceMax(700).theta(1))
      .force("link", d3.forceLink([]).id((each) => each.id).distance((each) => 60 + 150 / Math.sqrt(this.nodes.size) + 6 * Math.sqrt(Math.min(each.source.degree, each.target.degree))).strength((each) => 0.7 / Math.sqrt(Math.min(each.source.degree, each.target.degree) || 1)))
      .force("x", d3.forceX((each) => this.#centre(each)[0]).strength((each) => (each.group ? 0.22 : 0.035)))
      .force("y", d3.forceY((each) => this.#centre(each)[1]).strength((each) => (each.group ? 0.22 : 0.08)))
      .force("apart", d3.forceCollide((each) => each.size + 9))
      .alphaDecay(0.04).stop();
    this.#forces.on("tick", () => { this.#labels = null; if (this.#fits) this.fit(false); this.dirty(); });
    this.#zoom = d3.zoom().scaleExtent([0.05, 8]).on("zoom", (event) => {
      if (event.sourceEvent) this.#fits = false;
      const scaled = event.transform.k !== this.#at.k;
      if (scaled) this.#labels = null;
      this.#at = event.transform;
      this.dirty(scaled);
    });
    const canvas = d3.select(this.#canvas);
    canvas.call(this.#zoom).on("dblclick.zoom", null);
    canvas.on("click", (event) => this.#click(event)).on("mousemove", (event) => this.#hover(event)).on("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(this.#canvas.parentElement);
    this.repaint();
  }

  // -- the outside --

  /** Take the colours of the theme. */
  repaint() {
    for (const name of ["page", "card", "text", "dim", "line", "link", "node", "udp", "relayed", "tcp", "bad", "silent", "accent", "accent-soft", "rtt-low", "rtt-mid", "rtt-high"]) this.#paints[name] = colour(name);
    this.heat = d3.scaleLog([RTT_LOW, Math.sqrt(RTT_LOW * RTT_HIGH), RTT_HIGH], [this.#paints["rtt-low"], this.#paints["rtt-mid"], this.#paints["rtt-high"]]).interpolate(d3.interpolateLab).clamp(true);
    this.dirty();
  }

  /** Show the picture as it is now. */
  update() {
    this.#build();
    this.dirty();
  }

  /** Show a node with its neighbours and the path to it; null shows all. */
  select(name, move = false) {
    this.focus = name;
    const item = name && this.#itemOf(name);
    if (item?.members) { this.#unfolded.add(item.group); this.update(); }
    if (move && item) this.#centreOn(this.#itemOf(name));
    this.onFocus(name);
    this.dirty();
  }

  /** Mark the nodes that a search has found; null: there is no search. */
  mark(names) { this.hits = names; this.#labels = null; this.dirty(); }

  set({ group, fold, links, paths }) {
    const moved = group !== this.group || fold !== this.fold;
    Object.assign(this, { group, fold, showLinks: links, showPaths: paths });
    if (moved) { this.#unfolded.clear(); this.#shape = ""; this.#fits = true; if (store.picture) this.#build(); }
    this.#labels = null;
    this.dirty();
  }

  fit(animate = true) {
    if (!this.nodes.size || !this.#width) return;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const { x, y, size } of this.nodes.values()) { left = Math.min(left, x - size - 34); right = Math.max(right, x + size + 34); top = Math.min(top, y - size - 16); bottom = Math.max(bottom, y + size + 30); }
    const wide = right - left, high = bottom - top;
    const room = this.#height - $("legend").offsetHeight;
    const scale = Math.min(2, this.#width / wide, room / high);
    const to = d3.zoomIdentity.translate(this.#width / 2, room / 2).scale(scale).translate(-(left + right) / 2, -(top + bottom) / 2);
    const canvas = d3.select(this.#canvas);
    if (animate && !this.still) canvas.transition().duration(350).call(this.#zoom.transform, to);
    else canvas.call(this.#zoom.transform, to);
    if (animate) this.#fits = true;
  }

  scale(by) { this.#fits = false; d3.select(this.#canvas).call(this.#zoom.scaleBy, by); }
  pan(x, y) { this.#fits = false; d3.select(this.#canvas).call(this.#zoom.translateBy, x / this.#at.k, y / this.#at.k); }

  /** Where a node is on the canvas, for tests. */
  place(name) { const item = this.#itemOf(name); return item ? this.#at.apply([item.x, item.y]) : null; }

  /** The nodes drawn as themselves and not in a folded group. */
  get drawn() { return [...this.nodes.values()].filter((item) => !item.members).map((item) => item.id); }

  /** Draw soon; ``anew``: something else than the place of the picture has changed. */
  dirty(anew = true) {
    if (anew) this.#sceneAt = null;
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => { this.#dirty = false; this.#draw(); this.frames += 1; });
  }

  // -- what is drawn: nodes, or groups in their place --

  #itemOf(name) { return this.nodes.get(this.#members.get(name) ?? name); }

  #groupOf(node, hubs) {
    if (!this.group || node.self) return "";
    if (this.group === "path") return PATHS[node.path];
    if (this.group === "kind") return node.kind ?? "program not known";
    return hubs.get(node.name) ?? "";
  }

  #build() {
    const { nodes, edges } = store.picture;
    const neighbours = new Map(Object.keys(nodes).map((name) => [name, new Set()]));
    for (const { a, b } of Object.values(edges)) { neighbours.get(a)?.add(b); neighbours.get(b)?.add(a); }
    const hubs = new Map();
    for (const [name, others] of neighbours) {
      const best = [...others].sort((a, b) => neighbours.get(b).size - neighbours.get(a).size || (a < b ? -1 : 1))[0];
      if (best) hubs.set(name, neighbours.get(best).size > neighbours.get(name).size ? best : name);
    }
    const items = new Map(), members = new Map(), sizes = new Map();
    const groups = new Map(Object.values(nodes).map((node) => [node.name, this.#groupOf(node, hubs)]));
    for (const group of groups.values()) sizes.set(group, (sizes.get(group) ?? 0) + 1);
    for (const node of Object.values(nodes)) {
      const group = groups.get(node.name);
      if (this.fold && group && sizes.get(group) > 1 && !this.#unfolded.has(group)) {
        const id = `group ${group}`;
        if (!items.has(id)) items.set(id, { id, group, label: group, members: [] });
        items.get(id).members.push(node);
        members.set(node.name, id);
      } else items.set(node.name, { id: node.name, group, label: node.name, node });
    }
    const links = new Map();
    for (const { a, b } of Object.values(edges)) {
      const [from, to] = [members.get(a) ?? a, members.get(b) ?? b].sort();
      if (from === to || !items.has(from) || !items.has(to)) continue;
      const link = links.get(`${from} ${to}`);
      if (link) link.count += 1; else links.set(`${from} ${to}`, { source: from, target: to, count: 1 });
    }
    for (const [id, item] of items) {
      item.degree = 0;
      const old = this.nodes.get(id);
      if (old) { item.x = old.x; item.y = old.y; item.vx = old.vx; item.vy = old.vy; }
      else { // where its neighbours are already, beside a folded group, or somewhere
        const near = [...(neighbours.get(id) ?? [])].map((name) => this.#itemOf(name)).find((each) => each?.x !== undefined) ?? this.#itemOf(id);
        const [x, y] = near?.x !== undefined ? [near.x, near.y] : this.#spiral(items.size);
        item.x = x + 20 * (Math.random() - 0.5); item.y = y + 20 * (Math.random() - 0.5);
      }
    }
    for (const link of links.values()) { items.get(link.source).degree += 1; items.get(link.target).degree += 1; }
    for (const item of items.values()) item.size = item.members ? 14 + 3 * Math.sqrt(item.members.length) : item.node.self ? 10 : 6 + Math.min(3, Math.sqrt(item.degree) / 1.6);
    this.nodes = items; this.#members = members; this.neighbours = neighbours;
    const shape = `${[...items.keys()].join()}|${[...links.keys()].join()}|${[...groups.values()].join()}`;
    if (shape === this.#shape) { this.#relink(); return; }
    this.#place([...new Set(groups.values())].filter(Boolean).sort(), items);
    const first = !this.#shape || this.still;
    this.#shape = shape; this.#labels = null;
    this.links = [...links.values()];
    this.#forces.nodes([...items.values()]);
    this.#forces.force("link").links(this.links);
    this.#forces.alpha(first ? 1 : 0.35);
    if (first) { // a first picture that jumps about is of no use to anybody
      this.#forces.tick(items.size > 150 ? 120 : 220);
      this.#forces.alpha(0.03);
      this.fit(false);
    }
    if (!this.still) this.#forces.restart();
  }

  /** The nodes are new objects, at the same places: have forces and links use them. */
  #relink() {
    for (const link of this.links) { link.source = this.nodes.get(link.source.id); link.target = this.nodes.get(link.target.id); }
    this.#forces.nodes([...this.nodes.values()]);
  }

  #spiral(count) { const turn = this.nodes.size + count * Math.random(); return [14 * Math.sqrt(turn) * Math.cos(turn * 2.4), 14 * Math.sqrt(turn) * Math.sin(turn * 2.4)]; }

  #place(groups, items) {
    const around = this.fold ? 90 + 18 * groups.length : 60 + 16 * Math.sqrt(items.size) + 12 * groups.length;
    this.#centres = new Map(groups.map((group, index) => [group, [around * 1.25 * Math.cos((2 * Math.PI * index) / groups.length - 0.6), around * 0.85 * Math.sin((2 * Math.PI * index) / groups.length - 0.6)]]));
  }

  #centre(item) { return this.#centres.get(item.group) ?? [0, 0]; }

  // -- drawing --

  #resize() {
    const box = this.#canvas.parentElement;
    this.#width = box.clientWidth; this.#height = box.clientHeight;
    this.#canvas.width = Math.round(this.#width * devicePixelRatio);
    this.#canvas.height = Math.round(this.#height * devicePixelRatio);
    this.#margin = [Math.round(this.#width / 4), Math.round(this.#height / 4)];
    this.#scene.width = Math.round((this.#width + 2 * this.#margin[0]) * devicePixelRatio);
    this.#scene.height = Math.round((this.#height + 2 * this.#margin[1]) * devicePixelRatio);
    this.#labels = null;
    if (this.#fits) this.fit(false);
    this.dirty();
  }

  /** Show the scene, which is larger than the canvas: as long as the picture is only moved, it is drawn once. */
  #draw() {
    if (!this.#width) return;
    const far = this.#sceneAt && [this.#at.x - this.#sceneAt.x, this.#at.y - this.#sceneAt.y];
    if (!far || Math.abs(far[0]) > this.#margin[0] || Math.abs(far[1]) > this.#margin[1]) this.#render();
    const [x, y] = [this.#at.x - this.#sceneAt.x - this.#margin[0], this.#at.y - this.#sceneAt.y - this.#margin[1]];
    this.#pen.setTransform(1, 0, 0, 1, 0, 0);
    this.#pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#pen.drawImage(this.#scene, Math.round(x * devicePixelRatio), Math.round(y * devicePixelRatio));
  }

  #render() {
    const pen = this.#scene.getContext("2d"), { k } = this.#at, [mx, my] = this.#margin;
    this.#sceneAt = this.#at;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.#scene.width, this.#scene.height);
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, mx * devicePixelRatio, my * devicePixelRatio);
    pen.translate(this.#at.x, this.#at.y);
    pen.scale(k, k);
    const near = this.focus ? new Set([this.focus, ...(this.neighbours?.get(this.focus) ?? [])].map((name) => this.#members.get(name) ?? name)) : null;
    if (this.group && !this.fold) this.#drawGroups(pen);
    if (this.showLinks) this.#drawLinks(pen, near);
    if (this.showPaths) this.#drawPaths(pen, near);
    pen.setLineDash([]);
    for (const item of this.nodes.values()) this.#drawNode(pen, item, this.#isFaint(item, near));
    pen.globalAlpha = 1;
    this.#drawLabels(pen, near);
  }

  #isFaint(item, near) {
    if (near && !near.has(item.id)) return true;
    return this.hits !== null && this.hits !== undefined && !(item.members ? item.members.some((node) => this.hits.has(node.name)) : this.hits.has(item.id));
  }

  #drawGroups(pen) {
    const groups = d3.group([...this.nodes.values()].filter((item) => item.group), (item) => item.group);
    for (const [group, items] of groups) {
      const points = items.flatMap(({ x, y, size }) => [0, 1, 2, 3, 4, 5].map((turn) => [x + (size + 14) * Math.cos(turn * 1.047), y + (size + 14) * Math.sin(turn * 1.047)]));
      const hull = d3.polygonHull(points);
      if (!hull) continue;
      pen.beginPath();
      d3.line().curve(d3.curveCatmullRomClosed.alpha(0.8)).context(pen)(hull);
      pen.globalAlpha = 0.07; pen.fillStyle = this.#paints.accent; pen.fill();
      pen.globalAlpha = 0.25; pen.strokeStyle = this.#paints.accent; pen.lineWidth = 1 / this.#at.k; pen.stroke();
      const top = hull.reduce((best, point) => (point[1] < best[1] ? point : best));
      pen.globalAlpha = 1; pen.fillStyle = this.#paints.dim;
      pen.font = `600 ${12 / this.#at.k}px system-ui, sans-serif`; pen.textAlign = "center";
      pen.fillText(`${group} · ${items.length}`, top[0], top[1] - 6 / this.#at.k);
    }
    pen.globalAlpha = 1;
  }

  #drawLinks(pen, near) {
    const [bright, faint] = [new Path2D(), new Path2D()];
    for (const { source, target } of this.links) {
      const shown = near ? source.id === this.focus || target.id === this.focus : this.hits === null || this.hits === undefined;
      const path = shown ? bright : faint;
      path.moveTo(source.x, source.y); path.lineTo(target.x, target.y);
    }
    pen.setLineDash([]);
    pen.strokeStyle = this.#paints.link;
    pen.lineWidth = Math.max(1, 0.9 / this.#at.k);
    pen.globalAlpha = 0.25; pen.stroke(faint);
    pen.globalAlpha = 1; pen.stroke(bright);
  }

  #drawPaths(pen, near) {
    const me = [...this.nodes.values()].find((item) => item.node?.self);
    if (!me) return;
    const busyOnly = this.showPaths === "busy" && this.nodes.size > MANY;
    pen.lineCap = "round";
    for (const item of this.nodes.values()) {
      const node = item.members ? item.members.reduce((a, b) => (traffic(a) > traffic(b) ? a : b)) : item.node;
      if (node.self || !node.reachable || node.path === "none") continue;
      const carried = item.members ? d3.sum(item.members, traffic) : traffic(node);
      const chosen = item.id === this.focus;
      if (busyOnly && !chosen && carried < 20_000) continue;
      if (this.showPaths === "busy" && !busyOnly && !chosen && carried < 1) continue;
      const faint = this.focus ? !chosen && this.focus !== me.id : this.#isFaint(item, near);
      const relay = node.relay && this.#itemOf(node.relay);
      pen.beginPath();
      pen.moveTo(me.x, me.y);
      if (relay && relay !== item && relay !== me) pen.lineTo(relay.x, relay.y);
      pen.lineTo(item.x, item.y);
      const width = (1.4 + 1.1 * Math.max(0, Math.log10(carried / 1000 + 1))) / Math.sqrt(this.#at.k);
      pen.lineWidth = width;
      pen.setLineDash(node.path === "relayed" ? [7, 6].map((part) => part / Math.sqrt(this.#at.k)) : node.path === "tcp" ? [1, 5].map((part) => part / Math.sqrt(this.#at.k)) : []);
      pen.globalAlpha = faint ? 0.08 : node.silent ? 0.3 : this.nodes.size > MANY && !chosen ? 0.5 : 0.85;
      pen.strokeStyle = node.silent || node.rtt_us === null ? this.#paints.dim : this.heat(Math.max(node.rtt_us / 1000, RTT_LOW));
      pen.stroke();
    }
    pen.lineCap = "butt";
    pen.globalAlpha = 1;
  }

  #drawNode(pen, item, faint) {
    const { x, y, size, node } = item, paints = this.#paints;
    pen.globalAlpha = faint ? 0.15 : 1;
    pen.beginPath();
    if (item.members) pen.arc(x, y, size, 0, 7);
    else if (node.kind === "tincd") pen.roundRect(x - size, y - size, 2 * size, 2 * size, 2);
    else pen.arc(x, y, size, 0, 7);
    const state = item.members ? "group" : stateOf(node);
    if (state === "unreachable") { pen.fillStyle = paints.card; pen.strokeStyle = paints.bad; pen.lineWidth = 2; pen.setLineDash([3, 2.5]); }
    else if (state === "silent") { pen.fillStyle = paints.silent; pen.strokeStyle = paints.bad; pen.lineWidth = 2.5; }
    else if (state === "group") { pen.fillStyle = paints["accent-soft"]; pen.strokeStyle = paints.accent; pen.lineWidth = 1.5; }
    else { pen.fillStyle = node.self ? paints.accent : node.kind === null ? paints.card : paints.node; pen.strokeStyle = node.self || node.kind !== null ? paints.card : paints.node; pen.lineWidth = node.kind === null && !node.self ? 2 : 1.5; }
    pen.fill(); pen.stroke();
    pen.setLineDash([]);
    if (state === "silent" || item.members) {
      pen.fillStyle = item.members ? paints.accent : paints.bad;
      pen.font = `700 ${item.members ? 12 : size * 1.7}px system-ui, sans-serif`; pen.textAlign = "center"; pen.textBaseline = "middle";
      pen.fillText(item.members ? item.members.length : "!", x, y + 0.5);
      pen.textBaseline = "alphabetic";
    }
    if (item.id === this.focus || (this.hits && this.hits.has(item.id)) || node?.self) {
      pen.beginPath(); pen.arc(x, y, size + 4, 0, 7);
      pen.strokeStyle = paints.accent; pen.lineWidth = item.id === this.focus ? 2.5 : 1.2; pen.stroke();
    }
  }

  /** Labels that do not lie upon each other, the most important first; the choice is kept while nothing moves. */
  #drawLabels(pen, near) {
    const { k } = this.#at;
    if (!this.#labels) {
      const taken = new Set(), cell = 14;
      this.#labels = [];
      pen.font = LABEL;
      const important = (item) => (item.node?.self ? 1e9 : 0) + (item.members ? 1e8 : 0) + (this.hits?.has(item.id) ? 1e7 : 0) + (item.node && stateOf(item.node) === "silent" ? 1e6 : 0) + item.degree;
      for (const item of [...this.nodes.values()].sort((a, b) => important(b) - important(a))) {
        const text = item.label.length > 24 ? `${item.label.slice(0, 23)}…` : item.label;
        item.labelWidth ??= pen.measureText(text).width;
        const left = item.x * k - item.labelWidth / 2, top = item.y * k + item.size * k + 3;
        const cells = [];
        for (let x = Math.floor(left / cell); x <= (left + item.labelWidth) / cell; x += 1) for (let y = Math.floor(top / cell); y <= (top + 14) / cell; y += 1) cells.push(`${x},${y}`);
        if (cells.some((each) => taken.has(each))) continue;
        for (const each of cells) taken.add(each);
        this.#labels.push([item, text]);
      }
    }
    const [mx, my] = this.#margin;
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, mx * devicePixelRatio, my * devicePixelRatio);
    pen.font = LABEL; pen.textAlign = "center"; pen.lineJoin = "round";
    for (const [item, text] of this.#labels) {
      const current = this.nodes.get(item.id);
      if (!current) continue;
      const [x, y] = this.#at.apply([current.x, current.y]);
      if (x < -80 - mx || y < -30 - my || x > this.#width + 80 + mx || y > this.#height + 30 + my) continue;
      pen.globalAlpha = this.#isFaint(current, near) ? 0.15 : 1;
      const bottom = y + current.size * k + 14;
      pen.strokeStyle = this.#paints.card; pen.lineWidth = 3;
      pen.strokeText(text, x, bottom);
      pen.fillStyle = current.node && stateOf(current.node) === "silent" ? this.#paints.bad : this.#paints.text;
      pen.fillText(text, x, bottom);
    }
    pen.globalAlpha = 1;
  }

  // -- people --

  #under(event) {
    const [x, y] = this.#at.invert(d3.pointer(event, this.#canvas));
    let best = null, distance = Infinity;
    for (const item of this.nodes.values()) {
      const far = Math.hypot(item.x - x, item.y - y);
      if (far < Math.max(item.size + 5, 12 / this.#at.k) && far < distance) { best = item; distance = far; }
    }
    return best;
  }

  #hover(event) {
    const item = this.#under(event), node = item?.node;
    this.#canvas.style.cursor = item ? "pointer" : "";
    this.#canvas.title = !item ? "" : item.members ? `${item.label}: ${item.members.length} nodes, click to unfold` : `${node.name}: ${PATHS[node.path]}${node.relay ? ` through ${node.relay}` : ""}${node.rtt_us === null ? "" : `, ${rtt(node.rtt_us)}`}, in ${rate(node.rx_rate)}, out ${rate(node.tx_rate)}`;
  }

  #click(event) {
    const item = this.#under(event);
    if (item?.members) { this.#unfolded.add(item.group); this.update(); return; }
    this.select(item ? item.id : null);
  }

  #centreOn(item) {
    this.#fits = false;
    const canvas = d3.select(this.#canvas);
    (this.still ? canvas : canvas.transition().duration(300)).call(this.#zoom.translateTo, item.x, item.y);
  }

  #key(event) {
    const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (steps[event.key]) this.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.scale(1.25);
    else if (event.key === "-") this.scale(0.8);
    else if (event.key === "0") this.fit();
    else if (event.key === "Escape") this.select(null);
    else if (event.key === "n" || event.key === "p") {
      const names = this.drawn.sort(), at = names.indexOf(this.focus);
      const next = names[(at + (event.key === "n" ? 1 : -1) + names.length) % names.length] ?? names[0];
      this.select(next, true);
      say($("said"), `${next}, ${STATE_WORDS(store.picture.nodes[next])}`);
    } else return;
    event.preventDefault();
  }
}

const STATE_WORDS = (node) => `${stateOf(node) === "self" ? "this node" : stateOf(node)}, ${rtt(node.rtt_us)}, in ${rate(node.rx_rate)}, out ${rate(node.tx_rate)}`;

/** The explanation of signs and colours. */
export function legend() {
  return [
    h("span", { class: "sign round" }, "pytinc"), h("span", { class: "sign square" }, "tincd"), h("span", { class: "sign hollow" }, "not known"),
    h("span", { class: "sign silent" }, "silent"), h("span", { class: "sign gone" }, "unreachable"),
    h("span", { class: "sign line udp" }, "UDP direct"), h("span", { class: "sign line relayed" }, "relayed"), h("span", { class: "sign line tcp" }, "TCP"), h("span", { class: "sign line meta" }, "meta connection"),
    h("span", { class: "heat" }, h("span", {}, `rtt ${RTT_LOW}`), h("i"), h("span", {}, `${RTT_HIGH} ms`)),
  ];
}
