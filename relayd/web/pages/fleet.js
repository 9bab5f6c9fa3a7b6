// Fleet: what needs attention, how memory is filled, what each model and replica does.

import { h } from "../dom.js";
import { call, live } from "../api.js";
import { act, badge, button, commandOf, empty, link, matches, spark } from "../parts.js";
import { bytes, count, percent, plural, rate, seconds } from "../format.js";

let history = null, timer = 0;

export function enter({ draw }) {
  const read = async () => {
    try { history = await call("GET", "/admin/history"); draw(); } catch { history = null; }
  };
  if (!timer) { read(); timer = setInterval(read, 30000); }
}

export function leave() {
  clearInterval(timer);
  timer = 0;
}

export function view(context) {
  const state = live.state, status = state.status;
  const filter = context.place().query.get("q") || "";
  const models = Object.values(status.models || {}).filter((one) => matches(filter, one.name, ...(one.aliases || []), ...Object.values(one.replicas || {}).map((r) => `${r.name} ${r.state}`)));
  return [
    h("h1", { class: "hidden" }, "Fleet"),
    attentionView(context, state.attention || []),
    headline(state),
    devices(state),
    h("section", { "aria-labelledby": "models-title" },
      h("div", { class: "row spread" },
        h("h2", { id: "models-title" }, "Models"),
        h("input", { type: "search", "aria-label": "Filter models", placeholder: "Filter  /", value: filter, oninput: (event) => context.remember("q", event.target.value) })),
      models.map((model) => modelView(context, state, model)),
      !Object.keys(state.models || {}).length && empty("No model yet", "relayd serves GGUF models of this machine's disk. Find one that fits this machine, and pull it.",
        h("p", { class: "buttons" }, link("setup", "Set up", { class: "button primary" }), link("models", "Models on this disk", { class: "button" }))),
      Object.keys(status.models || {}).length > 0 && !models.length && h("p", { class: "hint" }, `No model matches “${filter}”.`)),
    elsewhere(state),
    h("p", { class: "foot" }, `relayd ${status.version} · pid ${status.pid} · up ${seconds(Date.now() / 1000 - status.since)} · llama.cpp ${(status.engine || {}).version || "?"} · ${status.url}`),
  ];
}

/** Models on other machines, a line for each machine. */
function elsewhere(state) {
  const nodes = Object.values(state.status.nodes || {}).map((one) => [one.name, one.state, Object.values(one.replicas || {})]);
  const servers = (state.status.upstreams || []).map((one) => [one.name, one.problem, one.models || []]);
  const all = [...nodes, ...servers];
  return all.length > 0 && h("section", { "aria-labelledby": "elsewhere-title" },
    h("div", { class: "row spread" }, h("h2", { id: "elsewhere-title" }, "On other machines"), link("nodes", "Nodes and servers", { class: "button" })),
    all.map(([name, why, models]) => h("p", { key: name }, h("strong", {}, name), why && ` (${why})`, ": ",
      models.map((one) => `${one.model} ${one.state} ${((state.replicas || {})[one.name || one.replica] || {}).running || 0}/${one.slots || 0}`).join(", ") || "nothing")));
}

function attentionView(context, list) {
  if (!list.length) return null;
  return h("section", { class: "attention", "aria-labelledby": "attention-title" },
    h("h2", { id: "attention-title" }, "Needs attention"),
    h("ul", {}, list.map((one) => h("li", { key: one.level + one.subject + one.text, class: one.level },
      h("span", { class: "sign", "aria-hidden": "true" }, one.level === "error" ? "✕" : one.level === "warning" ? "!" : "i"),
      h("div", {}, h("p", {}, h("span", { class: "hidden" }, `${one.level}: `), one.text), one.cause && h("p", { class: "cause" }, one.cause)),
      h("div", { class: "buttons" }, (one.remedies || []).map((remedy) => button(remedy.label, () => mend(context, remedy), { title: `$ ${remedy.command}`, kind: "" })))))));
}

function mend(context, remedy) {
  const { verb, target } = remedy;
  if (verb === "logs") context.go(`logs?target=${encodeURIComponent(target)}`);
  else if (verb === "requests") context.go(`requests?q=${encodeURIComponent(target)}`);
  else if (verb === "recommend") context.go("recommend");
  else if (verb === "fleet") document.getElementById("memory-title").scrollIntoView();
  else if (verb === "restart" && !target.includes("#")) act("restart", target);
  else act(verb, target);
}

function headline(state) {
  const trend = live.trend, models = Object.values(state.models || {});
  const sum = (name) => models.reduce((all, one) => all + (one[name] || 0), 0);
  const day = (history && history.day) || []; // the minutes of now are in it
  const total = day.reduce((all, one) => ({ requests: all.requests + (one.requests || 0), failed: all.failed + (one.failed || 0), tokens: all.tokens + (one.completion_tokens || 0), prompt: all.prompt + (one.prompt_tokens || 0), cached: all.cached + (one.cached_tokens || 0) }), { requests: 0, failed: 0, tokens: 0, prompt: 0, cached: 0 });
  const hour = (history && history.hour) || [];
  const last = [...hour].reverse().find((one) => one.first_byte_p95);
  return h("section", { class: "headline", "aria-label": "Figures" },
    figure("tokens/s", rate(state.tokens_per_second), spark(trend.tokens, { label: "tokens a second, the last minute" })),
    figure("running", String(sum("running")), spark(trend.running, { label: "running requests" })),
    figure("waiting", String(sum("waiting")), spark(trend.waiting, { label: "waiting requests" }), sum("waiting") > 0 ? "warn" : ""),
    figure("first byte, p95", last ? seconds(last.first_byte_p95) : "–", spark(hour.map((one) => one.first_byte_p95 || 0), { label: "seconds to the first byte, the last hour" })),
    figure("requests, 24 h", count(total.requests), spark(day.map((one) => one.requests || 0), { label: "requests, the last day" }), "", total.failed ? `${count(total.failed)} failed` : ""),
    figure("tokens out, 24 h", count(total.tokens), spark(day.map((one) => one.completion_tokens || 0), { label: "tokens of answers, the last day" }), "", total.prompt ? `${percent(total.cached, total.prompt)} of prompts from cache` : ""));
}

function figure(label, value, plot, kind = "", note = "") {
  return h("div", { class: `figure ${kind}` }, h("div", { class: "label" }, label), h("div", { class: "value" }, value), plot, h("div", { class: "note" }, note || "\u00a0"));
}

const HUES = 8;

function devices(state) {
  const accounts = Object.values(state.status.memory.accounts || {});
  if (!accounts.length) return null;
  const replicas = Object.values(state.status.models).flatMap((model) => Object.values(model.replicas || {}));
  return h("section", { "aria-labelledby": "memory-title" },
    h("h2", { id: "memory-title" }, "Memory"),
    accounts.map((one) => deviceView(one, replicas, state.status.memory)),
    (state.status.memory.waiting || []).filter((one) => one.wanted).map((one) =>
      h("p", { class: "hint", key: one.replica }, `${one.replica} waits for memory`, (one.waits_for || []).length ? `: ${one.waits_for.join(", ")} leave for it` : "")));
}

const NAMED = 0.12; // of a bar: what is narrower has no name in it, only below

function deviceView(one, replicas, memory) {
  const total = Math.max(one.capacity, one.held + Math.max(0, one.others || 0)) || 1;
  const parts = [];
  for (const [at, replica] of replicas.entries()) {
    const planned = replica.memory && replica.memory.planned && replica.memory.planned.bytes[one.account];
    const held = replica.memory && replica.memory.held && replica.memory.held.bytes[one.account];
    const gone = ["cold", "stopped", "fatal", "backoff", "exited", "waiting"].includes(replica.state);
    if (gone || !(planned || held)) continue;
    const isLoading = ["loading", "starting"].includes(replica.state);
    parts.push({ name: replica.name, size: Math.max(planned || 0, held || 0), filled: isLoading ? (held || 0) / Math.max(planned || 1, held || 1) : 1, hue: at % HUES, note: isLoading ? "loading" : (memory.leaving || {})[replica.name] ? "leaving" : "" });
  }
  const models = parts.reduce((sum, part) => sum + part.size, 0);
  const cache = one.account === "host" ? Math.max(0, one.held - models) : 0; // what of the limits of the prompt caches counts as held
  const known = models + cache;
  const others = Math.max(0, one.others || 0);
  const width = (size) => `${Math.max(0, Math.min(100, (100 * size) / Math.max(total, known + others)))}%`;
  const free = one.free;
  return h("div", { class: "device", key: one.account },
    h("div", { class: "row spread" },
      h("strong", {}, one.account === "host" ? "RAM (host)" : one.account),
      h("span", { class: free < 0 ? "bad" : "" }, `${bytes(one.held)} of ${bytes(one.capacity)} held, ${free < 0 ? `${bytes(-free)} too much` : `${bytes(free)} free`}`)),
    h("div", { class: "bar-of", role: "img", "aria-label": `${one.account}: ${parts.map((p) => `${p.name} ${bytes(p.size)}`).join(", ") || "no model"}, ${bytes(free)} free` },
      parts.map((part) => h("span", { key: part.name, class: `seg hue${part.hue} ${part.note}`, style: { width: width(part.size) }, title: `${part.name}: ${bytes(part.size)}` },
        part.note === "loading" && h("span", { class: "fill", style: { width: `${Math.round(part.filled * 100)}%` } }),
        part.size > known * NAMED && h("span", { class: "name" }, part.name, part.note && ` (${part.note})`))),
      cache > 0 && h("span", { key: "_cache", class: "seg cache", style: { width: width(cache) }, title: `prompts of earlier requests: up to ${bytes(cache)}` }, h("span", { class: "name" }, "earlier prompts")),
      others > 0 && h("span", { key: "_others", class: "seg others", style: { width: width(others) }, title: `other programs: ${bytes(others)}` }, h("span", { class: "name" }, "others"))),
    h("p", { class: "legend" }, parts.map((part) => h("span", { key: part.name }, h("i", { class: `dot hue${part.hue}` }), ` ${part.name} ${bytes(part.size)}`)), cache > 0 && h("span", { key: "_c" }, h("i", { class: "dot cache" }), ` earlier prompts up to ${bytes(cache)}`), others > 0 && h("span", { key: "_o" }, h("i", { class: "dot others" }), ` others ${bytes(others)}`)));
}

function modelView(context, state, model) {
  const now = (state.models || {})[model.name] || {}, replicas = Object.values(model.replicas || {});
  const up = replicas.some((one) => !["cold", "stopped", "fatal"].includes(one.state));
  const running = now.running || 0;
  const ends = running ? `${plural(running, "request")} run on it and are finished first.` : "";
  const waits = now.waiting || 0;
  return h("article", { class: "model", key: model.name, "aria-label": model.name },
    h("div", { class: "row spread" },
      h("h3", {}, model.name, model.demo && h("span", { class: "tag" }, "demo"), model.pinned && h("span", { class: "tag" }, "pinned"), model.load === "demand" && h("span", { class: "tag", title: "loaded when a request asks for it" }, "on demand")),
      h("div", { class: "row now" },
        h("span", { class: "tokens" }, h("b", {}, rate(now.tokens_per_second)), " tokens/s"),
        h("span", { class: waits ? "warn" : "" }, waits ? link(`requests?q=${encodeURIComponent(model.name)}`, `${waits} waiting`) : "no queue"),
        h("div", { class: "buttons" },
          up ? button("Unload", () => act("unload", model.name, ends ? `${ends} A request brings it back.` : "It leaves memory; a request brings it back."), { title: `$ ${commandOf("unload", model.name)}` })
            : button("Load", () => act("load", model.name), { kind: "primary", title: `$ ${commandOf("load", model.name)}` }),
          button(model.pinned ? "Unpin" : "Pin", () => act(model.pinned ? "unpin" : "pin", model.name), { title: `$ ${commandOf(model.pinned ? "unpin" : "pin", model.name)}` }),
          link(`playground?model=${encodeURIComponent(model.name)}`, "Try", { class: "button" })))),
    h("div", { class: "replicas" }, replicas.map((replica) => replicaView(context, state, replica))));
}

function replicaView(context, state, replica) {
  const now = (state.replicas || {})[replica.name] || {}, running = now.running || 0;
  const planned = (replica.memory && (replica.memory.held || replica.memory.planned)) || { bytes: {} };
  const last = replica.last_exit;
  const isDown = ["cold", "stopped", "fatal", "backoff"].includes(replica.state);
  const why = replica.reason || (isDown && last ? last.message : "");
  const cells = Array.from({ length: Math.min(64, replica.slots || 0) }, (_, i) => h("i", { key: i, class: i < running ? "slot busy" : "slot" }));
  const ends = running ? `${plural(running, "request")} run on it and are finished first.` : "No request runs on it.";
  return h("div", { class: "replica", key: replica.name },
    h("span", { class: "rname" }, link(`logs?target=${encodeURIComponent(replica.name)}`, replica.name, { title: "its log" })),
    badge(replica.state, `since ${seconds(Date.now() / 1000 - replica.since)}`),
    h("span", { class: "slots", role: "img", "aria-label": `${running} of ${replica.slots} slots busy` }, cells, h("span", { class: "of" }, ` ${running}/${replica.slots}`)),
    h("span", { class: "tokens" }, isDown ? "" : [h("b", {}, rate(now.tokens_per_second)), " t/s"]),
    h("span", { class: "memory" }, isDown ? "" : Object.entries(planned.bytes).map(([where, size]) => `${where} ${bytes(size)}`).join(", ")),
    h("span", { class: "restarts" }, replica.restarts ? plural(replica.restarts, "restart") : ""),
    h("span", { class: "buttons" },
      isDown ? button("Start", () => act("start", replica.name), { title: `$ ${commandOf("start", replica.name)}` })
        : [button("Restart", () => act("restart", replica.name, ends), { title: `$ ${commandOf("restart", replica.name)}` }),
          button("Drain", () => act("drain", replica.name, `${ends} It stays down until it is started.`), { title: `$ ${commandOf("drain", replica.name)}` })]),
    why && h("p", { class: "why" }, why));
}
