// The parts of the page around the findings.
function header() {
  const choice = (names, current, word, choose, label) => el("div", { class: "switch", role: "group", "aria-label": t(label) },
    names.map((name) => el("button", { type: "button", "aria-pressed": String(name === current), "data-choice": name,
      lang: label === "language" ? name : null, onclick: () => choose(name) }, word(name))));
  const theme = document.documentElement.dataset.theme || "auto";
  document.getElementById("top").replaceChildren(
    el("div", {}, el("h1", {}, report.title || t("report")), el("p", {}, t("made", { when: when(report.made_at) }))),
    el("div", { class: "tools" },
      choice(["en", "ja"], language, (name) => (name === "en" ? "English" : "日本語"), setLanguage, "language"),
      choice(["auto", "light", "dark"], theme, (name) => t(`theme_${name}`), setTheme, "theme"),
      el("button", { class: "quiet", type: "button", onclick: () => print() }, t("print"))));
}

function bar() {
  const cluster = view.cluster === null ? null : report.clusters[view.cluster];
  const step = (word, target, here) => el("li", {}, el("button", { type: "button", disabled: here, "aria-current": here ? "page" : null, onclick: target }, word));
  const pick = cluster === null
    ? el("select", { "aria-label": t("cluster"), onchange: (event) => go(Number(event.target.value), null) },
      el("option", { value: "" }, `${t("cluster")} …`), report.clusters.map((one, number) => el("option", { value: number }, one.name)))
    : el("select", { "aria-label": t("node"), onchange: (event) => go(view.cluster, event.target.value || null) },
      el("option", { value: "" }, `${t("node")} …`), cluster.nodes.map((one) => el("option", { value: one.name, selected: one.name === view.node }, one.name)));
  document.getElementById("bar").replaceChildren(el("div", { class: "inside" },
    el("ol", { class: "path", "aria-label": t("scope") }, step(t("fleet"), () => go(null, null), cluster === null),
      cluster ? step(cluster.name, () => go(view.cluster, null), view.node === null) : null,
      view.node ? step(view.node, () => {}, true) : null, el("li", {}, pick)),
    el("div", { class: "jumps" }, ["heat", "findings", "load", "benchmarks", "not_seen", "nodes"].filter((id) => document.getElementById(id))
      .map((id) => el("a", { href: `#${id}`, onclick: (event) => { event.preventDefault(); document.getElementById(id).scrollIntoView(); } }, t(id))))));
  document.getElementById("bar").setAttribute("aria-label", t("scope"));
}

function gateBanner() {
  const gate = report.gate;
  if (!gate.fail_on.length) return null;
  const told = gate.passed ? t("gate_passed", { rules: gate.fail_on.join(", ") }) : t("gate_failed", { count: count(gate.failures.length) });
  const byRule = gate.fail_on.map((rule) => [rule, gate.failures.filter((one) => one.rule === rule)]).filter(([, found]) => found.length);
  return el("div", { class: `gate ${gate.passed ? "passed" : "failed"}` }, el("div", {}, el("b", {}, told),
    byRule.length ? el("ul", {}, byRule.map(([rule, found]) => el("li", {}, `${rule}: `,
      found.slice(0, 3).map((one, index) => [index ? ", " : "", one.id ? el("a", { href: `#${one.id}`, class: "mono" }, one.id) : one.node]),
      found.length > 3 ? ` +${count(found.length - 3)}` : null))) : null));
}

function drawTiles() {
  const mine = report.findings.filter((finding) => inScope(finding) && isOpen(finding));
  const tiles = SEVERITIES.map((name) => {
    const found = mine.filter((finding) => finding.severity === name).length;
    return el("button", { class: `tile ${name}${found ? "" : " zero"}`, type: "button", "aria-pressed": String(view.severity === name),
      onclick: () => { view.severity = view.severity === name ? "" : name; refilter(true); } }, el("b", {}, count(found)), el("span", {}, t(`term_${name}`)));
  });
  const fresh = mine.filter((finding) => finding.state === "new").length;
  const nodes = report.clusters.flatMap((cluster, number) => cluster.nodes.map((node) => ({ ...node, cluster: number, node: node.name }))).filter(inScope);
  const seen = nodes.filter((node) => node.state === "seen" || node.state === "partly").length;
  tiles.push(el("button", { class: `tile${fresh ? "" : " zero"}`, type: "button", "aria-pressed": String(view.state === "new"),
    onclick: () => { view.state = view.state === "new" ? "open" : "new"; refilter(true); } }, el("b", {}, count(fresh)), el("span", {}, t("new_since"))));
  if (report.summary.reclaimable_bytes && view.cluster === null) {
    tiles.push(el("div", { class: "tile" }, el("b", {}, bytes(report.summary.reclaimable_bytes)), el("span", {}, t("reclaimable"))));
  }
  tiles.push(el("div", { class: `tile${seen === nodes.length ? "" : " critical"}` }, el("b", {}, t("of", { part: count(seen), whole: count(nodes.length) })), el("span", {}, t("nodes_seen"))));
  document.getElementById("tiles").replaceChildren(...tiles);
}

function summarySection() {
  return el("section", { id: "summary", class: "plain", "aria-labelledby": "summary-title" }, el("h2", { id: "summary-title", class: "hidden" }, t("summary")),
    gateBanner(), el("div", { class: "tiles", id: "tiles" }));
}

function loadSection() {
  const found = statements();
  const split = timeSplit();
  if (!found.length && !split) return section("load", t("load"), t("no_statements"));
  return section("load", t("load"), null, el("div", { class: "charts" }, shareBars(found), el("div", {}, scatter(found), split)), el("div", { class: "picked", id: "picked", hidden: true }),
    found.length ? statementTable(found) : null);
}

function notSeenSection() {
  const gaps = report.not_seen.filter((gap) => (view.cluster === null || gap.cluster === report.clusters[view.cluster].name) && (view.node === null || gap.node === view.node));
  if (!gaps.length) return section("not_seen", t("not_seen"), t("everything_seen"));
  const heads = ["cluster", "node", "what", "reason", "remedy"];
  return section("not_seen", t("not_seen"), t("not_seen_caption"), el("div", { class: "scroll" }, stacked(el("table", {},
    el("caption", { class: "hidden" }, t("not_seen")),
    el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, t(name))))),
    el("tbody", {}, gaps.slice(0, 500).map((gap) => el("tr", {}, el("td", {}, gap.cluster || "–"), el("th", { scope: "row" }, gap.node),
      ["what", "why", "remedy"].map((part) => el("td", { class: part === "what" && gap.texts[language].what.length < 24 ? "brief" : null }, part === "remedy" ? prose(gap.texts[language][part]) : gap.texts[language][part])))))))),
  gaps.length > 500 ? el("p", { class: "soft" }, t("shown", { shown: 500, total: count(gaps.length) })) : null);
}

function nodesSection() {
  const heads = ["node", "cluster", "state", "role", "version", "started", "sessions_over_time", "calls_over_time", "cost"];
  const rows = report.clusters.flatMap((cluster, number) => cluster.nodes.map((node) => ({ cluster, number, node })))
    .filter(({ number, node }) => inScope({ cluster: number, node: node.name }));
  return section("nodes", t("nodes"), t("history_caption"), el("div", { class: "scroll" }, stacked(el("table", {},
    el("caption", { class: "hidden" }, t("nodes")), el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, t(name))))),
    el("tbody", {}, rows.map(({ cluster, number, node }) => el("tr", {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "row", onclick: () => go(number, node.name) }, node.name)),
      el("td", {}, cluster.name), el("td", {}, badge(node.state, t(`node_state_${node.state}`))),
      el("td", { class: "brief" }, node.role ? (has(`term_${node.role}`) ? t(`term_${node.role}`) : node.role) : "–"), el("td", {}, version(node.server_version_num)),
      el("td", { class: "brief" }, when(node.started_at)),
      el("td", {}, sparkline(node.history.map((run) => run.sessions), t("sessions"), three)),
      el("td", {}, sparkline(node.history.map((run) => run.calls), t("calls_over_time"), three)),
      el("td", {}, node.state === "unreachable" || node.state === "failed" ? "–" : t("cost_of", { seconds: seconds(node.server_seconds), bytes: bytes(node.temp_bytes) })))))))));
}

function benchmarksSection() {
  const runs = report.benchmarks.filter(inScope);
  if (!runs.length) return null;
  // Only runs of the same kind, scale and number of clients on the same database host are one curve.
  const kind = (run) => JSON.stringify([run.cluster, run.node, run.workload, run.way, run.clients, run.scale]);
  const curves = new Map();
  for (const run of runs.slice().sort((a, b) => (a.made_at || "").localeCompare(b.made_at || ""))) {
    curves.set(kind(run), [...(curves.get(kind(run)) || []), run.error ? null : run.tps]);
  }
  const repeated = [...curves.values()].some((values) => values.length > 1);
  const heads = ["node", "made_at", "workload", "way", "clients", "scale", "tps", ...(repeated ? ["over_time"] : []), "latency", "failed", "circumstances"];
  const drawn = new Set();
  const curve = (run) => {
    if (drawn.has(kind(run)) || curves.get(kind(run)).length < 2) return null;
    drawn.add(kind(run));
    return sparkline(curves.get(kind(run)), t("tps"), count);
  };
  return section("benchmarks", t("benchmarks"), t("benchmarks_caption"), el("div", { class: "scroll" }, stacked(el("table", {},
    el("caption", { class: "hidden" }, t("benchmarks")), el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, t(name))))),
    el("tbody", {}, runs.slice(0, 200).map((run) => el("tr", {}, el("th", { scope: "row" }, run.node), el("td", { class: "brief" }, when(run.made_at)),
      el("td", { class: "brief" }, called(run.workload)), el("td", { class: "brief" }, called(run.way)), el("td", { class: "number" }, count(run.clients)),
      el("td", { class: "number" }, count(run.scale)),
      run.error ? el("td", { colspan: repeated ? 4 : 3, class: "about" }, el("p", {}, run.error[language].why), el("p", { class: "soft" }, run.error[language].remedy)) : [
        el("td", { class: "number" }, count(run.tps)), repeated ? el("td", {}, curve(run)) : null, el("td", { class: "number" }, seconds(run.latency_seconds)),
        el("td", { class: "number" }, count(run.failed || 0))],
      el("td", { class: "first about" }, run.host ? t("on_host", { cpus: count(run.host.cpus), memory: bytes(run.host.memory_bytes), version: (run.server_version || "–").split(" ")[0] }) : "–",
        el("details", {}, el("summary", {}, t("settings_of")), el("dl", {}, Object.entries(run.settings || {})
          .map(([name, value]) => [el("dt", { class: "mono" }, name), el("dd", {}, value)])))))))))));
}
