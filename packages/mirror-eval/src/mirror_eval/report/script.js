"use strict";
const status = document.getElementById("status");

// Sort a table by a column: numbers by data-sort, anything else as text; reference rows keep to themselves.
function sortBy(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const descending = head.getAttribute("aria-sort") === "descending" ? false
    : head.getAttribute("aria-sort") === "ascending" ? true
    : table.tBodies[0].rows[0].cells[column].hasAttribute("data-sort");
  const key = (row) => {
    const cell = row.cells[column];
    return cell.hasAttribute("data-sort") ? Number(cell.dataset.sort) : cell.textContent.trim();
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const body of table.tBodies) {
    const rows = [...body.rows].sort((a, b) => (descending ? -1 : 1) * order(key(a), key(b)));
    body.append(...rows);
  }
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  status.textContent = `Sorted by ${button.textContent}, ${descending ? "highest" : "lowest"} first.`;
}

// Hand out a panel as an SVG file of its own, in the light colours.
function save(name) {
  const svg = document.querySelector(`[id="panel-${name}"] svg`).cloneNode(true);
  svg.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  const text = new XMLSerializer().serializeToString(svg).replace(/var\(--[a-z]+, (#[0-9a-f]+)\)/g, "$1");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  link.download = `${name}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy(id) {
  const source = document.getElementById(id);
  try {
    await navigator.clipboard.writeText(source.textContent);
    status.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(source);
    status.textContent = "The clipboard is closed to this page; the text is selected, copy it from there.";
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("sort")) sortBy(button);
  else if (button.dataset.svg) save(button.dataset.svg);
  else if (button.dataset.copy) copy(button.dataset.copy).then(() => { button.textContent = status.textContent; });
});
for (const button of document.querySelectorAll("button[hidden]")) button.hidden = false;

// Mark the section in view in the contents.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -70% 0px" });
for (const section of document.querySelectorAll("main > section")) watcher.observe(section);

// A printed page shows what is folded away.
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
