// Pulls: begun from several pages, watched by all of them.

import { h } from "./dom.js";
import { call } from "./api.js";
import { button, notice } from "./parts.js";
import { percent } from "./format.js";

const state = { pulls: [], awaited: new Set(), timer: 0 };

/** Look how far the pulls are: each second while one runs; `arrived` is called when one is done. */
export async function watchPulls(context, arrived = () => {}) {
  clearTimeout(state.timer);
  try {
    state.pulls = (await call("GET", "/admin/pulls")).pulls;
    for (const one of state.pulls) {
      if ((one.state || "running") === "running") state.awaited.add(one.model);
      else if (state.awaited.delete(one.model) && one.state === "done") { notice(`Downloaded ${one.model}.`); arrived(); }
    }
  } catch { state.pulls = []; }
  context.draw();
  if (state.awaited.size) state.timer = setTimeout(() => watchPulls(context, arrived), 1000);
}

export function pullOf(model) {
  return state.pulls.find((one) => one.model === model);
}

export async function pull(context, model, arrived) {
  try {
    await call("POST", "/admin/pulls", { model });
    state.awaited.add(model);
    notice(`Downloading ${model}.`, { command: `relayd pull ${model}` });
  } catch (fault) { notice(fault.message, { bad: true }); }
  await watchPulls(context, arrived);
}

export function pullsView(context) {
  if (!state.pulls.length) return null;
  return h("section", { "aria-labelledby": "pulls-title" }, h("h2", { id: "pulls-title" }, "Pulls"),
    state.pulls.map((one) => pullView(context, one)));
}

function pullView(context, one) {
  const running = (one.state || "running") === "running";
  return h("div", { class: "card row spread", key: one.model },
    h("strong", {}, one.model),
    running && h("progress", { max: 1, value: one.share || null, "aria-label": `${one.model} ${percent(one.share || 0, 1)}` }),
    h("span", { class: one.state === "failed" ? "bad" : "hint" }, running ? one.text || "begins …" : `${one.state}${one.text && one.state === "failed" ? `: ${one.text}` : ""}`),
    running ? button("Interrupt", async () => { await call("DELETE", `/admin/pulls/${encodeURIComponent(one.model)}`).catch((fault) => notice(fault.message, { bad: true })); watchPulls(context); }, { kind: "danger" })
      : one.state === "done" ? null : button("Go on", () => pull(context, one.model), { title: `$ relayd pull ${one.model}` }));
}

