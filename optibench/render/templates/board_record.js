// One record: a case of a submission, with all that was measured beside it. The address names it (#SUBMISSION-CASE); its
// piece of the data comes by a script tag. Texts are set as text, whatever they hold.
(() => {
  "use strict";
  const units = window.optibenchUnits;
  const place = document.getElementById("record");
  let wanted = "";

  function element(tag, ...children) {
    const made = document.createElement(tag);
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }

  function classed(name, made) {
    made.className = name;
    return made;
  }

  function link(address, text) {
    const made = element("a", text);
    made.href = address;
    return made;
  }

  function facts(pairs) {
    const list = element("dl");
    for (const [name, value] of pairs) {
      if (value === null || value === undefined || value === "" || value === units.NONE) continue;
      list.append(element("dt", name), element("dd", value));
    }
    return list;
  }

  function table(label, titles, lines, numbers) {
    const head = element("tr", ...titles.map((title, at) => {
      const cell = element("th", title);
      cell.scope = "col";
      if (numbers.includes(at)) cell.className = "number";
      return cell;
    }));
    const body = lines.map((line) => element("tr", ...line.map((text, at) => {
      const cell = element(at ? "td" : "th", text);
      if (!at) cell.scope = "row";
      if (numbers.includes(at)) cell.className = "number";
      return cell;
    })));
    const wide = classed("wide", element("div", element("table", element("thead", head), element("tbody", ...body))));
    wide.tabIndex = 0;
    wide.setAttribute("role", "group");
    wide.setAttribute("aria-label", label);
    return wide;
  }

  const digest = (text) => (text ? classed("digest", element("code", text)) : "");
  const build = (one) => `${units.title(one.backend)} ${one.precision}`;
  const shape = (one) => (one.length ? `${one.batch} × ${one.length}` : String(one.batch));
  const speedup = (one) => (one.speedup ? units.ratio(one.speedup.low, one.speedup.mid, one.speedup.high) : units.NONE);
  const signed = (value) => (value >= 0 ? "+" : "") + value.toFixed(3);
  const data = (ref) => (ref ? element("span", `${ref.id}, ${ref.count} rows, sha256 `, digest(ref.sha256)) : "");

  function measured(one) {
    const latency = one.latency_seconds || {};
    const executed = one.executed;
    return facts([
      ["p50", units.seconds(latency.p50)],
      ["p90", units.seconds(latency.p90)],
      ["p99", units.seconds(latency.p99)],
      ["Speed-up", speedup(one)],
      ["Verdict", one.verdict],
      ["Rounds, calls", `${one.rounds} rounds, ${one.samples.toLocaleString("en-US")} undisturbed calls`],
      ["Bursts", `${one.bursts.kept} kept, ${one.bursts.disturbed} left out`],
      ["Cold start", units.seconds(one.cold_start_seconds)],
      ["Load", units.seconds(one.load_seconds)],
      ["First call", units.seconds(one.first_call_seconds)],
      ["Peak memory", units.bytes(one.peak_memory_bytes)],
      ["Share of the peak", one.peak_share ? units.share(one.peak_share) : ""],
      ["Executed", executed ? `${executed.provider} ${executed.precision}, ${executed.threads} threads` : ""],
      ["Artifact", one.artifact_sha256 ? element("span", `${units.bytes(one.artifact_bytes)}, sha256 `, digest(one.artifact_sha256)) : ""],
    ]);
  }

  function scores(one) {
    if (!one.scores.length) return element("p", "No score: it was measured without labelled data.");
    const lines = one.scores.map((score) => [
      score.metric, score.value.toFixed(4), score.reference.toFixed(4),
      `${signed(score.change.mid)} [${signed(score.change.low)}, ${signed(score.change.high)}]`, String(score.count),
    ]);
    return table("Scores", ["Metric", "Score", "Reference", "Change, 95%", "Examples"], lines, [1, 2, 3, 4]);
  }

  function sentences(texts) {
    return element("ul", ...texts.map((text) => element("li", text)));
  }

  function show(entry, number) {
    const found = entry.comparison;
    const one = found.cases[number] || found.cases.find((some) => some.latency_seconds) || found.cases[0];
    const at = found.cases.indexOf(one);
    const title = `${build(one)} of ${found.model.id}`;
    document.title = `${title} – ${document.title.split(" – ").pop()}`;
    document.getElementById("name").textContent = title;
    document.getElementById("facts").replaceChildren(
      ...[found.host.cpu_model, `${entry.threads} threads`, `batch ${shape(one)}`, `${found.workload.tier} run`, found.created.slice(0, 10)].map((text) => element("li", text)),
      classed(entry.verified_by ? "verified" : "unverified", element("li", entry.verified_by ? `✓ signed by ${entry.verified_by}` : "unverified")),
    );
    const others = (entry.others[at] || []).map((id) => element("li", link(`#${id}`, id)));
    const beside = found.cases.map((some, n) => [
      link(`#${entry.id}-${n}`, build(some)), shape(some), some.status === "ok" ? units.seconds((some.latency_seconds || {}).p50) : some.status, speedup(some),
      some.scores.length && some.scores[0].reference > 0 ? units.share(some.scores[0].value / some.scores[0].reference) : units.NONE,
    ]);
    const sections = [
      element("h2", "Measured"), one.status === "ok" ? measured(one) : element("p", `${one.status}: ${one.reason || ""}`),
      element("h2", "Accuracy"), scores(one),
      ...(one.notes.length ? [element("h2", "Notes"), sentences(one.notes)] : []),
      element("h2", "Beside it in the same run"), table("Cases of the run", ["Build", "Shape", "p50", "Speed-up", "Score kept"], beside, [1, 2, 3, 4]),
      ...(others.length ? [element("h2", "Other submissions of this case"), element("ul", ...others)] : []),
      element("h2", "The run"),
      facts([
        ["Model", `${found.model.id} (${found.model.source}), revision ${found.model.revision}`],
        ["Weights", digest(found.model.weights_sha256)],
        ["Evaluated on", data(found.workload.dataset)],
        ["Calibrated with", data(found.workload.calibration)],
        ["Noise floor", found.noise.floor === null ? "" : `±${units.share(found.noise.floor)} (the reference against its twin)`],
        ["Disturbed bursts", units.share(found.noise.disturbed_share)],
        ["Command", element("code", found.command)],
        ["Submission", element("code", entry.id)],
        ...(place.dataset.files !== undefined ? [["Raw samples", link(`submissions/${entry.id}.optibench.zip`, "the submission’s file (optibench leaderboard validate checks it)")]] : []),
      ]),
      ...(found.warnings.length ? [element("h2", "Warnings"), sentences(found.warnings)] : []),
      ...(entry.unchecked.length ? [element("h2", "Not checked"), sentences(entry.unchecked)] : []),
      element("h2", "Environment"),
      facts([
        ["Processor", `${found.host.cpu_model}, ${found.host.cores} cores`],
        ["GPUs", found.host.gpus.join(", ")],
        ["Instruction sets", found.host.isa.join(", ")],
        ["Memory", units.bytes(found.host.memory_bytes)],
        ["System", `${found.host.os}, Python ${found.host.python}`],
        ["Packages", Object.entries(found.host.packages).map(([name, version]) => `${name} ${version}`).join(", ")],
      ]),
    ];
    place.replaceChildren(...sections);
    place.dataset.ready = "";
  }

  function missing() {
    place.replaceChildren(element("p", "There is no record of this name here. ", link("index.html", "See the board"), "."));
    place.dataset.ready = "";
  }

  function split(id) {
    const [, submission, number] = id.match(/^([0-9a-f]+)(?:-(\d+))?$/) || [null, "", ""];
    return [submission, Number(number || -1)];
  }

  function load() {
    wanted = decodeURIComponent(location.hash.slice(1));
    const [submission] = split(wanted);
    if (!submission) return missing();
    delete place.dataset.ready;
    const script = document.createElement("script");
    script.src = `data/records/${submission.slice(0, 2)}.js`;
    script.addEventListener("error", missing);
    document.body.append(script);
  }

  window.optibenchRecords = (text) => {
    window.optibenchUnpack(text).then((found) => {
      const [submission, number] = split(wanted);
      if (Object.hasOwn(found, submission)) show(found[submission], number);
      else missing();
    });
  };
  addEventListener("hashchange", load);
  load();
})();
