// Small lines in tables, and charts with axes (uPlot).
import { colour, h } from "./dom.js";
import { POINTS } from "./store.js";

/** Draw lines that end at the right edge; ``lines`` are [values, colour]. */
export function spark(canvas, lines) {
  const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const points = 60;
  let most = 0;
  for (const [values] of lines) for (const value of values.slice(-points)) if (value > most) most = value;
  for (const [values, paint] of lines) {
    const shown = values.slice(-points);
    pen.beginPath();
    let open = false;
    shown.forEach((value, index) => {
      if (value === null) { open = false; return; }
      const x = width - 1.5 - (shown.length - 1 - index) * ((width - 3) / (points - 1));
      const y = height - 2 - (most ? value / most : 0) * (height - 5);
      if (open) pen.lineTo(x, y); else pen.moveTo(x, y);
      open = true;
    });
    pen.strokeStyle = paint;
    pen.lineWidth = 1.25;
    pen.lineJoin = "round";
    pen.stroke();
  }
}

/** A chart over time that fits its element and follows the theme. */
export class Chart {
  #made = null; #data = null; #theme = ""; #width = 0;

  /** ``series``: [{label, colour, fill?}]; ``text`` turns a value into words. */
  constructor(box, series, text, height = 150) {
    this.box = box; this.series = series; this.text = text; this.height = height;
    new ResizeObserver(() => this.#show()).observe(box);
  }

  set(data) { this.#data = data; this.#show(); }

  #show() {
    const width = Math.floor(this.box.clientWidth), theme = colour("page");
    if (!this.#data || !width) return;
    if (this.#made && theme === this.#theme && width === this.#width) { this.#made.setData(this.#data); return; }
    this.#theme = theme; this.#width = width;
    this.#made?.destroy();
    this.box.replaceChildren();
    const axis = { stroke: colour("dim"), font: "11px system-ui, sans-serif", grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    this.#made = new uPlot({
      width, height: this.height, legend: { show: false }, cursor: { y: false, points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] }, x: { range: (_, low, high) => [high - POINTS, high] } },
      axes: [
        { ...axis, grid: { show: false }, size: 28, space: 70, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString("en-GB")) },
        { ...axis, size: 64, space: 34, values: (_, ticks) => ticks.map(this.text) },
      ],
      series: [{}, ...this.series.map((each) => ({ label: each.label, stroke: colour(each.colour), width: 1.6, fill: each.fill ? `${colour(each.colour)}22` : undefined, points: { show: false }, spanGaps: false }))],
    }, this.#data, this.box);
    if (this.series.length > 1) this.box.append(h("p", { class: "keys" }, ...this.series.map((each) => h("span", { class: `key ${each.colour}` }, each.label))));
  }
}
