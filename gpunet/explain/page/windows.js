"use strict";

/* The operations that slide a window over an image: convolution and the three poolings. */

/** The size of the output as a formula with its numbers: one line if rows and columns are alike, else two. */
function sizeFormulas(window, size, isDilated) {
  const line = (names, axis) => {
    const { kernel, stride, padding, dilation } = window, letter = axis ? "W" : "H";
    const [K, S, P, D] = [kernel, stride, padding, dilation].map((each) => each[axis]);
    const [reach, numbers] = isDilated ? ["D(K − 1) − 1", `${D}·(${K} − 1) − 1`] : ["K", `${K}`];
    const general = fraction(`${letter} + 2P − ${reach}`, "S");
    const particular = fraction(`${size[axis]} + 2·${P} − ${numbers}`, S);
    return formula`${names} = ⌊${general}⌋ + 1 ${BREAK} = ⌊${particular}⌋ + 1 = ${outputSize(window, size)[axis]}`;
  };
  const isSquare = [size, ...Object.values(window)].every(([rows, columns]) => rows === columns);
  return isSquare ? [line("H′ = W′", 0)] : [line("H′", 0), line("W′", 1)];
}

class WindowLesson extends Lesson {
  grids = { ...IMAGE_GRIDS };
  editable = { input: "number", gradient: "number" };
  columns = [["input", "input_gradient"], ["output", "gradient"]];
  signs = ["→"];
  views = [{ name: "forward", grid: "output" }, { name: "input", grid: "input_gradient", of: "input" }];
  isDilated = true;
  looksAtPixels = true; // a window that sees nothing but padding has no largest pixel, and no mean
  paddingText = "0";

  fields() {
    return [...imageFields(), ...this.windowFields()];
  }

  windowFields() {
    const most = page.limits.pixels;
    return [
      { name: "kernel", symbol: "K", low: 1, high: most },
      { name: "stride", symbol: "S", low: 1, high: most },
      { name: "padding", symbol: "P", low: 0, high: most / 2 },
      ...(this.isDilated ? [{ name: "dilation", symbol: "D", low: 1, high: most }] : []),
    ];
  }

  window({ settings: { kernel, stride, padding, dilation } }) {
    return { kernel, stride, padding, dilation };
  }

  /** How many planes the output has, and their size. */
  outputShape(state) {
    return { count: state.settings.channels, size: outputSize(this.window(state), imageSize(state)) };
  }

  fit(state) {
    const { grids, settings } = state;
    grids.input = resized(grids.input, settings.channels, imageSize(state), () => randomWhole(0, 3));
    if (this.problem(state)) return;
    const { count, size } = this.outputShape(state);
    grids.gradient = resized(grids.gradient, count, size, () => 1);
  }

  problem(state) {
    const window = this.window(state), size = imageSize(state);
    const problems = [0, 1].flatMap((axis) => {
      const key = this.#problemAlong(axis, window, size);
      const padding = window.padding[axis], padded = size[axis] + 2 * padding;
      return key ? [{ key, values: {
        axis: word(axis ? "width" : "height"), size: size[axis], padding, padded, reach: extent(window, axis),
        kernel: window.kernel[axis], dilation: window.dilation[axis], count: outputSize(window, size)[axis],
        most: key === "problem_padded" ? page.limits.padded : page.limits.pixels,
      } }] : [];
    });
    return problems[0] ?? null;
  }

  #problemAlong(axis, window, size) {
    const padded = size[axis] + 2 * window.padding[axis], reach = extent(window, axis);
    if (this.looksAtPixels && 2 * window.padding[axis] > reach) return "problem_half";
    if (reach > padded) return "problem_window";
    if (padded > page.limits.padded) return "problem_padded";
    if (this.looksAtPixels && !windowsSeePixels(window, size, axis)) return "problem_blind";
    return outputSize(window, size)[axis] > page.limits.pixels ? "problem_output" : null;
  }

  look(name, { settings }) {
    const planeNames = channelNames(settings.channels);
    return name === "input" ? { planeNames, frame: settings.padding, frameText: this.paddingText } : { planeNames };
  }

  formulas(state, _result, view, [, k, l]) {
    const sizes = sizeFormulas(this.window(state), imageSize(state), this.isDilated);
    if (view.name !== "forward") return sizes;
    const { stride: [sh, sw], padding: [ph, pw] } = state.settings;
    const row = [sub("r", "0"), ` = S·k − P = ${sh}·${k} − ${ph} = ${show(sh * k - ph)}`];
    const column = [sub("c", "0"), ` = S·l − P = ${sw}·${l} − ${pw} = ${show(sw * l - pw)}`];
    return [...sizes, formula`${row}${GAP}${column}`, remark("window_begins")];
  }

  shuffle({ grids }) {
    grids.input = mapped(grids.input, () => randomWhole(0, 5));
    grids.gradient = mapped(grids.gradient, () => randomWhole(-2, 2));
  }
}

/* ------------------------------------------------------------------------------------------------ convolution */

class Conv2d extends WindowLesson {
  looksAtPixels = false;

  constructor() {
    super();
    this.grids.weight = { symbol: "F", hue: "two" };
    this.grids.weight_gradient = { symbol: "∂L/∂F", hue: "two" };
    this.editable.weight = "number";
    this.columns.splice(1, 0, ["weight", "weight_gradient"]);
    this.signs = ["∗", "="];
    this.views.push({ name: "weight", grid: "weight_gradient", of: "weight" });
  }

  fields() {
    const filters = { name: "filters", symbol: "O", low: 1, high: page.limits.channels };
    return [...imageFields(), filters, ...this.windowFields()];
  }

  outputShape(state) {
    return { ...super.outputShape(state), count: state.settings.filters };
  }

  /** The planes of the weight are those of all channels of the first filter, then of the second, and so on. */
  fit(state) {
    super.fit(state);
    const { channels, filters, kernel } = state.settings, { weight } = state.grids;
    const before = state.weightChannels ?? channels;
    const plane = (o, c) => (c < before ? weight[o * before + c] : null);
    const planes = range(filters).flatMap((o) => range(channels).map((c) => plane(o, c)));
    state.grids.weight = resized(planes, planes.length, kernel, () => randomWhole(-1, 2));
    state.weightChannels = channels;
  }

  /** The filters as a list of images. */
  filters({ grids, settings: { channels, filters } }) {
    return range(filters).map((o) => grids.weight.slice(o * channels, (o + 1) * channels));
  }

  compute(state) {
    const { input, gradient } = state.grids, window = this.window(state), filters = this.filters(state);
    return {
      output: conv(input, filters, window),
      input_gradient: convInputGradient(input, filters, gradient, window),
      weight_gradient: convFilterGradient(input, filters, gradient, window).flat(),
    };
  }

  look(name, state) {
    const { channels, filters } = state.settings;
    if (name === "output" || name === "gradient") return { planeNames: channelNames(filters) };
    if (name === "input" || name === "input_gradient") return super.look(name, state);
    const names = range(filters).flatMap((o) => range(channels).map((c) => word("filter_channel", { o, c })));
    return names.length > 1 ? { down: channels, counts: [filters, channels], planeNames: names } : {};
  }

  spell(state, result, view, place) {
    const spell = { forward: this.spellOutput, input: this.spellPixel, weight: this.spellWeight }[view.name];
    return spell.call(this, state, place);
  }

  spellOutput(state, place) {
    const { input } = state.grids, { channels, filters } = state.settings;
    const terms = convTerms(input, this.filters(state), this.window(state), place);
    const name = `O${index(range(filters), place)}`;
    const sum = spelledSum(name, terms, ({ value, factor }) => [one(value), "·", two(factor)], sumOfProducts(terms));
    const touched = terms.flatMap(({ c, row, column, i, j, factor }) => [
      { grid: "input", place: [c, row, column], note: `×${show(factor)}` },
      { grid: "weight", place: [place[0] * channels + c, i, j] },
    ]);
    return { sum, touched };
  }

  spellPixel(state, place) {
    const { input, gradient } = state.grids, { channels } = state.settings;
    const terms = convInputTerms(gradient, this.filters(state), this.window(state), imageSize(state), place);
    const name = `∂L/∂I${index(input, place)}`;
    const write = ({ value, factor }) => [three(value), "·", two(factor)];
    const sum = spelledSum(name, terms, write, sumOfProducts(terms), { nothing: "feeds_nothing" });
    const touched = terms.flatMap(({ o, k, l, i, j, factor }) => [
      { grid: "gradient", place: [o, k, l], note: `×${show(factor)}` },
      { grid: "output", place: [o, k, l] },
      { grid: "weight", place: [o * channels + place[0], i, j] },
    ]);
    return { sum, touched: [...touched, { grid: "input", place }] };
  }

  spellWeight(state, place) {
    const { input, gradient, weight } = state.grids, { channels } = state.settings;
    const [p, i, j] = place, [o, c] = [Math.floor(p / channels), p % channels];
    const terms = convFilterTerms(input, gradient, this.window(state), [o, c, i, j]);
    const name = `∂L/∂F[${[...(weight.length > 1 ? [o, c] : []), i, j].join(",")}]`;
    const sum = spelledSum(name, terms, ({ value, factor }) => [three(value), "·", one(factor)], sumOfProducts(terms));
    const touched = terms.flatMap(({ k, l, row, column, value }) => [
      { grid: "gradient", place: [o, k, l] },
      { grid: "input", place: [c, row, column], note: `×${show(value)}` },
    ]);
    return { sum, touched: [...touched, { grid: "weight", place }] };
  }

  general(view) {
    const seen = sub("I′", "c, S·k+D·i−P, S·l+D·j−P"), upstream = partial("L", sub("O", "o,k,l"));
    if (view.name === "forward") {
      return formula`${sub("O", "o,k,l")} = ${sumOver("c,i,j")} ${seen} ${BREAK} · ${sub("F", "o,c,i,j")}`;
    }
    if (view.name === "weight") {
      return formula`${partial("L", sub("F", "o,c,i,j"))} = ${sumOver("k,l")} ${upstream} ${BREAK} · ${seen}`;
    }
    const filter = sub("F", "o, c, (r−S·k+P)/D, (s−S·l+P)/D");
    return formula`${partial("L", sub("I", "c,r,s"))} = ${sumOver("o,k,l")} ${upstream} ${BREAK} · ${filter}`;
  }

  shuffle(state) {
    super.shuffle(state);
    state.grids.weight = mapped(state.grids.weight, () => randomWhole(-2, 2));
  }

  buildMore() {
    this.im2col = new Im2col();
  }

  drawMore(state, { output }, view, place) {
    const { input, gradient } = state.grids;
    this.im2col.update(input, this.filters(state), this.window(state), { output, gradient }, view, place);
  }
}

/* ---------------------------------------------------------------------------------------------------- pooling */

/** A share as people write it: 0, 1 or 1/4. */
function asShare(share) {
  return share === 0 || share === 1 ? String(share) : `1/${Math.round(1 / share)}`;
}

/** A pooling is told by shares(state): what of each cell of its window goes into an output. */
class Pool extends WindowLesson {
  compute(state) {
    const { input, gradient } = state.grids, shares = this.shares(state);
    return {
      output: pool(input, this.outputShape(state).size, shares),
      input_gradient: poolInputGradient(input, gradient, shares),
    };
  }

  spell(state, result, view, place) {
    return view.name === "forward" ? this.spellOutput(state, result, place) : this.spellPixel(state, place);
  }

  spellOutput(state, { output }, place) {
    const [c, k, l] = place, cells = this.shares(state)(state.grids.input[c], [k, l]);
    const touched = cells.map((cell) => ({ grid: "input", place: [c, cell.row, cell.column], note: this.note(cell) }));
    return { sum: this.spellCells(`O${index(output, place)}`, cells, at(output, place)), touched };
  }

  spellPixel(state, place) {
    const { input, gradient } = state.grids, [c, row, column] = place;
    const terms = poolInputTerms(input[c], gradient[c], this.shares(state), row, column);
    const name = `∂L/∂I${index(input, place)}`;
    const write = ({ value, factor }) => [three(value), "·", coloured(asShare(factor), "one")];
    const sum = spelledSum(name, terms, write, sumOfProducts(terms), { nothing: "in_no_window" });
    const touched = terms.flatMap(({ k, l, factor }) => [
      { grid: "gradient", place: [c, k, l], note: `×${asShare(factor)}` }, { grid: "output", place: [c, k, l] }]);
    return { sum, touched: [...touched, { grid: "input", place }] };
  }

  note(cell) {
    return `×${asShare(cell.share)}`;
  }

  /** The mean: (a + b + ...) / divisor. */
  spellCells(name, cells, result) {
    const divisor = Math.round(1 / cells[0].share);
    return spelledSum(name, cells, ({ value }) => [one(value)], result, { before: "(", after: `) / ${divisor}` });
  }

  general(view) {
    if (view.name === "forward") return this.generalOutput();
    const [pixel, output] = [() => sub("I", "c,r,s"), () => sub("O", "c,k,l")];
    const upstream = partial("L", output());
    return formula`${partial("L", pixel())} = ${sumOver("k,l")} ${upstream} · ${partial(output(), pixel())}`;
  }
}

class MaxPool2d extends Pool {
  paddingText = "−∞";

  shares(state) {
    const window = this.window(state);
    return (plane, position) => maxShares(plane, window, position);
  }

  note(cell) {
    return cell.share ? "max" : "";
  }

  spellCells(name, cells, result) {
    const write = ({ value, share }) => [make(share ? "b" : "span", { class: "hue-one" }, show(value))];
    return spelledSum(name, cells, write, result, { before: "max{", after: "}", separator: ", " });
  }

  generalOutput() {
    return formula`${sub("O", "c,k,l")} = ${below("max", "i,j")} ${sub("I", "c, S·k+D·i−P, S·l+D·j−P")}`;
  }
}

class AvgPool2d extends Pool {
  isDilated = false;

  fields() {
    return [...super.fields(), { name: "count_padding", switch: true }];
  }

  shares(state) {
    const window = this.window(state), { count_padding: countPadding } = state.settings;
    return (plane, position) => averageShares(plane, window, position, countPadding);
  }

  generalOutput() {
    const mean = [fraction("1", power("K", "2")), sumOver("i,j")];
    return formula`${sub("O", "c,k,l")} = ${mean} ${sub("I′", "c, S·k+i−P, S·l+j−P")}`;
  }
}

class AdaptiveAvgPool2d extends Pool {
  fields() {
    return [...imageFields(), { name: "output_size", symbol: "k", low: 1, high: page.limits.pixels }];
  }

  outputShape({ settings }) {
    return { count: settings.channels, size: settings.output_size };
  }

  problem() {
    return null;
  }

  look(_name, { settings }) {
    return { planeNames: channelNames(settings.channels) };
  }

  shares({ settings }) {
    return (plane, position) => adaptiveShares(plane, settings.output_size, position);
  }

  generalOutput() {
    const [rows, columns] = ["p", "q"].map((name) => () => [sub(name, "f"), " − ", sub(name, "0")]);
    const cells = mathRow(sub("p", "0"), "≤ a <", sub("p", "f"), ", ", sub("q", "0"), "≤ b <", sub("q", "f"));
    const area = mathRow("(", ...rows(), ")·(", ...columns(), ")");
    return formula`${sub("O", "c,i,j")} = ${fraction("1", area)} ${BREAK} ${sumOver(cells)} ${sub("I", "c,a,b")}`;
  }

  /** Where the window of the chosen output begins and ends, as in the lecture. */
  formulas(state, _result, view, [, ...position]) {
    const size = imageSize(state), cells = state.settings.output_size;
    const outputs = formula`H′ × W′ = ${cells[0]} × ${cells[1]}`;
    if (view.name !== "forward") return [outputs];
    const spans = [0, 1].map((axis) => adaptiveSpan(position[axis], size[axis], cells[axis]));
    const line = (name, i, letter, axis) => {
      const [at, length, count, { begin, end }] = [position[axis], size[axis], cells[axis], spans[axis]];
      const first = [fraction(`${i}·${letter}`, "k"), fraction(`${at}·${length}`, count)];
      const last = [fraction(`(${i} + 1)·${letter}`, "k"), fraction(`(${at} + 1)·${length}`, count)];
      return formula`${sub(name, "0")} = ⌊${first[0]}⌋ = ⌊${first[1]}⌋ = ${begin} ${GAP}
        ${sub(name, "f")} = ⌈${last[0]}⌉ = ⌈${last[1]}⌉ = ${end}`;
    };
    const [rows, columns] = spans.map(({ begin, end }) => `${begin} … ${end - 1}`);
    return [outputs, line("p", "i", "H", 0), line("q", "j", "W", 1), remark("span_ends", { rows, columns })];
  }
}

const LESSONS = {
  conv2d: Conv2d, max_pool2d: MaxPool2d, avg_pool2d: AvgPool2d, adaptive_avg_pool2d: AdaptiveAvgPool2d,
};
