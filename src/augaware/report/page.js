"use strict";
// A click on a column's button sorts its table: numbers from the largest, text from A, missing values last.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement, body = head.closest("table").tBodies[0];
    const numeric = head.classList.contains("number"), before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric;
    const value = (line) => {
      const cell = line.cells[head.cellIndex];
      return numeric ? (cell.dataset.key === "" ? NaN : Number(cell.dataset.key.replace("inf", "Infinity"))) : cell.textContent;
    };
    const compare = (a, b) => {
      const x = value(a), y = value(b), sign = down ? -1 : 1;
      if (!numeric) return sign * x.localeCompare(y, undefined, { numeric: true });
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return x === y ? 0 : x < y ? -sign : sign;
    };
    for (const other of row.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort(compare));
  });
}
// A legend's button colours its series in every chart of the page, on top of the others, or greys it.
const press = (number, on) => {
  for (const part of document.querySelectorAll(`[data-s="${number}"]`)) {
    part.classList.toggle("muted", !on);
    if (part.localName === "button") part.setAttribute("aria-pressed", on);
    else if (on && part.querySelector(".line")) part.parentElement.append(part);
  }
};
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    if (button.dataset.s) press(button.dataset.s, button.getAttribute("aria-pressed") === "false");
    else for (const other of button.closest("ul").querySelectorAll("[data-s]")) press(other.dataset.s, button.dataset.press === "true");
  });
}
