// The table: sorted by any column, filtered by words, columns shown on demand; a row opens its record. All of it is an
// addition: without scripts the table is whole and its links lead to the records.
(() => {
  "use strict";

  function value(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  }

  function compare(a, b) {
    const empty = (x) => x === "" || x === "–" || Number.isNaN(x);
    if (empty(a) || empty(b)) return null;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }

  function sort(table, heading, column) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, value: value(row, column) }));
    rows.sort((a, b) => {
      const found = compare(a.value, b.value);
      if (found !== null) return (down ? -found : found) || a.place - b.place;
      // Rows without a value stay below, whichever way the others go.
      return (compare(a.value, a.value) === null) - (compare(b.value, b.value) === null) || a.place - b.place;
    });
    table.tBodies[0].append(...rows.map((one) => one.row));
  }

  function filter(table, words, told) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  }

  function labelled(text, input) {
    const label = document.createElement("label");
    label.append(text, input);
    return label;
  }

  function chooser(table) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    const choices = document.createElement("fieldset");
    const legend = document.createElement("legend");
    summary.textContent = "Columns";
    legend.textContent = "Columns that are shown";
    choices.append(legend);
    details.append(summary, choices);
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (column === 0) return;
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !heading.classList.contains("extra");
      box.addEventListener("change", () => {
        for (const row of table.rows) row.cells[column].classList.toggle("extra", !box.checked);
      });
      const label = labelled(box, heading.dataset.title);
      choices.append(label);
    });
    return details;
  }

  function prepare(table) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      heading.dataset.title = heading.textContent.trim();
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading, column));
      heading.append(button);
    });
    const tools = document.createElement("div");
    const search = document.createElement("input");
    const told = document.createElement("span");
    tools.className = "tools";
    search.type = "search";
    told.setAttribute("role", "status");
    told.className = "quiet";
    search.addEventListener("input", () => filter(table, search.value, told));
    tools.append(labelled("Filter", search), told, chooser(table));
    table.closest(".wide").before(tools);
    filter(table, "", told);
    table.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-record]");
      if (row && !event.target.closest("a, button, input") && !String(getSelection())) {
        location.hash = row.dataset.record;
      }
    });
  }

  function open() {
    const found = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!found || found.tagName !== "DETAILS") return;
    found.open = true;
    found.querySelector("summary").focus({ preventScroll: true });
    found.scrollIntoView();
  }

  document.querySelectorAll("table.sortable").forEach(prepare);
  addEventListener("hashchange", open);
  // A link to a record that is the address already changes nothing there, and is to open it all the same.
  addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#record-"]');
    if (link && link.hash === location.hash) open();
  });
  open();
})();
