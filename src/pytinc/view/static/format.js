// Numbers and times for people.

export function bytes(count, unit = "B") {
  let value = count;
  for (const prefix of ["", "k", "M", "G", "T"]) {
    if (value < 999.5) return `${value < 9.95 && prefix ? value.toFixed(1) : Math.round(value)} ${prefix}${unit}`;
    value /= 1000;
  }
  return `${Math.round(value)} P${unit}`;
}

export const rate = (value) => (value === null || value === undefined ? "–" : `${bytes(value)}/s`);

/** Microseconds as milliseconds. */
export function rtt(us) {
  if (us === null || us === undefined) return "–";
  const ms = us / 1000;
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const ms = (value) => (value === null || value === undefined ? "–" : value < 10000 ? `${value} ms` : `${(value / 1000).toFixed(1)} s`);

export const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en").replaceAll(",", " "));

export function perSecond(value) {
  if (value === null || value === undefined) return "–";
  return value >= 10 || value === 0 ? String(Math.round(value)) : value.toFixed(1);
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour12: false });
}

export function precise(seconds) {
  return `${clock(seconds)}.${String(Math.floor((seconds % 1) * 1000)).padStart(3, "0")}`;
}

export const PATHS = { self: "this node", udp: "UDP direct", relayed: "relayed", tcp: "TCP", none: "no path" };

/** What a node is like now, in one word. */
export function stateOf(node) {
  if (!node.reachable) return "unreachable";
  if (node.silent) return "silent";
  return node.path;
}
export const STATES = { ...PATHS, unreachable: "unreachable", silent: "silent" };
