"use strict";

/* The arithmetic of the page: numbers in, numbers out, and nothing of the document.

   An array is a list of planes, a plane a list of rows; a place is [plane, row, column]. A formula is a tree, as
   gpunet/explain/formula.py parses it: a number, a name, or [function, ...what it is applied to]. Sums of products, as
   gpunet/explain/products.py has them, are trees, too:

       conv2d       O[o,k,l] = sum over c, i, j of I'[c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]
       a pooling    O[c,k,l] = sum over the window of I[c,row,column] * share
       by_input     dL/dx    = sum over all y that x goes into of dL/dy * dy/dx

   The terms of such a sum are {from, value, by, factor, inside}: where the value and the factor stand.

   A window is {kernel, stride, padding, dilation}, each [for rows, for columns]. */

const range = (count) => Array.from({ length: Math.max(count, 0) }, (_, index) => index);
const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
const makePlanes = ([count, rows, columns], value) => range(count).map((plane) => range(rows).map((row) =>
  range(columns).map((column) => value([plane, row, column]))));
const shapeOf = (planes) => [planes.length, planes[0]?.length ?? 0, planes[0]?.[0]?.length ?? 0];
const sumOfProducts = (terms) => total(terms.map(({ value, factor }) => value * factor));

/** The number at a place; a plane or a row of one stands for all. */
function at(planes, place) {
  const [plane, row, column] = shapeOf(planes).map((size, axis) => Math.min(place[axis], size - 1));
  return planes[plane][row][column];
}

/** All places of planes, row by row. */
function placesOf(planes) {
  return planes.flatMap((plane, p) => plane.flatMap((row, r) => row.map((_, column) => [p, r, column])));
}

/* --------------------------------------------------------------------------------------------------- formulas */

const BY_ELEMENT = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
  "<": (a, b) => Number(a < b), ">": (a, b) => Number(a > b), negative: (a) => -a, exp: Math.exp, log: Math.log,
  sqrt: Math.sqrt, maximum: Math.max, where: (condition, yes, no) => (condition ? yes : no),
};
const OVER_A_PLANE = {
  sum: total, mean: (numbers) => total(numbers) / numbers.length, max: (numbers) => Math.max(...numbers),
};

/** What a tree comes to for the values of its names. */
function computeTree(tree, values) {
  if (typeof tree === "string") return values[tree];
  if (typeof tree === "number") return [[[tree]]];
  const [name, ...parts] = tree, computed = parts.map((part) => computeTree(part, values));
  if (name in OVER_A_PLANE) return computed[0].map((plane) => [[OVER_A_PLANE[name](plane.flat())]]);
  if (name === "cumprod") return computed[0].map((plane) => plane.map(runningProducts));
  const shape = [0, 1, 2].map((axis) => Math.max(...computed.map((planes) => shapeOf(planes)[axis])));
  return makePlanes(shape, (place) => BY_ELEMENT[name](...computed.map((planes) => at(planes, place))) + 0);
}

function runningProducts(row) {
  let product = 1;
  return row.map((number) => (product *= number));
}

/* ------------------------------------------------------------------------------------------------- the window */

/** Rows (axis 0) or columns (axis 1) from the first to the last element of a window. */
function extent(window, axis) {
  return window.dilation[axis] * (window.kernel[axis] - 1) + 1;
}

/** How many positions the window takes along rows and columns; 0 where it does not fit. */
function outputSize(window, size) {
  return [0, 1].map((axis) => {
    const room = size[axis] + 2 * window.padding[axis] - extent(window, axis);
    return room < 0 ? 0 : Math.floor(room / window.stride[axis]) + 1;
  });
}

/** The rows or columns that the window meets at a position; those outside of the image are padding. */
function covered(window, axis, position) {
  const begin = window.stride[axis] * position - window.padding[axis];
  return range(window.kernel[axis]).map((each) => begin + window.dilation[axis] * each);
}

/** The rows (or columns) that cell i of `cells` covers, of `size`. */
function adaptiveSpan(i, size, cells) {
  const begin = Math.floor(i * size / cells);
  return range(Math.ceil((i + 1) * size / cells) - begin).map((each) => begin + each);
}

/** Whether every window has an element inside the image, along an axis. */
function windowsSeePixels(window, size, axis) {
  return range(outputSize(window, size)[axis]).every((k) =>
    covered(window, axis, k).some((each) => each >= 0 && each < size[axis]));
}

/* ------------------------------------------------------------------------------------------- sums of products */

const WINDOWED = ["conv2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"];
const isProduct = (tree) => [...WINDOWED, "linear", "by_input", "by_weight"].includes(tree[0]);

/** The window of a tree: that of the page, or one that a number at its end stands for. */
function windowOf(tree, values, settings) {
  const size = tree.at(-1), isConv = tree[0] === "conv2d";
  if (typeof size !== "number") return settings;
  const [, ...kernel] = isConv ? shapeOf(values[tree[2]]) : [0, size, size];
  return { kernel, stride: isConv ? [1, 1] : kernel, padding: isConv ? [size, size] : [0, 0], dilation: [1, 1] };
}

/** The shape of what a window, or a matrix, makes. */
function productShape(tree, values, settings) {
  const [name, input, weight] = tree, [channels, ...size] = shapeOf(values[input]);
  if (name === "linear") return [1, 1, values[weight][0].length];
  if (name === "adaptive_avg_pool2d") return [channels, ...settings.output_size];
  const outputs = name === "conv2d" ? values[weight].length / channels : channels;
  return [outputs, ...outputSize(windowOf(tree, values, settings), size)];
}

/** What is added up to an element, in the order of the filter; max pooling has nothing for the padding. */
function termsOf(tree, values, settings, [p, k, l]) {
  const [name, input, weight] = tree, planes = values[input], [channels, height, width] = shapeOf(planes);
  if (name === "linear") {
    return placesOf(planes).map((from, column) =>
      ({ from, value: at(planes, from), by: [0, l, column], factor: values[weight][0][l][column], inside: true }));
  }
  const window = windowOf(tree, values, settings);
  const [rows, columns] = [[k, height], [l, width]].map(([position, size], axis) =>
    name === "adaptive_avg_pool2d" ? adaptiveSpan(position, size, settings.output_size[axis])
      : covered(window, axis, position));
  const cells = (name === "conv2d" ? range(channels) : [p]).flatMap((c) => rows.flatMap((row, i) =>
    columns.map((column, j) => {
      const inside = row >= 0 && row < height && column >= 0 && column < width;
      const by = name === "conv2d" ? [p * channels + c, i, j] : null;
      const value = inside ? planes[c][row][column] : 0;
      return { from: [c, row, column], value, by, factor: by ? at(values[weight], by) : 0, inside };
    })));
  if (name === "conv2d") return cells;
  const seen = name === "max_pool2d" || settings.count_padding === false ? cells.filter(({ inside }) => inside) : cells;
  if (name === "max_pool2d") { // the first of the largest wins
    const winner = seen.findIndex(({ value }) => value === Math.max(...seen.map((cell) => cell.value)));
    return seen.map((cell, place) => ({ ...cell, factor: place === winner ? 1 : 0 }));
  }
  return cells.map((cell) => ({ ...cell, factor: 1 / seen.length }));
}

/** For each output that an element went into the gradient there, times what the element met: {..., output}. */
function gradientTerms([kind, step, upstream], trees, values, settings, place) {
  return placesOf(values[upstream]).flatMap((output) =>
    termsOf(trees[step], values, settings, output)
      .filter((term) => samePlace(kind === "by_input" ? term.from : term.by, place))
      .map((term) => ({
        ...term, output, value: at(values[upstream], output), factor: kind === "by_input" ? term.factor : term.value,
      })));
}

const samePlace = (one, other) => String(one) === String(other);

/** All elements of a sum of products. */
function computeProduct(tree, trees, values, settings) {
  const [kind, step, upstream] = tree;
  if (kind !== "by_input" && kind !== "by_weight") {
    const bias = kind === "linear" ? (l) => values[tree[3]][0][0][l] : () => 0;
    return makePlanes(productShape(tree, values, settings), (place) =>
      sumOfProducts(termsOf(tree, values, settings, place)) + bias(place[2]));
  }
  const forward = trees[step], isInput = kind === "by_input";
  const gradient = makePlanes(shapeOf(values[forward[isInput ? 1 : 2]]), () => 0);
  for (const output of placesOf(values[upstream])) {
    const given = at(values[upstream], output);
    for (const { from, value, by, factor, inside } of termsOf(forward, values, settings, output)) {
      const [p, row, column] = isInput ? from : by;
      if (inside || !isInput) gradient[p][row][column] += given * (isInput ? factor : value);
    }
  }
  return gradient;
}

/** All values: those that are given, and those of the steps, one after the other. */
function computeSteps(steps, given, settings) {
  const values = { ...given }, trees = Object.fromEntries(steps.map(({ name, tree }) => [name, tree]));
  for (const { name, tree } of steps) {
    values[name] = isProduct(tree) ? computeProduct(tree, trees, values, settings) : computeTree(tree, values);
  }
  return values;
}

/** im2col: a row for each position of the window, in it the values of the window, pixel after pixel. */
function im2col(image, window) {
  const [channels, ...size] = shapeOf(image), [rows, columns] = outputSize(window, size);
  return placesOf(makePlanes([1, rows, columns], () => 0)).map(([, k, l]) =>
    covered(window, 0, k).flatMap((row) => covered(window, 1, l).flatMap((column) =>
      range(channels).map((c) => image[c][row]?.[column] ?? 0))));
}

/** Whether the rows of im2col are the pixels themselves: those of a 1x1 convolution. */
function rowsArePixels(window) {
  return [...window.kernel, ...window.stride].every((each) => each === 1) && total(window.padding) === 0;
}
