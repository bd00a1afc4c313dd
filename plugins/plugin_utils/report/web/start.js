// Draws the page, and draws it again when the language or the scope changes.
function go(cluster, node, jump) {
  Object.assign(view, { cluster, node, limit: 100 });
  draw();
  if (jump) document.getElementById(jump).scrollIntoView();
}

function setLanguage(name) {
  language = name;
  kept.set("language", name);
  draw();
  document.querySelector(`[data-choice="${name}"]`).focus();
}

function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  kept.set("theme", name);
  header();
  document.querySelector(`[data-choice="${name}"]`).focus();
}

function draw() {
  document.documentElement.lang = language;
  document.title = `${report.title || t("report")} · ${when(report.made_at)}`;
  document.getElementById("skip").textContent = t("skip");
  header();
  document.getElementById("main").replaceChildren(...[summarySection(), section("heat", t("heat"), null, heatTable()),
    findingsSection(), loadSection(), benchmarksSection(), notSeenSection(), nodesSection()].filter(Boolean));
  document.getElementById("foot").replaceChildren(el("p", {}, "dbkeeper.ops"));
  bar();
  refilter();
}

const theme = kept.get("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
const named = fromAddress();
draw();
if (named) document.getElementById("findings").scrollIntoView();
addEventListener("hashchange", () => {
  if (fromAddress()) { view.cluster = view.node = null; draw(); document.getElementById("findings").scrollIntoView(); }
});
// Paper has all rows that the filters leave.
let before = 0;
addEventListener("beforeprint", () => { before = view.limit; view.limit = Infinity; drawRows(); });
addEventListener("afterprint", () => { view.limit = before; drawRows(); });
document.documentElement.dataset.drawn = String(Math.round(performance.now()));
