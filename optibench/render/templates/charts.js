// Makes each drawing interactive: a tip under the pointer, a legend that picks out one series. The drawing stays where
// that fails. Specifications are interpreted (ast), since the page's policy forbids eval.
(() => {
  "use strict";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  function show(handler, event, item, value) {
    tip.hidden = value === null || value === undefined || value === "";
    if (tip.hidden) return;
    tip.replaceChildren();
    const rows = typeof value === "object" ? Object.entries(value) : [["", value]];
    for (const [name, text] of rows) {
      const line = document.createElement("div");
      const label = document.createElement("b");
      label.textContent = name && name !== "case" ? name + " " : "";
      line.append(label, String(text));
      tip.append(line);
    }
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(event.pageX + 14, window.scrollX + room)) + "px";
    tip.style.top = event.pageY + 14 + "px";
  }

  async function enliven(figure) {
    const drawing = figure.querySelector(".drawing");
    const spec = JSON.parse(figure.querySelector(".specification").textContent);
    const live = document.createElement("div");
    const options = { ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: show };
    try {
      await window.vegaEmbed(live, spec, options);
      live.querySelector("svg").setAttribute("aria-hidden", "true"); // the drawing is told in words already
      drawing.replaceChildren(live);
      figure.dataset.live = "";
    } catch (error) {
      console.warn("This chart stays a drawing:", error);
    }
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      enliven(entry.target);
    }
  });
  for (const figure of document.querySelectorAll("figure.chart")) seen.observe(figure);
})();
