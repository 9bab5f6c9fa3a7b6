// How figures are written: the same words and units as on the terminal.

export function bytes(n) {
  if (n == null) return "–";
  const sign = n < 0 ? "−" : "";
  let value = Math.abs(n), unit = 0;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (value >= 1024 && unit < 4) { value /= 1024; unit += 1; }
  return `${sign}${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function seconds(s) {
  if (s == null || !isFinite(s)) return "–";
  if (s < 0.00005) return "0 ms";
  if (s < 0.0095) return `${(s * 1000).toFixed(s < 0.00095 ? 1 : 0)} ms`;
  if (s < 0.995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", Math.floor(s % 60), "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

function two(n, unit, rest, smaller) {
  return `${n} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

export function count(n) {
  if (n == null) return "–";
  if (n >= 1e9) return `${(n / 1e9).toFixed(1)}G`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)}M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)}k`;
  return n.toLocaleString("en");
}

export function rate(n) {
  if (!n) return "0";
  return n < 10 ? n.toFixed(1) : String(Math.round(n));
}

export function percent(part, whole) {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–";
}

export function clock(at) {
  const d = new Date(at * 1000);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function day(at) {
  return new Date(at * 1000).toLocaleString();
}

export function plural(n, one, many) {
  return `${n} ${n === 1 ? one : many || one + "s"}`;
}
