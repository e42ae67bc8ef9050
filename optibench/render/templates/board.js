// The board: all rows, filtered, ranked anew by the accuracy floor and sorted; the view stands in the address. The rows
// come by script tags, since a page on a disk may load nothing else. Without this script the first rows stay.
(() => {
  "use strict";
  const units = window.optibenchUnits;
  const PAGE = 50;
  const LOWEST = 80; // the slider's left end: any accuracy
  const TEXTS = ["task", "model", "hardware", "backend", "precision"];
  const UP = new Set(["p50_seconds", "p99_seconds", "cost", "artifact_bytes", "peak_memory_bytes", "model", "hardware", "build", "batch"]);
  const table = document.getElementById("board");
  const tools = document.getElementById("tools");
  const told = document.getElementById("told");
  const pages = document.getElementById("pages");
  const headings = [...table.tHead.rows[0].cells];
  const pieces = [];
  const usual = { tier: "official", task: "", model: "", hardware: "", backend: "", precision: "", batch: "", floor: 99, price: "", verified: "", sort: "speedup", order: "down", page: 1 };
  let state = { ...usual };
  let rows; // columns by name
  let orders; // row numbers in a column's order, made when first asked for

  // From the data to columns

  function columns(data) {
    const found = { count: data.count, ...data.numbers };
    for (const name of Object.keys(data.codes)) found[name] = data.codes[name];
    found.per_second = data.numbers.batch.map((batch, row) => batch / data.numbers.p50_seconds[row]);
    found.texts = data.texts;
    return found;
  }

  function keys(column) {
    if (column === "cost") return rows.per_second.map((rate) => 1 / rate);
    if (column === "build") {
      const width = rows.texts.precision.length;
      const names = rows.texts.backend.flatMap((backend) => rows.texts.precision.map((precision) => `${units.title(backend)} ${precision}`));
      const ranks = [];
      [...names.keys()].sort((a, b) => names[a].localeCompare(names[b])).forEach((code, rank) => (ranks[code] = rank));
      return rows.backend.map((backend, row) => ranks[backend * width + rows.precision[row]]);
    }
    if (column === "verified_by") return rows.verified_by.map((code) => (rows.texts.verified_by[code] ? 1 : 0));
    if (column === "batch") return rows.batch.map((batch, row) => batch * 1e7 + (rows.length[row] || 0));
    return rows[column]; // texts' codes are in the order of the texts
  }

  // Rows by one column, those without a value last. Equal ones stay as they were: the fastest first.
  function ordered(column, order) {
    const name = `${column} ${order}`;
    if (!orders[name]) {
      const values = keys(column);
      const number = new Float64Array(rows.count);
      const some = [];
      const none = [];
      for (let row = 0; row < rows.count; row++) {
        number[row] = values[row];
        (values[row] === null ? none : some).push(row);
      }
      const sign = order === "up" ? 1 : -1;
      const sorted = Uint32Array.from(some).sort((a, b) => sign * (number[a] - number[b]) || a - b);
      orders[name] = [sorted, none];
    }
    return orders[name];
  }

  // What is shown: first rows with a rank, then those below the floor or without a score

  function view() {
    const wanted = [];
    for (const name of TEXTS) {
      if (state[name]) wanted.push([rows[name], rows.texts[name].indexOf(state[name])]);
    }
    if (state.batch) wanted.push([rows.batch, Number(state.batch)]);
    const official = state.tier === "official" ? 1 : 0;
    const floor = state.floor <= LOWEST ? -Infinity : state.floor / 100;
    const sound = [];
    const below = [];
    for (const part of ordered(state.sort, state.order)) {
      next: for (const row of part) {
        if (rows.official[row] !== official) continue;
        for (const [column, value] of wanted) if (column[row] !== value) continue next;
        if (state.verified && !rows.texts.verified_by[rows.verified_by[row]]) continue;
        const kept = rows.kept[row];
        if (floor === -Infinity || (kept !== null && kept >= floor)) sound.push(row);
        else below.push(row);
      }
    }
    return { sound, below };
  }

  // To the page

  function link(address, text) {
    const found = document.createElement("a");
    found.href = address;
    found.textContent = text;
    return found;
  }

  function line(row, rank) {
    const text = (name) => rows.texts[name][rows[name][row]];
    const found = document.createElement("tr");
    if (rank === null) found.className = "unranked";
    const cell = (content, name, kind = "td") => {
      const made = document.createElement(kind);
      if (name) made.className = name;
      made.append(content);
      found.append(made);
      return made;
    };
    const page = (name) => rows.texts[`${name}_page`][rows[name][row]];
    const price = Number(state.price);
    const by = text("verified_by");
    const runs = rows.submissions[row];
    const length = rows.length[row];
    cell(rank === null ? units.NONE : String(rank), "number");
    cell(link(`record.html#${text("submission")}-${rows.place[row]}`, `${units.title(text("backend"))} ${text("precision")}`), "", "th").scope = "row";
    cell(link(page("model"), text("model")));
    cell(link(page("hardware"), text("hardware")));
    cell(length ? `${rows.batch[row]} × ${length}` : String(rows.batch[row]), "number");
    cell(units.ratio(rows.speedup_low[row], rows.speedup[row], rows.speedup_high[row]), "number");
    cell(units.share(rows.kept[row]), "number");
    cell(units.seconds(rows.p50_seconds[row]), "number");
    cell(price > 0 ? units.money((price / 3600 / rows.per_second[row]) * 1e6) : "", "number cost");
    cell((by ? `✓ ${by}` : "unverified") + (runs > 1 ? ` · ${runs} runs` : ""), by ? "verified" : "unverified");
    cell(units.seconds(rows.p99_seconds[row]), "number");
    cell(units.bytes(rows.artifact_bytes[row]), "number");
    cell(units.bytes(rows.peak_memory_bytes[row]), "number");
    return found;
  }

  function counted(number, noun) {
    return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
  }

  function draw() {
    const { sound, below } = view();
    const all = sound.length + below.length;
    const last = Math.max(1, Math.ceil(all / PAGE));
    state.page = Math.min(Math.max(1, state.page), last);
    const made = [];
    for (let place = (state.page - 1) * PAGE; place < Math.min(all, state.page * PAGE); place++) {
      made.push(place < sound.length ? line(sound[place], place + 1) : line(below[place - sound.length], null));
    }
    table.tBodies[0].replaceChildren(...made);
    table.classList.toggle("priced", Number(state.price) > 0);
    for (const heading of headings) {
      if (heading.dataset.sort === state.sort) heading.setAttribute("aria-sort", state.order === "up" ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    }
    const floor = state.floor <= LOWEST ? "any" : `${state.floor}%`;
    document.getElementById("floor-text").textContent = floor;
    tools.elements.floor.setAttribute("aria-valuetext", floor);
    const without = below.length ? `; ${counted(below.length, "row")} below the floor or without a score, unranked` : "";
    const quick = state.tier === "quick" ? " Quick runs are for a first look." : "";
    told.textContent = `${counted(sound.length, "ranked row")}${without}.${quick}`;
    pages.hidden = last === 1;
    document.getElementById("page-text").textContent = `Page ${state.page} of ${last}`;
    document.getElementById("before").disabled = state.page === 1;
    document.getElementById("after").disabled = state.page === last;
  }

  // Between the state, the form and the address

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { ...usual };
    for (const [name, value] of given) {
      if (!(name in usual)) continue;
      state[name] = typeof usual[name] === "number" ? Number(value) || usual[name] : value;
    }
    if (!headings.some((heading) => heading.dataset.sort === state.sort)) state.sort = usual.sort;
    if (!["official", "quick"].includes(state.tier)) state.tier = usual.tier;
    for (const input of tools.elements) {
      if (!input.name) continue;
      if (input.type === "radio") input.checked = input.value === state.tier;
      else if (input.type === "checkbox") input.checked = Boolean(state[input.name]);
      else input.value = state[input.name];
      if (input.tagName === "SELECT" && input.value !== String(state[input.name])) state[input.name] = input.value = "";
    }
  }

  function toAddress() {
    const told = new URLSearchParams();
    for (const name of Object.keys(usual)) {
      if (String(state[name]) !== String(usual[name])) told.set(name, state[name]);
    }
    history.replaceState(null, "", told.size ? `#${told}` : location.pathname + location.search);
  }

  function changed(change) {
    state = { ...state, page: 1, ...change };
    toAddress();
    draw();
  }

  function fill() {
    const options = { batch: [...new Set(rows.batch)].sort((a, b) => a - b).map(String) };
    for (const name of TEXTS) options[name] = rows.texts[name];
    for (const [name, values] of Object.entries(options)) {
      const select = tools.elements[name];
      select.append(...values.map((value) => new Option(value, value)));
    }
    for (const heading of headings) {
      if (!heading.dataset.sort) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => {
        const column = heading.dataset.sort;
        const first = UP.has(column) ? "up" : "down";
        const other = first === "up" ? "down" : "up";
        changed({ sort: column, order: state.sort === column && state.order === first ? other : first });
      });
      heading.append(button);
    }
  }

  function start(data) {
    rows = columns(data);
    orders = {};
    if (rows.count && !rows.official.includes(1)) usual.tier = "quick";
    fill();
    fromAddress();
    tools.hidden = false;
    tools.addEventListener("input", (event) => {
      const input = event.target;
      if (input.name) changed({ [input.name]: input.type === "checkbox" ? (input.checked ? "1" : "") : input.type === "range" ? Number(input.value) : input.value });
    });
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("reset", (event) => {
      event.preventDefault();
      changed({ ...usual });
      fromAddress();
      draw();
    });
    const turn = (by) => {
      changed({ page: state.page + by });
      table.scrollIntoView();
    };
    document.getElementById("before").addEventListener("click", () => turn(-1));
    document.getElementById("after").addEventListener("click", () => turn(1));
    addEventListener("hashchange", () => {
      fromAddress();
      draw();
    });
    draw();
    table.dataset.ready = String(Math.round(performance.now())); // milliseconds since the page was asked for
  }

  window.optibenchRows = (number, count, text) => {
    pieces[number] = text;
    if (pieces.filter((piece) => piece !== undefined).length < count) return;
    window.optibenchUnpack(pieces.join("")).then(start);
  };
  for (let number = 0; number < Number(table.dataset.pieces); number++) {
    const script = document.createElement("script");
    script.src = `data/rows-${number}.js`;
    document.body.append(script);
  }
})();
