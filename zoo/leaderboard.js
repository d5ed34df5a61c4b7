"use strict";
// Sorting, filtering and copying. Without it the page shows every row, best first. The state is kept behind the
// page's address (#sort=flops,down&data=2&find=resnet), so that a view can be linked to.
(() => {
  const board = document.getElementById("board"), body = board.tBodies[0];
  const heads = [...board.tHead.rows[0].cells], rows = [...body.rows];
  const data = document.getElementById("data"), find = document.getElementById("find");
  const order = document.getElementById("order"), shown = document.getElementById("shown");
  const start = rows.slice();
  let column = "", down = false;
  document.documentElement.classList.add("script");

  const key = (row, place) => row.cells[place].dataset.sort;

  function sort() {
    const place = heads.findIndex((head) => head.dataset.key === column);
    const made = start.slice();
    if (place >= 0) {
      made.sort((one, other) => {
        // Figures of two data sets do not compare: results are sorted within each.
        if (column === "result" && one.dataset.group !== other.dataset.group)
          return one.dataset.group - other.dataset.group;
        const a = key(one, place), b = key(other, place);
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last either way
        return (down ? -1 : 1) * (Number(a) - Number(b));
      });
    }
    heads.forEach((head, i) => {
      if (i === place) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    body.append(...made);
    order.value = place < 0 ? "" : column + (down ? ",down" : "");
  }

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = (!data.value || row.dataset.data === data.value) && words.every((w) => row.dataset.text.includes(w));
      row.hidden = !fits;
      count += fits;
    }
    for (const figure of document.querySelectorAll("figure[data-data]"))
      figure.hidden = Boolean(data.value) && figure.dataset.data !== data.value;
    shown.textContent = `${count} of ${rows.length} rows`;
  }

  function remember() {
    const parts = [];
    if (column) parts.push(`sort=${column}${down ? ",down" : ""}`);
    if (data.value) parts.push(`data=${data.value}`);
    if (find.value) parts.push(`find=${encodeURIComponent(find.value)}`);
    const address = parts.length ? `#${parts.join("&")}` : location.pathname;
    try { history.replaceState(null, "", address); } catch { /* a file in some browsers: the view is not linked to */ }
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    if (!["sort", "data", "find"].some((name) => said.has(name))) return;
    const [name, way] = (said.get("sort") || "").split(",");
    column = heads.some((head) => head.dataset.key === name) ? name : "";
    down = way === "down";
    if ([...data.options].some((option) => option.value === said.get("data"))) data.value = said.get("data");
    find.value = said.get("find") || "";
  }

  for (const head of heads) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      down = column === head.dataset.key ? !down : false;
      column = head.dataset.key;
      sort(); remember();
    });
  }
  order.addEventListener("change", () => {
    const [name, way] = order.value.split(",");
    column = name; down = way === "down";
    sort(); remember();
  });
  data.addEventListener("change", () => { filter(); remember(); });
  find.addEventListener("input", () => { filter(); remember(); });

  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const chosen = getSelection();
    chosen.removeAllRanges(); chosen.addRange(range);
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch { // not allowed here
        select(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // A point under the pointer or the focus is said in full below its picture.
  for (const figure of document.querySelectorAll("figure.cost")) {
    const said = figure.querySelector("output"), before = said.textContent;
    for (const point of figure.querySelectorAll(".point")) {
      const tell = () => { said.textContent = point.getAttribute("aria-label"); };
      const end = () => { if (!figure.contains(document.activeElement)) said.textContent = before; };
      for (const name of ["focus", "pointerenter", "click"]) point.addEventListener(name, tell);
      point.addEventListener("pointerleave", end);
      point.addEventListener("blur", () => { said.textContent = before; });
    }
  }
  addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
  addEventListener("hashchange", () => { recall(); sort(); filter(); });

  recall(); sort(); filter();
})();
