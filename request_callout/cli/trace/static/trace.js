"use strict";
// All texts of a trace are anybody's: they become text nodes, never markup.

const PAUSE_MS = 1500;
const KINDS = {
  ok: "ok", proxied: "ok", done: "ok", answered: "accent", exit: "accent", skipped: "idle", cancelled: "idle",
  fallback: "warn", tolerated: "warn",
};
const WHY = {
  declared: "depends_on names it", reads: "an expression reads it", may_read: "an expression may read it",
  script: "it has a script", after_script: "that one has a script", method: "its method may change something",
};
const traces = [];
let shownId = null;
let opened = new Set();

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const kindOf = (result) => KINDS[result] || "bad";
const chip = (text, kind) => make("span", { class: `chip ${kind}` }, String(text));
const statusKind = (status) => (status >= 500 ? "bad" : status >= 400 ? "warn" : "ok");
const ms = (value) => (value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${Number(value).toFixed(1)} ms`);
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

function moment(at) {
  const there = new Date(at * 1000);
  const date = [there.getFullYear(), there.getMonth() + 1, there.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${date} ${clock(at)}.${String(there.getMilliseconds()).padStart(3, "0")}`;
}

function what(one) {
  if (!one.path && one.background) return "refresh in the background";
  return `${one.method || "?"} ${one.path || "?"}`;
}

function outcomeOf(one) {
  return one.status === null || one.status === undefined ? one.outcome : `${one.outcome} ${one.status}`;
}

// The list

function wordsOf(one) {
  const names = [one.route, one.service].map((entity) => (entity ? `${entity.name} ${entity.id}` : ""));
  const callouts = one.callouts.map((callout) => `${callout.name} ${callout.result} ${callout.cache || ""}`);
  return [what(one), outcomeOf(one), one.id, one.request_id, one.failure || "", ...names, ...callouts].join(" ").toLowerCase();
}

function entry(one) {
  const mini = make("div", { class: "mini", "aria-hidden": "true" });
  const whole = Math.max(one.duration_ms, 0.001);
  one.callouts.slice(0, 6).forEach((callout, lane) => {
    const piece = make("i");
    piece.style.top = `${lane * 5}px`;
    piece.style.left = `${Math.min(99, (callout.start_ms / whole) * 100)}%`;
    piece.style.width = `${Math.max(0.5, ((callout.end_ms - callout.start_ms) / whole) * 100)}%`;
    piece.style.background = `var(--${kindOf(callout.result)})`;
    mini.append(piece);
  });
  mini.style.height = `${Math.max(1, Math.min(6, one.callouts.length)) * 5 - 1}px`;
  const button = make(
    "button", { type: "button", "data-id": one.id },
    make("div", { class: "row" }, make("span", { class: "path" }, what(one)), chip(outcomeOf(one), kindOf(one.outcome))),
    make("div", { class: "row small" }, make("span", {}, clock(one.at)), make("span", {}, ms(one.duration_ms)),
      make("span", {}, one.route ? one.route.name || one.route.id : "")),
    mini,
  );
  button.addEventListener("click", () => { location.hash = one.id; });
  const item = make("li", {}, button);
  item.words = wordsOf(one);
  return item;
}

function filter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let visible = 0;
  for (const item of document.getElementById("list").children) {
    item.hidden = !words.every((word) => item.words.includes(word));
    visible += item.hidden ? 0 : 1;
  }
  const none = document.getElementById("none");
  none.hidden = visible > 0;
  if (traces.length) {
    none.replaceChildren("No trace has all of these words.");
  } else {
    none.replaceChildren("No request has been traced yet. Make one:",
      make("code", {}, 'curl -H "X-Callout-Debug: $(cat SECRET_FILE)" URL'), "It appears here by itself.");
  }
}

function marked() {
  for (const button of document.querySelectorAll("#list button")) {
    button.setAttribute("aria-current", String(button.dataset.id === shownId));
  }
}

async function ask(target) {
  const answer = await fetch(target, { cache: "no-store" });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(value.message || `status ${answer.status}`);
  return value;
}

async function update() {
  const live = document.getElementById("live");
  try {
    const newest = traces.length ? traces[0].id : null;
    const found = await ask(newest ? `/traces?since=${newest}` : "/traces");
    const known = new Set(traces.map((one) => one.id));
    const fresh = found.filter((one) => !known.has(one.id));
    const list = document.getElementById("list");
    for (const one of fresh.reverse()) {
      traces.unshift(one);
      const item = entry(one);
      if (newest) item.classList.add("new");
      list.prepend(item);
    }
    while (traces.length > 500) { traces.pop(); list.lastElementChild.remove(); }
    live.textContent = "live";
    live.className = "live on";
    if (fresh.length || !newest) filter();
    if (!shownId && traces.length) show(traces[0].id);
    marked();
  } catch (error) {
    live.textContent = error instanceof TypeError ? "the page's server is gone" : error.message;
    live.className = "live off";
  }
  setTimeout(update, PAUSE_MS);
}

// One trace

async function show(id) {
  if (id === shownId) return;
  shownId = id;
  opened = new Set();
  marked();
  const place = document.getElementById("trace");
  try {
    const record = await ask(`/traces/${encodeURIComponent(id)}`);
    if (shownId !== id) return;
    place.replaceChildren(...page(record));
    document.title = `${what(record.request)} · Traces`;
  } catch (error) {
    place.replaceChildren(make("p", { class: "banner bad" }, error.message));
  }
  place.scrollTop = 0;
}

function page(record) {
  const request = { ...record.request, background: record.background };
  const query = request.query ? `?${request.query}` : "";
  const facts = [
    ["at", moment(record.at)], ["route", named(record.route)],
    ["service", named(record.service)], ["request", record.request_id], ["trace", record.id], ["plugin", record.plugin],
    ["worker", record.worker],
  ];
  return [
    make("div", { class: "title" }, make("strong", {}, what(request) + query),
      chip(outcomeOf(record), kindOf(record.outcome)), make("span", { class: "took" }, ms(record.duration_ms))),
    make("dl", { class: "facts" }, facts.filter((fact) => fact[1]).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", { class: "mono" }, String(value))))),
    record.failure ? make("p", { class: "banner bad" }, record.failure) : null,
    record.cut ? make("p", { class: "banner warn" }, "Something is left out: a record has room for 60 KiB.") : null,
    card("Callouts", waterfall(record)),
    record.plan.length > 1 ? card("Plan: what waits for what", plan(record), "plan") : null,
    make("div", { class: "two" },
      card("Client's request", message({ ...record.request, query: null }, what(request) + query)),
      record.answer ? card("Answer to the client", message(record.answer)) : card("Changed on the way to the upstream", edits(record.upstream))),
    record.answer && record.upstream.length ? card("Changed, but not sent to the upstream", edits(record.upstream)) : null,
    card("Server-Timing, as the client got it", make("code", {}, record.server_timing)),
  ].filter(Boolean);
}

const named = (entity) => (entity ? entity.name || entity.id : null);
const card = (title, content, kind) => make("section", { class: `card ${kind || ""}` }, make("h2", {}, title), content);

function waterfall(record) {
  if (!record.callouts.length) return make("p", { class: "small" }, "No callout was made.");
  const whole = Math.max(record.duration_ms, ...record.callouts.map((one) => one.end_ms), 0.001);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const tick = make("span", {}, part ? ms(part * whole) : "0");
    tick.style.left = `${part * 100}%`;
    return tick;
  });
  const grid = make("div", { class: "fall" },
    make("div", { class: "axis" }, make("span"), make("div", { class: "ticks", "aria-hidden": "true" }, ticks), make("span")));
  record.callouts.forEach((one, place) => {
    const more = make("div", { class: "more", id: `more-${place}`, hidden: "" });
    const row = make("button", { type: "button", class: `callout ${one.index ? "element" : ""}`, "aria-expanded": "false",
      "aria-controls": `more-${place}`, "data-callout": one.name },
    make("span", { class: "name" }, one.index ? `item ${one.index}` : one.name), bar(one, whole), label(one));
    row.addEventListener("click", () => {
      if (!opened.has(place)) more.replaceChildren(...details(one));
      opened.add(place);
      more.hidden = !more.hidden;
      row.setAttribute("aria-expanded", String(!more.hidden));
    });
    grid.append(row, more);
  });
  return [grid, legend()];
}

function placed(element, start, end, whole) {
  element.style.left = `${(start / whole) * 100}%`;
  if (end !== null) element.style.width = `${(Math.max(0, end - start) / whole) * 100}%`;
  return element;
}

function bar(one, whole) {
  const track = make("span", { class: "bar" });
  if (one.start_ms / whole > 0.01) track.append(placed(make("i", { class: "wait" }), 0, one.start_ms, whole));
  track.append(placed(make("i", { class: `whole ${kindOf(one.result)}` }), one.start_ms, one.end_ms, whole));
  for (const attempt of one.attempts) {
    track.append(placed(make("i", { class: `attempt ${attemptKind(attempt)}`,
      title: `${ms(attempt.end_ms - attempt.start_ms)}: ${attempt.error || attempt.response.status}` }),
    attempt.start_ms, attempt.end_ms, whole));
  }
  if (!one.attempts.length && one.cache && one.cache !== "bypass" && one.cache !== "miss") {
    track.append(placed(make("i", { class: "mark", title: `cache ${one.cache}` }), one.start_ms, null, whole));
  }
  return track;
}

function attemptKind(attempt) {
  if (attempt.error) return attempt.error_kind === "cancelled" ? "idle" : "bad";
  return statusKind(attempt.response.status);
}

function label(one) {
  const chips = [];
  if (one.status !== null) chips.push(chip(one.status, statusKind(one.status)));
  if (one.items !== undefined) chips.push(chip(`${one.items} items${one.failed ? `, ${one.failed} failed` : ""}`, one.failed ? "warn" : "idle"));
  if (one.attempts.length > 1) chips.push(chip(`${one.attempts.length} attempts`, "warn"));
  if (one.cache) chips.push(chip(`cache ${one.cache}`, "cache"));
  if (one.result !== "ok") chips.push(chip(one.result.replace("_", " "), kindOf(one.result)));
  return make("span", { class: "took" }, ms(one.end_ms - one.start_ms), chips);
}

function legend() {
  const item = (kind, text) => make("span", {}, make("i", { class: kind }), text);
  return make("div", { class: "legend", "aria-hidden": "true" }, item("ok", "answered"), item("warn", "status 4xx"),
    item("bad", "status 5xx or no answer"), item("idle", "given up"), item("dots", "before it began"), item("diamond", "from the cache"));
}

function details(one) {
  const parts = [];
  if (one.failure) parts.push(make("p", { class: "banner bad" }, one.failure));
  one.attempts.forEach((attempt, number) => {
    const request = { ...attempt.request, line: `${attempt.request.method} ${attempt.request.url}` };
    parts.push(make("div", { class: "attempt-head" }, make("strong", {}, `Attempt ${number + 1}`),
      chip(attempt.error ? attempt.error_kind.replace("_", " ") : attempt.response.status, attemptKind(attempt)),
      make("span", { class: "size" }, `${ms(attempt.end_ms - attempt.start_ms)}, from ${ms(attempt.start_ms)} to ${ms(attempt.end_ms)}`)));
    parts.push(make("div", { class: "pair" }, make("div", {}, make("h2", {}, "Request"), message(request, request.line)),
      make("div", {}, make("h2", {}, "Response"), attempt.response ? message(attempt.response) : make("p", { class: "banner bad" }, attempt.error))));
  });
  if (one.response) {
    parts.push(make("div", { class: "attempt-head" }, make("strong", {}, "Without an attempt"),
      chip(one.cache ? `cache ${one.cache}` : one.result, one.cache ? "cache" : kindOf(one.result))), message(one.response, one.url));
  }
  if (one.cache_key) parts.push(make("p", { class: "size" }, "cache key ", make("code", {}, one.cache_key)));
  if (!parts.length) parts.push(make("p", { class: "size" }, one.items === undefined ? "Nothing was sent." : "See its items."));
  return parts;
}

function value(text) {
  return text === "***" ? make("span", { class: "gone", title: "a secret" }, "•••••") : text;
}

function message(one, line) {
  const first = line || (one.status ? `status ${one.status}` : "");
  const rows = (one.headers || []).map(([name, text]) => make("tr", {}, make("td", {}, name), make("td", {}, value(text))));
  return make("div", { class: "message mono" }, first ? make("div", { class: "line" }, first) : null,
    rows.length ? make("table", { class: "headers" }, make("tbody", {}, rows)) : null, body(one.body));
}

function body(one) {
  if (!one) return null;
  const notes = [one.bytes === null ? null : `body, ${one.bytes} bytes`, one.note, one.cut ? "the beginning" : null];
  return make("div", {}, make("div", { class: "size" }, notes.filter(Boolean).join(", ")), one.text ? make("pre", {}, pretty(one)) : null);
}

function pretty(one) {
  if (one.cut || !/^\s*[[{]/.test(one.text)) return one.text;
  try {
    return JSON.stringify(JSON.parse(one.text), null, 2);
  } catch {
    return one.text;
  }
}

function edits(list) {
  if (!list.length) return make("p", { class: "size" }, "Nothing: it goes on as it came.");
  return make("table", { class: "edits mono" }, make("tbody", {}, list.map((edit) => make("tr", {}, make("td", {}, edit.what),
    make("td", {}, edit.name ? make("b", {}, edit.name) : null, edit.name && edit.value !== undefined ? ": " : null,
      edit.value === undefined ? null : value(edit.value), edit.body ? body(edit.body) : null)))));
}

// The plan: a column for each level, an arrow for each wait

function plan(record) {
  const columns = [];
  for (const step of record.plan) (columns[step.level] = columns[step.level] || []).push(step);
  const longest = Math.max(...record.plan.map((step) => Math.min(step.name.length, 24)));
  const [wide, high, gapX, gapY] = [longest * 7.6 + 24, 30, 64, 14];
  const places = {};
  columns.forEach((column, level) => column.forEach((step, row) => {
    places[step.name] = { x: 1 + level * (wide + gapX), y: 1 + row * (high + gapY) };
  }));
  const tallest = Math.max(...columns.map((column) => column.length));
  const [width, height] = [columns.length * (wide + gapX) - gapX + 2, tallest * (high + gapY) - gapY + 2];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "what waits for what" },
    svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      svg("path", { d: "M0 0 8 4 0 8z" }))));
  const results = Object.fromEntries(record.callouts.filter((one) => !one.index).map((one) => [one.name, one.result]));
  const reasons = [];
  for (const step of record.plan) {
    const to = places[step.name];
    for (const wait of step.waits_for) {
      const from = places[wait.name];
      if (!from) continue;
      const [x1, y1, x2, y2] = [from.x + wide, from.y + high / 2, to.x, to.y + high / 2];
      const line = svg("path", { d: `M${x1} ${y1}C${x1 + gapX / 2} ${y1} ${x2 - gapX / 2} ${y2} ${x2 - 1} ${y2}`, "marker-end": "url(#tip)" });
      picture.append(line);
      reasons.push(make("li", {}, make("b", {}, step.name), " waits for ", make("b", {}, wait.name), `: ${WHY[wait.why] || wait.why} `,
        make("code", {}, wait.where)));
    }
  }
  for (const step of record.plan) {
    const at = places[step.name];
    const kind = results[step.name] ? kindOf(results[step.name]) : "idle";
    const name = step.name.length > 24 ? `${step.name.slice(0, 23)}…` : step.name;
    picture.append(svg("rect", { x: at.x, y: at.y, width: wide, height: high, rx: 6, class: kind }),
      svg("text", { x: at.x + wide / 2, y: at.y + high / 2 + 4, "text-anchor": "middle" }, name));
  }
  return [picture, reasons.length ? make("ul", {}, reasons) : make("p", { class: "size" }, "Nothing waits: all run side by side.")];
}

document.getElementById("filter").addEventListener("input", filter);
window.addEventListener("hashchange", () => { if (location.hash.length > 1) show(location.hash.slice(1)); });
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || !["j", "k"].includes(event.key)) return;
  const place = traces.findIndex((one) => one.id === shownId) + (event.key === "j" ? 1 : -1);
  if (traces[place]) location.hash = traces[place].id;
});
if (location.hash.length > 1) show(location.hash.slice(1));
update();
