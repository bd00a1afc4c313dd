// Figures as people read them; the unit is in the name of the key, as everywhere in the document.
const locale = () => (language === "ja" ? "ja-JP" : "en-GB");
// A formatter is dear to make and cheap to use.
const made = {};
const formatter = (kind, make) => (made[kind + language] ||= make(locale()));
const three = (value) => formatter("three", (name) => new Intl.NumberFormat(name, { maximumSignificantDigits: 3 })).format(value);
const count = (value) => formatter("count", (name) => new Intl.NumberFormat(name, { maximumFractionDigits: 0 })).format(value);
const percent = (share) => `${three(100 * share)} %`;

function bytes(size) {
  let value = Number(size);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (Math.abs(value) < 1000) return `${three(value)} ${unit}`;
    value /= 1024;
  }
  return `${three(value)} TB`;
}

const UNITS = { en: ["µs", "ms", "s", "min", "h", "days"], ja: ["µs", "ms", "秒", "分", "時間", "日"] };
function seconds(value) {
  const units = UNITS[language];
  const size = Math.abs(value);
  if (size === 0) return `0 ${units[2]}`;
  if (size < 0.001) return `${three(value * 1e6)} ${units[0]}`;
  if (size < 1) return `${three(value * 1e3)} ${units[1]}`;
  if (size < 120) return `${three(value)} ${units[2]}`;
  if (size < 7200) return `${three(value / 60)} ${units[3]}`;
  return size < 172800 ? `${three(value / 3600)} ${units[4]}` : `${three(value / 86400)} ${units[5]}`;
}

function when(text) {
  const moment = new Date(text);
  if (!text || Number.isNaN(moment.getTime())) return text || "–";
  return formatter("when", (name) => new Intl.DateTimeFormat(name, { dateStyle: "medium", timeStyle: "short" })).format(moment);
}

function version(number) {
  if (!number) return "–";
  return `${Math.floor(number / 10000)}.${number % 10000}`;
}

// One value by the unit in its name: a number, a text, a list, or more of the same.
function shown(key, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return t(value ? "term_yes" : "term_no");
  if (typeof value === "number") {
    if (key.endsWith("bytes") || key.endsWith("bytes_per_hour")) return bytes(value);
    if (key.endsWith("seconds")) return seconds(value);
    if (key.endsWith("_ms")) return seconds(value / 1000);
    if (key.endsWith("share") || key.endsWith("ratio") && value <= 1) return percent(value);
    if (key.endsWith("percent")) return `${three(value)} %`;
    return Number.isInteger(value) ? count(value) : three(value);
  }
  if (Array.isArray(value)) return value.map((part) => shown(key, part)).join(", ");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, part]) => `${called(name)} ${shown(name, part)}`).join(", ");
  }
  const text = String(value);
  if (key === "kind" && has(`term_${text}`)) return t(`term_${text}`);
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? when(text) : text;
}

// A key of the document as a person says it; the unit is told by its figure.
function called(key) {
  if (key.startsWith("critical_")) return `${called(key.slice(9))} (${t("term_critical")})`;
  if (has(`key_${key}`)) return t(`key_${key}`);
  if (has(`term_${key}`)) return t(`term_${key}`);
  return key.replace(/_(bytes|seconds|ms|share|percent)$/, "").replaceAll("_", " ");
}
