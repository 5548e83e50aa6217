/* Tables that sort by the column whose heading is pressed; everything is unfolded before it is printed. */
(() => {
  "use strict";
  const value = (row, column) => {
    const cell = row.children[column];
    return "v" in cell.dataset ? (cell.dataset.v === "" ? NaN : Number(cell.dataset.v)) : cell.textContent.trim();
  };
  const order = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    return Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b;
  };
  document.querySelectorAll("table.sorts").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort"), first = head.dataset.first || "ascending";
      const down = now ? now === "ascending" : first === "descending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      const lost = (v) => typeof v === "number" && Number.isNaN(v);
      rows.sort(([a], [b]) => (lost(a) || lost(b) || !down ? order(a, b) : -order(a, b)));
      body.append(...rows.map(([, row]) => row));
    }));
  });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
})();
