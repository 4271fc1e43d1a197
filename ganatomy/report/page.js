"use strict";
// Sliders: the opacity of each card's anomaly map, or of all at once.
const setOpacity = (slider) => {
  const text = slider.value + " %";
  slider.setAttribute("aria-valuetext", text);
  slider.parentElement.querySelector("output").textContent = text;
  const card = slider.closest(".card");
  if (card) card.querySelector(".map").style.opacity = slider.value / 100;
};
const sliders = document.querySelectorAll("[data-opacity]");
for (const slider of sliders) slider.addEventListener("input", () => setOpacity(slider));
for (const all of document.querySelectorAll("[data-opacity-all]")) {
  all.addEventListener("input", () => {
    setOpacity(all);
    for (const slider of sliders) {
      slider.value = all.value;
      setOpacity(slider);
    }
  });
}
// Volumes: a slider moves the strips of slices behind the windows of its card.
const showSlice = (slider) => {
  const text = JSON.parse(slider.dataset.said)[slider.value];
  slider.setAttribute("aria-valuetext", text);
  slider.parentElement.querySelector("output").textContent = text;
  for (const strip of slider.closest(".card").querySelectorAll("[data-strip]")) {
    strip.setAttribute("y", -slider.value * strip.dataset.strip);
  }
};
const slices = document.querySelectorAll("[data-slice]");
for (const slider of slices) slider.addEventListener("input", () => showSlice(slider));

// Translations: the curtain between two pictures of a card.
const drawCurtain = (slider) => {
  const text = slider.value + " %";
  slider.setAttribute("aria-valuetext", text);
  slider.parentElement.querySelector("output").textContent = text;
  const rect = slider.closest(".card").querySelector("[data-curtain]");
  rect.setAttribute("width", rect.dataset.curtain * slider.value / 100);
};
const curtains = document.querySelectorAll("[data-draws]");
for (const slider of curtains) slider.addEventListener("input", () => drawCurtain(slider));

// A browser that restores a form on reload moves the sliders without an event.
for (const slider of document.querySelectorAll("[data-opacity], [data-opacity-all]")) {
  setOpacity(slider);
}
for (const slider of slices) showSlice(slider);
for (const slider of curtains) drawCurtain(slider);

// Tables: a heading's button sorts by its column, then turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("numeric");
      const before = head.getAttribute("aria-sort");
      const order = before ? (before === "descending" ? "ascending" : "descending")
                           : (numeric ? "descending" : "ascending");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.sort;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [left, right] = [key(a), key(b)];
        if (left === "" || right === "") return (left === "") - (right === "");  // unknown last
        return sign * (numeric ? left - right : left.localeCompare(right, "en", {numeric: true}));
      });
      table.tBodies[0].append(...rows);
    });
  });
}
