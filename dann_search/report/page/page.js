"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const report = JSON.parse(document.getElementById("report").textContent);

  // Theme ---------------------------------------------------------------------------------------

  const mode = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const toggle = document.querySelector("button.theme");

  function nameToggle() {
    toggle.textContent = mode() === "dark" ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Switch to ${mode() === "dark" ? "light" : "dark"} colours`);
  }

  toggle.addEventListener("click", () => {
    root.dataset.theme = mode() === "dark" ? "light" : "dark";
    try { localStorage.setItem("dann-search-theme", root.dataset.theme); } catch { /* as in boot.js */ }
    nameToggle();
    drawAll();
  });
  system.addEventListener("change", () => { nameToggle(); drawAll(); });
  nameToggle();

  // Plots ---------------------------------------------------------------------------------------

  /** The same plot with each colour's relative of the dark. */
  function recoloured(value) {
    if (typeof value === "string") return report.in_the_dark[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, recoloured(one)]));
    }
    return value;
  }

  const narrow = () => innerWidth < 640;
  const touched = matchMedia("(pointer: coarse)").matches;

  async function draw(holder) {
    const plot = report.plots[holder.dataset.plot];
    const dark = mode() === "dark";
    const { data, layout } = dark ? recoloured(plot) : structuredClone(plot);
    layout.template = report.templates[mode()];
    layout.height = plot.height;
    // Fingers scroll the page; they do not draw boxes.
    layout.dragmode = touched || narrow() ? false : "zoom";
    await Plotly.react(holder, data, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: touched || narrow() ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: holder.dataset.plot },
    });
  }

  let round = 0;
  async function drawAll() {
    const mine = ++round;
    root.dataset.plots = "drawing";
    for (const holder of document.querySelectorAll("[data-plot]")) {
      if (mine !== round) return;
      await draw(holder);
      await new Promise((next) => setTimeout(next, 0));
    }
    root.dataset.plots = "drawn";
  }

  /** Plotly lies in the page compressed; as text of a script it runs under the page's own policy. */
  async function loadPlotly() {
    const packed = document.getElementById("plotly").textContent.trim();
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
  }

  loadPlotly().then(drawAll).catch((error) => {
    root.dataset.plots = "failed";
    for (const holder of document.querySelectorAll("[data-plot]")) {
      holder.textContent = "This browser cannot draw the plots.";
    }
    throw error;
  });

  // Tables --------------------------------------------------------------------------------------

  const keyOf = (row, index) => {
    const cell = row.cells[index];
    return (cell.dataset.key ?? cell.textContent) || null;
  };

  function sortBy(table, head) {
    const index = head.cellIndex;
    const numeric = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric && head.dataset.first !== "up";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [keyOf(a, index), keyOf(b, index)];
      if (x === null || y === null) return (x === null) - (y === null);
      const order = numeric ? x - y : x.localeCompare(y);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sortBy(table, head));
    }
  }

  // Words that a row must contain, and conditions such as learning_rate>0.01 or backbone=resnet50.
  const CONDITION = /^([\w.]+)(<=|>=|!=|<|>|=)(.+)$/;
  const COMPARE = {
    "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };

  function matches(row, term, columns) {
    const parts = CONDITION.exec(term);
    const index = parts ? columns.indexOf(parts[1].toLowerCase()) : -1;
    if (index < 0) return row.textContent.toLowerCase().includes(term.toLowerCase());
    const key = keyOf(row, index);
    const [, , sign, wanted] = parts;
    if (sign === "=" || sign === "!=") {
      const text = (key ?? "").toLowerCase();
      const same = text === wanted.toLowerCase()
        || (key !== null && wanted !== "" && Number(key) === Number(wanted));
      return same === (sign === "=");
    }
    return key !== null && COMPARE[sign](Number(key), Number(wanted));
  }

  for (const input of document.querySelectorAll(".filter input")) {
    const table = document.getElementById(input.getAttribute("aria-controls"));
    const count = input.closest(".filter").querySelector("output");
    const columns = [...table.tHead.rows[0].cells].map((head) => head.dataset.name.toLowerCase());
    const apply = () => {
      const terms = input.value.split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !terms.every((term) => matches(row, term, columns));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${table.tBodies[0].rows.length} trials`;
    };
    input.addEventListener("input", apply);
    apply();
  }
})();
