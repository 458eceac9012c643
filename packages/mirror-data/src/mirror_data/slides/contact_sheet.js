"use strict";
const find = document.getElementById("find");
const kind = document.getElementById("kind");
const status = document.getElementById("status");
const cards = [...document.querySelectorAll(".card")];

// Show the slides whose id holds the text and which have the reason asked for.
function filter() {
  const text = find.value.trim().toLowerCase();
  const wanted = kind ? kind.value : "";
  let shown = 0;
  for (const card of cards) {
    const fits = card.dataset.id.includes(text) && (!wanted || card.dataset.kinds.split(" ").includes(wanted));
    card.hidden = !fits;
    shown += fits;
  }
  for (const section of document.querySelectorAll("main > section")) {
    section.classList.toggle("none", !section.querySelector(".card:not([hidden])"));
  }
  status.textContent = text || wanted ? `${shown} of ${cards.length} shown` : "";
}

for (const label of document.querySelectorAll(".script")) label.hidden = false;
find.addEventListener("input", filter);
if (kind) kind.addEventListener("change", filter);
