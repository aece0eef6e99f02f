"use strict";

/* Distributions and losses: a few numbers in a row, one for each class or example. */

class VectorLesson extends Lesson {
  views = [{ name: "forward", grid: "output" }, { name: "input", grid: "input_gradient", of: "input" }];
  fewest = 2;
  /** New numbers, for each grid that can be edited. */
  fresh = { input: () => randomWhole(-2, 3), gradient: () => 0 };

  fields() {
    return [{ name: "count", symbol: "K", low: this.fewest, high: page.limits.numbers }];
  }

  fit({ grids, settings: { count } }) {
    for (const [name, fresh] of Object.entries(this.fresh)) grids[name] = resized(grids[name], 1, [1, count], fresh);
  }

  look() {
    return { rowNames: [""] };
  }

  drawMore(state, result, _view, [, , chosen]) {
    drawChart(word(`picture_${page.operation}`), 224, this.chart(rowsOf(state.grids), rowsOf(result), chosen));
  }

  shuffle({ grids }) {
    grids.input = mapped(grids.input, () => randomWhole(-3, 3));
    if (grids.gradient) grids.gradient = mapped(grids.gradient, () => randomWhole(-2, 2));
  }
}

/** The only row of each grid. */
function rowsOf(grids) {
  const isGrid = ([, value]) => Array.isArray(value?.[0]?.[0]);
  return Object.fromEntries(Object.entries(grids).filter(isGrid).map(([name, planes]) => [name, planes[0][0]]));
}

const touch = (column, ...grids) => grids.map((grid) => ({ grid, place: [0, 0, column] }));
const touchAll = (count, ...grids) => range(count).flatMap((column) => touch(column, ...grids));

/* ---------------------------------------------------------------------------------------------- distributions */

class DistributionLesson extends VectorLesson {
  grids = {
    input: { symbol: "x", hue: "one" },
    input_gradient: { symbol: "∂L/∂x", hue: "one" },
    output: { symbol: "y", hue: "three" },
    gradient: { symbol: "∂L/∂y", hue: "three" },
  };
  editable = { input: "number", gradient: "number" };
  columns = [["input", "input_gradient"], ["output", "gradient"]];
  signs = ["→"];
}

class Sigmoid extends DistributionLesson {
  fewest = 1;
  fresh = { input: () => randomWhole(-3, 3), gradient: () => 1 };

  compute({ grids }) {
    return {
      output: mapped(grids.input, (x) => sigmoid(x)),
      input_gradient: mapped(grids.input, (x, ...place) => sigmoidGradient(x, at(grids.gradient, place))),
    };
  }

  spell({ grids }, result, view, [, , i]) {
    const { input, gradient } = rowsOf(grids), { output, input_gradient: slope } = rowsOf(result), y = output[i];
    if (view.name === "forward") {
      const exponent = make("sup", {}, "−", one(input[i]));
      const worked = spelled`1 / (1 + e${exponent}) = 1 / (1 + ${show(Math.exp(-input[i]))})`;
      return { sum: spelled`${named(`y[${i}]`)} = ${worked} = ${asResult(y)}`, touched: touch(i, "input") };
    }
    const product = spelled`${three(gradient[i])}·${three(y)}·(1 − ${three(y)})`;
    const sum = spelled`${named(`∂L/∂x[${i}]`)} = ${product} = ${asResult(slope[i])}`;
    return { sum, touched: touch(i, "gradient", "output", "input") };
  }

  general(view) {
    if (view.name === "forward") return formula`y = ${fraction("1", mathRow("1 +", power("e", "−x")))}`;
    return formula`${partial("L", "x")} = ${partial("L", "y")} · y·(1 − y)`;
  }

  formulas({ grids }, result, _view, [, , i]) {
    const x = rowsOf(grids).input[i], y = rowsOf(result).output[i];
    const [symbols, numbers] = [mathRow("1 +", power("e", show(-x))), `1 + ${show(Math.exp(-x))}`];
    return [
      formula`${sub("y", i)} = ${fraction("1", symbols)} = ${fraction("1", numbers)} = ${show(y)}`,
      formula`${partial("y", "x")} = ${show(y)}·(1 − ${show(y)}) = ${show(y * (1 - y))}`,
      remark("at_most_a_quarter"),
    ];
  }

  chart({ input }, { output }, chosen) {
    const reach = Math.max(6, ...input.map((x) => Math.abs(x)));
    const points = input.map((x, place) => ({ x, y: output[place], hue: "three", picked: place === chosen }));
    return curve([{ hue: "one", of: sigmoid }], points, { low: -reach, high: reach, top: 1, name: "x" });
  }
}

class Softmax extends DistributionLesson {
  columns = [["input", "input_gradient"], ["powers"], ["output", "gradient"]];
  signs = ["→", "→"];

  constructor() {
    super();
    this.grids.powers = { symbol: "e^(x − max)", hue: "four" };
  }

  compute({ grids }) {
    const { input, gradient } = rowsOf(grids);
    const { largest, powers, sum, output } = softmax(input), back = softmaxGradient(input, gradient);
    return { largest, sum, mean: back.mean, powers: [[powers]], output: [[output]], input_gradient: [[back.input]] };
  }

  spell({ grids, settings: { count } }, result, view, [, , i]) {
    const { input, gradient } = rowsOf(grids), { powers, output, input_gradient: slope } = rowsOf(result);
    if (view.name === "forward") {
      const exponent = make("sup", {}, one(input[i]), ` − ${inner(result.largest)}`), sum = show(result.sum);
      const quotients = spelled`e${exponent} / ${sum} = ${four(powers[i])} / ${sum}`;
      return {
        sum: spelled`${named(`y[${i}]`)} = ${quotients} = ${asResult(output[i])}`,
        touched: [...touch(i, "input"), ...touchAll(count, "powers")],
      };
    }
    const product = spelled`${three(output[i])}·(${three(gradient[i])} − ${inner(result.mean)})`;
    return {
      sum: spelled`${named(`∂L/∂x[${i}]`)} = ${product} = ${asResult(slope[i])}`,
      touched: [...touchAll(count, "gradient", "output"), ...touch(i, "input")],
    };
  }

  general(view) {
    const shifted = (at) => power("e", mathRow(sub("x", at), "− m"));
    const sum = mathRow(sumOver("k"), shifted("k"));
    if (view.name === "forward") return formula`${sub("y", "i")} = ${fraction(shifted("i"), sum)} , m = max x`;
    const [own, mean] = [sub("g", "i"), [sumOver("k"), sub("g", "k"), sub("y", "k")]];
    return formula`${partial("L", sub("x", "i"))} = ${sub("y", "i")} · (${own} − ${mean}), g = ${partial("L", "y")}`;
  }

  formulas({ grids }, result, view) {
    const { powers, output } = rowsOf(result), { gradient } = rowsOf(grids);
    const lines = [formula`Σ = ${summed(powers.map((each) => show(each)))} ${BREAK} = ${show(result.sum)}`];
    if (view.name === "input") {
      const products = output.map((y, i) => `${inner(gradient[i])}·${show(y)}`);
      lines.push(formula`Σ g·y = ${summed(products)} ${BREAK} = ${show(result.mean)}`);
    }
    return [...lines, remark("adds_up_to_one", { sum: show(total(output)) })];
  }

  chart(_grids, { output }, chosen) {
    return bars([{ hue: "three", values: output }], chosen);
  }
}

/* ----------------------------------------------------------------------------------------------------- losses */

/** A loss compares the input with a target; the elements that are stepped through are the terms that it adds up. */
class Loss extends VectorLesson {
  grids = {
    input: { symbol: "x", hue: "one" },
    input_gradient: { symbol: "∂L/∂x", hue: "one" },
    output: { symbol: "y", hue: "three" },
    target: { symbol: "t", hue: "two" },
    terms: { symbol: "−t·log y", hue: "four" },
    loss: { symbol: "L", hue: "four" },
  };
  editable = { input: "number", target: "probability" };
  columns = [["input", "input_gradient"], ["target"], ["terms", "loss"]];
  signs = ["", "→"];
  views = [{ name: "forward", grid: "terms" }, { name: "input", grid: "input_gradient", of: "input" }];
  fresh = { input: () => randomWhole(-2, 3), target: () => 0 };
}

/** What there is to say of numbers that should be a distribution and do not add up to 1. */
function sumNotice(name, numbers) {
  const sum = total(numbers);
  return Math.abs(sum - 1) > 1e-6 ? [{ key: "not_a_distribution", values: { name, sum: show(sum) } }] : [];
}

function divideBySum(grids, ...names) {
  for (const name of names) {
    const sum = total(grids[name][0][0]);
    if (sum > 0) grids[name] = mapped(grids[name], (number) => number / sum);
  }
}

class CrossEntropy extends Loss {
  columns = [["input", "input_gradient"], ["output"], ["target"], ["terms", "loss"]];
  signs = ["→", "", "→"];
  actions = [{ name: "normalise", act: ({ grids }) => divideBySum(grids, "target") }];

  fields() {
    return [...super.fields(), { name: "label", low: 0, high: page.limits.numbers - 1 }];
  }

  /** Another label makes the target one-hot; otherwise the label is where the target is largest. */
  fit(state) {
    super.fit(state);
    const { grids, settings } = state, isNew = settings.label !== (state.label ?? settings.label);
    if (isNew && settings.label < settings.count) grids.target = oneHot(settings.count, settings.label);
    const { target } = rowsOf(grids);
    settings.label = target.indexOf(Math.max(...target));
    state.label = settings.label;
  }

  notices({ grids }) {
    return sumNotice("t", rowsOf(grids).target);
  }

  compute({ grids }) {
    const { input, target } = rowsOf(grids);
    const { output, logarithms, terms, loss } = crossEntropy(input, target);
    const gradient = crossEntropyGradient(input, target, 1);
    return { logarithms, output: [[output]], terms: [[terms]], loss: [[[loss]]], input_gradient: [[gradient]] };
  }

  spell({ grids, settings: { count } }, result, view, [, , i]) {
    const { target } = rowsOf(grids), { output, terms, input_gradient: slope } = rowsOf(result);
    const [t, y] = [target[i], output[i]];
    if (view.name === "forward") {
      const worked = spelled`−${two(t)}·log ${three(y)} = −${two(t)}·${inner(result.logarithms[i])}`;
      const sum = spelled`${named(`−t[${i}]·log y[${i}]`)} = ${worked} = ${asResult(terms[i])}`;
      return { sum, touched: touch(i, "target", "output", "input") };
    }
    const all = total(target), scaled = Math.abs(all - 1) > 1e-6 ? `·${show(all)}` : "";
    const sum = spelled`${named(`∂L/∂x[${i}]`)} = y − t = ${three(y)}${scaled} − ${two(t)} = ${asResult(slope[i])}`;
    return { sum, touched: [...touch(i, "target", "output", "input"), ...touchAll(count, "terms")] };
  }

  general(view) {
    if (view.name === "input") return formula`${partial("L", sub("x", "i"))} = ${sub("y", "i")} − ${sub("t", "i")}`;
    return formula`L = − ${sumOver("i")} ${sub("t", "i")} log ${sub("y", "i")} , y = softmax(x)`;
  }

  formulas(_state, result) {
    const { terms, loss } = rowsOf(result);
    return [formula`L = ${summed(terms.map((each) => show(each)))} ${BREAK} = ${show(loss[0])}`];
  }

  chart({ target }, { output }, chosen) {
    return bars([{ hue: "two", values: target }, { hue: "three", values: output }], chosen);
  }

  shuffle(state) {
    super.shuffle(state);
    const { count } = state.settings;
    state.grids.target = oneHot(count, randomWhole(0, count - 1));
  }
}

const oneHot = (count, place) => [[range(count).map((each) => (each === place ? 1 : 0))]];

class BinaryCrossEntropy extends Loss {
  fewest = 1;
  fresh = { input: () => randomWhole(1, 9) / 10, target: () => randomWhole(0, 1) };

  constructor() {
    super();
    this.grids.input = { symbol: "y", hue: "one" };
    this.grids.input_gradient = { symbol: "∂L/∂y", hue: "one" };
    this.grids.terms = { symbol: "Lᵢ", hue: "four" };
    this.editable.input = "certainty";
  }

  compute({ grids }) {
    const { input, target } = rowsOf(grids);
    const terms = input.map((y, i) => binaryCrossEntropy(y, target[i]));
    const gradient = input.map((y, i) => binaryCrossEntropyGradient(y, target[i], 1 / input.length));
    return { terms: [[terms]], loss: [[[total(terms) / input.length]]], input_gradient: [[gradient]] };
  }

  spell({ grids, settings: { count } }, result, view, [, , i]) {
    const { input, target } = rowsOf(grids), { terms, input_gradient: slope } = rowsOf(result);
    const [y, t] = [() => one(input[i]), () => two(target[i])];
    if (view.name === "forward") {
      const symbols = spelled`−${t()}·log ${y()} − (1 − ${t()})·log(1 − ${y()})`;
      const [yes, no] = [[target[i], input[i]], [1 - target[i], 1 - input[i]]].map(([share, likely]) =>
        `${inner(share)}·${inner(Math.log(likely))}`);
      const sum = spelled`${named(`L[${i}]`)} = ${symbols} = −${yes} − ${no} = ${asResult(terms[i])}`;
      return { sum, touched: touch(i, "input", "target") };
    }
    const quotient = spelled`(${y()} − ${t()}) / (${y()}·(1 − ${y()}))`;
    const sum = spelled`${named(`∂L/∂y[${i}]`)} = 1/${count} · ${quotient} = ${asResult(slope[i])}`;
    return { sum, touched: [...touch(i, "input", "target", "terms"), ...touch(0, "loss")] };
  }

  general(view) {
    const [y, t, mean] = [() => sub("y", "i"), () => sub("t", "i"), fraction("1", "K")];
    if (view.name === "forward") {
      const term = [sub("L", "i"), " = −", t(), "log", y(), "− (1 −", t(), ") log(1 −", y(), ")"];
      return formula`L = ${mean} ${sumOver("i")} ${sub("L", "i")} , ${BREAK} ${term}`;
    }
    const quotient = fraction(mathRow(y(), "−", t()), mathRow(y(), "·(1 −", y(), ")"));
    return formula`${partial("L", y())} = ${mean} · ${quotient}`;
  }

  formulas({ settings: { count } }, result) {
    const { terms, loss } = rowsOf(result);
    return [formula`L = ${fraction(terms.map((each) => show(each)).join(" + "), count)} = ${show(loss[0])}`];
  }

  chart({ input }, { terms }, chosen) {
    const points = input.map((y, i) => ({ x: y, y: terms[i], hue: "four", picked: i === chosen }));
    const curves = [["one", 1], ["two", 0]].map(([hue, t]) => ({ hue, of: (y) => binaryCrossEntropy(y, t) }));
    const top = 2 * Math.ceil(Math.max(4, ...terms) / 2);
    return curve(curves, points, { low: 0, high: 1, top, name: "y" });
  }

  shuffle({ grids }) {
    for (const [name, fresh] of Object.entries(this.fresh)) grids[name] = mapped(grids[name], fresh);
  }
}

class Divergence extends Loss {
  actions = [{ name: "normalise", act: ({ grids }) => divideBySum(grids, "input", "target") }];
  fresh = { input: () => 0, target: () => 0 };

  constructor() {
    super();
    this.grids.input = { symbol: "q", hue: "one" };
    this.grids.input_gradient = { symbol: "∂L/∂q", hue: "one" };
    this.grids.target = { symbol: "p", hue: "two" };
    this.grids.terms = { symbol: "p·log(p/q)", hue: "four" };
    this.grids.loss = { symbol: "KL(p|q)", hue: "four" };
    this.editable.input = "probability";
  }

  problem({ grids }) {
    const { input: q, target: p } = rowsOf(grids);
    const i = q.findIndex((each, place) => each === 0 && p[place] > 0);
    return i < 0 ? null : { key: "problem_infinite", values: { i } };
  }

  notices({ grids }) {
    const { input: q, target: p } = rowsOf(grids);
    return [...sumNotice("p", p), ...sumNotice("q", q)];
  }

  compute({ grids }) {
    const { input: q, target: p } = rowsOf(grids), terms = divergenceTerms(p, q);
    return { terms: [[terms]], loss: [[[total(terms)]]], input_gradient: [[divergenceGradient(p, q)]] };
  }

  spell({ grids }, result, view, [, , i]) {
    const { input, target } = rowsOf(grids), { terms, input_gradient: slope } = rowsOf(result);
    const [q, p] = [one(input[i]), () => two(target[i])];
    if (view.name === "forward") {
      const product = spelled`${p()}·log(${p()} / ${q})`;
      const sum = spelled`${named(`p[${i}]·log(p[${i}]/q[${i}])`)} = ${product} = ${asResult(terms[i])}`;
      return { sum, touched: touch(i, "input", "target") };
    }
    const sum = spelled`${named(`∂L/∂q[${i}]`)} = −p/q = −${p()} / ${q} = ${asResult(slope[i])}`;
    return { sum, touched: [...touch(i, "input", "target", "terms"), ...touch(0, "loss")] };
  }

  general(view) {
    const [p, q] = [() => sub("p", "i"), () => sub("q", "i")];
    if (view.name === "forward") return formula`KL(p|q) = ${sumOver("i")} ${p()} log ${fraction(p(), q())}`;
    return formula`${partial("L", q())} = − ${fraction(p(), q())}`;
  }

  /** The divergence, and its two parts: only the second changes in training. */
  formulas({ grids }, result) {
    const { input: q, target: p } = rowsOf(grids), { terms, loss } = rowsOf(result);
    const [own, crossed] = [expectedLogarithm(p, p), expectedLogarithm(p, q)];
    const sums = ["p", "q"].map((of) => [sumOver("i"), sub("p", "i"), "log", sub(of, "i")]);
    return [
      formula`KL(p|q) = ${summed(terms.map((each) => inner(each)))} ${BREAK} = ${show(loss[0])}`,
      formula`KL(p|q) = ${sums[0]} − ${sums[1]} ${BREAK} = ${inner(own)} − ${inner(crossed)}`,
      remark("entropy_is_constant", { own: show(own), crossed: show(crossed) }),
    ];
  }

  chart({ input, target }, _result, chosen) {
    return bars([{ hue: "two", values: target }, { hue: "one", values: input }], chosen);
  }

  /** Random shares, none of them 0. */
  shuffle({ grids }) {
    for (const name of ["input", "target"]) grids[name] = mapped(grids[name], () => randomWhole(1, 9));
    divideBySum(grids, "input", "target");
  }
}

const LESSONS = {
  sigmoid: Sigmoid, softmax: Softmax, kl_div: Divergence, binary_cross_entropy: BinaryCrossEntropy,
  cross_entropy: CrossEntropy,
};
