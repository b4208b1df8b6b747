"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const views = new Map();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Tables are kept by column; charts want objects.
  const datasets = new Map();
  function dataset(name) {
    if (!datasets.has(name)) {
      const { columns, rows } = page.datasets[name];
      datasets.set(name, rows.map((row) => Object.fromEntries(columns.map((c, i) => [c, row[i]]))));
    }
    return datasets.get(name);
  }

  const wanted = () => root.dataset.theme || (dark.matches ? "dark" : "light");

  function themed(value, theme) {
    if (Array.isArray(value)) return value.map((v) => themed(v, theme));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, theme)]));
    }
    if (typeof value !== "string" || value[0] !== "@") return value;
    return page.schemes[theme][value] || page.themes[theme][value.slice(1)];
  }

  function config(theme) {
    const c = page.themes[theme];
    const text = { labelColor: c.ink, titleColor: c.ink, titleFontWeight: 500, labelFontSize: 12, titleFontSize: 12 };
    return {
      background: null,
      font: "system-ui, sans-serif",
      padding: { left: 5, top: 5, bottom: 5, right: 18 },
      view: { stroke: c.line },
      axis: { ...text, gridColor: c.line, domainColor: c.muted, tickColor: c.muted, gridOpacity: 0.6 },
      legend: { ...text, orient: "bottom", columns: innerWidth < 640 ? 2 : 4, labelLimit: 240, symbolLimit: 60 },
      text: { color: c.ink },
    };
  }

  // What is hidden has no width to draw in; it is drawn when it is shown again.
  const hidden = (figure) => figure.closest("[hidden]") !== null;
  const drawing = new Map();
  function draw(figure) {
    const id = figure.dataset.chart;
    if (!drawing.has(id)) drawing.set(id, brought(figure, id).finally(() => drawing.delete(id)));
    return drawing.get(id);
  }
  // Colours and filters may be changed while a chart is drawn.
  async function brought(figure, id) {
    while (!hidden(figure)) {
      const theme = wanted();
      const shown = shownCells();
      await embed(figure, id, theme, shown);
      figure.dataset.drawn = theme;
      if (String(shown) !== String(shownCells())) views.get(id).view.signal("shown", shownCells()).runAsync();
      if (theme === wanted()) return;
    }
  }
  async function embed(figure, id, theme, shownNow) {
    const spec = themed(page.specs[id], theme);
    const name = spec.data.name;
    spec.datasets = { [name]: dataset(name) };
    const shown = spec.params.find((p) => p.name === "shown");
    shown.value = shownNow;
    const menu = spec.params.find((p) => p.name === "which");
    // A view throws when it is asked for a signal that it does not have.
    if (menu && views.has(id)) menu.value = views.get(id).view.signal("which");
    views.get(id)?.finalize();
    const result = await vegaEmbed(figure.querySelector(".plot"), spec, {
      mode: "vega-lite", logLevel: 1, renderer: "svg", config: config(theme), tooltip: { theme },
      actions: false,
    });
    views.set(id, result);
  }

  // Charts are drawn when they come near, and all of them for paper.
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const near = new IntersectionObserver((entries) => {
    for (const e of entries) {
      if (!e.isIntersecting || hidden(e.target)) continue;
      near.unobserve(e.target);
      draw(e.target);
    }
  }, { rootMargin: "500px" });
  figures.forEach((f) => near.observe(f));
  addEventListener("beforeprint", () => figures.filter((f) => !f.dataset.drawn && !hidden(f)).forEach(draw));
  const redraw = () => figures.filter((f) => f.dataset.drawn && f.dataset.drawn !== wanted() && !hidden(f)).forEach(draw);
  dark.addEventListener("change", redraw);

  const button = document.getElementById("theme");
  const turns = ["", "dark", "light"];
  function setTheme(theme) {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    button.querySelector("span").textContent = theme || "auto";
    button.setAttribute("aria-label", `Colours: ${theme || "as the system says"}`);
    redraw();
  }
  button.addEventListener("click", () => setTheme(turns[(turns.indexOf(root.dataset.theme || "") + 1) % 3]));

  // Filters: names of boxes are keys of cells (device, precision, model, task).
  const form = document.getElementById("filters");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const refused = () => boxes.filter((b) => !b.checked);
  const allows = (told) => refused().every((b) => told[b.name] === undefined || told[b.name] !== b.value);
  function shownCells() {
    if (!refused().length) return null;
    return page.cells.filter(allows).map((c) => c.cell);
  }
  const told = new Map(page.cells.map((c) => [c.cell, c]));
  function filter() {
    const gone = figures.filter(hidden);
    document.querySelectorAll("main [data-device], main [data-precision]").forEach((e) => {
      if (e.closest("dialog")) return;
      e.hidden = !allows({ ...e.dataset });
    });
    // A card says the best of all cells: without a cell there is no line, and no next best.
    document.querySelectorAll(".card dd a").forEach((link) => {
      const cell = told.get(link.hash.slice("#cell-".length));
      const line = link.parentElement;
      line.hidden = line.previousElementSibling.hidden = Boolean(cell) && !allows(cell);
    });
    // A line that has nothing but "not asked for" left says nothing.
    document.querySelectorAll(".matrix tbody tr").forEach((row) => {
      const left = [...row.cells].slice(1).filter((cell) => !cell.hidden && !cell.classList.contains("none"));
      row.hidden ||= !left.length;
    });
    const shown = shownCells();
    views.forEach(({ view }) => { view.signal("shown", shown).runAsync(); });
    gone.filter((f) => f.dataset.drawn && !hidden(f)).forEach(draw);
    document.getElementById("filtered").textContent =
      shown === null ? "" : `${shown.length} of ${page.cells.length} cells shown`;
  }
  form.addEventListener("change", filter);
  form.addEventListener("submit", (e) => e.preventDefault());

  // A cell's panel: all its figures, its record, its command.
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");
  const make = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text ?? "" }, more);
  function open(key) {
    const cell = page.cells.find((c) => c.cell === key);
    if (!cell) return false;
    document.getElementById("panel-title").textContent = cell.name;
    body.replaceChildren();
    body.append(make("p", `${cell.model} · ${cell.task} · ${cell.device} · ${cell.status}`, { className: "lead" }));
    if (cell.why) body.append(make("p", cell.why));
    if (cell.record) {
      const line = make("p", "Record: ");
      line.append(make("a", decodeURIComponent(cell.record.replace("file://", "")), { href: cell.record, className: "record" }));
      body.append(line);
    }
    if (cell.command) {
      const copy = make("div", "", { className: "copy" });
      copy.append(make("code", cell.command), make("button", "copy", { type: "button", className: "copies" }));
      body.append(make("h3", "Run it again"), copy);
    }
    const table = make("table");
    const figures = page.figures.rows[key] || [];
    page.figures.columns.forEach((name, i) => {
      const value = figures[i];
      if (value === null || value === undefined || value === "") return;
      const row = table.insertRow();
      row.append(Object.assign(make("th", name), { scope: "row" }), make("td", String(value)));
    });
    if (table.rows.length) body.append(make("h3", "Every figure"), table);
    if (!panel.open) panel.showModal();
    return true;
  }
  function follow() {
    const key = location.hash.startsWith("#cell-") ? location.hash.slice(6) : "";
    if (key && !open(key)) document.getElementById("filtered").textContent = `no cell ${key} on this page`;
  }
  panel.addEventListener("close", () => {
    if (location.hash.startsWith("#cell-")) history.replaceState(null, "", "#matrix");
  });
  addEventListener("hashchange", follow);
  document.addEventListener("click", (e) => {
    const link = e.target.closest("a[data-cell]");
    if (link && !e.ctrlKey && !e.metaKey && !e.shiftKey) {
      e.preventDefault();
      open(link.dataset.cell);
    }
    const saves = e.target.closest(".saves");
    if (saves) save(saves.closest("figure"));
    const copies = e.target.closest(".copies");
    if (copies) copy(copies);
  });
  async function save(figure) {
    if (!figure.dataset.drawn || drawing.has(figure.dataset.chart)) await draw(figure);
    const text = await views.get(figure.dataset.chart).view.toSVG();
    const link = make("a", "", { download: `${figure.dataset.chart}.svg` });
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  async function copy(from) {
    const code = from.parentElement.querySelector("code");
    let done = false;
    try { await navigator.clipboard.writeText(code.textContent); done = true; } catch { /* not allowed: select it */ }
    if (!done) {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = document.execCommand("copy");
    }
    from.textContent = done ? "copied" : "selected";
    setTimeout(() => { from.textContent = "copy"; }, 2000);
  }

  // Sorting: by the first number of the first of a cell's figures, cells without one last.
  const table = document.getElementById("the-matrix");
  if (table) {
    const head = table.tHead.rows;
    table.style.setProperty("--head", `${head[0].cells[head[0].cells.length - 1].offsetHeight}px`);
    const figure = (row, place) => {
      if (place < 0) return row.cells[0].textContent;
      let at = 0;
      for (const cell of [...row.cells].slice(1)) {
        if (place < at + cell.colSpan) {
          const found = cell.colSpan > 1 ? null : cell.textContent.split(" / ")[0].match(/[-+−]?\d+(\.\d+)?/);
          return found ? parseFloat(found[0].replace("−", "-")) : null;
        }
        at += cell.colSpan;
      }
      return null;
    };
    const lower = [...head[1].cells];
    const sorts = (th, place) => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("[aria-sort]").forEach((o) => o.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => [figure(row, place), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    };
    lower.forEach((th, i) => th.querySelector("button")?.addEventListener("click", () => sorts(th, i)));
    head[0].cells[0].querySelector("button").addEventListener("click", () => sorts(head[0].cells[0], -1));
  }
  // A browser that goes back may have kept which boxes are ticked.
  filter();
  follow();
})();
