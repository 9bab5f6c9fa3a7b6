// Recommend: models for this machine with the reasons; each can be pulled and served from here.

import { h } from "../dom.js";
import { call, live } from "../api.js";
import { button, commandLine, empty } from "../parts.js";
import { bytes, rate } from "../format.js";
import { pull, pullOf, pullsView, watchPulls } from "../pulls.js";
import { serve } from "./models.js";

const USES = ["chat", "agent", "code", "reasoning", "vision", "embedding", "long"];
let known = {}, error = "", busy = false;

export async function enter(context) {
  watchPulls(context);
  const use = useOf(context);
  if (!known[use] && !busy) await read(context, use);
}

function useOf(context) {
  const wanted = context.place().query.get("for");
  return USES.includes(wanted) ? wanted : "chat";
}

async function read(context, use) {
  [busy, error] = [true, ""];
  context.draw();
  try { known[use] = await call("GET", `/admin/recommend?use=${use}`); } catch (fault) { error = fault.message; }
  busy = false;
  context.draw();
}

/** What is recommended for a use: comfortable, the best that fits, small and quick; `kinds` says which. */
export function answersOf(report, use) {
  return (report && report.answers[use]) || [];
}

export function view(context) {
  const use = useOf(context), picks = answersOf(known[use], use);
  return [
    h("div", { class: "row spread" }, h("h1", {}, "Recommend"),
      h("div", { class: "tabs", role: "tablist", "aria-label": "What for" }, USES.map((one) => h("button", { key: one, type: "button", role: "tab", "aria-selected": one === use ? "true" : "false", onclick: () => { context.remember("for", one); if (!known[one]) read(context, one); } }, one)))),
    pullsView(context),
    error && h("p", { class: "bad", role: "alert" }, error),
    busy && !picks.length && h("p", { class: "loading" }, "Reading the machine and the catalogue, and fitting each model; some seconds …"),
    picks.map((one) => pickView(context, one)),
    !busy && !error && known[use] && !picks.length && empty("Nothing fits for this", "No model of the catalogue for this use fits the memory that models may take here."),
    commandLine(`relayd recommend --for ${use}`),
  ];
}

/** The number of a figure, with or without how it is known. */
export function value(figure) {
  return figure && typeof figure === "object" ? figure.value : figure;
}

export function nameOf(one) {
  const quant = one.placement && one.placement.quantization;
  return quant ? `${one.model}:${quant}` : one.model;
}

function pickView(context, one) {
  const place = one.placement || {}, speed = place.tokens_per_second || {};
  const size = value(place.file_bytes), fast = value(speed.alone), name = nameOf(one);
  const cache = (place.prompt_cache_mib || 0) * 2 ** 20;  // a limit for earlier prompts, not a need
  const memory = Object.entries(place.memory || {}).map(([where, held]) => (where === "cpu" ? `${bytes(held.bytes - cache)} of RAM` : `${bytes(held.bytes)} of ${where}`)).join(", ");
  return h("article", { class: "card pick", key: nameOf(one), "aria-label": one.model },
    h("div", { class: "row spread" },
      h("h2", {}, one.model, " ", h("small", {}, place.quantization || ""), h("span", { class: "tag" }, one.kinds.join(", "))),
      choose(context, name, one)),
    h("p", { class: "facts" }, [size && `${bytes(size)} to fetch`, memory, fast && `about ${rate(fast)} tokens/s alone`, place.context && `${place.slots || 1} × ${place.context.toLocaleString("en")} tokens`, value(one.quality) && `quality ${Math.round(value(one.quality))} of 100`, one.license].filter(Boolean).join(" · ")),
    h("details", {}, h("summary", {}, "Reasons"), h("ul", {}, [...(one.reasons || []), ...(place.reasons || [])].map((reason, j) => h("li", { key: j }, reason)))));
}

export function choose(context, name, one) {
  const going = pullOf(name);
  if (Object.keys(live.state.status.models || {}).some((known) => known === name || known === one.model)) return h("a", { class: "button", href: `/ui/playground?model=${encodeURIComponent(one.model)}` }, "Try");
  if (going && (going.state || "running") === "running") return h("span", { class: "hint" }, going.text || "downloading …");
  if (one.file || (going && going.state === "done")) return button("Serve", () => serve(name), { kind: "primary" });
  return button("Pull", () => pull(context, name), { kind: "primary", title: `$ relayd pull ${name}` });
}
