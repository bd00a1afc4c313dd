// The document, words in the reader's language, and elements made of texts: nothing here ever reads markup from data.
async function unpack(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
  const whole = new ReadableStream({ start(to) { to.enqueue(bytes); to.close(); } });
  return JSON.parse(await new Response(whole.pipeThrough(new DecompressionStream("deflate"))).text());
}
const { document: report, labels, areas } = await unpack(document.getElementById("data").textContent);
const strings = report.strings;
// A finding comes as numbers: of each column, which of the values it is. Objects that several share are never changed.
report.findings = report.findings.map((row) => {
  const finding = { texts: {}, action: [], undo: [] };
  for (let place = 0; place < row.length; place += 1) {
    if (row[place] < 0) continue;
    const name = report.columns[place], value = report.values[row[place]];
    if (name in labels) finding.texts[name] = value;
    else finding[name] = value;
  }
  return finding;
});
const SEVERITIES = ["critical", "high", "medium", "low", "info"];
const GRADES = ["measured", "validated", "heuristic", "insufficient"];

// What a reader chose before, where the browser keeps it for files; a browser that refuses is no fault.
const kept = {
  get(name) { try { return localStorage.getItem(`dbkeeper.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`dbkeeper.${name}`, value); } catch { return; } },
};

function firstLanguage() {
  const chosen = kept.get("language");
  if (chosen in labels) return chosen;
  if (document.documentElement.dataset.follow !== "yes") return report.language;
  const spoken = (navigator.languages || [navigator.language]).map((tag) => tag.slice(0, 2));
  return spoken.find((tag) => tag in labels) || report.language;
}

let language = firstLanguage();

const t = (key, values = {}) => {
  const text = labels[language][key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
};
const has = (key) => key in labels[language];

function fill(node, options, children) {
  for (const [name, value] of Object.entries(options || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "width%") node.style.width = `${value}%`;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}
const el = (tag, options, ...children) => fill(document.createElement(tag), options, children);
const svg = (tag, options, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);
const badge = (kind, text) => el("span", { class: `badge bg-${kind}` }, text);

function section(id, title, caption, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), caption ? el("p", {}, caption) : null, children);
}

// On a telephone each row is a card, and each cell says what it is; a screen reader has a table all the same.
function stacked(table) {
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  table.classList.add("stacked");
  table.setAttribute("role", "table");
  for (const part of [table.tHead, table.tBodies[0]]) {
    part.setAttribute("role", "rowgroup");
    for (const row of part.rows) {
      row.setAttribute("role", "row");
      let place = 0;
      for (const cell of row.cells) {
        cell.setAttribute("role", part === table.tHead ? "columnheader" : cell.tagName === "TH" ? "rowheader" : "cell");
        cell.dataset.label = heads[place];
        place += cell.colSpan;
      }
    }
  }
  return table;
}

// What stands between backticks, in a text of ours, is to be typed as it is; a single one is a letter.
function prose(text) {
  return el("span", {}, text.split(/`([^`]+)`/).map((part, place) => (place % 2 ? el("code", {}, part) : part)));
}

function announce(text) {
  document.getElementById("said").textContent = text;
}

async function copyText(text, button) {
  let word = "copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page from a file may have no clipboard: select it, so that one key press copies it.
    const pre = button.closest(".sql").querySelector("pre");
    getSelection().selectAllChildren(pre);
    word = document.execCommand && document.execCommand("copy") ? "copied" : "copy_failed";
  }
  button.textContent = t(word);
  announce(t(word));
  setTimeout(() => { button.textContent = t("copy"); }, 1600);
}

function sqlBlock(title, lines) {
  const text = lines.join("\n");
  return el("div", { class: "sql" },
    el("div", {}, el("h3", {}, title),
      el("button", { class: "quiet", type: "button", "aria-label": `${t("copy")}: ${title}`,
        onclick: (event) => copyText(text, event.currentTarget) }, t("copy"))),
    el("pre", { tabindex: "0", lang: "en" }, text));
}
