// Where it hurts and where the time goes: a heat table, bars, points and lines, each with its figures as text.
function heatTable() {
  const shownAreas = areas.filter((area) => report.findings.some((finding) => finding.area === area && isOpen(finding)))
    .concat(areas.filter((area) => ["indexes", "queries", "health"].includes(area)))
    .filter((area, index, all) => all.indexOf(area) === index)
    .sort((a, b) => areas.indexOf(a) - areas.indexOf(b));
  const cells = new Map();
  for (const finding of report.findings) {
    if (!isOpen(finding)) continue;
    for (const node of place(finding)) {
      const key = JSON.stringify([finding.cluster, node, finding.area]);
      const cell = cells.get(key) || { count: 0, worst: 9 };
      cell.count += 1;
      cell.worst = Math.min(cell.worst, SEVERITIES.indexOf(finding.severity));
      cells.set(key, cell);
    }
  }
  const body = el("tbody");
  report.clusters.forEach((cluster, number) => {
    if (view.cluster !== null && view.cluster !== number) return;
    if (cluster.nodes.length > 1 || cluster.nodes[0].name !== cluster.name) {
      body.append(el("tr", { class: "of" }, el("th", { scope: "rowgroup", colspan: shownAreas.length + 2 },
        el("button", { class: "row", type: "button", onclick: () => go(number, null) }, cluster.name))));
    }
    for (const node of cluster.nodes) {
      if (view.node !== null && view.node !== node.name) continue;
      body.append(heatRow(number, node, shownAreas, cells));
    }
  });
  return el("div", { class: "scroll" }, el("table", { class: "heat" },
    el("caption", {}, el("span", {}, t("heat_caption"))),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("node")), el("th", { scope: "col" }, t("state")),
      shownAreas.map((area) => el("th", { scope: "col" }, t(`area_${area}`))))), body));
}

// Why a node, or a part of it, was not seen, in the reader's language.
function reasonOf(number, node) {
  if (node.state === "seen") return "";
  const gap = report.not_seen.find((one) => one.node === node.name && one.cluster === report.clusters[number].name);
  return gap ? gap.texts[language].why : node.error || "";
}

function heatRow(number, node, shownAreas, cells) {
  const lost = node.state === "unreachable" || node.state === "failed";
  const state = node.state === "seen" ? t(`term_${node.role}`) : t(`node_state_${node.state}`);
  return el("tr", {},
    el("th", { scope: "row" }, el("button", { class: "row", type: "button", onclick: () => go(number, node.name) }, node.name)),
    el("td", { class: "is" }, el("span", { class: lost ? "bg-critical" : node.state === "partly" ? "bg-medium" : "", title: reasonOf(number, node) }, state)),
    shownAreas.map((area) => {
      const cell = cells.get(JSON.stringify([number, node.name, area]));
      if (lost) return el("td", {}, el("span", { class: "gap" }, el("span", { class: "hidden" }, t(`node_state_${node.state}`))));
      if (!cell) return el("td", {}, el("span", {}, "·", el("span", { class: "hidden" }, t("nothing"))));
      const worst = SEVERITIES[cell.worst];
      return el("td", {}, el("button", { type: "button", class: `bg-${worst}`, title: t(`term_${worst}`),
        "aria-label": `${node.name}, ${t(`area_${area}`)}: ${cell.count}, ${t(`term_${worst}`)}`,
        onclick: () => { view.area = area; view.severity = ""; view.state = "open"; go(number, node.name, "findings"); } },
        cell.count));
    }));
}

// Statements of the scope, the same text of several nodes added up.
function statements() {
  const totals = report.clusters.flatMap((cluster, number) => cluster.nodes.map((node) => ({ number, node })))
    .filter(({ number, node }) => inScope({ cluster: number, node: node.name }))
    .reduce((sum, { node }) => sum + (node.time.total_ms || 0) / 1000, 0);
  const found = new Map();
  for (const one of report.statements) {
    if (!inScope(one)) continue;
    const key = `${one.database} ${one.text}`;
    const sum = found.get(key) || { text: one.text, database: one.database, users: new Set(), nodes: new Set(), calls: 0, total: 0, most: 0, history: [] };
    if (one.total_ms > sum.most) Object.assign(sum, { most: one.total_ms, history: one.history || [] });
    sum.calls += one.calls || 0;
    sum.total += (one.total_ms || 0) / 1000;
    sum.nodes.add(one.node);
    sum.users.add(one.user);
    found.set(key, sum);
  }
  const all = [...found.values()].sort((a, b) => b.total - a.total);
  const whole = Math.max(totals, all.reduce((sum, one) => sum + one.total, 0)) || 1;
  for (const one of all) {
    one.share = one.total / whole;
    one.mean = one.calls ? one.total / one.calls : 0;
  }
  return all;
}

const oneLine = (sql) => sql.replace(/\s+/g, " ").slice(0, 160);

// A statement that was chosen in a chart: its whole text and what it costs.
function pick(one) {
  const picked = document.getElementById("picked");
  picked.replaceChildren(el("pre", { lang: "en", tabindex: "0" }, strings[one.text] || "–"), el("p", {}, [
    `${t("calls")} ${count(one.calls)}`, `${t("mean")} ${seconds(one.mean)}`, `${t("total")} ${seconds(one.total)}`,
    `${t("load_share")} ${percent(one.share)}`, one.database, [...one.users].filter(Boolean).join(", "),
    [...one.nodes].join(", ")].filter(Boolean).join(" · ")));
  picked.hidden = false;
  announce(oneLine(strings[one.text]));
}

function shareBars(found) {
  const most = found[0] ? found[0].share : 1;
  return el("figure", {}, el("figcaption", {}, el("h3", {}, t("load_share")), el("p", {}, t("load_caption"))),
    el("ol", { class: "bars" }, found.slice(0, 14).map((one) => el("li", {},
      el("button", { class: "name", type: "button", lang: "en", title: oneLine(strings[one.text]), onclick: () => pick(one) }, oneLine(strings[one.text])),
      el("span", { class: "number" }, percent(one.share)),
      el("span", { class: "track", "aria-hidden": "true" }, el("i", { "width%": 100 * one.share / most }))))));
}

function scatter(found) {
  const points = found.filter((one) => one.calls > 0 && one.mean > 0).slice(0, 400);
  const wide = 560, high = 310, left = 62, bottom = 34, right = 30, top = 24;
  const range = (values) => {
    const low = Math.floor(Math.log10(Math.min(...values))), up = Math.ceil(Math.log10(Math.max(...values)));
    return [low, up === low ? low + 1 : up];
  };
  const head = el("figcaption", {}, el("h3", {}, t("scatter")), el("p", {}, t("scatter_caption")));
  if (!points.length) return el("figure", {}, head);
  const [x0, x1] = range(points.map((one) => one.calls)), [y0, y1] = range(points.map((one) => one.mean));
  const x = (value) => left + (wide - left - right) * (Math.log10(value) - x0) / (x1 - x0);
  const y = (value) => high - bottom - (high - bottom - top) * (Math.log10(value) - y0) / (y1 - y0);
  const chart = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "group", "aria-label": t("scatter") });
  for (let power = x0; power <= x1; power += 1) {
    chart.append(svg("line", { class: "axis", x1: x(10 ** power), x2: x(10 ** power), y1: top, y2: high - bottom }),
      svg("text", { x: x(10 ** power), y: high - bottom + 15, "text-anchor": "middle" }, count(10 ** power)));
  }
  for (let power = y0; power <= y1; power += 1) {
    chart.append(svg("line", { class: "axis", x1: left, x2: wide - right, y1: y(10 ** power), y2: y(10 ** power) }),
      svg("text", { x: left - 7, y: y(10 ** power) + 4, "text-anchor": "end" }, seconds(10 ** power)));
  }
  chart.append(svg("text", { x: wide - right, y: high - 3, "text-anchor": "end" }, `${t("calls")} →`),
    svg("text", { x: left - 7, y: 11, "text-anchor": "end" }, `↑ ${t("mean")}`));
  points.slice().reverse().forEach((one) => {
    chart.append(svg("circle", { class: "point", cx: x(one.calls).toFixed(1), cy: y(one.mean).toFixed(1),
      r: (3 + 15 * Math.sqrt(one.share)).toFixed(1), tabindex: one === points[0] ? "0" : "-1", role: "button",
      "aria-label": `${oneLine(strings[one.text]).slice(0, 60)}: ${count(one.calls)}, ${seconds(one.mean)}`,
      onclick: () => pick(one), onkeydown: (event) => pointKey(event, one) },
      svg("title", {}, `${oneLine(strings[one.text])}\n${count(one.calls)} × ${seconds(one.mean)}`)));
  });
  return el("figure", {}, head, chart);
}

// One stop of the Tab key for all points; arrows go from one to the next, the heaviest first.
const NEXT = { ArrowRight: -1, ArrowDown: -1, ArrowLeft: 1, ArrowUp: 1 };
function pointKey(event, one) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    pick(one);
  } else if (event.key in NEXT) {
    event.preventDefault();
    const all = [...event.currentTarget.parentNode.querySelectorAll(".point")];
    const next = all[(all.indexOf(event.currentTarget) + NEXT[event.key] + all.length) % all.length];
    event.currentTarget.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }
}

const PARTS = ["cpu", "read", "write", "plan", "jit"];
function timeSplit() {
  const rows = [];
  report.clusters.forEach((cluster, number) => cluster.nodes.forEach((node) => {
    const whole = PARTS.reduce((sum, part) => sum + (node.time[`${part}_ms`] || 0), 0);
    if (whole > 0 && inScope({ cluster: number, node: node.name })) rows.push({ node, whole });
  }));
  rows.sort((a, b) => b.whole - a.whole);
  if (!rows.length) return null;
  return el("figure", {}, el("figcaption", {}, el("h3", {}, t("split")), el("p", {}, t("split_caption"))),
    el("div", { class: "splits" }, rows.slice(0, 8).map(({ node, whole }) => {
      const told = PARTS.filter((part) => node.time[`${part}_ms`] > 0)
        .map((part) => `${t(`split_${part}`)} ${percent(node.time[`${part}_ms`] / whole)}`).join(", ");
      return el("div", { class: "row" }, el("span", {}, node.name),
        el("div", { class: "stack", role: "img", "aria-label": `${node.name}: ${told}`, title: told },
          PARTS.map((part) => el("i", { class: `part-${part}`, "width%": 100 * (node.time[`${part}_ms`] || 0) / whole }))));
    })),
    el("ul", { class: "legend" }, PARTS.map((part) => el("li", {}, el("i", { class: `part-${part}` }), t(`split_${part}`)))));
}

// A line over runs, broken where there was nothing; the figures are its text.
function sparkline(points, label, shownAs) {
  const wide = 120, high = 26, values = points.map((point) => (typeof point === "number" ? point : null));
  const there = values.filter((value) => value !== null);
  if (!there.length) return el("span", { class: "soft" }, "–");
  if (values.length < 2) return el("span", { class: "soft" }, shownAs(there[0]));
  const most = Math.max(...there) || 1;
  const x = (index) => (2 + (wide - 4) * index / (values.length - 1)).toFixed(1);
  const y = (value) => (high - 3 - (high - 6) * value / most).toFixed(1);
  const told = `${label}: ${values.map((value) => (value === null ? t("absent") : shownAs(value))).join(", ")}`;
  const lines = [];
  let line = [];
  values.forEach((value, index) => {
    if (value !== null) line.push([x(index), y(value)]);
    if (line.length && (value === null || index === values.length - 1)) { lines.push(line); line = []; }
  });
  return svg("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": told, class: "line" },
    svg("title", {}, told), lines.map((part) => (part.length === 1
      ? svg("circle", { class: "spark-dot", cx: part[0][0], cy: part[0][1], r: 2 })
      : [svg("polygon", { class: "spark-area", points: `${part[0][0]},${high - 2} ${part.map((at) => at.join(",")).join(" ")} ${part[part.length - 1][0]},${high - 2}` }),
        svg("polyline", { class: "spark", points: part.map((at) => at.join(",")).join(" ") })])));
}

// Every statement of the charts as a table: what can be read aloud, searched in the browser, and printed.
function statementTable(found) {
  const heads = ["statement", "database", "calls", "mean", "total", "load_share", "calls_over_time", "mean_over_time"];
  const body = el("tbody");
  const table = el("table", {}, el("caption", { class: "hidden" }, t("load")),
    el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, t(name))))), body);
  const write = () => {
    body.replaceChildren(...found.slice(0, 100).map((one) => el("tr", {},
      el("th", { scope: "row", class: "mono", lang: "en" }, oneLine(strings[one.text]) || "–"), el("td", {}, one.database),
      el("td", { class: "number" }, count(one.calls)), el("td", { class: "number" }, seconds(one.mean)),
      el("td", { class: "number" }, seconds(one.total)), el("td", { class: "number" }, percent(one.share)),
      el("td", {}, sparkline(one.history.map((run) => run && run[0]), t("calls_over_time"), three)),
      el("td", {}, sparkline(one.history.map((run) => run && run[1]), t("mean_over_time"), (value) => seconds(value / 1000))))));
    stacked(table);
  };
  const fold = el("details", { class: "more", ontoggle: () => fold.open && !body.childElementCount && write() },
    el("summary", {}, t("all_statements", { count: count(Math.min(100, found.length)) })),
    el("div", { class: "scroll" }, table));
  return fold;
}
