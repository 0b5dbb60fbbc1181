// The page: filter, sorting, charts of one group, and dialogs for a cell and for a trial.

const byId = (id) => document.getElementById(id);

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// The inverse of `columns` in data.py: the value at an index.
function restored(tree, index) {
  if ("same" in tree) return tree.same;
  if ("each" in tree) return tree.each[index];
  if ("list" in tree) return tree.list.map((item) => restored(item, index));
  return Object.fromEntries(Object.entries(tree.object).map(([name, item]) => [name, restored(item, index)]));
}

const unpackedRecords = new Map();
function recordsOf(cell) {
  if (!unpackedRecords.has(cell)) unpackedRecords.set(cell, unpacked(`records-${cell}`));
  return unpackedRecords.get(cell);
}

function setUpTheme() {
  const button = byId("theme");
  const words = ["auto", "light", "dark"];
  let now = "auto";
  try { now = localStorage.getItem("echobench-theme") || "auto"; } catch { /* storage is blocked */ }
  const apply = (word) => {
    now = words.includes(word) ? word : "auto";
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    button.querySelector("span").textContent = now;
    try { localStorage.setItem("echobench-theme", now); } catch { /* storage is blocked */ }
  };
  apply(now);
  button.addEventListener("click", () => apply(words[(words.indexOf(now) + 1) % words.length]));
}

function setUpFilter(redraw) {
  const form = byId("filter");
  const rows = [...document.querySelectorAll("#overview tr[data-cell]")];
  const values = { task: new Set(), division: new Set(), backend: new Set(), engine: new Set(), status: new Set() };
  for (const row of rows) {
    const { task, division } = row.closest(".group").dataset;
    row.facts = { ...row.dataset, task, division };
    row.searchText = `${task} ${division} ${row.textContent}`.toLowerCase();
    for (const [name, options] of Object.entries(values)) {
      for (const value of name === "status" ? row.facts.status.split(" ") : [row.facts[name]]) options.add(value);
    }
  }
  for (const [name, options] of Object.entries(values)) {
    for (const value of [...options].sort()) form.elements[name].append(make("option", { value }, value));
  }
  const sorts = new Set([...document.querySelectorAll("#overview thead button")].map((button) => button.dataset.sort));
  for (const value of sorts) form.elements.sort.append(make("option", { value }, value));
  const apply = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const hit = Object.keys(values).every((name) => {
        const wanted = form.elements[name].value;
        return !wanted || (name === "status" ? row.facts.status.split(" ").includes(wanted) : row.facts[name] === wanted);
      }) && row.searchText.includes(text);
      row.hidden = !hit;
      shown += hit;
    }
    for (const group of document.querySelectorAll("#overview .group")) {
      group.hidden = !group.querySelector("tr[data-cell]:not([hidden])");
    }
    byId("count").textContent = `${shown} of ${rows.length} cells`;
    redraw();
  };
  form.addEventListener("input", (event) => (event.target.name === "sort" ? sortRows(event.target.value, "ascending") : apply()));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

function sortRows(column, direction) {
  const sign = direction === "descending" ? -1 : 1;
  for (const body of document.querySelectorAll(".group tbody")) {
    const value = (row) => {
      if (!column || column === "name") return row.firstElementChild.textContent;
      const cell = [...row.cells].find((one) => one.dataset.label === column);
      if (!cell) return null;
      if (column === "note") return cell.textContent;
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };
    const rows = [...body.rows];
    rows.forEach((row, index) => { row.recordedOrder ??= index; });
    rows.sort((a, b) => {
      if (!column) return a.recordedOrder - b.recordedOrder;
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null); // missing values come last
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    body.append(...rows);
  }
  for (const button of document.querySelectorAll(".group thead button")) {
    if (button.dataset.sort === column) button.parentNode.setAttribute("aria-sort", direction);
    else button.parentNode.removeAttribute("aria-sort");
  }
  byId("filter").elements.sort.value = column;
}

function echoList(pairs, names = []) {
  return make("ul", { class: "echo" }, ...pairs.map(([expected, predicted], row) => {
    const line = make("li", {}, names[row] ? make("span", { class: "hint" }, `${names[row]} `) : "");
    let wrong = 0;
    expected.forEach((token, index) => {
      const answer = predicted[index];
      if (token === null) line.append("· ");
      else if (token === answer) line.append(plain(`${answer} `));
      else {
        wrong += 1;
        line.append(make("s", {}, String(token)), " ", make("span", { class: "wrong" }, `✗${answer ?? "nothing"}`), " ");
      }
    });
    const verdict = make("span", { class: wrong ? "verdict bad" : "verdict" }, wrong ? ` ${wrong} wrong` : " ✓ right");
    line.append(verdict);
    return line;
  }));
}

// Echoes at evaluations during training, each of a fresh sequence.
function trainingEchoes(over) {
  if (!over.length) return [];
  const names = over.map(([epoch]) => `epoch ${epoch.toLocaleString("en")}`);
  return [make("h3", {}, "While it trained"), echoList(over.map(([, ...pair]) => pair), names)];
}

function styleFunction(cells) {
  const backends = [...new Set(Object.values(cells).map((cell) => cell.about.backend))].sort();
  const engines = [...new Set(Object.values(cells).map((cell) => cell.about.engine))].sort();
  // The eighth colour is grey, which phases use.
  return (cell, repeat) => ({
    colour: backends.indexOf(cell.about.backend) % 7,
    mark: backends.indexOf(cell.about.backend),
    dash: engines.indexOf(cell.about.engine) + repeat,
  });
}

function drawGroup(data, style) {
  const group = data.groups.find((one) => one.id === byId("shown").value);
  if (!group) return;
  const seen = new Map();
  const cells = group.cells
    .filter((id) => !document.querySelector(`#overview tr[data-cell="${id}"]`)?.hidden)
    .map((id) => {
      const cell = data.cells[id];
      const label = `${cell.about.backend} ${cell.about.engine}`;
      seen.set(label, (seen.get(label) ?? -1) + 1);
      return { ...cell, style: style(cell, seen.get(label)) };
    });
  const clock = byId("clock");
  const lines = (points, more = {}) => cells.map((cell) => ({ name: cell.name, style: cell.style, points: points(cell), ...more }));
  const accuracy = { label: "accuracy", low: 0, high: 1, percent: true };
  const band = "Median over seeds, band between the quartiles; a certified trial keeps its last accuracy.";
  // On a linear axis, a line many times as long as the shortest would hide the shortest.
  const isWide = (sets) => {
    const ends = sets.map((line) => line.points.at(-1)?.[0]).filter((end) => end > 0);
    return ends.length > 1 && Math.max(...ends) / Math.min(...ends) > 8;
  };
  const time = lines((cell) => cell.curves.time, { band: true, step: true });
  lineChart(byId("fig-time"), { title: "Learning, by training time", note: band, x: { label: "seconds of training", log: isWide(time) }, y: accuracy, lines: time, empty: "No accuracy over time was recorded." });
  const updates = lines((cell) => cell.curves.updates, { band: true });
  lineChart(byId("fig-updates"), { title: "Learning, by updates", note: "Independent of a backend's speed.", x: { label: "updates", log: isWide(updates) }, y: accuracy, lines: updates, empty: "No accuracy was recorded." });
  const survival = cells.map((cell) => {
    const steps = cell.survival[clock.value];
    return { name: cell.name, style: cell.style, step: true, points: steps.some(([, share]) => share > 0) ? [[0, 0], ...steps] : [] };
  });
  const log = isWide(survival);
  for (const line of survival) if (log && line.points.length) line.points[0] = [line.points[1][0] * 0.999, 0];
  lineChart(byId("fig-survival"), { title: "Share of seeds at certified 100%", note: `Kaplan-Meier, misses censored; ${clock.selectedOptions[0].textContent}.`, x: { label: "seconds", log }, y: { label: "share of seeds", low: 0, high: 1, percent: true }, lines: survival, empty: "No trial reached the target." });
  const longest = Math.max(1000, ...cells.map((cell) => cell.curves.updates.at(-1)?.[0] || 0)) * 10;
  const updateCounts = Array.from({ length: 25 }, (_, step) => longest ** (step / 24));
  const styleByName = new Map(cells.map((cell) => [cell.name, cell.style]));
  lineChart(byId("fig-even"), { title: "Break-even", note: "Median compile time plus the median time of that many updates: the lowest line is the fastest.", x: { label: "updates", log: true }, y: { label: "seconds", log: true }, lines: group.lines.filter((line) => styleByName.has(line.name)).map((line) => ({ name: line.name, style: styleByName.get(line.name), points: updateCounts.map((n) => [n, line.compile + n * line.update]) })), empty: "No compile times and times of an update were recorded." });
  const rows = (key) => cells.map((cell) => ({ name: cell.name, style: cell.style, spread: cell[key] }));
  rowChart(byId("fig-update"), { title: "Time of an update", note: "Median over seeds, thick between the quartiles, thin from the smallest to the largest.", unit: "ms", log: true, rows: rows("update") });
  rowChart(byId("fig-limit"), { title: "Of the machine's limit", note: "Matrix products over the best float32 rate measured on the same machine.", unit: "% of the limit", bars: true, rows: rows("limit"), empty: "Not known for these records." });
  rowChart(byId("fig-phases"), { title: "Where a trial's wall time goes", note: "Means over seeds.", unit: "seconds", rows: cells.map((cell) => ({ name: cell.name, parts: cell.phases.map((value, index) => ({ label: data.phases[index], value, colour: index })) })) });
}

function drawSizes(data, style) {
  for (const host of document.querySelectorAll("figure[data-study]")) {
    const { study, axis } = host.dataset;
    const lines = Object.entries(data.sizes[study][axis]).map(([name, points]) => {
      const cell = Object.values(data.cells).find((one) => name.split(" ")[0] === one.about.backend);
      return { name, points, style: cell ? style(cell, 0) : { colour: 6, mark: 0, dash: 0 } };
    });
    lineChart(host, { title: axis, x: { label: axis, log: true }, y: { label: "ms", log: true }, note: "Milliseconds of an update.", lines });
  }
}

const FIGURES = ["seed", "status", "time_to_target_s", "updates_to_target", "seconds_per_update", "compile_s", "wall_s", "accuracy", "exact_match", "reason"];

async function showCell(data, id) {
  const cell = data.cells[id];
  const tree = await recordsOf(id);
  const records = cell.keys.map((key, index) => [key, restored(tree, index)]);
  const link = (key, text) => make("a", { href: `#trial-${encodeURIComponent(key)}` }, text);
  const shown = FIGURES.filter((name) => records.some(([, record]) => (record[name] ?? null) !== null));
  const form = (value) => (typeof value === "number" ? number(value) : value ?? "–");
  byId("dialog-title").textContent = plain(`${cell.about.task} · ${cell.about.division} · ${cell.name}: ${records.length} trial${records.length === 1 ? "" : "s"}`);
  byId("dialog-body").replaceChildren(
    make("p", { class: "hint" }, `${cell.about.machine}. Each trial opens its whole record.`),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "trials" }, table(["trial", ...shown.map((name) => name.replaceAll("_", " "))],
      records.map(([key, record]) => [link(key, key), ...shown.map((name) => form(record[name]))]))));
}

async function showTrial(data, key) {
  const id = Object.keys(data.cells).find((one) => data.cells[one].keys.includes(key));
  if (!id) return false;
  const cell = data.cells[id];
  const record = restored(await recordsOf(id), cell.keys.indexOf(key));
  byId("dialog-title").textContent = plain(`${cell.about.task} · ${cell.about.division} · ${cell.name} · seed ${record.seed}: ${record.status}`);
  const body = byId("dialog-body");
  const facts = FIGURES.slice(2).filter((name) => record[name] !== null && record[name] !== undefined);
  const chart = make("div", {});
  body.replaceChildren(
    make("p", {}, make("a", { href: `#cell-${id}` }, `All ${cell.keys.length} trials of this cell`)),
    make("dl", { class: "facts" }, ...facts.map((name) => make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, typeof record[name] === "number" ? number(record[name]) : String(record[name]))))),
    chart,
    record.samples?.length ? echoList(record.samples.map((one) => [one.expected, one.predicted])) : null ?? "",
    make("h3", {}, "The whole record"),
    make("pre", { id: "record", tabindex: 0 }, JSON.stringify(record, null, 2)));
  const points = (record.evaluations || []).map((one) => [one.epoch, one.accuracy]);
  if (points.length) {
    lineChart(chart, { title: "Accuracy by epoch", x: { label: "epochs" }, y: { label: "accuracy", low: 0, high: 1, percent: true }, lines: [{ name: `seed ${record.seed}`, style: { colour: 0, mark: 0, dash: 0 }, points }] });
  }
  return true;
}

function setUpRouting(data) {
  const dialog = byId("dialog");
  let before = "";
  const go = async () => {
    tip.hide();
    const hash = decodeURIComponent(location.hash.slice(1));
    let opens = false;
    if (hash.startsWith("cell-") && Object.hasOwn(data.cells, hash.slice(5))) {
      await showCell(data, hash.slice(5));
      opens = true;
    } else if (hash.startsWith("trial-")) {
      if (!dialog.open) dialog.showModal(); // a chart needs the dialog's width
      opens = await showTrial(data, hash.slice(6));
    }
    if (opens && !dialog.open) dialog.showModal();
    if (!opens && dialog.open) dialog.close();
    if (opens) dialog.scrollTop = 0;
    else before = location.hash;
  };
  dialog.addEventListener("close", () => {
    tip.hide();
    if (/^#(cell|trial)-/.test(location.hash)) history.pushState(null, "", before || location.pathname + location.search);
  });
  byId("close").addEventListener("click", () => dialog.close());
  window.addEventListener("hashchange", go);
  return go();
}

async function start() {
  setUpTheme();
  document.addEventListener("click", (event) => {
    const button = event.target.closest("thead button[data-sort]");
    if (button) sortRows(button.dataset.sort, button.parentNode.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
  });
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old for the charts and trials (no DecompressionStream); the tables are complete");
  const data = await unpacked("data");
  const style = styleFunction(data.cells);
  const redraw = () => drawGroup(data, style);
  if (data.first) byId("shown").value = data.first;
  setUpFilter(redraw);
  byId("shown").addEventListener("input", redraw);
  byId("clock").addEventListener("input", redraw);
  for (const button of document.querySelectorAll("[data-draw]")) {
    button.addEventListener("click", () => {
      byId("shown").value = button.dataset.draw;
      redraw();
      byId("charts").scrollIntoView();
      byId("shown").focus();
    });
  }
  drawSizes(data, style);
  const select = byId("cell");
  for (const [id, cell] of Object.entries(data.cells)) {
    if (cell.echo) select.append(make("option", { value: id }, `${cell.about.task} · ${cell.about.division} · ${cell.name}`));
  }
  const samples = () => {
    const cell = data.cells[select.value];
    byId("samples").replaceChildren(...(cell
      ? [make("p", { class: "hint" }, `Seed ${cell.echo.seed}, `, make("a", { href: `#trial-${encodeURIComponent(cell.echo.key)}` }, "its record")), echoList(cell.echo.pairs), ...trainingEchoes(cell.echo.over)]
      : ["No samples were recorded."]));
  };
  const first = data.groups.find((group) => group.id === data.first)?.cells.find((id) => data.cells[id].echo);
  if (first) select.value = first;
  select.addEventListener("input", samples);
  samples();
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes only the height
    width = innerWidth;
    redraw();
    drawSizes(data, style);
  });
  await setUpRouting(data);
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("trouble").textContent = `This page could not be drawn: ${error.message}`;
  byId("trouble").hidden = false;
  throw error;
});
