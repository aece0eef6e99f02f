"use strict";

/* Charts: bars, curves with points on them, and number lines. Each function returns the marks of an SVG. */

const WIDTH = 420;
const AREA = { left: 44, right: 404, top: 16, bottom: 186 };

/** Put a chart into the page, with a text that says what it shows. */
function drawChart(label, height, marks) {
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, ...marks);
  part("picture").replaceChildren(picture, make("p", { class: "soft" }, label));
}

const text = (content, x, y, anchor) => draw("text", { class: `label ${anchor}`, x, y }, content);

/** Where a value stands on the vertical axis, and the lines and numbers of that axis. */
function verticalAxis(top) {
  const y = (value) => AREA.bottom - value / top * (AREA.bottom - AREA.top);
  const marks = [0, top / 2, top].flatMap((value) => [
    draw("line", { class: "grid-line", x1: AREA.left, x2: AREA.right, y1: y(value), y2: y(value) }),
    text(show(value), AREA.left - 6, y(value) + 4, "end")]);
  return [y, marks];
}

/** Bars side by side for each class: `series` are {hue, values}. */
function bars(series, chosen) {
  const count = series[0].values.length, room = (AREA.right - AREA.left) / count;
  const width = Math.min(0.8 * room / series.length, 44);
  const [y, axis] = verticalAxis(Math.max(1, ...series.flatMap(({ values }) => values)));
  const middle = (place) => AREA.left + room * (place + 0.5);
  const bar = (hue, order, value, place) => draw("rect", {
    class: `bar fill-${hue}${place === chosen ? " picked" : ""}`, rx: 2, width, height: AREA.bottom - y(value),
    x: middle(place) + width * (order - series.length / 2), y: y(value),
  });
  return [
    ...axis,
    ...series.flatMap(({ hue, values }, order) => values.map((value, place) => bar(hue, order, value, place))),
    ...range(count).map((place) => text(String(place), middle(place), AREA.bottom + 18, "middle")),
  ];
}

/** Curves over [low, high], as far as they lie below the top, where they leave the picture as they do.

    curves: {hue, of}, where `of` crosses the top at most once; points: {x, y, hue, picked}, on the curves. */
function curve(curves, points, { low, high, top, name }) {
  const [y, axis] = verticalAxis(top);
  const x = (value) => AREA.left + (value - low) / (high - low) * (AREA.right - AREA.left);
  // Closer together towards the ends, where logarithms are steep.
  const steps = range(121).map((step) => low + (high - low) * (1 - Math.cos(Math.PI * step / 120)) / 2);
  const path = (of) => {
    const inside = steps.filter((value) => of(value) <= top);
    const ends = [lastBelow(of, top, inside[0], low), lastBelow(of, top, inside.at(-1), high)];
    const places = [ends[0], ...inside, ends[1]];
    return `M${places.map((value) => `${x(value).toFixed(2)} ${y(of(value)).toFixed(2)}`).join("L")}`;
  };
  return [
    ...axis,
    ...[low, (low + high) / 2, high].map((value) => text(show(value), x(value), AREA.bottom + 18, "middle")),
    text(name, (AREA.left + AREA.right) / 2, AREA.bottom + 32, "middle"),
    ...curves.map(({ hue, of }) => draw("path", { class: `curve line-${hue}`, d: path(of) })),
    ...points.map((point) => dot(x(point.x), y(point.y), point.hue, point.picked)),
  ];
}

/** How far it is from `inside` towards `end` until a curve reaches the top, by halving. */
function lastBelow(of, top, inside, end) {
  if (of(end) <= top) return end;
  for (let round = 0; round < 50; round++) {
    const middle = (inside + end) / 2;
    if (of(middle) <= top) inside = middle;
    else end = middle;
  }
  return inside;
}

function dot(x, y, hue, picked) {
  return draw("circle", { class: `dot fill-${hue}${picked ? " picked" : ""}`, cx: x, cy: y, r: picked ? 7 : 4 });
}

/** A number line for each of {name, hue, values}: the values as dots, their mean, one standard deviation around it. */
function numberLines(lines, chosen) {
  const values = lines.flatMap((line) => line.values);
  const [low, high] = [Math.min(...values, -1), Math.max(...values, 1)];
  const x = (value) => AREA.left + (value - low) / (high - low) * (AREA.right - AREA.left);
  const marks = lines.flatMap(({ name, hue, values: own }, order) => {
    const y = 28 + 46 * order, { mean, variance } = batchNorm(own, 1, 0, 0), deviation = Math.sqrt(variance);
    const band = { x: x(mean - deviation), width: x(mean + deviation) - x(mean - deviation) };
    return [
      draw("rect", { class: `band fill-${hue}`, ...band, y: y - 12, height: 24, rx: 4 }),
      draw("line", { class: "axis", x1: AREA.left, x2: AREA.right, y1: y, y2: y }),
      draw("line", { class: `mean line-${hue}`, x1: x(mean), x2: x(mean), y1: y - 12, y2: y + 12 }),
      text(name, AREA.left - 12, y + 4, "end"),
      ...own.map((value, place) => dot(x(value), y, hue, place === chosen)),
    ];
  });
  return [...marks, ...[low, 0, high].map((value) => text(show(value, 3), x(value), 158, "middle"))];
}
