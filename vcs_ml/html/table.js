// Every heading of a table becomes a button that sorts the rows: numbers by size, text as people count, gaps last.
// Cells know their headings, for screens on which they do not stand below them.
(() => {
  "use strict";
  const order = new Intl.Collator("en", {numeric: true, sensitivity: "base"});

  const keyOf = (cell) => (cell.dataset.by ?? cell.textContent).trim();

  const compare = (numbers, sign) => (a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    const apart = numbers ? Number(a.key) - Number(b.key) : NaN;
    return sign * (Number.isNaN(apart) ? order.compare(a.key, b.key) : apart);
  };

  const sort = (table, heading, index) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => ({row, key: keyOf(row.cells[index])}));
    rows.sort(compare(heading.classList.contains("number"), down ? -1 : 1));
    body.append(...rows.map((each) => each.row));
  };

  for (const table of document.querySelectorAll("table")) {
    const titles = Array.from(table.tHead.rows[0].cells, (heading) => heading.textContent);
    for (const row of table.tBodies[0].rows) {
      titles.forEach((title, index) => { row.cells[index].dataset.title = title; });
    }
    table.classList.add("titled");
    if (table.tBodies[0].rows.length < 2) continue;
    Array.from(table.tHead.rows[0].cells).forEach((heading, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading, index));
      heading.append(button);
    });
  }
})();
