// Draws components/_chart.html with uPlot; sizes are the box's, colours the page's, so nothing moves when it appears.
"use strict";

(() => {
  const plots = new Map();

  const colour = (name) => {
    // A token may be a pair of light and dark: the browser tells which.
    const probe = document.createElement("span");
    probe.hidden = true;
    probe.className = "probe";
    document.body.append(probe);
    probe.style.setProperty("color", `var(${name})`);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  const written = (unit) => (value) => {
    if (value == null) return "—";
    if (unit === "usd") return `$${value.toLocaleString("en", { maximumFractionDigits: 6 })}`;
    if (unit === "percent") return `${value.toLocaleString("en", { maximumFractionDigits: 2 })} %`;
    if (unit === "ms") return `${Math.round(value).toLocaleString("en")} ms`;
    return value.toLocaleString("en", { maximumFractionDigits: unit === "credits" ? 6 : 0 });
  };

  // "25 Oct", and within a day "14:00", as everywhere on the pages.
  const dates = uPlot.fmtDate("{D} {MMM}");
  const hours = uPlot.fmtDate("{HH}:{mm}");
  const clock = (seconds) => {
    const at = new Date(seconds * 1e3);
    return document.documentElement.dataset.clock === "local" ? at : uPlot.tzDate(at, "Etc/UTC");
  };
  const tick = (seconds, step) => {
    const at = clock(seconds);
    return (step >= 86400 || at.getHours() + at.getMinutes() === 0 ? dates : hours)(at);
  };
  const instant = (seconds, isHourly) => {
    const at = clock(seconds);
    return isHourly ? `${dates(at)} ${hours(at)}` : dates(at);
  };

  const stacked = (data) => {
    const sums = data[0].map(() => 0);
    return [data[0], ...data.slice(1).map((values) => values.map((value, place) => (sums[place] += value ?? 0)))];
  };

  function draw(box) {
    const told = JSON.parse(document.getElementById(box.dataset.chart).textContent);
    const say = written(told.unit);
    const isStacked = told.stacked && told.data.length > 2;
    const shown = isStacked ? stacked(told.data) : told.data;
    const axis = { stroke: colour("--ink-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.72, 48] });
    const order = told.titles.map((_, place) => place + 1);
    if (isStacked) order.reverse();
    const series = order.map((place) => ({
      label: told.titles[place - 1],
      stroke: colour(`--series-${((place - 1) % 6) + 1}`),
      fill: told.stacked ? colour(`--series-${((place - 1) % 6) + 1}`) : undefined,
      width: told.stacked ? 0 : 1.75,
      points: { show: false },
      paths: told.stacked ? bars : undefined,
      value: (_, __, ___, at) => (at == null ? "" : say(told.data[place][at])),
    }));
    plots.get(box)?.destroy();
    const plot = new uPlot(
      {
        width: box.clientWidth,
        height: box.clientHeight - 32,
        tzDate: clock,
        series: [{ label: told.hourly ? "Hour" : "Day", value: (_, at) => (at == null ? "" : instant(at, told.hourly)) }, ...series],
        axes: [{ ...axis, grid: { show: false }, values: (_, ticks, __, ___, step) => ticks.map((at) => tick(at, step)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(say) }],
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
        cursor: { y: false, points: { show: !told.stacked } },
      },
      [shown[0], ...order.map((place) => shown[place])],
      box,
    );
    // However many lines its legend takes, all of it fits in the box.
    plot.setSize({ width: box.clientWidth, height: box.clientHeight - plot.root.querySelector(".u-legend").offsetHeight - 8 });
    plots.set(box, plot);
  }

  const all = () => document.querySelectorAll("[data-chart]").forEach(draw);
  document.addEventListener("DOMContentLoaded", all);
  document.addEventListener("htmx:after:swap", all);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(all, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
