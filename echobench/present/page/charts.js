"use strict";
// Charts as SVG: lines with bands, and rows of bars or intervals. Each has a title, a summary
// for screen readers, values under the pointer or by arrow keys, and its data as a table.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 4", "2 3", "10 3 2 3"];
const MARKS = ["circle", "square", "triangle", "diamond", "cross", "ring", "plus"];

// Spell out invisible characters and those that change the direction of writing.
function plain(text) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(/[^\P{C}\n]|[\u2028\u2029]/gu, (one) => one.split("").map(escaped).join(""));
}

// Text is only ever set as text, so that nothing in a record becomes markup.
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "text", "title", "desc"].includes(name);
  const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined)
    .map((child) => (typeof child === "string" ? plain(child) : child)));
  return node;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function ticks(low, high, log, count) {
  if (log) {
    const powers = [];
    const decades = Math.log10(high / low);
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1e-9; power += 1) {
      for (const digit of decades > 2.5 ? [1] : [1, 2, 5]) {
        const at = digit * 10 ** power;
        if (at >= low * 0.999 && at <= high * 1.001) powers.push(at);
      }
    }
    const every = Math.ceil(powers.length / count);
    return powers.filter((_, index) => index % every === 0);
  }
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= rough) * power;
  const steps = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) steps.push(at);
  return steps;
}

function scale(low, high, log, from, to) {
  const f = log ? Math.log : (value) => value;
  const span = f(high) - f(low) || 1;
  return (value) => from + ((f(value) - f(low)) / span) * (to - from);
}

function mark(style, x, y, size = 4) {
  const s = size;
  const shapes = {
    circle: `M${x - s} ${y}a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0`,
    ring: `M${x - s} ${y}a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0`,
    square: `M${x - s} ${y - s}h${2 * s}v${2 * s}h${-2 * s}z`,
    triangle: `M${x} ${y - s}L${x + s} ${y + s}H${x - s}z`,
    diamond: `M${x} ${y - s - 1}L${x + s + 1} ${y}L${x} ${y + s + 1}L${x - s - 1} ${y}z`,
    cross: `M${x - s} ${y - s}L${x + s} ${y + s}M${x - s} ${y + s}L${x + s} ${y - s}`,
    plus: `M${x - s} ${y}H${x + s}M${x} ${y - s}V${y + s}`,
  };
  const kind = MARKS[style.mark % MARKS.length];
  const hollow = ["ring", "cross", "plus"].includes(kind);
  const fill = hollow ? "hollow" : `fill${style.colour % 8}`;
  return make("path", { d: shapes[kind], class: `stroke${style.colour % 8} ${fill}` });
}

function sample(style) {
  const svg = make("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" });
  svg.append(
    make("line", { x1: 0, x2: 34, y1: 7, y2: 7, class: `line stroke${style.colour % 8}`,
      "stroke-dasharray": DASHES[style.dash % DASHES.length] }),
    mark(style, 17, 7),
  );
  return svg;
}

function table(columns, rows) {
  const head = make("thead", {}, make("tr", {}, ...columns.map((c) => make("th", { scope: "col" }, c))));
  const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, index) =>
    make(index ? "td" : "th", index ? { "data-label": columns[index] } : { scope: "row" },
      cell instanceof Node ? cell : String(cell ?? "–"))))));
  return make("table", {}, head, body);
}

// The rows are made when the reader opens the table.
function asTable(columns, rows) {
  const details = make("details", {}, make("summary", {}, "The data as a table"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(make("div", { tabindex: 0, role: "region", "aria-label": "data" }, table(columns, rows())));
    }
  });
  return details;
}

const tip = {
  show(text, x, y) {
    const node = document.getElementById("tip");
    const open = document.querySelector("dialog[open]");
    if (node.parentNode !== (open || document.body)) (open || document.body).append(node);
    node.textContent = plain(text);
    node.hidden = false;
    const box = node.getBoundingClientRect();
    node.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 6))}px`;
    node.style.top = `${Math.max(4, y + 16 + box.height > innerHeight ? y - box.height - 12 : y + 16)}px`;
  },
  hide() { document.getElementById("tip").hidden = true; },
};

function frame(host, options) {
  host.replaceChildren(make(host.tagName === "FIGURE" ? "figcaption" : "div", {}, options.title,
    options.note ? make("small", {}, options.note) : null));
}

// options: title, note, x and y {label, log, low, high}, lines [{name, style, points, band, step}]
function lineChart(host, options) {
  frame(host, options);
  const lines = options.lines.filter((line) => line.points.length);
  if (!lines.length) {
    host.append(make("p", { class: "hint" }, options.empty || "Nothing was measured."));
    return;
  }
  host.append(make("ul", { class: "legend" }, ...lines.map((line) =>
    make("li", {}, sample(line.style), line.name))));
  const width = Math.max(260, host.clientWidth - 34);
  const height = Math.round(Math.min(330, Math.max(220, width * 0.55)));
  const xs = lines.flatMap((line) => line.points.map((point) => point[0]));
  const ys = lines.flatMap((line) => line.points.map((point) => point[1]));
  const ends = (values, axis) => {
    const drawable = axis.log ? values.filter((value) => value > 0) : values;
    const low = axis.low ?? Math.min(...drawable);
    const high = axis.high ?? Math.max(...drawable);
    return high > low ? [low, high] : [axis.log ? low / 2 : low - 0.5, axis.log ? high * 2 : high + 0.5];
  };
  const [xLow, xHigh] = ends(xs, options.x);
  const [yLow, yHigh] = ends(ys, options.y);
  const left = 46, bottom = height - 40, right = width - 12, top = 10;
  const x = scale(xLow, xHigh, options.x.log, left, right);
  const y = scale(yLow, yHigh, options.y.log, bottom, top);
  const summary = `${options.title}. ${options.x.label} from ${number(xLow)} to ${number(xHigh)}, ` +
    `${options.y.label} from ${number(yLow)} to ${number(yHigh)}. ` +
    lines.map((line) => `${line.name} ends at ${number(line.points.at(-1)[1])} after ${number(line.points.at(-1)[0])}`).join("; ");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0, "aria-label": summary });
  for (const at of ticks(xLow, xHigh, options.x.log, width / 75)) {
    svg.append(make("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, class: "grid" }),
      make("text", { x: x(at), y: bottom + 16, "text-anchor": "middle" }, number(at)));
  }
  for (const at of ticks(yLow, yHigh, options.y.log, 5)) {
    svg.append(make("line", { x1: left, x2: right, y1: y(at), y2: y(at), class: "grid" }),
      make("text", { x: left - 6, y: y(at) + 4, "text-anchor": "end" }, options.y.percent ? `${Math.round(at * 100)}%` : number(at)));
  }
  svg.append(make("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, options.x.label));
  const position = ([px, py]) => `${x(px).toFixed(1)} ${y(py).toFixed(1)}`;
  for (const line of lines) {
    const colour = line.style.colour % 8;
    // A step keeps the previous values until the next point.
    const shape = line.step
      ? line.points.flatMap((p, index) => (index ? [[p[0], ...line.points[index - 1].slice(1)], p] : [p]))
      : line.points;
    if (line.band && line.points.length > 1) {
      const upper = shape.map((p) => position([p[0], p[3]]));
      const lower = shape.map((p) => position([p[0], p[2]])).reverse();
      svg.append(make("path", { d: `M${[...upper, ...lower].join("L")}z`, class: `band fill${colour}` }));
    }
    const path = shape.length ? `M${shape.map(position).join("L")}` : "";
    svg.append(make("path", { d: path, class: `line stroke${colour}`, "stroke-dasharray": DASHES[line.style.dash % DASHES.length] }));
    const every = Math.max(1, Math.ceil(line.points.length / 7));
    for (const [index, point] of line.points.entries()) {
      if ((line.points.length - 1 - index) % every === 0) svg.append(mark(line.style, x(point[0]), y(point[1]), 3.4));
    }
  }
  const cross = make("line", { y1: top, y2: bottom, class: "cross", visibility: "hidden" });
  svg.append(cross);
  const stops = [...new Set(xs)].sort((a, b) => a - b);
  let stop = 0;
  const at = (line, value) => {
    let last = null;
    for (const point of line.points) if (point[0] <= value * (1 + 1e-9)) last = point;
    return last;
  };
  const show = (index, clientX, clientY) => {
    stop = Math.max(0, Math.min(stops.length - 1, index));
    const value = stops[stop];
    cross.setAttribute("x1", x(value));
    cross.setAttribute("x2", x(value));
    cross.setAttribute("visibility", "visible");
    const text = lines.map((line) => {
      const point = at(line, value);
      if (!point) return null;
      const form = (v) => (options.y.percent ? `${number(v * 100)}%` : number(v));
      return `${line.name}: ${form(point[1])}${line.band ? ` [${form(point[2])}, ${form(point[3])}]` : ""}`;
    }).filter(Boolean);
    const box = svg.getBoundingClientRect();
    tip.show(`${options.x.label}: ${number(value)}\n${text.join("\n")}`,
      clientX ?? box.left + (x(value) / width) * box.width, clientY ?? box.top + box.height / 2);
  };
  const leave = () => { tip.hide(); cross.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * width;
    let best = 0;
    stops.forEach((value, index) => { if (Math.abs(x(value) - px) < Math.abs(x(stops[best]) - px)) best = index; });
    show(best, event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); show(cross.getAttribute("visibility") === "visible" ? stop + step : stop); }
    if (event.key === "Escape") leave();
  });
  host.append(svg, asTable([options.x.label, "line", options.y.label], () => lines.flatMap((line) =>
    line.points.map((point) => [number(point[0]), line.name, options.y.percent ? `${number(point[1] * 100)}%` : number(point[1])]))));
}

// options: title, note, unit, rows [{name, style, parts: [{label, value, colour}] or spread: [median, q1, q3, low, high]}]
function rowChart(host, options) {
  frame(host, options);
  const rows = options.rows.filter((row) => row.spread || row.parts?.some((part) => part.value));
  if (!rows.length) {
    host.append(make("p", { class: "hint" }, options.empty || "Nothing was measured."));
    return;
  }
  const labels = [...new Map(rows.flatMap((row) => row.parts || []).map((part) => [part.label, part])).values()];
  if (labels.length) {
    host.append(make("ul", { class: "legend" }, ...labels.map((part) => {
      const swatch = make("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" });
      swatch.append(make("rect", { width: 34, height: 14, class: `fill${part.colour}` }));
      return make("li", {}, swatch, part.label);
    })));
  }
  const total = (row) => (row.parts || []).reduce((sum, part) => sum + (part.value || 0), 0);
  const width = Math.max(260, host.clientWidth - 34);
  const each = 44, height = rows.length * each + 40;
  const values = rows.flatMap((row) => (row.spread ? [row.spread[3], row.spread[4]] : [total(row)]));
  const lowest = Math.min(...values.filter((value) => value > 0)), highest = Math.max(...values);
  const log = !labels.length && options.log && highest / lowest > 12;
  const low = log ? lowest / 1.2 : 0;
  const x = scale(low, highest * (log ? 1.2 : 1.02), log, 6, width - 14);
  const inWords = (row) => (row.spread
    ? `${row.name}: median ${number(row.spread[0])} ${options.unit}, quartiles ${number(row.spread[1])} to ${number(row.spread[2])}, all ${number(row.spread[3])} to ${number(row.spread[4])}`
    : `${row.name}: ${number(total(row))} ${options.unit} in all; ${row.parts.filter((p) => p.value).map((p) => `${p.label} ${number(p.value)}`).join(", ")}`);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0, "aria-label": `${options.title}. ${rows.map(inWords).join(". ")}` });
  const floor = rows.length * each + 6;
  for (const at of ticks(low || (log ? lowest : 0), highest, log, width / 80)) {
    svg.append(make("line", { x1: x(at), x2: x(at), y1: 0, y2: floor, class: "grid" }),
      make("text", { x: x(at), y: floor + 15, "text-anchor": "middle" }, number(at)));
  }
  svg.append(make("text", { x: width / 2, y: height - 3, "text-anchor": "middle" }, `${options.unit}${log ? ", logarithmic" : ""}`));
  const middles = [];
  rows.forEach((row, index) => {
    const y = index * each + 28;
    const text = row.spread ? `${number(row.spread[0])}, ${number(row.spread[3])} to ${number(row.spread[4])}` : number(total(row));
    svg.append(make("text", { x: 6, y: y - 11, class: "name" }, row.name),
      make("text", { x: width - 14, y: y - 11, "text-anchor": "end" }, text));
    if (row.spread) {
      const [middle, q1, q3, least, most] = row.spread;
      const colour = row.style.colour % 8;
      if (options.bars) svg.append(make("rect", { x: x(low), width: Math.max(1, x(middle) - x(low)), y: y - 4, height: 8, class: `fill${colour}`, opacity: 0.45 }));
      svg.append(make("line", { x1: x(least), x2: x(most), y1: y, y2: y, class: `stroke${colour}`, "stroke-width": 2 }),
        make("line", { x1: x(q1), x2: x(q3), y1: y, y2: y, class: `stroke${colour}`, "stroke-width": 6, opacity: 0.5 }),
        mark(row.style, x(middle), y, 5));
    } else {
      let from = 0;
      for (const part of row.parts) {
        if (!part.value) continue;
        const start = x(from), end = x(from + part.value);
        from += part.value;
        const bar = make("rect", { x: start, width: Math.max(0.5, end - start - 1), y: y - 6, height: 16, class: `fill${part.colour}` });
        bar.phase = part; // `part` is already a property of every element
        svg.append(bar);
        if (end - start > 7 * part.label.length + 10) {
          svg.append(make("text", { x: start + 5, y: y + 6, class: "part" }, part.label));
        }
      }
    }
    middles.push(y);
  });
  let current = -1;
  const show = (index, clientX, clientY, part) => {
    current = Math.max(0, Math.min(rows.length - 1, index));
    const box = svg.getBoundingClientRect();
    const text = inWords(rows[current]).replace("; ", "\n").replace(": ", "\n");
    tip.show(part ? `${rows[current].name}\n${part.label}: ${number(part.value)} ${options.unit}` : text,
      clientX ?? box.left + 40, clientY ?? box.top + (middles[current] / height) * box.height);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(Math.floor((((event.clientY - box.top) / box.height) * height) / each), event.clientX, event.clientY, event.target.phase);
  });
  svg.addEventListener("pointerleave", tip.hide);
  svg.addEventListener("blur", tip.hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) { event.preventDefault(); show(current + step); }
    if (event.key === "Escape") tip.hide();
  });
  const columns = labels.length ? ["", ...labels.map((part) => part.label)] : ["", "median", "lower quartile", "upper quartile", "smallest", "largest"];
  host.append(svg, asTable(columns, () => rows.map((row) => [row.name, ...(row.spread || labels.map((label) => row.parts.find((part) => part.label === label.label)?.value)).map(number)])));
}
