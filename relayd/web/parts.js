// What every page is made of: buttons that show their command, dialogs, notices, tables, small plots.

import { h, render } from "./dom.js";
import { call } from "./api.js";

/** State of a replica → sign and class: never colour alone. */
export const STATES = {
  ready: ["●", "good"], loading: ["◐", "busy"], starting: ["◔", "busy"], waiting: ["◌", "busy"],
  draining: ["◑", "busy"], stopping: ["◕", "busy"], exited: ["✕", "bad"], backoff: ["↻", "warn"], unhealthy: ["!", "warn"],
  cold: ["○", "idle"], stopped: ["■", "idle"], fatal: ["✕", "bad"],
};

export function badge(state, title) {
  const [sign, kind] = STATES[state] || ["·", "idle"];
  return h("span", { class: `badge ${kind}`, title }, h("span", { "aria-hidden": "true" }, sign), ` ${state}`);
}

/** A small line plot; `values` oldest first. */
export function spark(values, { width = 120, height = 28, label = "" } = {}) {
  const top = Math.max(1e-9, ...values), n = Math.max(2, values.length);
  const at = (v, i) => `${((i / (n - 1)) * width).toFixed(1)},${(height - 2 - (v / top) * (height - 4)).toFixed(1)}`;
  const line = values.map(at).join(" ");
  return h("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    values.length > 1 && h("polyline", { class: "area", points: `0,${height} ${line} ${width},${height}` }),
    values.length > 1 && h("polyline", { class: "line", points: line }));
}

// Notices: what was done, with the command that does the same.

const notices = [];

export function notice(text, { command = "", bad = false } = {}) {
  const one = { text, command, bad, id: Math.random() };
  notices.push(one);
  drawNotices();
  setTimeout(() => { notices.splice(notices.indexOf(one), 1); drawNotices(); }, bad ? 12000 : 6000);
}

function drawNotices() {
  let box = document.getElementById("notices");
  if (!box) {
    box = document.createElement("div");
    box.id = "notices";
    box.setAttribute("role", "status");
    box.setAttribute("aria-live", "polite");
    document.body.append(box);
  }
  render(box, notices.map((one) => h("div", { key: one.id, class: one.bad ? "notice bad" : "notice" }, h("p", {}, one.text), one.command && commandLine(one.command))));
}

/** A command with a button that copies it. */
export function commandLine(command) {
  return h("div", { class: "command" }, h("code", {}, h("span", { class: "prompt", "aria-hidden": "true" }, "$ "), command), copyButton(command));
}

export function copyButton(text, label = "Copy") {
  return h("button", {
    class: "quiet copy", type: "button", title: label,
    onclick: async (event) => {
      const button = event.currentTarget;
      try { await navigator.clipboard.writeText(text); button.classList.add("done"); setTimeout(() => button.classList.remove("done"), 1200); }
      catch { notice("The browser does not let this page copy: mark the text instead.", { bad: true }); }
    },
  }, label);
}

// Dialogs.

/** Ask before something is done; resolves to false, or true, or what `body` has collected. */
export function ask({ title, body, confirm = "OK", danger = false, command = "" }) {
  return new Promise((settle) => {
    const box = document.createElement("dialog");
    const close = (value) => { box.close(); box.remove(); settle(value); };
    const form = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); close(collected(box)); } },
      h("h2", { id: "dialog-title" }, title),
      body,
      command && h("div", { class: "hint" }, "The same on a terminal:", commandLine(command)),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "quiet", onclick: () => close(false) }, "Cancel"),
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm)));
    render(box, form);
    box.setAttribute("aria-labelledby", "dialog-title");
    box.addEventListener("cancel", () => { box.remove(); settle(false); });
    document.body.append(box);
    box.showModal();
  });
}

function collected(box) {
  const fields = box.querySelectorAll("input[name], select[name], textarea[name]");
  if (!fields.length) return true;
  return Object.fromEntries([...fields].filter((one) => one.type !== "checkbox" || one.checked).map((one) => [one.name, one.value]));
}

/** Show something until it is closed. */
export function show(title, body) {
  const box = document.createElement("dialog");
  box.setAttribute("aria-labelledby", "dialog-title");
  const close = () => { box.close(); box.remove(); };
  render(box, h("h2", { id: "dialog-title" }, title), body, h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: close }, "Close")));
  box.addEventListener("cancel", () => box.remove());
  document.body.append(box);
  box.showModal();
}

// Actions: a verb of the administrators' API, its words and its command.

const VERBS = {
  load: ["Load", "models", "load", "is loading"],
  unload: ["Unload", "models", "unload", "leaves memory after its requests"],
  pin: ["Pin", "models", "pin", "stays in memory once it is loaded"],
  unpin: ["Unpin", "models", "unpin", "makes room for others again"],
  start: ["Start", "replicas", "start", "starts"],
  stop: ["Stop", "replicas", "stop", "stops"],
  drain: ["Drain", "replicas", "drain", "stops after its last request"],
  restart: ["Restart", "replicas", "restart", "restarts after its requests"],
};

export function verbLabel(verb) {
  return VERBS[verb][0];
}

export function commandOf(verb, target) {
  return `relayd ${verb} ${target}`;
}

/** Do something to a model or replica; `before` previews what it ends. */
export async function act(verb, target, before = null) {
  const [label, kind, path, doing] = VERBS[verb];
  const command = commandOf(verb, target);
  if (before && !(await ask({ title: `${label} ${target}?`, body: h("p", {}, before), confirm: label, danger: true, command }))) return;
  notice(`${target} ${doing}.`, { command });
  try {
    const report = await call("POST", `/admin/${kind}/${encodeURIComponent(target)}/${path}`, {});
    if (report && report.note) notice(report.note);
    for (const [name, why] of Object.entries((report && report.not_started) || {})) notice(`${name}: ${why}`, { bad: true });
  } catch (error) {
    notice(error.message, { command, bad: true });
  }
}

export function button(label, onclick, { title, kind = "quiet", disabled = false } = {}) {
  return h("button", { type: "button", class: kind, onclick, title, disabled }, label);
}

export function empty(title, text, ...more) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), more);
}

export function link(path, text, props = {}) {
  return h("a", { href: `/ui/${path}`, ...props }, text);
}

export function table(caption, heads, rows, { rowKey } = {}) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col", class: one.num ? "num" : "" }, one.text || one || h("span", { class: "hidden" }, "Actions"))))),
      h("tbody", {}, rows.map((cells, i) => h("tr", { key: rowKey ? rowKey(i) : i, class: cells.class || "" },
        (cells.cells || cells).map((cell, j) => h("td", { class: heads[j] && heads[j].num ? "num" : "" }, cell)))))));
}

/** Whether a text, or any of several, has every word that is looked for. */
export function matches(filter, ...texts) {
  const all = texts.join(" ").toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}
