// The list of findings: filtered and sorted here, drawn a hundred at a time, opened one by one.
const COLUMNS = [["severity", "severity"], ["finding", "finding"], ["place", "nodes"], ["grade", "grade"], ["impact", "impact"], ["seen", "first_seen"]];

function chooser(name, label, values) {
  return el("label", {}, t(label), el("select", { name, onchange: (event) => { view[name] = event.target.value; refilter(); } },
    values.map(([value, word]) => el("option", { value, selected: view[name] === value }, word))));
}

function filterBar() {
  const used = areas.filter((area) => report.findings.some((finding) => finding.area === area));
  return el("form", { class: "filters", role: "search", "aria-label": t("search"), onsubmit: (event) => event.preventDefault() },
    el("label", {}, t("search"), el("input", { type: "search", name: "search", value: view.search, placeholder: t("search_hint"),
      autocomplete: "off", spellcheck: "false", oninput: (event) => { view.search = event.target.value; refilter(); } })),
    chooser("severity", "severity", [["", t("all")], ...SEVERITIES.map((name) => [name, t(`term_${name}`)])]),
    chooser("area", "area", [["", t("all")], ...used.map((name) => [name, t(`area_${name}`)])]),
    chooser("grade", "grade", [["", t("all")], ...GRADES.map((name) => [name, t(`term_${name}`)])]),
    chooser("state", "state", [["open", t("state_open")], ["", t("all")], ...["new", "known", "accepted"].map((name) => [name, t(`term_${name}`)])]),
    el("button", { type: "button", class: "quiet", id: "clear", onclick: clearFilters }, t("clear")));
}

function clearFilters() {
  Object.assign(view, { search: "", severity: "", area: "", grade: "", state: "open", limit: 100, open: new Set() });
  refilter(true);
}

function findingRow(number) {
  const finding = report.findings[number];
  const open = view.open.has(finding.id);
  const row = el("tr", { class: open ? "opened" : null, "data-id": finding.id });
  const button = el("button", { class: "title", type: "button", "aria-expanded": String(open),
    "aria-controls": `detail-${finding.id}`, onclick: () => toggle(row, button, finding) }, text(finding, TITLE));
  fill(row, null, [
    el("td", {}, badge(finding.severity, t(`term_${finding.severity}`))),
    el("td", {}, button, el("div", { class: "thing" }, [finding.statement === undefined ? objectName(finding) : oneLine(strings[finding.statement]), finding.database].filter(Boolean).join(" · "))),
    el("td", {}, place(finding).slice(0, 3).join(", ") || clusterOf(finding).name, place(finding).length > 3 ? ` +${place(finding).length - 3}` : null),
    el("td", { class: "wide" }, t(`term_${finding.grade}`)),
    el("td", { class: "wide" }, impactText(finding) || "–"),
    el("td", { class: "wide" }, finding.state === "known" ? when(finding.first_seen) : badge(finding.state, t(`term_${finding.state}`)),
      comesAndGoes(finding) ? el("div", { class: "soft" }, runsText(finding)) : null),
  ]);
  return open ? [row, detailRow(finding)] : [row];
}

const detailRow = (finding) => el("tr", { class: "detail", id: `detail-${finding.id}` }, el("td", { colspan: COLUMNS.length }, detail(finding)));

function toggle(row, button, finding) {
  const open = !view.open.has(finding.id);
  if (open) {
    view.open.add(finding.id);
    row.after(detailRow(finding));
  } else {
    view.open.delete(finding.id);
    row.nextElementSibling.remove();
  }
  row.classList.toggle("opened", open);
  button.setAttribute("aria-expanded", String(open));
}

let numbers = [];
function refilter(bar = false) {
  numbers = sorted(matching());
  toAddress();
  if (bar) document.querySelector(".filters").replaceWith(filterBar());
  drawRows();
  drawTiles();
  drawPlan();
}

function drawRows() {
  const body = document.querySelector("#list tbody");
  body.replaceChildren(...numbers.slice(0, view.limit).flatMap(findingRow));
  const told = t("shown", { shown: count(Math.min(view.limit, numbers.length)), total: count(numbers.length) });
  const left = Math.min(500, numbers.length - view.limit);
  const under = document.getElementById("under");
  under.replaceChildren(el("span", { id: "count" }, told), left > 0
    ? el("button", { class: "quiet", type: "button", onclick: () => { view.limit += 500; drawRows(); } }, t("more", { count: count(left) })) : "");
  announce(told);
  const empty = document.getElementById("empty");
  empty.textContent = report.findings.length ? t("none_found") : t("all_well");
  empty.hidden = numbers.length > 0;
}

function sortBy(name) {
  view.down = view.sort === name ? !view.down : false;
  view.sort = name;
  for (const th of document.querySelectorAll("#list th")) {
    if (th.dataset.sort === name) th.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  refilter();
}

function findingsSection() {
  const sorts = (name) => (view.sort === name ? (view.down ? "descending" : "ascending") : null);
  return section("findings", t("findings"), null, filterBar(),
    el("div", { class: "scroll" }, el("table", { id: "list" },
      el("caption", { class: "hidden" }, t("findings")),
      el("thead", {}, el("tr", {}, COLUMNS.map(([name, label]) =>
        el("th", { scope: "col", "data-sort": name, "aria-sort": sorts(name), class: ["grade", "impact", "seen"].includes(name) ? "wide" : null },
          el("button", { type: "button", title: t("sort_by", { column: t(label) }), onclick: () => sortBy(name) }, t(label)))))),
      el("tbody"))),
    el("p", { class: "empty", id: "empty", hidden: true }), el("div", { class: "under", id: "under" }), el("div", { id: "plan" }));
}

// Every action shown, in the order that is safe as a set; undone from the last to the first.
function drawPlan() {
  const steps = numbers.map((number) => report.findings[number])
    .filter((finding) => finding.action.length && finding.grade !== "insufficient" && isOpen(finding))
    .sort((a, b) => a.cluster - b.cluster || (a.database || "").localeCompare(b.database || "") || (a.order || 0) - (b.order || 0));
  const box = document.getElementById("plan");
  const open = box.querySelector("details")?.open;
  box.replaceChildren();
  if (!steps.length) return;
  const fold = el("details", { ontoggle: () => fold.open && write(), open });
  const target = el("div", { class: "sqls" });
  const write = () => {
    const script = (chosen, key) => chosen.flatMap((finding) => [
      `-- ${finding.id}: ${clusterOf(finding).name}${finding.database ? `, ${finding.database}` : ""}`.replace(/[\r\n]+/g, " "),
      ...finding[key].map((number) => strings[number])]);
    target.replaceChildren(sqlBlock(t("plan"), script(steps, "action")),
      sqlBlock(t("plan_undo"), script(steps.filter((finding) => finding.undo.length).reverse(), "undo")));
  };
  fill(fold, null, [el("summary", {}, `${t("plan")} (${count(steps.length)})`), el("p", { class: "soft" }, t("plan_caption")), target]);
  box.append(fold);
  if (open) write();
}
