"use strict";

/* Charts: bars, curves with points on them, and number lines. Each function returns the marks of an SVG. */

const WIDTH = 420;
const AREA = { left: 54, right: 404, top: 16, bottom: 186 };

/** The picture of a page: bars, curves or number lines, of what its data say. */
function drawPicture(program, state, values, view, place) {
  const { picture } = program, row = (name) => values[name][0][0];
  let height = 224, marks;
  if (picture.kind === "bars") {
    marks = bars(picture.series.map(([hue, name]) => ({ hue, values: row(name) })), place[2]);
  } else if (picture.kind === "lines") {
    const plane = Math.min(place[0], values[picture.series[0][1]].length - 1);
    const lines = picture.series.map(([hue, name]) =>
      ({ name: program.symbol(name), hue, values: values[name][plane].flat() }));
    const [, rows, columns] = shapeOf(values[view]);
    [height, marks] = [166, numberLines(lines, rows * columns > 1 ? place[1] * columns + place[2] : null)];
  } else {
    marks = curve(...curveOf(program, state, values, place));
  }
  const label = program.texts.picture;
  const drawn = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, ...marks);
  part("picture").replaceChildren(drawn, make("p", { class: "soft" }, label));
}

/** What `curve` draws: how y follows from x, with the numbers of the page as points. */
function curveOf(program, state, values, place) {
  const { x, y, hue, curves, least, top, domain } = program.picture;
  const numbers = values[x].flat(2), heights = values[y].flat(2);
  const reach = Math.max(least, ...numbers.map((number) => Math.abs(number)));
  const [low, high] = domain ?? [-reach, reach];
  const chosen = placesOf(values[x]).findIndex((each) => samePlace(each, place));
  const points = numbers.map((number, each) => ({ x: number, y: heights[each], hue, picked: each === chosen }));
  const drawn = curves.map(([own, fixed]) => ({
    hue: own,
    of: (number) => {
      const others = Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, [[[value]]]]));
      return program.valueOf(y, state, { ...others, [x]: [[[number]]] });
    },
  }));
  const highest = top === 1 ? 1 : 2 * Math.ceil(Math.max(top ?? least, ...heights) / 2);
  return [drawn, points, { low, high, top: highest, name: program.symbol(x) }];
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

/** Bars side by side for each class: `series` are {hue, values}; of negative ones the size. */
function bars(series, chosen) {
  const count = series[0].values.length, room = (AREA.right - AREA.left) / count;
  const width = Math.min(0.8 * room / series.length, 44);
  const sizes = series.flatMap(({ values }) => values.map(Math.abs)), [y, axis] = verticalAxis(Math.max(1, ...sizes));
  const middle = (place) => AREA.left + room * (place + 0.5);
  const bar = (hue, order, value, place) => draw("rect", {
    class: `bar fill-${hue}${place === chosen ? " picked" : ""}`, rx: 2, width, y: y(Math.abs(value)),
    height: AREA.bottom - y(Math.abs(value)), x: middle(place) + width * (order - series.length / 2),
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
    const y = 28 + 46 * order, mean = total(own) / own.length;
    const deviation = Math.sqrt(total(own.map((value) => (value - mean) ** 2)) / own.length);
    const band = { x: x(mean - deviation), width: x(mean + deviation) - x(mean - deviation) };
    return [
      draw("rect", { class: `band fill-${hue}`, ...band, y: y - 12, height: 24, rx: 4 }),
      draw("line", { class: "axis", x1: AREA.left, x2: AREA.right, y1: y, y2: y }),
      draw("line", { class: `mean line-${hue}`, x1: x(mean), x2: x(mean), y1: y - 12, y2: y + 12 }),
      text(name, AREA.left - 12, y + 4, "end"),
      ...own.map((value, place) => dot(x(value), y, hue, place === chosen)),
    ];
  });
  return [...marks, ...[low, 0, high].map((value) => text(show(value), x(value), 158, "middle"))];
}
