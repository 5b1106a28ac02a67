"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const c = data.columns, horizon = data.horizon > 0 ? data.horizon : 1e-3;
const byId = (id) => document.getElementById(id);
const OUTCOMES = ["moved", "mounted", "already there", "failed", "split off"];
const SIDES = ["neither", "source", "destination", "both"];
const FAILED = 3, HUES = 7, TIP_ROWS = 8;
const style = getComputedStyle(document.documentElement);
const color = (name) => style.getPropertyValue("--" + name).trim();
const hue = (number) => number < HUES ? "c" + (number + 1) : "grey";
const SCHEMES = {
  ended: { of: c.ended, names: OUTCOMES, hues: ["c1", "c2", "grey", "bad", "c3"] },
  group: { of: c.group, names: data.groups, hues: data.groups.map((_, number) => hue(number)) },
  side: { of: c.side, names: SIDES, hues: ["grey", "c4", "c2", "c3"] },
};
let scheme = SCHEMES.ended, from = 0, to = horizon, asked = false;

// Where the transfers of each lane of each worker begin and end in the columns.
const lanes = [];
let next = 0;
for (const worker of data.workers) {
  lanes.push(worker.counts.map((count) => { next += count; return [next - count, next]; }));
}
const plots = [...document.querySelectorAll("canvas.lanes")];
const all = lanes.reduce((sum, each) => sum + each.length, 0);
const height = Math.max(3, Math.min(14, Math.floor(880 / all)));
plots.forEach((canvas, row) => { canvas.style.height = Math.max(52, lanes[row].length * height) + "px"; });

function size(bytes) {
  if (bytes < 0) return "unknown size";
  let unit = 0;
  while (bytes >= 1024 && unit < 4) { bytes /= 1024; unit += 1; }
  return bytes.toFixed(unit === 0 || bytes >= 100 ? 0 : 1) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
}
function seconds(s) {
  if (s === 0) return "0 s";
  if (s < 0.1) return (s * 1000).toFixed(s < 0.01 ? 1 : 0) + " ms";
  if (s < 10) return s.toFixed(2) + " s";
  if (s < 60) return s.toFixed(1) + " s";
  const whole = Math.round(s), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? hours + " h " + minutes + " min" : minutes + " min " + whole % 60 + " s";
}
function clock(t, step) {
  if (horizon < 60 || step < 1) return t.toFixed(step >= 1 ? 0 : Math.ceil(-Math.log10(step))) + " s";
  const whole = Math.round(t), two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
}
function tickStep(wanted) {
  for (const step of [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]) {
    if (wanted > 10 && step >= wanted) return step;
  }
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= wanted * 0.999);
}
function ticks(width) {
  const step = tickStep((to - from) / Math.max(2, width / 110)), found = [];
  for (let number = Math.ceil(from / step - 1e-9); number * step <= to + step * 1e-9; number += 1) {
    found.push([number * step, clock(number * step, step)]);
  }
  return found;
}

function open(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, tall = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(tall * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, tall, x: (t) => (t - from) / (to - from) * width };
}
function grid({ pen, width, tall, x }) {
  pen.fillStyle = color("grid");
  for (const [t] of ticks(width)) pen.fillRect(Math.round(x(t)), 0, 1, tall);
}
function drawAxis() {
  const { pen, width, tall, x } = open(byId("axis"));
  pen.font = "11.5px system-ui, sans-serif";
  pen.fillStyle = color("soft");
  pen.textBaseline = "middle";
  for (const [t, label] of ticks(width)) {
    const at = x(t), wide = pen.measureText(label).width;
    pen.fillText(label, Math.min(Math.max(0, at - wide / 2), width - wide), tall / 2);
  }
}
function ceiling(most) {
  for (let unit = 1; ; unit *= 1024) {
    for (let factor = 1; factor < 1024; factor *= 2) {
      if (factor * unit >= most) return factor * unit;
      if (factor * unit * 1.5 >= most) return factor * unit * 1.5;
    }
  }
}
function drawCurve(canvas, values, name, unit) {
  const sheet = open(canvas), { pen, width, tall, x } = sheet, step = data.curve.step;
  grid(sheet);
  const top = ceiling(values.reduce((most, value) => Math.max(most, value), 1));
  const y = (value) => tall - value / top * (tall - 4);
  pen.beginPath();
  pen.moveTo(0, tall);
  const first = Math.max(0, Math.floor(from / step)), last = Math.min(values.length - 1, Math.floor(to / step));
  let column = -1, peak = 0;
  for (let piece = first; piece <= last; piece += 1) {
    const left = Math.max(0, x(piece * step)), right = Math.min(width, x((piece + 1) * step));
    if (Math.floor(left) !== column) { column = Math.floor(left); peak = 0; }
    peak = Math.max(peak, values[piece]); // of the pieces in one column of pixels the highest shows
    pen.lineTo(left, y(peak));
    pen.lineTo(right, y(peak));
  }
  pen.lineTo(Math.min(width, x((last + 1) * step)), tall);
  pen.closePath();
  pen.globalAlpha = 0.22;
  pen.fillStyle = pen.strokeStyle = color(name);
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 1.2;
  pen.stroke();
  pen.font = "10.5px system-ui, sans-serif";
  for (const value of [top, top / 2]) {
    pen.fillStyle = color("grid");
    pen.fillRect(0, Math.round(y(value)), width, 1);
    const label = size(value) + unit, wide = pen.measureText(label).width;
    pen.fillStyle = color("card");
    pen.globalAlpha = 0.8;
    pen.fillRect(width - wide - 4, y(value) + 1, wide + 4, 13);
    pen.globalAlpha = 1;
    pen.fillStyle = color("soft");
    pen.fillText(label, width - wide - 2, y(value) + 11);
  }
}
function firstEnding(range, t) { // the first transfer of a lane that ends after t; they do not overlap
  let [low, high] = range;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (c.to[middle] > t) high = middle; else low = middle + 1;
  }
  return low;
}
function stripe(pen, left, y, width, tall) { // what failed is seen without its colour, too
  pen.save();
  pen.beginPath();
  pen.rect(left, y, width, tall);
  pen.clip();
  pen.strokeStyle = color("card");
  pen.lineWidth = 1.2;
  pen.beginPath();
  const first = Math.max(left, -8), last = Math.min(left + width, 5000);
  for (let at = Math.floor((first - tall) / 6) * 6; at < last; at += 6) {
    pen.moveTo(at, y + tall);
    pen.lineTo(at + tall, y);
  }
  pen.stroke();
  pen.restore();
}
const paint = (index) => c.ended[index] === FAILED ? "bad" : scheme.hues[scheme.of[index]];
function drawLanes(canvas, row) {
  const sheet = open(canvas), { pen, width, x } = sheet, tall = height > 4 ? height - 1 : height;
  const colors = {};
  for (const name of ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "grey", "bad"]) colors[name] = color(name);
  lanes[row].forEach((range, lane) => {
    const y = lane * height;
    pen.fillStyle = color("lane");
    pen.fillRect(0, y, width, tall);
  });
  grid(sheet);
  lanes[row].forEach((range, lane) => {
    const y = lane * height;
    let pixel = -1, covered = 0, shares = {};
    const flush = () => { // one column of pixels for all that is narrower
      if (covered > 0 || shares.bad !== undefined) {
        const name = shares.bad !== undefined ? "bad"
          : Object.keys(shares).reduce((best, each) => shares[each] > shares[best] ? each : best);
        pen.globalAlpha = name === "bad" ? 1 : 0.3 + 0.7 * Math.min(1, covered);
        pen.fillStyle = colors[name];
        pen.fillRect(pixel, y, 1, tall);
        pen.globalAlpha = 1;
      }
      covered = 0;
      shares = {};
    };
    for (let index = firstEnding(range, from); index < range[1] && c.at[index] < to; index += 1) {
      const left = Math.max(-2, x(c.at[index])), right = Math.min(width + 2, x(c.to[index])), name = paint(index);
      if (right - left >= 1.5) {
        flush();
        pen.fillStyle = colors[name];
        const wide = right - left > 4 ? right - left - 0.75 : right - left;
        pen.fillRect(left, y, wide, tall);
        if (name === "bad" && wide > 4) stripe(pen, left, y, wide, tall);
        continue;
      }
      if (Math.floor(left) !== pixel) { flush(); pixel = Math.floor(left); }
      covered += Math.max(right - left, 0.02);
      shares[name] = (shares[name] || 0) + right - left;
    }
    flush();
  });
}
function draw() {
  asked = false;
  drawAxis();
  drawCurve(byId("rate"), data.curve.rate, "c1", "/s");
  drawCurve(byId("flight"), data.curve.flight, "c2", "");
  plots.forEach(drawLanes);
  byId("shown").textContent = seconds(from) + " – " + seconds(to);
}
function redraw() { if (!asked) { asked = true; requestAnimationFrame(draw); } }
function look(begin, end) {
  const least = Math.max(horizon / 1e5, 1e-4), middle = (begin + end) / 2;
  const span = Math.min(horizon, Math.max(least, end - begin));
  from = Math.min(Math.max(0, middle - span / 2), horizon - span);
  to = from + span;
  redraw();
}
const zoom = (factor, at = (from + to) / 2) => look(at - (at - from) * factor, at + (to - at) * factor);

function choose(name) {
  scheme = SCHEMES[name];
  for (const button of document.querySelectorAll("#schemes button")) {
    button.setAttribute("aria-pressed", String(button.dataset.scheme === name));
  }
  const used = new Set(scheme.of), entries = [];
  scheme.names.forEach((text, number) => {
    if (used.has(number) && scheme.hues[number] !== "grey") entries.push([text, scheme.hues[number]]);
  });
  const rest = scheme.names.filter((_, number) => used.has(number) && scheme.hues[number] === "grey");
  if (rest.length) entries.push([rest.length === 1 ? rest[0] : rest.length + " others", "grey"]);
  if (c.ended.includes(FAILED) && scheme !== SCHEMES.ended) entries.push(["failed", "bad"]);
  byId("legend").replaceChildren(...entries.map(([text, name]) => {
    const item = document.createElement("li"), mark = document.createElement("i");
    const lines = "repeating-linear-gradient(135deg, var(--bad) 0 3px, var(--card) 3px 4px)";
    mark.style.background = name === "bad" ? lines : "var(--" + name + ")";
    item.append(mark, text);
    return item;
  }));
  redraw();
}

function add(parent, tag, text, kind) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}
function fact(table, name, text) {
  const row = add(table, "tr", "");
  add(row, "td", name);
  add(row, "td", text);
}
function share(part, whole) { return whole > 0 ? " (" + Math.round(part / whole * 100) + " %)" : ""; }
function tell(tip, row, lane, found) {
  tip.replaceChildren();
  let index = found[0];
  for (const each of found) if (c.to[each] - c.at[each] > c.to[index] - c.at[index]) index = each;
  const took = c.to[index] - c.at[index];
  if (found.length > 1) add(tip, "b", found.length.toLocaleString("en") + " transfers here; the longest:");
  add(tip, "b", data.names[c.source[index]]);
  c.targets[index].slice(0, TIP_ROWS).forEach((target, number) => {
    add(tip, "div", "→ " + data.names[target] + ", " + OUTCOMES[c.outcomes[index][number]]);
  });
  add(tip, "div", c.digest[index], "mono");
  const table = add(tip, "table", "");
  fact(table, "size", size(c.size[index]));
  const rate = took > 0 && c.moved[index] ? ", " + size(c.moved[index] / took) + "/s" : "";
  fact(table, "moved", size(c.moved[index]) + rate);
  fact(table, "time", seconds(took) + ", from " + seconds(c.at[index]) + " to " + seconds(c.to[index]));
  fact(table, "waited for destination", seconds(c.paused[index]) + share(c.paused[index], took)
    + ", " + c.pauses[index] + (c.pauses[index] === 1 ? " pause" : " pauses"));
  fact(table, "waited for source", seconds(c.starved[index]) + share(c.starved[index], took));
  fact(table, "worker", data.workers[row].id + ", stream " + (lane + 1));
}
function tellCurve(tip, t) {
  const piece = Math.min(data.curve.rate.length - 1, Math.floor(t / data.curve.step));
  tip.replaceChildren();
  add(tip, "b", "at " + seconds(t));
  const table = add(tip, "table", "");
  fact(table, "throughput", size(data.curve.rate[piece]) + "/s");
  fact(table, "blobs in flight", size(data.curve.flight[piece]));
}
function transfersAt(row, lane, t) {
  const range = lanes[row][lane], found = [];
  if (!range) return found;
  const near = (to - from) / plots[row].clientWidth;
  for (let index = firstEnding(range, t - near); index < range[1] && c.at[index] <= t + near; index += 1) {
    if (c.at[index] <= t && t < c.to[index] && c.to[index] - c.at[index] > 2 * near) return [index];
    found.push(index);
  }
  return found;
}
let dragged = null;
function time(event) {
  const box = byId("axis").getBoundingClientRect();
  return from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (to - from);
}
function place(node, left, width) {
  const rows = byId("rows").getBoundingClientRect();
  node.style.left = left - rows.left - 1 + "px";
  if (width !== undefined) node.style.width = width + "px";
  node.hidden = false;
}
function hover(event) {
  const tip = byId("tip"), canvas = event.target.closest ? event.target.closest("canvas.plot") : null;
  tip.hidden = true;
  byId("cross").hidden = !canvas;
  if (dragged !== null) {
    place(byId("selection"), Math.min(dragged.x, event.clientX), Math.abs(event.clientX - dragged.x));
  }
  if (!canvas) return;
  place(byId("cross"), event.clientX);
  if (canvas.classList.contains("curve")) tellCurve(tip, time(event));
  else {
    const row = plots.indexOf(canvas), lane = Math.floor((event.clientY - canvas.getBoundingClientRect().top) / height);
    const found = row < 0 ? [] : transfersAt(row, lane, time(event));
    if (!found.length) return;
    tell(tip, row, lane, found);
  }
  tip.hidden = false;
  const left = event.clientX + 16, above = event.clientY + 18 + tip.offsetHeight > window.innerHeight;
  tip.style.left = Math.max(4, Math.min(left, window.innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, above ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18) + "px";
}
const rows = byId("rows");
rows.addEventListener("pointermove", hover);
rows.addEventListener("pointerleave", () => { byId("tip").hidden = byId("cross").hidden = true; });
rows.addEventListener("pointerdown", (event) => {
  if (event.button === 0 && event.target.closest("canvas.plot")) dragged = { x: event.clientX, t: time(event) };
});
window.addEventListener("pointerup", (event) => {
  if (dragged !== null && Math.abs(event.clientX - dragged.x) > 4) {
    const end = time(event);
    look(Math.min(dragged.t, end), Math.max(dragged.t, end));
  }
  dragged = null;
  byId("selection").hidden = true;
});
rows.addEventListener("dblclick", () => look(0, horizon));
rows.addEventListener("wheel", (event) => {
  if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, time(event));
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const shift = event.deltaX / 800 * (to - from);
    look(from + shift, to + shift);
  } else return;
  event.preventDefault();
}, { passive: false });
window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const shift = (to - from) / 5;
  const moves = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => look(0, horizon),
    Escape: () => look(0, horizon), ArrowLeft: () => look(from - shift, to - shift),
    ArrowRight: () => look(from + shift, to + shift) };
  if (moves[event.key]) { moves[event.key](); event.preventDefault(); }
});
byId("in").addEventListener("click", () => zoom(0.5));
byId("out").addEventListener("click", () => zoom(2));
byId("whole").addEventListener("click", () => look(0, horizon));
for (const button of document.querySelectorAll("#schemes button")) {
  button.addEventListener("click", () => choose(button.dataset.scheme));
}
function show(event) {
  const row = event.target.closest("tr");
  if (!row || event.type === "keydown" && event.key !== "Enter") return;
  const begin = Number(row.dataset.from), end = Number(row.dataset.to);
  look(begin - (end - begin) / 4, end + (end - begin) / 4);
  rows.scrollIntoView({ behavior: "smooth" });
}
byId("slowest").addEventListener("click", show);
byId("slowest").addEventListener("keydown", show);
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
const most = (values) => values.reduce((high, value) => Math.max(high, value), 0);
byId("peak").textContent = "at most " + size(most(data.curve.rate)) + "/s";
byId("most").textContent = "blobs of at most " + size(most(data.curve.flight));
choose(c.side.some((side) => side > 0) ? "side" : data.groups.length > 1 ? "group" : "ended");
draw();
