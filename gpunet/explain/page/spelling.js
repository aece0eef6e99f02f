"use strict";

/* One element written out with the numbers that it is made of, each in the colour of its grid, and where those stand. */

const MOST_TERMS = 48;
const MOST_OF_A_PLANE = 12;
const STRENGTH = { "<": 0, ">": 0, "+": 1, "-": 1, negative: 1, "*": 2, "/": 3 };

/** {sum: nodes, touched: [{grid, place, note}]} of an element of a step. */
function spellStep(program, state, values, name, place) {
  const tree = program.trees[name], title = named(nameOf(program, state, values, name, place));
  const result = at(values[name], place);
  if (isProduct(tree)) return spellProduct(program, state, values, tree, title, place, result);
  const isDecided = tree[0] === "where", touched = touchedBy(program, values, tree, place);
  const decided = isDecided ? writeDecision(program, values, tree[1], place) : [];
  const nodes = [...decided, ...writeTree(program, values, tree, place, 0)];
  const isSaid = isDecided && String(nodes.at(-1)?.textContent ?? nodes.at(-1)) === show(result);
  return {
    sum: [title, isDecided ? ": " : " = ", ...(isSaid ? nodes.slice(0, -1) : [...nodes, " = "]), asResult(result)],
    touched: program.isBackward(name) ? [...touched, ...itself(program, name, place)] : touched,
  };
}

/** Of a gradient also that which it is the gradient by. */
function itself(program, name, place) {
  const grid = name.replace(/_gradient$/, "");
  return grid !== name && grid in program.named ? [{ grid, place }] : [];
}

function spellProduct(program, { settings }, values, tree, title, place, result) {
  const [kind, step] = tree, hue = (name) => program.named[name].hue;
  const write = (from, by) => ({ value, factor }) => [coloured(inner(value), from), "·", coloured(share(factor), by)];
  if (kind === "by_input" || kind === "by_weight") {
    const forward = program.trees[step], isInput = kind === "by_input", upstream = tree[2];
    const terms = gradientTerms(tree, program.trees, values, settings, place);
    const other = isInput && forward[2] in program.named ? forward[2] : forward[1];
    const options = { nothing: forward[0] === "conv2d" ? "feeds_nothing" : "in_no_window" };
    const touched = terms.flatMap(({ output, from, by, value, factor }) => [
      { grid: upstream, place: output, note: isInput ? times(factor) : undefined },
      ...(isInput ? [{ grid: step, place: output }, ...(by ? [{ grid: forward[2], place: by }] : [])]
        : [{ grid: forward[1], place: from, note: `×${show(value)}` }]),
    ]);
    return {
      sum: spelledSum(title, terms, write(hue(upstream), hue(other)), result, options),
      touched: [...touched, { grid: forward[isInput ? 1 : 2], place }],
    };
  }
  const terms = termsOf(tree, values, settings, place), [, input, weight] = tree;
  const bias = kind === "linear" ? tree[3] : null;
  const touched = terms.flatMap(({ from, by, factor }) => [
    { grid: input, place: from, note: kind === "max_pool2d" ? (factor ? "max" : "") : times(factor) },
    ...(by ? [{ grid: weight, place: by }] : []),
  ]);
  if (kind === "max_pool2d") {
    const largest = ({ value, factor }) => [make(factor ? "b" : "span", { class: `hue-${hue(input)}` }, show(value))];
    return { sum: spelledSum(title, terms, largest, result, { before: "max{", after: "}", separator: ", " }), touched };
  }
  if (/pool/.test(kind)) {
    const after = `) / ${Math.round(1 / terms[0].factor)}`;
    const value = (term) => [coloured(inner(term.value), hue(input))];
    return { sum: spelledSum(title, terms, value, result, { before: "(", after }), touched };
  }
  const after = bias ? [" + ", coloured(inner(values[bias][0][0][place[2]]), hue(bias))] : "";
  const all = bias ? [...touched, { grid: bias, place: [0, 0, place[2]] }] : touched;
  return { sum: spelledSum(title, terms, write(hue(input), hue(weight)), result, { after }), touched: all };
}

/** A share as people write it: 0, 1 or 1/4; other factors as they are. */
function share(factor) {
  const parts = 1 / factor;
  const isShare = factor > 0 && factor < 1 && Math.abs(parts - Math.round(parts)) < 1e-9 && parts < 200;
  return isShare && !Number.isInteger(factor * 10) ? `1/${Math.round(parts)}` : inner(factor);
}

/** What a cell is multiplied with, below its number. */
const times = (factor) => `×${share(factor).replace(/[()]/g, "")}`;

/** name = a·b + c·d + ... = result, where `write(term)` are the nodes of a term.

    before, after: what stands around the terms; separator: what stands between them; nothing: the word that says why
    there are none, where the sum is 0 for that reason. */
function spelledSum(title, terms, write, result, { before = "", after = "", separator = " + ", nothing } = {}) {
  if (terms.length === 0) return spelled`${title} = ${asResult(0)} ${make("span", { class: "soft" }, word(nothing))}`;
  const shown = terms.slice(0, MOST_TERMS).map((term) =>
    make("span", { class: term.inside === false ? "term soft" : "term" }, ...write(term)));
  const left = terms.length - shown.length;
  const rest = left ? [`${separator}… `, make("span", { class: "soft" }, word("more_terms", { count: left }))] : [];
  return spelled`${title} = ${before}${between(shown, separator)}${rest}${after} = ${asResult(result)}`;
}

/** An element by its indices, as PyTorch's shape has them, without those of axes that are one element long. */
function nameOf(program, state, values, name, place) {
  const [planes, rows] = shapeOf(values[name]), symbol = program.symbol(name);
  const filters = program.channelsOfFilters(name, state), channels = state.settings.height ? values.input.length : 0;
  let shown = place.slice(planes > 1 ? 0 : 1);
  if (filters && planes > 1) shown = [Math.floor(place[0] / filters), place[0] % filters, ...place.slice(1)];
  else if (rows === 1 && (!channels || shapeOf(values[name])[2] !== shapeOf(values.input)[2])) {
    shown = channels && planes > 1 ? place.slice(0, 1) : shapeOf(values[name])[2] > 1 ? place.slice(2) : [];
  }
  const whole = /[ ]/.test(symbol) ? `(${symbol})` : symbol;
  return shown.length ? `${whole}[${shown.join(",")}]` : symbol;
}

/* ------------------------------------------------------------------------------------------------------ trees */

/** A tree with the numbers that it is computed of at one place, as nodes; as gpunet/explain/formula.py writes it. */
function writeTree(program, values, tree, place, strength) {
  if (typeof tree === "number") return [show(tree)];
  if (typeof tree === "string") {
    const number = at(values[tree], place), text = strength > 0 ? inner(number) : show(number);
    return [program.named[tree] ? coloured(text, program.named[tree].hue) : text];
  }
  const [name, ...parts] = tree, inside = (part, binds) => writeTree(program, values, part, place, binds);
  if (name in OVER_A_PLANE || name === "cumprod") return writeOverAPlane(program, values, tree, place, strength);
  if (name === "where") {
    return inside(parts[at(computeTree(parts[0], values), place) ? 1 : 2], strength); // the side that holds
  }
  if (name === "exp") return ["e", make("sup", {}, ...inside(parts[0], 0))];
  if (name === "**") return [...inside(parts[0], 4), "²"];
  if (name === "maximum") return ["max(", ...inside(parts[0], 0), ", ", ...inside(parts[1], 0), ")"];
  if (!(name in STRENGTH)) return [name === "sqrt" ? "√(" : "log(", ...inside(parts[0], 0), ")"];
  const own = STRENGTH[name], sign = { "*": "·", "-": "−" }[name] ?? name;
  const nodes = name === "negative" ? ["−", ...inside(parts[0], 3)]
    : [...inside(parts[0], own), ` ${sign} `, ...inside(parts[1], own + 1)];
  return own < strength ? ["(", ...nodes, ")"] : nodes;
}

/** The comparison that decides between the sides of a `where`. */
function writeDecision(program, values, condition, place) {
  const [sign, one, two] = condition, write = (part) => writeTree(program, values, part, place, 0);
  const compared = at(computeTree(condition, values), place) ? sign : { "<": "≥", ">": "≤" }[sign];
  return [...write(one), ` ${compared} `, ...write(two), " → "];
}

function writeOverAPlane(program, values, [name, part], place, strength) {
  const all = placesOf([computeTree(part, values)[0]]).map(([, row, column]) => [place[0], row, column]);
  const places = name === "cumprod" ? all.slice(0, place[2] + 1) : all;
  const binds = { cumprod: 3, max: 0 }[name] ?? 2;
  const shown = places.slice(0, MOST_OF_A_PLANE).map((each) =>
    make("span", {}, ...writeTree(program, values, part, each, binds)));
  if (places.length > shown.length) shown.push("…");
  const nodes = between(shown, { cumprod: " · ", max: ", " }[name] ?? " + ");
  if (name === "max") return ["max(", ...nodes, ")"];
  if (name === "mean") return ["(", ...nodes, `) / ${places.length}`];
  return strength > 1 && places.length > 1 ? ["(", ...nodes, ")"] : nodes;
}

/** Where the numbers of a tree stand. */
function touchedBy(program, values, tree, place) {
  if (typeof tree === "number") return [];
  if (typeof tree === "string") {
    const shape = shapeOf(values[tree]);
    return [{ grid: tree, place: place.map((each, axis) => Math.min(each, shape[axis] - 1)) }];
  }
  const [name, ...parts] = tree;
  const within = (part, each) => touchedBy(program, values, part, each);
  if (!(name in OVER_A_PLANE || name === "cumprod")) return parts.flatMap((part) => within(part, place));
  const all = placesOf([computeTree(parts[0], values)[0]]).map(([, row, column]) => [place[0], row, column]);
  const places = name === "cumprod" ? all.slice(0, place[2] + 1) : all;
  return places.flatMap((each) => within(parts[0], each));
}
