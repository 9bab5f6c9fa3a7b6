// Nodes: machines that have joined this hub, servers elsewhere, and how another machine joins.

import { h } from "../dom.js";
import { call, live } from "../api.js";
import { ask, badge, button, commandLine, empty, link, matches, notice, table } from "../parts.js";
import { bytes, seconds } from "../format.js";

let adding = null; // {name, serves, platform, join, note, until, answer, error}

export function enter() {}

export function view(context) {
  const status = live.state.status, filter = context.place().query.get("q") || "";
  const nodes = Object.values(status.nodes || {}).filter((one) => matches(filter, one.name, one.state, one.provider || "", ...Object.keys(one.replicas || {})));
  const elsewhere = (status.upstreams || []).filter((one) => matches(filter, one.name, one.url || "", ...(one.models || []).map((m) => m.model)));
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Nodes and servers elsewhere"),
      h("div", { class: "row" }, h("input", { type: "search", "aria-label": "Filter machines", placeholder: "Filter  /", value: filter, oninput: (event) => context.remember("q", event.target.value) }),
        button("Add a machine", () => invite(context), { kind: "primary", title: "$ relayd nodes invite NAME" }), button("Add a server", () => addServer(), { title: "$ relayd upstreams add URL" }))),
    adding && addingView(context, status),
    nodes.map((one) => nodeView(one)),
    !nodes.length && !adding && empty(filter ? "No machine matches" : "No other machine yet", filter ? "" : "Another machine connects out to this one: nothing is opened there, and its models are served here."),
    elsewhere.length > 0 && h("section", { "aria-labelledby": "upstreams-title" }, h("h2", { id: "upstreams-title" }, "Servers elsewhere"), upstreams(elsewhere)),
    (status.hubs || []).length > 0 && h("section", { "aria-labelledby": "hubs-title" }, h("h2", { id: "hubs-title" }, "Hubs of this machine"),
      table("Hubs", ["Hub", "Known there as", "State", "For"], status.hubs.map((one) => [one.url, one.node || "–", one.state, one.since ? seconds(Date.now() / 1000 - one.since) : "–"]))),
  ];
}

function nodeView(one) {
  const isThere = one.state === "connected" || one.state === "drained";
  return h("article", { class: "model", key: one.name, "aria-label": one.name },
    h("div", { class: "row spread" },
      h("h2", {}, one.name, " ", badge(isThere && one.state === "connected" ? "ready" : one.state, one.since ? `since ${seconds(Date.now() / 1000 - one.since)}` : ""), one.provider && h("span", { class: "tag" }, one.provider)),
      h("div", { class: "buttons" },
        button("Test", () => test(one.name), { disabled: !isThere, title: `$ relayd upstreams test ${one.name}` }),
        one.state === "drained" ? button("Give requests", () => act("undrain", one.name), { title: `$ relayd nodes undrain ${one.name}` })
          : button("Drain", () => act("drain", one.name), { title: `$ relayd nodes drain ${one.name}` }),
        button("Remove", () => remove(one.name), { kind: "danger", title: `$ relayd nodes remove ${one.name}` }))),
    h("p", { class: "hint" }, [one.platform, (one.devices || []).join(", "), one.address, one.version && `relayd ${one.version}`, one.round_trip_seconds && `${Math.round(1000 * one.round_trip_seconds)} ms there and back`].filter(Boolean).join(" · ")),
    one.reason && h("p", { class: "why" }, one.reason),
    Object.values(one.accounts || {}).map((account) => h("p", { class: "hint", key: account.account }, `${account.account}: ${bytes(account.held || 0)} of ${bytes(account.capacity)} held, ${bytes(Math.max(0, account.free || 0))} free`)),
    h("div", { class: "replicas" }, Object.values(one.replicas || {}).map((replica) => replicaView(replica))));
}

function replicaView(one) {
  const running = ((live.state.replicas || {})[one.name] || {}).running || 0;
  return h("div", { class: "replica", key: one.name },
    h("span", { class: "rname" }, link(`logs?target=${encodeURIComponent(one.name)}`, one.name, { title: "its log" })),
    badge(one.state), h("span", { class: "slots" }, `${running}/${one.slots || 0}`), h("span", { class: "buttons" }, link(`playground?model=${encodeURIComponent(one.model)}`, "Try", { class: "button" })),
    one.reason && h("p", { class: "why" }, one.reason));
}

function upstreams(list) {
  return table("Servers elsewhere", ["Name", "Serves", "State", "Busy", "Address", ""], list.map((one) => [
    one.name, (one.models || []).map((m) => m.model).join(", ") || "nothing", one.problem || [...new Set((one.models || []).map((m) => m.state))].join(", "),
    (one.models || []).map((m) => `${m.running}/${m.slots}`).join(", "), one.url || one.kind,
    h("span", { class: "buttons" }, button("Test", () => test(one.name), { title: `$ relayd upstreams test ${one.name}` }),
      one.kind === "upstream" && button("Remove", () => removeServer(one.name), { kind: "danger", title: `$ relayd upstreams remove ${one.name}` })),
  ]), { rowKey: (i) => list[i].name });
}

// A machine is added: what it is, the line to paste, what has become of it.

const SERVES = { relayd: "its own GGUF models, by relayd", ollama: "Ollama", lmstudio: "LM Studio", vllm: "vLLM", other: "another server with OpenAI's API" };
const PLACES = { ollama: "http://127.0.0.1:11434", lmstudio: "http://127.0.0.1:1234", vllm: "http://127.0.0.1:8000", other: "http://127.0.0.1:8080" };
const PLATFORMS = { linux: "Linux", macos: "macOS", windows: "Windows (inside WSL2)" };

async function invite(context) {
  const options = (all) => Object.entries(all).map(([value, text]) => h("option", { value }, text));
  const given = await ask({ title: "Add a machine", confirm: "Invite it", body: h("div", { class: "fields" },
    h("label", {}, "What you call it", h("input", { name: "node", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", placeholder: "attic" })),
    h("label", {}, "Platform", h("select", { name: "platform" }, options(PLATFORMS))),
    h("label", {}, "What serves there", h("select", { name: "serves" }, options(SERVES)))) });
  if (!given) return;
  try {
    const report = await call("POST", "/admin/nodes", { node: given.node });
    const before = (live.state.status.upstreams || []).filter((one) => one.kind !== "upstream").map((one) => one.name);
    adding = { ...given, before, name: given.node, join: report.join, note: report.note, until: Date.now() / 1000 + report.seconds, answer: "", error: "" };
  } catch (error) { notice(error.message, { command: `relayd nodes invite ${given.node}`, bad: true }); }
  context.draw();
}

function addingView(context, status) {
  const { name, serves, platform, join, note, until, answer, error, before } = adding;
  const backend = PLACES[serves] ? ` --backend ${PLACES[serves]}` : "";
  const node = (status.nodes || {})[name], worker = backend && (status.upstreams || []).find((one) => one.kind !== "upstream" && !before.includes(one.name));
  const isThere = node && node.state === "connected";
  const ready = (worker ? worker.models || [] : Object.values((node && node.replicas) || {})).filter((one) => one.state === "ready");
  const left = until - Date.now() / 1000;
  return h("section", { class: "card", "aria-labelledby": "adding-title" },
    h("div", { class: "row spread" }, h("h2", { id: "adding-title" }, `Add ${name}`), button("Close", () => { adding = null; context.draw(); })),
    h("ol", {},
      h("li", {}, platform === "windows" ? "In PowerShell: wsl --install. Then, in Ubuntu, install relayd:" : `Install relayd on it (${PLATFORMS[platform]}):`, commandLine("pipx install relayd"), "From a copy of the source: pipx install . in its folder."),
      h("li", {}, "Type this there. It works once", left > 0 ? `, for ${seconds(left)}` : "; its time is over, invite it anew", ".", commandLine(`relayd join ${join}${backend}`), note && h("p", { class: "warn" }, note)),
      h("li", { "aria-live": "polite" }, isThere || worker ? badge("ready") : badge("waiting"), " ",
        isThere ? (ready.length ? `connected, and serves ${ready.map((one) => one.model).join(", ")}.` : "connected; it serves no model yet. On it: relayd recommend.") : worker ? `connected as ${worker.name}, and serves ${ready.map((one) => one.model).join(", ")}.` : node && node.version ? `${node.state}${node.reason ? `: ${node.reason}` : ""}` : "waiting for it to connect …"),
      h("li", {}, button("Ask it", async () => { await test(worker ? worker.name : name, (found, bad) => { adding = { ...adding, answer: found, error: bad }; context.draw(); }); }, { disabled: !ready.length, title: `$ relayd upstreams test ${worker ? worker.name : name}` }), " ", answer || h("span", { class: "bad" }, error)),
      h("li", {}, "So that it comes back after a restart of that machine, install it as a service", backend ? [": put ", h("code", {}, "--install"), " behind the line above."] : [":", commandLine("relayd service install")])));
}

async function test(name, told = (found, bad) => notice(found || bad, { command: `relayd upstreams test ${name}`, bad: Boolean(bad) })) {
  try {
    const found = await call("POST", `/admin/upstreams/${encodeURIComponent(name)}/test`, {});
    if (found.problem) told("", `${name} does not answer for ${found.model}: ${found.problem}`);
    else told(`${name} answers for ${found.model}, in ${seconds(found.seconds)}.`, "");
  } catch (error) { told("", error.message); }
}

async function act(verb, name) {
  const command = `relayd nodes ${verb} ${name}`;
  try { await call("POST", `/admin/nodes/${encodeURIComponent(name)}/${verb}`, {}); notice(verb === "drain" ? `${name} gets no new requests.` : `${name} gets requests again.`, { command }); }
  catch (error) { notice(error.message, { command, bad: true }); }
}

async function remove(name) {
  const command = `relayd nodes remove ${name}`;
  if (!(await ask({ title: `Remove ${name}?`, body: h("p", {}, "Its token is taken back, and requests that run there are tried elsewhere. Drain it first to finish them."), confirm: "Remove", danger: true, command }))) return;
  try { await call("DELETE", `/admin/nodes/${encodeURIComponent(name)}`); notice(`${name} is removed.`, { command }); }
  catch (error) { notice(error.message, { command, bad: true }); }
}

async function addServer() {
  const given = await ask({ title: "Add a server", confirm: "Add it", body: h("div", { class: "fields" },
    h("label", {}, "Where it answers", h("input", { name: "url", type: "url", required: true, placeholder: "http://192.168.1.7:11434" })),
    h("label", {}, "What it is called (empty for its address)", h("input", { name: "name" })),
    h("label", {}, "Its key (empty for none)", h("input", { name: "key", type: "password", autocomplete: "off" })),
    h("label", {}, "Seconds to wait for something cheaper", h("input", { name: "cost", type: "number", min: 0, value: "0" }))) });
  if (!given) return;
  const line = { url: given.url, ...(given.name && { name: given.name }), ...(given.key && { key: given.key }), ...(Number(given.cost) && { cost: Number(given.cost) }) };
  try { const found = await call("POST", "/admin/upstreams", line); notice(found.problem || `${found.name} serves ${found.models.map((one) => one.model).join(", ")}.`, { command: `relayd upstreams add ${given.url}`, bad: Boolean(found.problem) }); }
  catch (error) { notice(error.message, { bad: true }); }
}

async function removeServer(name) {
  const command = `relayd upstreams remove ${name}`;
  if (!(await ask({ title: `Remove ${name}?`, body: h("p", {}, "What runs there is finished."), confirm: "Remove", danger: true, command }))) return;
  try { await call("DELETE", `/admin/upstreams/${encodeURIComponent(name)}`); notice(`${name} is removed.`, { command }); }
  catch (error) { notice(error.message, { command, bad: true }); }
}
