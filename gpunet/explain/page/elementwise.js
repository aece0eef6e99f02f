"use strict";

/* Dropout and batch normalisation: the output has the size of the image. */

class ImageLesson extends Lesson {
  grids = { ...IMAGE_GRIDS };
  views = [{ name: "forward", grid: "output" }, { name: "input", grid: "input_gradient", of: "input" }];

  fields() {
    return imageFields();
  }

  /** New numbers for each grid of the size of the image. */
  fresh = { input: () => randomWhole(0, 3), gradient: () => 1 };

  fit(state) {
    for (const [name, fresh] of Object.entries(this.fresh)) {
      state.grids[name] = resized(state.grids[name], state.settings.channels, imageSize(state), fresh);
    }
  }

  look(_name, { settings }) {
    return { planeNames: channelNames(settings.channels) };
  }

  shuffle({ grids }) {
    grids.input = mapped(grids.input, () => randomWhole(0, 9));
    grids.gradient = mapped(grids.gradient, () => randomWhole(-2, 2));
  }
}

/* ---------------------------------------------------------------------------------------------------- dropout */

const randomDraw = () => Math.floor(random() * 100) / 100;

class Dropout extends ImageLesson {
  constructor() {
    super();
    this.grids.draws = { symbol: "u", hue: "two" };
    this.grids.factor = { symbol: "m", hue: "two" };
    this.editable = { input: "number", draws: "draw", gradient: "number" };
    this.columns = [["input", "input_gradient"], ["draws", "factor"], ["output", "gradient"]];
    this.signs = ["⊙", "="];
    this.actions = [{ name: "draw", act: (state) => this.drawAgain(state) }];
    this.fresh.draws = randomDraw;
  }

  fields() {
    return [...imageFields(), { name: "p", low: 0, high: 1, step: 0.1, decimal: true }];
  }

  compute({ grids, settings: { p } }) {
    const factor = mapped(grids.draws, (u) => dropoutFactor(u, p));
    const times = (planes) => mapped(planes, (number, ...place) => number * at(factor, place));
    return { factor, output: times(grids.input), input_gradient: times(grids.gradient) };
  }

  spell({ grids, settings: { p } }, { factor }, view, place) {
    const isForward = view.name === "forward";
    const [from, hue, name] = isForward ? ["input", "one", "O"] : ["gradient", "three", "∂L/∂I"];
    const [u, m, number] = [at(grids.draws, place), at(factor, place), at(grids[from], place)];
    const why = m === 0 ? word("dropped") : `m = 1 / (1 − ${show(p)}) = ${show(m)}`;
    const product = [coloured(inner(number), hue), "·", two(m), " = ", asResult(number * m)];
    const drawn = spelled`u = ${two(u)} ${u < p ? "<" : "≥"} p = ${show(p)}: ${why}`;
    const sum = spelled`${drawn}; ${named(name + index(factor, place))} = ${product}`;
    const touched = [from, "draws", "factor", ...(isForward ? [] : ["input"])].map((grid) => ({ grid, place }));
    return { sum, touched };
  }

  general(view) {
    const cases = [["0", "u < p"], [fraction("1", "1 − p"), "u ≥ p"]].map((row) =>
      math("mtr", ...row.map((cell) => math("mtd", mathRow(cell)))));
    const factor = mathRow("{", math("mtable", ...cases));
    if (view.name === "forward") return formula`O = I · m, m = ${factor}`;
    return formula`${partial("L", "I")} = ${partial("L", "O")} · m, m = ${factor}`;
  }

  formulas({ grids, settings: { p } }, { factor, output }) {
    const all = factor.flat(2), dropped = all.filter((m) => m === 0).length, count = all.length;
    const [before, after] = [grids.input, output].map((planes) => show(total(planes.flat(2)) / count));
    return [
      make("p", {}, word("dropped_share", { dropped, count, share: show(dropped / count), p: show(p) })),
      make("p", {}, word("mean_before_after", { before, after })),
    ];
  }

  drawAgain({ grids }) {
    grids.draws = mapped(grids.draws, randomDraw);
  }

  shuffle(state) {
    super.shuffle(state);
    this.drawAgain(state);
  }
}

/* --------------------------------------------------------------------------------------------- normalisation */

class BatchNorm extends ImageLesson {
  constructor() {
    super();
    Object.assign(this.grids, {
      normalised: { symbol: "x̂", hue: "four" },
      gamma: { symbol: "γ", hue: "two" },
      gamma_gradient: { symbol: "∂L/∂γ", hue: "two" },
      beta: { symbol: "β", hue: "two" },
      beta_gradient: { symbol: "∂L/∂β", hue: "two" },
    });
    this.editable = { input: "number", gamma: "number", beta: "number", gradient: "number" };
    const parameters = ["gamma", "beta", "gamma_gradient", "beta_gradient"];
    this.columns = [["input", "input_gradient"], ["normalised", parameters], ["output", "gradient"]];
    this.signs = ["→", "→"];
    this.views.push({ name: "gamma", grid: "gamma_gradient", of: "gamma" });
    this.views.push({ name: "beta", grid: "beta_gradient", of: "beta" });
  }

  fields() {
    const eps = { name: "eps", symbol: "ε", low: 0, high: page.limits.largest, decimal: true, step: 0.5 };
    return [...imageFields(), { ...eps, rule: "positive" }];
  }

  fit(state) {
    super.fit(state);
    const { grids, settings: { channels } } = state;
    grids.gamma = resized(grids.gamma, 1, [1, channels], () => 1);
    grids.beta = resized(grids.beta, 1, [1, channels], () => 0);
  }

  problem({ settings }) {
    return settings.height * settings.width === 1 ? { key: "problem_one_pixel", values: {} } : null;
  }

  compute({ grids, settings: { eps, width } }) {
    const channels = grids.input.map((plane, c) => {
      const [gamma, beta, x, g] = [grids.gamma[0][0][c], grids.beta[0][0][c], plane.flat(), grids.gradient[c].flat()];
      return { x, ...batchNorm(x, gamma, beta, eps), back: batchNormGradient(x, g, gamma, eps) };
    });
    const asPlane = (numbers) =>
      range(numbers.length / width).map((row) => numbers.slice(row * width, (row + 1) * width));
    return {
      channels,
      normalised: channels.map(({ normalised }) => asPlane(normalised)),
      output: channels.map(({ output }) => asPlane(output)),
      input_gradient: channels.map(({ back }) => asPlane(back.input)),
      gamma_gradient: [[channels.map(({ back }) => back.gamma)]],
      beta_gradient: [[channels.map(({ back }) => back.beta)]],
    };
  }

  /** γ and β are a row with a number for each channel. */
  look(name, state) {
    if (/^(gamma|beta)/.test(name)) return { columnNames: range(state.settings.channels), rowNames: [""] };
    return super.look(name, state);
  }

  spell(state, result, view, place) {
    const spell = { forward: this.spellOutput, input: this.spellPixel }[view.name] ?? this.spellParameter;
    return spell.call(this, state, result, place, view);
  }

  spellOutput({ grids }, { channels, normalised, output }, place) {
    const [c] = place, { mean, scale } = channels[c];
    const [gamma, beta] = [grids.gamma[0][0][c], grids.beta[0][0][c]];
    const centred = spelled`(${one(at(grids.input, place))} − ${inner(mean)}) · ${show(scale)}`;
    const affine = () => spelled`${two(gamma)} + ${two(beta)}`;
    const worked = spelled`${centred} · ${affine()} = ${four(at(normalised, place))}·${affine()}`;
    const touched = [["input", place], ["normalised", place], ["gamma", [0, 0, c]], ["beta", [0, 0, c]]];
    return {
      sum: spelled`${named(`O${index(output, place)}`)} = ${worked} = ${asResult(at(output, place))}`,
      touched: touched.map(([grid, where]) => ({ grid, place: where })),
    };
  }

  /** Through mean and variance every element of a channel goes into all its outputs. */
  spellPixel({ grids }, { channels, normalised, input_gradient: gradient }, place) {
    const [c] = place, { scale, back: { meanUpstream, meanProduct } } = channels[c];
    const [g, hat] = [three(at(grids.gradient, place)), four(at(normalised, place))];
    const name = named(`∂L/∂I${index(gradient, place)}`), factor = [two(grids.gamma[0][0][c]), ` · ${show(scale)}`];
    const rest = spelled`${g} − ${inner(meanUpstream)} − ${hat} · ${inner(meanProduct)}`;
    const outputs = placesOf(gradient).filter((each) => each[0] === c);
    return {
      sum: spelled`${name} = ${factor} · (${rest}) = ${asResult(at(gradient, place))}`,
      touched: [
        ...outputs.flatMap((each) => ["gradient", "output"].map((grid) => ({ grid, place: each }))),
        { grid: "input", place }, { grid: "normalised", place }, { grid: "gamma", place: [0, 0, c] },
      ],
    };
  }

  spellParameter({ grids }, { channels, normalised }, [, , c], { name }) {
    const isGamma = name === "gamma", places = placesOf(grids.gradient).filter((each) => each[0] === c);
    const write = (place) => [three(at(grids.gradient, place)), ...(isGamma ? ["·", four(at(normalised, place))] : [])];
    const met = isGamma ? ["gradient", "normalised"] : ["gradient"];
    return {
      sum: spelledSum(`∂L/∂${isGamma ? "γ" : "β"}[${c}]`, places, write, channels[c].back[name]),
      touched: [
        ...places.flatMap((place) => met.map((grid) => ({ grid, place }))), { grid: name, place: [0, 0, c] },
      ],
    };
  }

  general(view) {
    const deviation = () => root(mathRow(power("σ", "2"), "+ ε")), upstream = partial("L", "O");
    if (view.name === "gamma") return formula`${partial("L", "γ")} = ${sumOver("k,l")} ${upstream} · x̂`;
    if (view.name === "beta") return formula`${partial("L", "β")} = ${sumOver("k,l")} ${upstream}`;
    if (view.name === "forward") return formula`x̂ = ${fraction("I − μ", deviation())} , O = x̂ · γ + β`;
    const means = [fraction("Σ g", "N"), " − x̂ · ", fraction("Σ g·x̂", "N")];
    return formula`${partial("L", "I")} = ${fraction("γ", deviation())} · (g − ${means}), g = ${upstream}`;
  }

  /** Mean and variance of the chosen element's channel; on the way back, the two means, too. */
  formulas({ settings: { eps } }, { channels }, view, place) {
    const c = this.#channelOf(view, place), { x, mean, variance, scale, back } = channels[c];
    const of = (letter) => (channels.length > 1 ? sub(letter, String(c)) : mathRow(letter));
    const squared = () => power(of("σ"), "2");
    const inverse = fraction("1", root(mathRow(squared(), "+ ε"))), deviations = mathRow("Σ", power("(I − μ)", "2"));
    const lines = [
      formula`${of("μ")} = ${fraction("Σ I", "N")} = ${fraction(show(total(x)), x.length)} = ${show(mean)}`,
      formula`${squared()} = ${fraction(deviations, "N")} = ${show(variance)}`,
      formula`${inverse} = ${fraction("1", root(`${show(variance)} + ${show(eps)}`))} = ${show(scale)}`,
    ];
    if (view.name !== "input") return lines;
    const means = [[fraction("Σ g", "N"), back.meanUpstream], [fraction("Σ g·x̂", "N"), back.meanProduct]];
    const told = means.map(([symbol, number]) => [symbol, ` = ${show(number)}`]);
    return [...lines, formula`${told[0]}${GAP}${told[1]}`, remark("reaches_all")];
  }

  /** The values of the chosen element's channel before, between and after. */
  drawMore({ settings: { width } }, { channels }, view, place) {
    const isPixel = view.name === "forward" || view.name === "input";
    const { x, normalised, output } = channels[this.#channelOf(view, place)];
    const lines = [
      { name: "I", hue: "one", values: x }, { name: "x̂", hue: "four", values: normalised },
      { name: "O", hue: "three", values: output },
    ];
    drawChart(word("picture_batch_norm"), 166, numberLines(lines, isPixel ? place[1] * width + place[2] : null));
  }

  #channelOf(view, place) {
    return view.name === "gamma" || view.name === "beta" ? place[2] : place[0];
  }
}

const LESSONS = { dropout: Dropout, batch_norm: BatchNorm };
