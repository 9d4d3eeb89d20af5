// Draws the charts of a page, once its Vega and their data are unpacked, and shows what is at the pointer.
(async () => {
  "use strict";
  const MANY_POINTS = 5000; // above, a picture of pixels is quicker than one element for each
  const TOLD = 12; // lines that are read out at the pointer

  const unpack = async (name) => {
    const block = document.querySelector(`script[data-block="${name}"]`);
    const packed = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const add = (parent, name, className, words) => {
    const made = document.createElement(name);
    made.className = className;
    if (words !== undefined) made.textContent = words;
    parent.append(made);
    return made;
  };

  const cellsOf = (column) => (Array.isArray(column) ? column
    : column.values.map((each) => (each === null ? null : each / column.scale)));

  const rowsOf = (series) => series.flatMap(({labels, columns}) => {
    const names = Object.keys(columns);
    return columns[names[0]].map((_, at) => {
      const row = {...labels};
      for (const name of names) row[name] = columns[name][at];
      return row;
    });
  });

  // The template with the points in their place.
  const filled = (value, rows) => {
    if (Array.isArray(value)) return value.map((each) => filled(each, rows));
    if (value === null || typeof value !== "object") return value;
    if (value.vml === "points") return rows;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each, rows)]));
  };

  const LETTER = 7; // pixels of a label, about

  // Panels side by side as far as they fit with their labels, which Vega-Lite does not do.
  const arrange = (spec, panels, width) => {
    const {x, y} = spec.spec.encoding;
    const words = y.scale && y.scale.domain.length ? y.scale.domain.map(String) : [""];
    const longest = LETTER * Math.max(...words.map((word) => word.length));
    const label = Math.floor(Math.min(longest, 220, 0.3 * width));
    const columns = Math.max(1, Math.min(panels, Math.floor(width / (220 + label))));
    const side = Math.max(140, Math.min(300, Math.floor(width / columns) - 75 - label));
    spec.columns = columns;
    spec.spec.width = spec.spec.height = side;
    y.axis = {...y.axis, labelLimit: label + LETTER};
    x.axis = {...x.axis, labelLimit: 100, labelAngle: longest > side / words.length ? -45 : 0};
  };

  const tip = add(document.body, "div", "tip");
  tip.hidden = true;

  const showTip = (event, title, lines) => {
    tip.replaceChildren();
    if (title) add(tip, "div", "tip-title", title);
    for (const {name, value, colour} of lines) {
      const line = add(tip, "div", "tip-line");
      if (colour) add(line, "span", "dot").style.background = colour;
      add(line, "span", "", name);
      add(line, "span", "number", value);
    }
    tip.hidden = false;
    const {width, height} = tip.getBoundingClientRect();
    const right = event.clientX + 16 + width < document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, right ? event.clientX + 16 : event.clientX - 16 - width)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, window.innerHeight - height - 4))}px`;
  };

  const shown = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value));

  const tooltip = (_, event, item, value) => {
    if (value === null || value === undefined || value === "") {
      tip.hidden = true;
      return;
    }
    const pairs = typeof value === "object" ? Object.entries(value) : [["", value]];
    showTip(event, "", pairs.map(([name, each]) => ({name, value: shown(each)})));
  };

  const nearest = (cells, wanted) => {
    let low = 0;
    let high = cells.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (cells[middle] < wanted) low = middle;
      else high = middle;
    }
    return Math.abs(cells[low] - wanted) <= Math.abs(cells[high] - wanted) ? low : high;
  };

  // A rule at the pointer, and the value of every line there.
  const readLines = (box, view, chart) => {
    const [xName, yName] = chart.line;
    const lines = chart.series.map(({labels, columns, colour}) => {
      const shownX = columns[xName];
      const x = shownX.map((each) => (typeof each === "string" ? Date.parse(each) : each));
      return {name: labels.series, x, shownX, y: columns[yName], colour};
    }).filter((each) => each.x.length);
    const rule = add(box, "div", "rule");
    rule.hidden = true;
    const hide = () => { tip.hidden = rule.hidden = true; };
    const read = (event) => {
      const scale = view.scale("x");
      const drawing = box.querySelector("svg, canvas").getBoundingClientRect();
      const left = drawing.left + view.padding().left + view.origin()[0];
      const top = drawing.top + view.padding().top + view.origin()[1];
      const at = event.clientX - left;
      if (!lines.length || at < -4 || at > view.width() + 4) return hide();
      const wanted = Number(scale.invert(at));
      const found = lines.map((line) => ({line, at: nearest(line.x, wanted)}));
      const away = ({line, at: index}) => Math.abs(line.x[index] - wanted);
      const first = found.reduce((a, b) => (away(b) < away(a) ? b : a));
      const here = first.line.x[first.at];
      const told = found.filter(({line, at: index}) => line.y[index] !== null)
        .sort((a, b) => b.line.y[b.at] - a.line.y[a.at]);
      const texts = told.slice(0, TOLD).map(({line, at: index}) => ({
        name: line.name, colour: line.colour,
        value: shown(line.y[index]) + (line.x[index] === here ? "" : ` at ${shown(line.shownX[index])}`),
      }));
      if (told.length > TOLD) texts.push({name: `and ${told.length - TOLD} more`, value: ""});
      showTip(event, `${chart.x_title} ${shown(first.line.shownX[first.at])}`, texts);
      const outer = box.getBoundingClientRect();
      rule.style.left = `${left - outer.left + scale(here)}px`;
      rule.style.top = `${top - outer.top}px`;
      rule.style.height = `${view.height()}px`;
      rule.hidden = false;
      return undefined;
    };
    box.addEventListener("pointermove", read);
    box.addEventListener("pointerdown", read);
    box.addEventListener("pointerleave", hide);
  };

  const refuse = () => Promise.reject(new Error("a page loads nothing"));
  const quiet = {level: () => quiet, error: (...words) => { throw new Error(words.join(" ")); }};
  for (const name of ["warn", "info", "debug"]) quiet[name] = () => quiet;

  const boxOf = (chart) => document.querySelector(`.chart[data-chart="${chart.number}"]`);

  const draw = async (chart, config) => {
    const box = boxOf(chart);
    const rows = rowsOf(chart.series);
    const spec = filled(chart.template, rows);
    if (spec.title === chart.title) delete spec.title; // it stands above
    if (chart.ours && spec.facet) arrange(spec, chart.series.length, box.clientWidth);
    const legend = chart.ours ? {...config.legend, disable: true} : config.legend;
    const {spec: vega} = vml_vega.compile(spec, {config: {...config, aria: false, legend}, logger: quiet});
    const view = new vml_vega.View(vml_vega.parse(vega, null, {ast: true}), {
      bind: box.nextElementSibling,
      container: box,
      expr: vml_vega.expressionInterpreter,
      loader: {load: refuse, sanitize: refuse, http: refuse, file: refuse},
      logger: quiet,
      renderer: rows.length > MANY_POINTS && !chart.line ? "canvas" : "svg",
      tooltip,
    });
    await view.runAsync();
    if (chart.line) readLines(box, view, chart);
  };

  const complain = (box, error) => add(box, "p", "note bad", `This chart cannot be drawn: ${error.message}`);
  const whose = ({drawn_by: name, ours}, {message}) => new Error(
    ours ? message : `its template ${name} is no chart of Vega-Lite, version 5 or 6 (${message})`);

  const boxes = document.querySelectorAll(".chart");
  if (!("DecompressionStream" in window)) {
    for (const box of boxes) complain(box, new Error("this browser is too old."));
    return;
  }
  const library = document.createElement("script");
  library.textContent = await unpack("vega");
  document.head.append(library);
  const {config, charts} = JSON.parse(await unpack("charts"));
  for (const chart of charts) {
    for (const each of chart.series) {
      for (const name of Object.keys(each.columns)) each.columns[name] = cellsOf(each.columns[name]);
    }
    try {
      await draw(chart, config);
    } catch (error) {
      complain(boxOf(chart), whose(chart, error));
    }
    await new Promise((resume) => { setTimeout(resume); }); // the page stays usable meanwhile
  }
  document.documentElement.dataset.charts = "drawn";
})();
