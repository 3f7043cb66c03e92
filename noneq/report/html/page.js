"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // texts and lines in the colours of the page, which change with the theme
  const themed = (layout) => {
    const ink = colour("--ink"), line = colour("--line");
    const own = {
      ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { ...layout.font, color: ink },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: ink },
      hoverlabel: { bgcolor: colour("--panel"), font: { color: ink }, bordercolor: line },
    };
    for (const key of Object.keys(own).filter((key) => /^[xy]axis\d*$/.test(key))) {
      own[key] = { ...own[key], gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
    }
    for (const shape of own.shapes || []) shape.line = { ...shape.line, color: colour("--quiet") };
    return own;
  };
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const plots = [];
  const draw = (place, figure) => {
    const known = plots.find((one) => one.place === place);
    if (known) known.figure = figure; else plots.push({ place, figure });
    return Plotly.react(place, figure.data, themed(figure.layout), config);
  };

  const BLUE = "#3b82c4", ORANGE = "#d9722b";
  const limits = (columns) => {
    // without the outermost thousandth of either side
    const known = columns.flat().filter(Number.isFinite).sort((a, b) => a - b);
    const cut = Math.floor(known.length / 1000);
    const low = known[cut], high = known[known.length - 1 - cut], room = 0.04 * (high - low || 1);
    return [low - room, high + room];
  };
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  // texts are spread to the left of their tick for data, and to the right for the model
  const spread = (rows, k, x, side, step) =>
    rows.texts[k] ? x.map((v, n) => v + 0.04 * side + 0.36 * side * ((n * step) % 1)) : x;
  const pairFigure = (rows, i, j) => {
    const axis = (k, title) => ({
      title: { text: title }, range: rows.texts[k] ? [-0.6, rows.texts[k].length - 0.4] : limits([rows.data[k], rows.samples[k]]), automargin: true,
      ...(rows.texts[k] ? { tickvals: rows.texts[k].map((_, n) => n), ticktext: rows.texts[k].map(escaped) } : {}),
    });
    const sides = [["data", rows.data, BLUE], ["samples of the model", rows.samples, ORANGE]];
    const layout = {
      margin: { l: 60, r: 10, t: 10, b: 50 }, legend: { orientation: "h", y: 1.12 }, barmode: "overlay",
    };
    const names = rows.names.map(escaped);
    if (i === j) {
      return {
        data: sides.map(([name, x, color]) => ({
          type: "histogram", x: x[i], name, marker: { color }, opacity: 0.6,
          histnorm: rows.texts[i] ? "probability" : "probability density",
        })),
        layout: { ...layout, xaxis: axis(i, names[i]), yaxis: { title: { text: "density" }, automargin: true } },
      };
    }
    return {
      data: sides.map(([name, x, color], n) => ({
        type: "scatter", mode: "markers", name,
        x: spread(rows, i, x[i], 2 * n - 1, 0.7549), y: spread(rows, j, x[j], 2 * n - 1, 0.5698), marker: { color, size: 4, opacity: 0.5 },
      })),
      layout: { ...layout, xaxis: axis(i, names[i]), yaxis: axis(j, names[j]) },
    };
  };

  for (const figure of document.querySelectorAll("figure.wide")) {
    const place = figure.querySelector(".plot");
    const content = JSON.parse(figure.querySelector("script").textContent);
    if (!figure.classList.contains("pairs")) {
      draw(place, content);
      continue;
    }
    const [across, up] = figure.querySelectorAll("select");
    for (const select of [across, up]) content.names.forEach((name, k) => select.add(new Option(name, k)));
    up.selectedIndex = content.names.length > 1 ? 1 : 0;
    const show = () => draw(place, pairFigure(content, across.selectedIndex, up.selectedIndex));
    across.addEventListener("change", show);
    up.addEventListener("change", show);
    show();
  }
  // tables that are wider than the page say so
  const hint = () => {
    for (const table of document.querySelectorAll(".tabular")) {
      const place = table.querySelector(".scroll");
      table.querySelector(".hint").hidden = place.scrollWidth <= place.clientWidth + 1;
    }
  };
  addEventListener("resize", hint);
  hint();
  dark.addEventListener("change", () => plots.forEach(({ place, figure }) => draw(place, figure)));
  document.body.dataset.drawn = plots.length;
})();
