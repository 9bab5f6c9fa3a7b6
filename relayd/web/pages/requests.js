// Requests: what runs, what waits and why, and what has ended, each with its times on one line.

import { h, render } from "../dom.js";
import { call, live } from "../api.js";
import { ask, button, commandLine, empty, matches, notice, show, table } from "../parts.js";
import { clock, count, day, percent, plural, rate, seconds } from "../format.js";

const HEADS = ["State", "Request", "Model", "Key", "Replica", { text: "Waited", num: true }, { text: "First byte", num: true }, { text: "Tokens", num: true }, { text: "Age", num: true }, ""];
const ENDED = ["Ended", "At", "Request", "Model", "Key", "Replica", { text: "Queue", num: true }, { text: "First byte", num: true }, { text: "Total", num: true }, { text: "In", num: true }, { text: "Cached", num: true }, { text: "Out", num: true }, { text: "t/s", num: true }];

const SIGNS = { done: ["●", "good"], continued: ["⇄", "good"], refused: ["✕", "warn"], cut: ["✂", "bad"], cancelled: ["○", "idle"], waiting: ["◌", "busy"], running: ["◔", "busy"], answering: ["●", "good"] };

export function enter() {}

export function view(context) {
  const state = live.state, filter = context.place().query.get("q") || "";
  const key = (one) => (state.keys || {})[one.key] || one.key || "–";
  const fits = (one) => matches(filter, one.id, one.model || "", key(one), one.replica || "", one.state || one.ended, one.path, one.code || "");
  const open = Object.values(state.requests || {}).filter(fits).sort((a, b) => a.since - b.since);
  const ended = Object.entries(state.finished || {}).sort((a, b) => b[0] - a[0]).map(([, one]) => one).filter(fits);
  const models = Object.values(state.models || {});
  const all = models.reduce((sum, one) => sum + (one.running || 0) + (one.waiting || 0), 0);
  const now = Date.now() / 1000;
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Requests"),
      h("input", { type: "search", "aria-label": "Filter requests", placeholder: "Filter by id, model, key, state  /", value: filter, oninput: (event) => context.remember("q", event.target.value) })),
    h("section", { "aria-labelledby": "open-title" },
      h("h2", { id: "open-title" }, "Open ", h("small", {}, all > open.length ? `${open.length} of ${all}` : String(open.length))),
      open.length ? table("Open requests", HEADS, open.map((one) => ({ cells: openRow(one, key(one), now) })), { rowKey: (i) => open[i].ticket })
        : h("p", { class: "hint" }, "Nothing runs or waits.", filter && " The filter may hide some.")),
    h("section", { "aria-labelledby": "ended-title" },
      h("h2", { id: "ended-title" }, "Recent"),
      ended.length ? table("Recent requests", ENDED, ended.map((one) => ({ cells: endedRow(one, key(one)) })), { rowKey: (i) => ended[i].id + ended[i].at })
        : filter ? h("p", { class: "hint" }, "None of the recent requests matches.") : empty("No request yet", "Requests appear here as they come. Try a model, or connect a program.", h("p", { class: "buttons" }, h("a", { class: "button primary", href: "/ui/playground" }, "Playground"), h("a", { class: "button", href: "/ui/connect" }, "Connect")))),
  ];
}

function sign(state, title) {
  const [mark, kind] = SIGNS[state] || ["·", "idle"];
  return h("span", { class: `badge ${kind}`, title }, h("span", { "aria-hidden": "true" }, mark), ` ${state}`);
}

function openRow(one, key, now) {
  const waiting = one.state === "waiting";
  const waited = waiting ? Math.max(0, now - one.since) : one.waited_seconds;
  return [
    [sign(one.state), waiting && one.reason && h("div", { class: "why" }, `${one.reason}${one.expected_seconds ? `, about ${seconds(one.expected_seconds)}` : ""}`), prefill(one)],
    idCell(one), one.model || "–", key, one.replica || "–",
    seconds(waited), one.first_byte_seconds ? seconds(one.first_byte_seconds) : "–", one.tokens ? `~${count(one.tokens)}` : "–", seconds(now - one.since),
    button("Cancel", () => cancel(one), { title: `$ relayd requests --cancel ${one.id}`, kind: "danger small" }),
  ];
}

function prefill(one) {
  if (one.state !== "running" || !one.prompt_total) return null;
  return h("div", { class: "why" }, h("progress", { max: one.prompt_total, value: one.prompt_done, "aria-label": "prompt read" }), ` prompt ${percent(one.prompt_done, one.prompt_total)}`, one.prompt_seconds_left > 0 && `, about ${seconds(one.prompt_seconds_left)} left`);
}

function idCell(one) {
  return h("button", { type: "button", class: "id", title: `${one.id} ${one.path}`, onclick: () => details(one) }, one.id.length > 12 ? `${one.id.slice(0, 10)}…` : one.id);
}

function endedRow(one, key) {
  return [
    [sign(one.ended), one.code && h("div", { class: "why" }, one.code)], clock(one.at), idCell(one), one.model || "–", key, one.replica || "–",
    seconds(one.queue_seconds), seconds(one.first_byte_seconds), seconds(one.seconds),
    one.prompt_tokens ? count(one.prompt_tokens) : "–", one.prompt_tokens ? percent(one.cached_tokens || 0, one.prompt_tokens) : "–",
    one.completion_tokens ? count(one.completion_tokens) : "–", one.tokens_per_second ? rate(one.tokens_per_second) : "–",
  ];
}

async function cancel(one) {
  const command = `relayd requests --cancel ${one.id}`;
  const text = one.state === "answering" ? "Its client has a part of the answer and gets an error at its end." : "Its client gets an error instead of an answer.";
  if (!(await ask({ title: "Cancel this request?", body: h("p", {}, text), confirm: "Cancel the request", danger: true, command }))) return;
  try { await call("POST", `/admin/requests/${encodeURIComponent(one.id)}/cancel`, {}); notice("The request was ended.", { command }); }
  catch (error) { notice(error.message, { command, bad: true }); }
}

/** One timeline: queue, load, failed attempts, prompt, answer. */
function timeline(one) {
  const total = one.seconds || 0, queue = one.queue_seconds || 0, load = one.load_seconds || 0, retry = one.retry_seconds || 0;
  if (!total) return null;
  const first = one.first_byte_seconds != null ? one.first_byte_seconds : total;
  const parts = [["queue", queue - load - retry], ["load", load], ["retry", retry], ["prompt", first - queue], ["answer", total - first]].map(([name, s]) => [name, Math.max(0, s)]);
  const shown = parts.filter(([name, s]) => s > 0 || (name !== "load" && name !== "retry"));
  return h("div", { class: "timeline" },
    h("div", { class: "bar-of", role: "img", "aria-label": shown.map(([name, s]) => `${name} ${seconds(s)}`).join(", ") }, parts.filter(([, s]) => s > 0).map(([name, s]) => h("span", { class: `seg t-${name}`, style: { width: `${(100 * s) / total}%` } }))),
    h("p", { class: "legend" }, shown.map(([name, s]) => h("span", {}, h("i", { class: `dot t-${name}` }), ` ${name} ${seconds(s)}`)), one.continued ? h("span", {}, `continued ${plural(one.continued, "time")} by another replica`) : null));
}

const TIMES = new Set(["at", "since"]);

function details(one) {
  const rows = Object.entries(one).filter(([, value]) => value !== "" && value !== 0 && value !== null && value !== false);
  const text = (name, value) => TIMES.has(name) ? day(value) : /_seconds$|^seconds$/.test(name) ? seconds(value) : String(value);
  const box = h("section", { class: "why-read", "aria-label": "Why its prompt was read", "aria-live": "polite" },
    h("div", { class: "buttons" }, button("Why was its prompt read?", async (event) => { const place = event.target.closest(".why-read"); render(place, await whyView(one)); }, { title: `$ relayd why ${one.id}` })));
  show("Request", h("div", { class: "request" }, timeline(one), one.ended && one.prompt_tokens > 0 && box, h("dl", { class: "details" }, rows.map(([name, value]) => [h("dt", {}, name.replace("klass", "class").replaceAll("_", " ")), h("dd", {}, text(name, value))])), h("p", { class: "hint" }, "On a terminal:"), commandLine(`relayd requests ${one.id}`)));
}

/** What of its prompt was read again, and why. */
async function whyView(one) {
  let report;
  try { report = await call("GET", `/admin/requests/${encodeURIComponent(one.id)}/why`); } catch (error) { return h("p", {}, error.message); }
  return h("div", {},
    h("p", {}, h("b", {}, `${count(report.cached_tokens)} of ${count(report.prompt_tokens)} tokens reused. `), report.text),
    report.lost_tokens > 0 && h("p", { class: "hint" }, `Read again: ${count(report.lost_tokens)} tokens in ${seconds(report.lost_seconds)}.`, report.difference && report.cause !== "client" && ` It differs in: ${report.difference}.`),
    commandLine(`relayd why ${one.id}`));
}
