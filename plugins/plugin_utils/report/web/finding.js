// One finding, opened: what was seen and on what evidence, and the SQL to do and to undo it.
function entries(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function figuresOf(value) {
  const rows = Object.entries(value || {});
  if (!rows.length) return null;
  return el("ul", {}, rows.map(([key, figure]) => el("li", {}, `${called(key)}: ${shown(key, figure)}`)));
}

function impactText(finding) {
  const impact = finding.impact || {};
  return [impact.load_share ? t("load_part", { share: percent(impact.load_share) }) : null,
    impact.bytes ? bytes(impact.bytes) : null,
    impact.writes_per_second ? t("writes_saved", { figure: three(impact.writes_per_second) }) : null,
  ].filter(Boolean).join(" · ");
}

function windowText(finding) {
  const window = finding.window;
  if (!window) return t("window_none");
  const told = t("window_of", { since: when(window.since), until: when(window.until), length: seconds(window.seconds) });
  if (!window.why) return told;
  return `${told}, ${has(`why_${window.why}`) ? t(`why_${window.why}`) : window.why}`;
}

function thresholdOf(finding) {
  const { source: from, value, ...others } = finding.threshold || {};
  const source = has(`source:${from}`) ? t(`source:${from}`) : from;
  // A bare figure is told with its unit by its source.
  if (typeof value === "number" && source && !Object.keys(others).length) return source;
  const rows = value !== null && typeof value === "object" ? { ...value, ...others } : { ...(value === undefined ? {} : { value }), ...others };
  const list = figuresOf(rows);
  if (!list && !source) return null;
  return [list, source ? el("span", { class: "soft" }, `${t("source")}: ${source}`) : null];
}

function acceptance(finding) {
  const accepted = finding.accepted;
  if (accepted) {
    const values = { owner: accepted.owner || "–", until: accepted.until, reason: accepted.reason || "–" };
    return t(accepted.until ? "accepted_by" : "accepted_forever", values);
  }
  return finding.expired ? t("was_accepted") : "";
}

// How often it was there, and its figure in each of those runs.
const comesAndGoes = (finding) => Boolean(finding.runs) && finding.runs.seen < finding.runs.of;
const runsText = (finding) => t("runs_of", { seen: count(finding.runs.seen), of: count(finding.runs.of) });
function runsOf(finding) {
  const { runs } = finding;
  if (!runs || runs.of < 2) return null;
  const line = runs.key ? sparkline(runs.values, called(runs.key), (value) => shown(runs.key, value)) : null;
  return [el("span", {}, runsText(finding)), line ? el("div", {}, line, " ", el("span", { class: "soft" }, called(runs.key))) : null];
}

function valuesOf(finding) {
  if (!finding.values) return figuresOf(finding.value);
  return el("ul", {}, Object.entries(finding.values).map(([node, value]) => el("li", {}, `${node}: `,
    Object.entries(value || {}).map(([key, figure]) => `${called(key)} ${shown(key, figure)}`).join(", "))));
}

function paragraphs(finding) {
  return [["seen", WHAT], ["why", WHY], ["remedy", REMEDY], ["missing", MISSING]]
    .filter(([, part]) => text(finding, part))
    .map(([label, part]) => [el("h3", {}, t(label)), el("p", {}, text(finding, part))]);
}

function thingOf(finding) {
  const { kind, schema, name, table, ...others } = finding.object || {};
  // That a statement was sent by itself is the rule; nobody needs to read it.
  const more = Object.entries(others).filter(([key, value]) => value !== null && value !== "" && value !== undefined && !(key === "toplevel" && value))
    .map(([key, value]) => `${called(key)} ${shown(key, value)}`);
  const word = kind ? (has(`term_${kind}`) ? t(`term_${kind}`) : kind) : null;
  return [[word, objectName(finding)].filter(Boolean).join(" "), ...more].filter(Boolean).join(", ");
}

function detail(finding) {
  const lines = (numbers) => numbers.map((number) => strings[number]);
  return [
    el("div", { class: "two" }, el("div", {}, paragraphs(finding)), entries([
      [t("object"), thingOf(finding)],
      [t("database"), finding.database],
      [t("cluster"), clusterOf(finding).name],
      [t("nodes"), place(finding).join(", ")],
      [t("grade"), t(`term_${finding.grade}`)],
      [t("window"), windowText(finding)],
      [t("value"), valuesOf(finding)],
      [t("threshold"), thresholdOf(finding)],
      [t("impact"), impactText(finding)],
      [t("first_seen"), when(finding.first_seen)],
      [t("runs"), runsOf(finding)],
      [t("state"), [t(`term_${finding.state}`), acceptance(finding)].filter(Boolean).join(" · ")],
      ["id", el("a", { href: `#${finding.id}`, class: "mono" }, finding.id)],
    ])),
    finding.statement === undefined ? null : sqlBlock(t("statement"), [strings[finding.statement]]),
    finding.action.length
      ? el("div", { class: "sqls" }, sqlBlock(t("action"), lines(finding.action)),
        finding.undo.length ? sqlBlock(t("undo"), lines(finding.undo)) : null)
      : el("p", { class: "soft" }, t(finding.grade === "insufficient" ? "no_action_yet" : "no_action")),
  ];
}
