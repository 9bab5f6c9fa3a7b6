// Setup: from the hardware to the first answer, step by step; it stays reachable after the first run.

import { h } from "../dom.js";
import { call, live } from "../api.js";
import { button, commandLine } from "../parts.js";
import { bytes, rate } from "../format.js";
import { pullsView, watchPulls } from "../pulls.js";
import { answersOf, choose, nameOf, value } from "./recommend.js";

let machine = null, report = null, error = "", reading = false;

export async function enter(context) {
  watchPulls(context);
  if (reading || machine) return;
  reading = true;
  try { machine = await call("GET", "/admin/hardware"); } catch (fault) { error = fault.message; }
  reading = false;
  context.draw();
}

async function recommend(context) {
  reading = true;
  error = "";
  context.draw();
  try { report = await call("GET", "/admin/recommend?use=chat"); } catch (fault) { error = fault.message; }
  reading = false;
  context.draw();
}

export function view(context) {
  const status = live.state.status, models = Object.values(status.models || {});
  const ready = models.find((model) => Object.values(model.replicas || {}).some((one) => one.state === "ready"));
  const answered = Object.values(live.state.finished || {}).some((one) => one.ended === "done" && one.completion_tokens);
  const picks = answersOf(report, "chat");
  return [
    h("h1", {}, "Setup"),
    error && h("p", { class: "bad", role: "alert" }, error),
    h("ol", { class: "steps" },
      step(1, "This machine", Boolean(machine), machine ? machineView(machine) : h("p", { class: "hint" }, reading ? "Reading the hardware …" : ""), "relayd hardware"),
      step(2, "A model that fits it", models.length > 0, [
        picks.length ? picks.map((one) => h("div", { class: "card row spread", key: nameOf(one) }, h("div", {}, h("strong", {}, nameOf(one)), " ", h("span", { class: "tag" }, one.kinds.join(", ")), h("p", { class: "hint" }, facts(one))), choose(context, nameOf(one), one)))
          : h("p", { class: "buttons" }, button(reading ? "Looking …" : models.length ? "Recommend others" : "Recommend", () => recommend(context), { kind: models.length ? "" : "primary", disabled: reading }), h("a", { class: "button", href: "/ui/models" }, "Models on this disk")),
        pullsView(context)], "relayd recommend --for chat"),
      step(3, "Serve it", Boolean(ready), models.length ? h("p", {}, models.map((model) => `${model.name}: ${Object.values(model.replicas || {}).map((one) => one.state).join(", ")}`).join(" · ")) : h("p", { class: "hint" }, "A model that is pulled has a button to serve it."), "relayd serve"),
      step(4, "Try it", answered, ready ? h("p", {}, h("a", { class: "button primary", href: `/ui/playground?model=${encodeURIComponent(ready.name)}` }, `Talk with ${ready.name}`)) : h("p", { class: "hint" }, "As soon as a replica is ready."), ready ? `relayd chat ${ready.name}` : "relayd chat"),
      step(5, "Connect your programs", false, h("p", {}, h("a", { class: "button", href: "/ui/connect" }, "Snippets for each of them")), ""),
      step(6, "Keep it running", Boolean(status.service), status.service ? h("p", {}, `${status.service.manager} runs it as ${status.service.name}.`) : h("p", { class: "hint" }, "Installed as a service, relayd starts with the machine and outlives this terminal. That is done on a terminal:"), "relayd service install")),
  ];
}

function step(number, title, done, body, command) {
  return h("li", { key: number, class: done ? "step done" : "step" }, h("h2", {}, h("span", { class: "mark", "aria-hidden": "true" }, done ? "✓" : String(number)), ` ${title}`, h("span", { class: "hidden" }, done ? " (done)" : " (open)")), h("div", { class: "body" }, body, command && commandLine(command)));
}

function machineView(found) {
  const gpus = found.devices.filter((one) => one.kind !== "cpu");
  return h("p", {}, [`${found.cpu.model}, ${found.cpu.usable_cores} cores`, `${bytes(found.memory.total_bytes)} of RAM`, ...gpus.map((one) => `${one.name} (${bytes(one.memory_total_bytes)})`)].join(" · "));
}

function facts(one) {
  const place = one.placement || {}, speed = place.tokens_per_second || {};
  return [value(place.file_bytes) && `${bytes(value(place.file_bytes))} to fetch`, value(speed.alone) && `about ${rate(value(speed.alone))} tokens/s`, one.license].filter(Boolean).join(" · ");
}

