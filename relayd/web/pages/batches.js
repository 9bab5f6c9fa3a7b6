// Batches: files of requests that run when there is time; how far each is, and what became of it.

import { h } from "../dom.js";
import { live, session } from "../api.js";
import { ask, button, commandLine, empty, matches, notice, show, table } from "../parts.js";
import { count, day, percent, plural, rate, seconds } from "../format.js";

const HEADS = ["State", "Batch", "Model", { text: "Done", num: true }, "Progress", { text: "Failed", num: true }, { text: "Lines/s", num: true }, { text: "Left", num: true }, "Made", ""];
const SIGNS = { validating: ["◌", "busy"], in_progress: ["◔", "busy"], finalizing: ["◕", "busy"], completed: ["●", "good"], failed: ["✕", "bad"], expired: ["✕", "warn"], cancelling: ["◑", "busy"], cancelled: ["○", "idle"] };
const OPEN = new Set(["validating", "in_progress", "finalizing", "cancelling"]);
const PERIOD = 3000;

let batches = null, error = "", timer = 0;

export function enter(context) {
  if (!timer) { read(context); timer = setInterval(() => read(context), PERIOD); }
}

export function leave() {
  clearInterval(timer);
  timer = 0;
}

async function door(method, path, body) {
  const headers = session.inference_key ? { Authorization: `Bearer ${session.inference_key}` } : {};
  if (body && !(body instanceof FormData)) { headers["Content-Type"] = "application/json"; body = JSON.stringify(body); }
  const answer = await fetch(path, { method, headers, body });
  if (answer.ok) return answer;
  const text = await answer.text();
  let found = {};
  try { found = JSON.parse(text).error || {}; } catch { /* no JSON: the status has to do */ }
  throw new Error(found.message || `relayd answered ${answer.status}`);
}

async function read(context) {
  try {
    batches = (await (await door("GET", "/v1/batches?limit=100")).json()).data;
    error = "";
  } catch (fault) { error = fault.message; }
  context.draw();
}

export function view(context) {
  const filter = context.place().query.get("q") || "";
  if (error && !batches) return h("p", { class: "bad", role: "alert" }, error);
  if (!batches) return h("p", { class: "loading" }, "Reading the batches …");
  const found = batches.filter((one) => matches(filter, one.id, one.status, one.model || "", ...one.relayd.models, ...Object.values(one.metadata || {})));
  const paused = batches.map((one) => one.relayd.paused).find(Boolean);
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Batches"),
      h("div", { class: "row" }, h("input", { type: "search", "aria-label": "Filter batches", placeholder: "Filter by id, state, model  /", value: filter, oninput: (event) => context.remember("q", event.target.value) }), button("New batch", () => submit(context), { kind: "primary", title: "$ relayd batch submit FILE.jsonl" }))),
    error && h("p", { class: "bad", role: "alert" }, error),
    paused && h("p", { class: "warn" }, `No line is begun: ${paused}.`),
    found.length ? table("Batches", HEADS, found.map((one) => ({ cells: row(context, one) })), { rowKey: (i) => found[i].id })
      : batches.length ? h("p", { class: "hint" }, `No batch matches “${filter}”.`)
        : empty("No batch yet", "A batch is a file of requests, one a line, that run while nobody else needs the models: requests go before it.", commandLine("relayd batch submit FILE.jsonl")),
  ];
}

function row(context, one) {
  const [mark, kind] = SIGNS[one.status] || ["·", "idle"], counts = one.request_counts, done = counts.completed + counts.failed;
  const name = (one.metadata || {}).name || one.id;
  return [
    h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, mark), ` ${one.status.replace("_", " ")}`),
    h("button", { type: "button", class: "id", title: one.id, onclick: () => details(one) }, name.length > 22 ? `${name.slice(0, 20)}…` : name),
    one.relayd.models.join(", ") || "–", `${count(done)} of ${count(counts.total)}`,
    [h("progress", { max: Math.max(1, counts.total), value: done, "aria-label": `${name}: done` }), ` ${percent(done, counts.total)}`],
    counts.failed ? h("span", { class: "bad" }, count(counts.failed)) : "–", OPEN.has(one.status) ? rate(one.relayd.lines_per_second) : "–", seconds(one.relayd.seconds_left), day(one.created_at),
    h("span", { class: "buttons" },
      one.output_file_id && button("Results", () => save(one.output_file_id, `${name}.jsonl`), { title: `$ relayd batch results ${one.id}` }),
      one.error_file_id && button("Errors", () => save(one.error_file_id, `${name}-errors.jsonl`), { title: `$ relayd batch results --failed ${one.id}` }),
      OPEN.has(one.status) && one.status !== "cancelling" && button("Cancel", () => cancel(context, one), { kind: "danger", title: `$ relayd batch cancel ${one.id}` })),
  ];
}

function details(one) {
  const usage = one.usage || {}, faults = ((one.errors || {}).data || []).slice(0, 10);
  const facts = [
    ["id", one.id], ["endpoint", one.endpoint], ["window", one.completion_window], ["made", day(one.created_at)], ["expires", day(one.expires_at)], ["ended", one.completed_at || one.failed_at || one.cancelled_at || one.expired_at ? day(one.completed_at || one.failed_at || one.cancelled_at || one.expired_at) : ""],
    ["tokens in", usage.input_tokens ? `${count(usage.input_tokens)}, ${percent(usage.input_tokens_details.cached_tokens, usage.input_tokens)} from cache` : ""], ["tokens out", usage.output_tokens ? count(usage.output_tokens) : ""], ["slot time", one.relayd.slot_seconds ? seconds(one.relayd.slot_seconds) : ""],
    ...Object.entries(one.metadata || {}),
  ].filter(([, value]) => value);
  show("Batch", h("div", { class: "request" },
    h("dl", { class: "details" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])),
    faults.length > 0 && h("div", {}, h("p", { class: "bad" }, "Its file was refused:"), h("ul", {}, faults.map((fault) => h("li", {}, `${fault.line ? `line ${fault.line}: ` : ""}${fault.message}`)))),
    h("p", { class: "hint" }, "On a terminal:"), commandLine(`relayd batch show ${one.id}`)));
}

async function cancel(context, one) {
  const command = `relayd batch cancel ${one.id}`, left = one.request_counts.total - one.request_counts.completed - one.request_counts.failed;
  if (!(await ask({ title: "Cancel this batch?", body: h("p", {}, `${plural(left, "line")} will not be answered. What is done can be had as results.`), confirm: "Cancel the batch", danger: true, command }))) return;
  try { await door("POST", `/v1/batches/${one.id}/cancel`, {}); notice("No more lines of it are begun.", { command }); } catch (fault) { notice(fault.message, { command, bad: true }); }
  await read(context);
}

async function submit(context) {
  const models = Object.keys((live.state && live.state.status.models) || {});
  const line = JSON.stringify({ custom_id: "1", method: "POST", url: "/v1/chat/completions", body: { model: models[0] || "MODEL", messages: [{ role: "user", content: "Hello!" }] } });
  let chosen = null;
  const body = h("div", { class: "fields" },
    h("label", {}, "File of requests (.jsonl)", h("input", { type: "file", required: true, accept: ".jsonl,.ndjson,.json", onchange: (event) => { chosen = event.target.files[0]; } })),
    h("label", {}, "Name", h("input", { name: "name", placeholder: "nightly", maxlength: 64 })),
    h("label", {}, "Has to end within", h("select", { name: "window" }, ["24h", "1h", "7d"].map((one) => h("option", { value: one }, one)))),
    h("p", { class: "hint wide" }, "Each line is one request, as OpenAI's batches have them: ", h("code", { class: "secret" }, line)));
  const given = await ask({ title: "New batch", body, confirm: "Submit", command: "relayd batch submit FILE.jsonl" });
  if (!given || !chosen) return;
  const form = new FormData();
  form.set("purpose", "batch");
  form.set("file", chosen);
  try {
    const file = await (await door("POST", "/v1/files", form)).json();
    await door("POST", "/v1/batches", { input_file_id: file.id, completion_window: given.window, metadata: given.name ? { name: given.name } : {} });
    notice(`${chosen.name} was submitted.`, { command: `relayd batch submit ${chosen.name}` });
  } catch (fault) { notice(fault.message, { bad: true }); }
  await read(context);
}

async function save(file, name) {
  try {
    const url = URL.createObjectURL(await (await door("GET", `/v1/files/${file}/content`)).blob());
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  } catch (fault) { notice(fault.message, { bad: true }); }
}
