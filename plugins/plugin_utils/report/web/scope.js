// What is looked at: the fleet, a cluster or a node, and the filters; kept in the address, so that a view can be sent.
const view = { cluster: null, node: null, search: "", severity: "", area: "", grade: "", state: "open",
  sort: "severity", down: false, limit: 100, open: new Set() };

const clusterOf = (finding) => report.clusters[finding.cluster];
const place = (finding) => (finding.nodes && finding.nodes.length ? finding.nodes : []);
const isOpen = (finding) => finding.state !== "accepted";

function inScope(thing) {
  if (view.cluster !== null && thing.cluster !== view.cluster) return false;
  if (view.node === null) return true;
  return thing.node === view.node || (thing.nodes || []).includes(view.node);
}

const text = (finding, part) => strings[finding.texts[language][part]];
const TITLE = 0, WHAT = 1, WHY = 2, REMEDY = 3, MISSING = 4;

function objectName(finding) {
  const thing = finding.object || {};
  const name = [thing.schema, thing.name].filter(Boolean).join(".");
  const on = thing.table && thing.table !== thing.name ? ` (${thing.table})` : "";
  return name ? name + on : "";
}

// Everything that a search reads, lower case, made once for each language.
const haystacks = { en: [], ja: [] };
function haystack(number) {
  const rows = haystacks[language];
  if (rows[number] === undefined) {
    const finding = report.findings[number];
    rows[number] = [finding.id, finding.class, finding.database, ...Object.values(finding.object || {}),
      clusterOf(finding).name, ...place(finding), ...finding.texts[language].map((n) => strings[n]),
      ...finding.action.map((n) => strings[n]), finding.statement === undefined ? "" : strings[finding.statement]].join("\n").toLowerCase();
  }
  return rows[number];
}

function matching() {
  const words = view.search.toLowerCase().split(/[\s\u3000]+/).filter(Boolean);
  return report.findings.map((finding, number) => number).filter((number) => {
    const finding = report.findings[number];
    if (!inScope(finding)) return false;
    if (view.severity && finding.severity !== view.severity) return false;
    if (view.area && finding.area !== view.area) return false;
    if (view.grade && finding.grade !== view.grade) return false;
    if (view.state === "open" && !isOpen(finding)) return false;
    if (view.state && view.state !== "open" && finding.state !== view.state) return false;
    return words.every((word) => haystack(number).includes(word));
  });
}

const weight = (finding) => {
  const impact = finding.impact || {};
  return [impact.load_share || 0, impact.bytes || 0, impact.writes_per_second || 0];
};
const ORDERS = {
  severity: (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity),
  finding: (a, b) => text(a, TITLE).localeCompare(text(b, TITLE), language) || objectName(a).localeCompare(objectName(b)),
  place: (a, b) => clusterOf(a).name.localeCompare(clusterOf(b).name) || place(a).join().localeCompare(place(b).join()),
  grade: (a, b) => GRADES.indexOf(a.grade) - GRADES.indexOf(b.grade),
  impact: (a, b) => {
    const left = weight(a), right = weight(b);
    return right[0] - left[0] || right[1] - left[1] || right[2] - left[2];
  },
  seen: (a, b) => (b.first_seen || "").localeCompare(a.first_seen || ""),
};

function sorted(numbers) {
  const order = ORDERS[view.sort];
  const sign = view.down ? -1 : 1;
  return numbers.slice().sort((a, b) => sign * order(report.findings[a], report.findings[b]) || a - b);
}

// The address: #cluster=…&node=…&severity=…, or the id of a finding.
const KEPT = ["search", "severity", "area", "grade", "state"];
function toAddress() {
  const parts = new URLSearchParams();
  if (view.cluster !== null) parts.set("cluster", report.clusters[view.cluster].name);
  if (view.node !== null) parts.set("node", view.node);
  for (const name of KEPT) if (view[name] && !(name === "state" && view[name] === "open")) parts.set(name, view[name]);
  history.replaceState(null, "", parts.toString() ? `#${parts}` : location.pathname + location.search);
}

function fromAddress() {
  const said = location.hash.slice(1);
  if (report.findings.some((finding) => finding.id === said)) {
    Object.assign(view, { search: said, state: "", open: new Set([said]) });
    return true;
  }
  if (!said.includes("=")) return false;
  const parts = new URLSearchParams(said);
  const cluster = report.clusters.findIndex((one) => one.name === parts.get("cluster"));
  view.cluster = cluster < 0 ? null : cluster;
  view.node = view.cluster === null ? null : parts.get("node");
  for (const name of KEPT) if (parts.has(name)) view[name] = parts.get(name);
  return false;
}
