"use strict";

/* What a page can be asked about its operation. All of it follows from the data of the page: what is given, the
   formulas of the steps, and which grids stand where.

   The state is {grids: {name: planes}, settings: {name: number or [rows, columns]}}. */

/* The settings; {limit} is one of page.limits. */
const FIELDS = {
  height: { symbol: "H", low: 1, limit: "pixels" }, width: { symbol: "W", low: 1, limit: "pixels" },
  channels: { symbol: "C", low: 1, limit: "channels" }, filters: { symbol: "O", low: 1, limit: "channels" },
  kernel: { symbol: "K", low: 1, limit: "pixels" }, stride: { symbol: "S", low: 1, limit: "pixels" },
  padding: { symbol: "P", low: 0, high: 6 }, dilation: { symbol: "D", low: 1, limit: "pixels" },
  output_size: { symbol: "k", low: 1, limit: "pixels" }, count: { symbol: "K", low: 1, limit: "numbers" },
  outputs: { symbol: "O", low: 1, limit: "numbers" }, layers: { symbol: "n", low: 1, limit: "numbers" },
  p: { symbol: "p", low: 0, high: 1, step: 0.1, decimal: true },
  eps: { symbol: "ε", low: 0, limit: "largest", step: 0.5, decimal: true, rule: "positive" },
  label: { low: 0, limit: "numbers" }, count_padding: { switch: true },
};

const picked = ([low, high, step]) => Number((low + step * randomWhole(0, Math.round((high - low) / step))).toFixed(6));

class Program {
  constructor(data) {
    const { problem, ...others } = data;
    Object.assign(this, others, { noGo: problem });
    this.trees = Object.fromEntries(data.steps.map(({ name, tree }) => [name, tree]));
    this.named = { ...data.grids, ...Object.fromEntries(data.steps.map((step) => [step.name, step])) };
    this.main = this.trees.output;
    this.isWindowed = WINDOWED.includes(this.main[0]);
  }

  /** The symbol of a grid: a gradient is a derivative. */
  symbol(name) {
    return this.named[name].symbol.replace(/^d(?=.)/, "∂L/∂");
  }

  isBackward(name) {
    return this.named[name].backward ?? false;
  }

  fieldsOf() {
    return this.fields.map((name) => ({ name, high: page.limits[FIELDS[name].limit], ...FIELDS[name] }));
  }

  /* ------------------------------------------------------------------------------------------------- numbers */

  /** Make the grids as large as the settings say; what was there stays. The gradient follows the output. */
  fit(state) {
    const { grids, settings } = state;
    if (!this.fields.includes("filters")) settings.filters = settings.channels;
    this.#fitTarget(state);
    for (const [name, { shape, random, fresh }] of Object.entries(this.grids)) {
      if (typeof shape === "string") continue;
      const sizes = shape.flatMap((each) => settings[each] ?? each), counts = sizes.slice(0, -2);
      grids[name] = resized(grids[name], state.counts?.[name] ?? counts, counts, sizes.slice(-2), () =>
        fresh ?? picked(random));
      (state.counts ??= {})[name] = counts;
    }
    if (!this.grids.gradient || this.problem(state)) return;
    const output = this.#run(state, false).output, [count, ...size] = shapeOf(output);
    grids.gradient = resized(grids.gradient, [grids.gradient.length], [count], size, () => this.grids.gradient.fresh);
  }

  /** Another label makes the target one-hot; otherwise the label is where the target is largest. */
  #fitTarget(state) {
    if (!this.label) return;
    const { grids, settings } = state, isNew = settings.label !== (state.label ?? settings.label);
    const count = settings.count ?? grids[this.label][0][0].length;
    if (isNew && settings.label < count) grids[this.label] = oneHot(count, settings.label);
    const target = grids[this.label][0][0].slice(0, count);
    settings.label = target.indexOf(Math.max(...target));
    state.label = settings.label;
  }

  /** What is given and what follows from it; the numbers among the settings are names in formulas, too. */
  #run({ grids, settings }, isWhole = true) {
    const numbers = Object.entries(settings).filter(([, value]) => typeof value === "number");
    const given = { ...Object.fromEntries(numbers.map(([name, value]) => [name, [[[value]]]])), ...grids };
    return computeSteps(isWhole ? this.steps : this.steps.filter(({ backward }) => !backward), given, settings);
  }

  compute(state) {
    return this.#run(state);
  }

  /** The value of a step where some of the given numbers are others: what a curve is drawn of. */
  valueOf(name, state, others) {
    return at(this.#run({ ...state, grids: { ...state.grids, ...others } }, false)[name], [0, 0, 0]);
  }

  /** Why nothing can be computed: a text, or null. */
  problem(state) {
    if (state.settings.kernel) {
      const found = windowProblem(state.settings, [state.settings.height, state.settings.width], this.main[0]);
      if (found) return word(found.key, found.values);
    }
    const values = { ...state.grids };
    for (const [name, value] of Object.entries(state.settings)) values[name] = [[[value]]];
    const computed = this.noGo ? computeTree(this.noGo, values) : [];
    const place = placesOf(computed).find((each) => at(computed, each));
    return place ? this.texts.problem.replaceAll("{i}", place[2]) : null;
  }

  /** What the reader should know although it can be computed. */
  notices({ grids }) {
    return this.distributions.flatMap((name) => {
      const sum = total(grids[name][0][0]);
      return Math.abs(sum - 1) > 1e-6 ? [word("not_a_distribution", { name: this.symbol(name), sum: show(sum) })] : [];
    });
  }

  /** Other numbers in the grids that can be edited. */
  shuffle(state) {
    for (const [name, { random }] of Object.entries(this.grids)) {
      state.grids[name] = mapped(state.grids[name], () => picked(random));
    }
    if (this.label) state.grids[this.label] = oneHot(state.settings.count, randomWhole(0, state.settings.count - 1));
    else this.normalise(state);
  }

  normalise({ grids }) {
    for (const name of this.distributions) {
      const sum = total(grids[name][0][0]);
      if (sum > 0) grids[name] = mapped(grids[name], (number) => number / sum);
    }
  }

  /** A handwritten digit as the image, in all its channels; it is also what is right. */
  showDigit(state, digit) {
    Object.assign(state.settings, { height: 8, width: 8, ...(this.label ? { label: digit } : {}) });
    state.grids.input = state.grids.input.map(() => this.digits[digit]);
  }

  /** Further buttons: {name, act(state)}. */
  actions() {
    const drawn = Object.keys(this.grids).filter((name) => this.grids[name].rule === "draw");
    const draw = ({ grids }) => {
      for (const name of drawn) grids[name] = mapped(grids[name], () => picked(this.grids[name].random));
    };
    if (this.small) return []; // a network of weights that chance gives would know nothing
    return [
      { name: "random", act: (state) => this.shuffle(state) },
      ...(drawn.length ? [{ name: "draw", act: draw }] : []),
      ...(this.distributions.length ? [{ name: "normalise", act: (state) => this.normalise(state) }] : []),
    ];
  }

  /* ------------------------------------------------------------------------------------------------ how it looks */

  /** What stands over and beside the planes of a grid: indices as those of PyTorch's shape. */
  look(name, state) {
    const { settings } = state, planes = state.grids[name] ?? [];
    const channels = this.channelsOfFilters(name, state);
    const look = channels ? { channels, down: channels } : {};
    if (!settings.height) Object.assign(look, { rowNames: settings.outputs && /^weight/.test(name) ? null : [""] });
    if (this.isWindowed && name === "input" && settings.padding) {
      Object.assign(look, { frame: settings.padding, frameText: this.main[0] === "max_pool2d" ? "−∞" : "0" });
    }
    if (this.small && !channels && window.matchMedia("(max-width: 46rem)").matches) look.down = 2;
    return { ...look, shaded: Math.max(...planes.flat(2)) > 9 && planes[0]?.length === 8 };
  }

  /** How many channels the filters of a grid, or of a gradient, have; 0 where it holds no filters. */
  channelsOfFilters(name, { settings }) {
    const shape = this.grids[name.replace(/_gradient$/, "")]?.shape;
    if (!Array.isArray(shape)) return 0;
    return shape.length === 4 ? shape[1] : shape.includes("filters") ? settings.channels : 0;
  }

  /** The general formulas of the way forward or back. */
  general(view) {
    return this.texts[this.isBackward(view) ? "backward" : "formula"].split("\n").map(mathText);
  }

  /** The steps of a way with their numbers, for the chosen place, and what the size of the output follows from. */
  details(state, values, view, place) {
    const lines = this.isWindowed ? sizeLines(this.main[0], state, place, view) : [];
    const { remark, ...meanings } = this.texts;
    for (const { name, backward, tree } of this.steps) {
      if (backward !== this.isBackward(view) || name === view || isProduct(tree)) continue;
      if (this.small && shapeOf(values[name])[1] !== shapeOf(values[view])[1]) continue; // of another layer
      const where = shapeOf(values[name]).map((size, axis) => Math.min(place[axis] ?? 0, size - 1));
      const told = spellStep(this, state, values, name, where).sum;
      lines.push(make("p", { class: "step" }, ...told, make("small", { class: "soft" }, meanings[name] ?? "")));
    }
    return [...lines, ...(remark ? [make("p", { class: "soft" }, remark)] : [])];
  }

  showPicture(state, values, view, place) {
    if (this.picture) drawPicture(this, state, values, view, place);
  }
}

/* ----------------------------------------------------------------------------------------------------- planes */

const oneHot = (count, place) => [[range(count).map((each) => (each === place ? 1 : 0))]];

/** Planes of another number and size: what was there stays, the rest is new. Filters stay with their channels. */
function resized(planes, before, counts, size, fresh) {
  const old = (p) => {
    const [channels, now] = [before.at(-1), counts.at(-1)];
    if (counts.length === 1) return planes[p];
    return p % now < channels ? planes[Math.floor(p / now) * channels + p % now] : undefined;
  };
  return makePlanes([counts.reduce((product, count) => product * count, 1), ...size], ([p, row, column]) =>
    old(p)?.[row]?.[column] ?? fresh());
}

function mapped(planes, change) {
  return planes.map((plane) => plane.map((row) => row.map(change)));
}

/* ------------------------------------------------------------------------------------------------- the window */

/** Why a window cannot slide over an image: {key, values} of a word, or undefined. */
function windowProblem(window, size, kind) {
  return [0, 1].map((axis) => {
    const padding = window.padding[axis], padded = size[axis] + 2 * padding, reach = extent(window, axis);
    const count = outputSize(window, size)[axis];
    const looksAtPixels = /pool/.test(kind); // a window that sees nothing but padding has no largest pixel, and no mean
    const key = looksAtPixels && 2 * padding > reach ? "problem_half"
      : reach > padded ? "problem_window"
      : padded > page.limits.padded ? "problem_padded"
      : looksAtPixels && !windowsSeePixels(window, size, axis) ? "problem_blind"
      : count > page.limits.pixels ? "problem_output" : null;
    return key && { key, values: {
      axis: word(axis ? "width" : "height"), size: size[axis], padding, padded, reach, count,
      kernel: window.kernel[axis], dilation: window.dilation[axis],
      most: key === "problem_padded" ? page.limits.padded : page.limits.pixels,
    } };
  }).find(Boolean);
}

/** The size of the output as a formula with its numbers, and where the chosen window begins. */
function sizeLines(kind, { settings }, [, k, l], view) {
  const size = [settings.height, settings.width];
  if (kind === "adaptive_avg_pool2d") return spanLines(settings.output_size, size, [k, l], view);
  const isDilated = kind !== "avg_pool2d";
  const line = (names, axis) => {
    const letter = axis ? "W" : "H";
    const [K, S, P, D] = ["kernel", "stride", "padding", "dilation"].map((each) => settings[each][axis]);
    const [reach, numbers] = isDilated ? ["D(K − 1) − 1", `${D}·(${K} − 1) − 1`] : ["K", `${K}`];
    const general = fraction(`${letter} + 2P − ${reach}`, "S");
    const particular = fraction(`${size[axis]} + 2·${P} − ${numbers}`, S);
    return formula`${names} = ⌊${general}⌋ + 1 ${BREAK} = ⌊${particular}⌋ + 1 = ${outputSize(settings, size)[axis]}`;
  };
  const pairs = [size, ...["kernel", "stride", "padding", "dilation"].map((name) => settings[name])];
  const isSquare = pairs.every(([rows, columns]) => rows === columns);
  const lines = isSquare ? [line("H′ = W′", 0)] : [line("H′", 0), line("W′", 1)];
  if (view !== "output") return lines;
  const begin = (letter, axis, position, name) => {
    const [S, P] = [settings.stride[axis], settings.padding[axis]];
    return [sub(letter, "0"), ` = S·${name} − P = ${S}·${position} − ${P} = ${show(S * position - P)}`];
  };
  return [...lines, formula`${begin("r", 0, k, "k")}${GAP}${begin("c", 1, l, "l")}`, remark("window_begins")];
}

/** Where the window of the chosen output begins and ends, as in the lecture. */
function spanLines(cells, size, position, view) {
  const outputs = formula`H′ × W′ = ${cells[0]} × ${cells[1]}`;
  if (view !== "output") return [outputs];
  const spans = [0, 1].map((axis) => adaptiveSpan(position[axis], size[axis], cells[axis]));
  const line = (name, i, letter, axis) => {
    const [at, length, count] = [position[axis], size[axis], cells[axis]], span = spans[axis];
    const first = [fraction(`${i}·${letter}`, "k"), fraction(`${at}·${length}`, count)];
    const last = [fraction(`(${i} + 1)·${letter}`, "k"), fraction(`(${at} + 1)·${length}`, count)];
    return formula`${sub(name, "0")} = ⌊${first[0]}⌋ = ⌊${first[1]}⌋ = ${span[0]} ${GAP}
      ${sub(name, "f")} = ⌈${last[0]}⌉ = ⌈${last[1]}⌉ = ${span.at(-1) + 1}`;
  };
  const [rows, columns] = spans.map((span) => `${span[0]} … ${span.at(-1)}`);
  return [outputs, line("p", "i", "H", 0), line("q", "j", "W", 1), remark("span_ends", { rows, columns })];
}
