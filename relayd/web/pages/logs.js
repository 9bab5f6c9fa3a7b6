// Logs: the tail of a replica's log or of the daemon's, followed and filtered.

import { h } from "../dom.js";
import { follow, live } from "../api.js";
import { button, commandLine, matches } from "../parts.js";
import { clock } from "../format.js";

const MOST = 2000;
const STAMP = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)\s+/; // of a line whose time stands before it already

let stop = null, target = null, lines = [], paused = false, error = "", draw = () => {};

export function enter(context) {
  draw = context.draw;
  const wanted = context.place().query.get("target") || "relayd";
  if (wanted !== target || !stop) begin(wanted);
}

export function leave() {
  if (stop) stop.abort();
  stop = null;
  target = null;
}

async function begin(wanted) {
  if (stop) stop.abort();
  const own = (stop = new AbortController());
  [target, lines, error] = [wanted, [], ""];
  try {
    for await (const event of follow(`/admin/logs?target=${encodeURIComponent(wanted)}&lines=500&follow=true`, { signal: own.signal })) {
      if (event.comment !== undefined) continue;
      lines.push(event);
      if (lines.length > MOST) lines.splice(0, lines.length - MOST);
      if (!paused) draw();
    }
  } catch (fault) {
    if (own.signal.aborted) return;
    error = fault.message;
    draw();
  }
}

function level(text) {
  return / ERROR |\bE srv|\berror\b/i.test(text) ? "bad" : / WARNING |\bW srv|\bwarn/i.test(text) ? "warn" : "";
}

export function view(context) {
  const { query } = context.place(), filter = query.get("q") || "";
  const { models, nodes } = live.state.status;
  const names = ["relayd", ...[...Object.values(models || {}), ...Object.values(nodes || {})].flatMap((one) => Object.keys(one.replicas || {}))];
  const shown = lines.filter((one) => matches(filter, one.line)).slice(-600);
  requestAnimationFrame(() => { const box = document.querySelector(".log"); if (box && !paused) box.scrollTop = box.scrollHeight; });
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Logs"),
      h("div", { class: "row" },
        h("select", { "aria-label": "Log of", value: target, onchange: (event) => { context.remember("target", event.target.value); begin(event.target.value); } }, [...new Set([...names, target])].map((name) => h("option", { key: name, value: name, selected: name === target }, name === "relayd" ? "relayd (the daemon)" : name))),
        h("input", { type: "search", "aria-label": "Filter lines", placeholder: "Filter  /", value: filter, oninput: (event) => context.remember("q", event.target.value) }),
        button(paused ? "Follow" : "Pause", () => { paused = !paused; draw(); }))),
    error && h("p", { class: "bad", role: "alert" }, error),
    h("div", { class: "log", role: "log", tabindex: "0", "aria-label": `Log of ${target}` },
      shown.map((one, i) => h("div", { key: `${one.time}-${i}`, class: level(one.line) }, one.time ? h("time", {}, clock(one.time)) : "", ` ${one.time ? one.line.replace(STAMP, "") : one.line}`)),
      !shown.length && h("p", { class: "hint" }, filter ? "No line matches." : "Nothing is written yet.")),
    commandLine(`relayd logs ${target} -f`),
  ];
}
