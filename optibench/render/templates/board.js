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

  // Typed arrays: a missing number is NaN, a text the number of its place in texts, which are in order.
  function columns(data) {
    const found = { count: data.count, texts: data.texts };
    for (const [name, values] of Object.entries(data.numbers)) {
      found[name] = Float64Array.from(values, (value) => (value === null ? NaN : value));
    }
    for (const [name, values] of Object.entries(data.codes)) found[name] = Uint32Array.from(values);
    found.signed = Float64Array.from(found.verified_by, (code) => (data.texts.verified_by[code] ? 1 : 0));
    return found;
  }

  function keys(column) {
    const made = (value) => {
      const found = new Float64Array(rows.count);
      for (let row = 0; row < rows.count; row++) found[row] = value(row);
      return found;
    };
    if (column === "cost") return made((row) => rows.p50_seconds[row] / rows.batch[row]);
    if (column === "batch") return made((row) => rows.batch[row] * 2 ** 20 + (rows.length[row] || 0));
    if (column === "verified_by") return rows.signed;
    if (column === "build") {
      const { backend, precision } = rows.texts;
      const names = backend.flatMap((one) => precision.map((other) => `${units.title(one)} ${other}`));
      const ranks = [];
      [...names.keys()].sort((a, b) => names[a].localeCompare(names[b])).forEach((code, rank) => (ranks[code] = rank));
      return made((row) => ranks[rows.backend[row] * precision.length + rows.precision[row]]);
    }
    return rows[column];
  }

  // 32 bits that are in the order of the values: whole numbers as they are, others as single floats.
  function sortable(values) {
    if (values.every((value) => Number.isNaN(value) || (Number.isInteger(value) && value >= 0 && value < 2 ** 32))) return values;
    const bits = new Uint32Array(new Float32Array(values).buffer);
    for (let at = 0; at < bits.length; at++) bits[at] = bits[at] & 0x80000000 ? ~bits[at] : bits[at] | 0x80000000;
    return bits;
  }

  // Rows by one column, those without a value last. Equal ones stay as they were: the fastest first. A value and its row
  // make one number, since sorting numbers needs no comparisons in JavaScript.
  function ordered(column, order) {
    const name = `${column} ${order}`;
    if (!orders[name]) {
      const values = keys(column);
      const bits = sortable(values);
      const packed = new Float64Array(rows.count);
      const none = [];
      let count = 0;
      for (let row = 0; row < rows.count; row++) {
        if (Number.isNaN(values[row])) none.push(row);
        else packed[count++] = (order === "up" ? bits[row] : 2 ** 32 - 1 - bits[row]) * 2 ** 20 + row;
      }
      packed.subarray(0, count).sort();
      const sorted = new Uint32Array(count);
      for (let at = 0; at < count; at++) sorted[at] = packed[at] % 2 ** 20;
      orders[name] = [sorted, none];
    }
    return orders[name];
  }

  // What is shown: first rows with a rank, then those below the floor or without a score

  function view() {
    const wanted = [[rows.official, state.tier === "official" ? 1 : 0]];
    for (const name of TEXTS) {
      if (state[name]) wanted.push([rows[name], rows.texts[name].indexOf(state[name])]);
    }
    if (state.batch) wanted.push([rows.batch, Number(state.batch)]);
    if (state.verified) wanted.push([rows.signed, 1]);
    const any = state.floor <= LOWEST;
    const floor = state.floor / 100;
    const sound = [];
    const below = [];
    for (const part of ordered(state.sort, state.order)) {
      next: for (const row of part) {
        for (const [column, value] of wanted) if (column[row] !== value) continue next;
        (any || rows.kept[row] >= floor ? sound : below).push(row);
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
    const number = (name) => (Number.isNaN(rows[name][row]) ? null : rows[name][row]);
    const price = Number(state.price);
    const by = text("verified_by");
    const batch = number("batch");
    const length = number("length");
    const runs = number("submissions");
    cell(rank === null ? units.NONE : String(rank), "number");
    cell(link(`record.html#${text("submission")}-${number("place")}`, `${units.title(text("backend"))} ${text("precision")}`), "", "th").scope = "row";
    cell(link(page("model"), text("model")));
    cell(link(page("hardware"), text("hardware")));
    cell(length ? `${batch} × ${length}` : String(batch), "number");
    cell(units.ratio(number("speedup_low"), number("speedup"), number("speedup_high")), "number");
    cell(units.share(number("kept")), "number");
    cell(units.seconds(number("p50_seconds")), "number");
    cell(price > 0 ? units.money((price / 3600) * (number("p50_seconds") / batch) * 1e6) : "", "number cost");
    cell((by ? `✓ ${by}` : "unverified") + (runs > 1 ? ` · ${runs} runs` : ""), by ? "verified" : "unverified");
    cell(units.seconds(number("p99_seconds")), "number");
    cell(units.bytes(number("artifact_bytes")), "number");
    cell(units.bytes(number("peak_memory_bytes")), "number");
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
