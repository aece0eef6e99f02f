"use strict";

/* The arithmetic of the page: numbers in, numbers out, and nothing of the document.

   A plane is a list of rows, an image a list of planes, one for each channel; filters are a list of images.

       conv2d       O[o,k,l] = sum over c, i, j of I'[c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]
       a pooling    O[c,k,l] = sum over the window of I[c,row,column] * share
       backward     dL/dx    = sum over all y that x goes into of dL/dy * dy/dx

   The terms of such a sum, which the page spells out for one element, are {value, factor, product} and where they
   stand.

   A window is {kernel, stride, padding, dilation}, each [for rows, for columns]. */

const range = (count) => Array.from({ length: Math.max(count, 0) }, (_, index) => index);
const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
const makePlane = ([rows, columns], value) =>
  range(rows).map((row) => range(columns).map((column) => value(row, column)));
const sizeOf = (plane) => [plane.length, plane[0].length];
const sumOfProducts = (terms) => total(terms.map((term) => term.product));

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

/** The cell that element (i, j) of the window at position (k, l) meets: {i, j, row, column, inside}. */
function cellOf(window, size, [k, l], i, j) {
  const row = window.stride[0] * k + window.dilation[0] * i - window.padding[0];
  const column = window.stride[1] * l + window.dilation[1] * j - window.padding[1];
  return { i, j, row, column, inside: row >= 0 && row < size[0] && column >= 0 && column < size[1] };
}

/** All cells that the window at a position covers, in the order of its elements. */
function windowCells(window, size, position) {
  const [rows, columns] = window.kernel;
  return range(rows).flatMap((i) => range(columns).map((j) => cellOf(window, size, position, i, j)));
}

/** Whether every window has an element inside the image, along an axis. */
function windowsSeePixels(window, size, axis) {
  const starts = range(outputSize(window, size)[axis]).map((k) => window.stride[axis] * k - window.padding[axis]);
  const inside = (at) => at >= 0 && at < size[axis];
  return starts.every((start) => range(window.kernel[axis]).some((i) => inside(start + window.dilation[axis] * i)));
}

/* ------------------------------------------------------------------------------------------------ convolution */

/** What is added up to O[o,k,l]: {c, i, j, row, column, inside, value, factor, product}. */
function convTerms(image, filters, window, [o, k, l]) {
  const cells = windowCells(window, sizeOf(image[0]), [k, l]);
  return image.flatMap((plane, c) => cells.map((cell) => {
    const value = cell.inside ? plane[cell.row][cell.column] : 0;
    const factor = filters[o][c][cell.i][cell.j];
    return { c, ...cell, value, factor, product: value * factor };
  }));
}

/** O, a plane for each filter. */
function conv(image, filters, window) {
  const size = outputSize(window, sizeOf(image[0]));
  return filters.map((_, o) => makePlane(size, (k, l) => sumOfProducts(convTerms(image, filters, window, [o, k, l]))));
}

/** What is added up to dL/dI[c,row,column]: a term for each window that the element lies in. */
function convInputTerms(upstream, filters, window, size, [c, row, column]) {
  return filters.flatMap((filter, o) => outputPositions(window, size).flatMap(([k, l]) => {
    const i = (row + window.padding[0] - window.stride[0] * k) / window.dilation[0];
    const j = (column + window.padding[1] - window.stride[1] * l) / window.dilation[1];
    const factor = filter[c][i]?.[j]; // between or beyond the elements of the filter there is none
    const value = upstream[o][k][l];
    return factor === undefined ? [] : [{ o, k, l, i, j, value, factor, product: value * factor }];
  }));
}

/** What is added up to dL/dF[o,c,i,j]: a term for each position of the window. */
function convFilterTerms(image, upstream, window, [o, c, i, j]) {
  const size = sizeOf(image[0]);
  return outputPositions(window, size).map(([k, l]) => {
    const cell = cellOf(window, size, [k, l], i, j);
    const value = upstream[o][k][l], factor = cell.inside ? image[c][cell.row][cell.column] : 0;
    return { o, k, l, ...cell, value, factor, product: value * factor };
  });
}

/** dL/dI: each output gives every pixel of its window what it got from there, times dL/dO. */
function convInputGradient(image, filters, upstream, window) {
  const gradient = image.map((plane) => makePlane(sizeOf(plane), () => 0));
  for (const o of filters.keys()) {
    for (const [k, l] of outputPositions(window, sizeOf(image[0]))) {
      for (const { c, row, column, inside, factor } of convTerms(image, filters, window, [o, k, l])) {
        if (inside) gradient[c][row][column] += upstream[o][k][l] * factor;
      }
    }
  }
  return gradient;
}

function convFilterGradient(image, filters, upstream, window) {
  return filters.map((filter, o) => filter.map((_, c) => makePlane(window.kernel, (i, j) =>
    sumOfProducts(convFilterTerms(image, upstream, window, [o, c, i, j])))));
}

/** All positions (k, l) of the window, row by row. */
function outputPositions(window, size) {
  const [rows, columns] = outputSize(window, size);
  return range(rows).flatMap((k) => range(columns).map((l) => [k, l]));
}

/** im2col: a row for each position of the window, in it the values of the window, pixel after pixel. */
function im2col(image, window) {
  const size = sizeOf(image[0]);
  return outputPositions(window, size).map((position) => windowCells(window, size, position).flatMap((cell) =>
    image.map((plane) => (cell.inside ? plane[cell.row][cell.column] : 0))));
}

/** Whether the rows of im2col are the pixels themselves: those of a 1x1 convolution. */
function rowsArePixels(window) {
  return [...window.kernel, ...window.stride].every((each) => each === 1) && total(window.padding) === 0;
}

/* ---------------------------------------------------------------------------------------------------- pooling */

/* What of each cell of its window goes into an output: {row, column, inside, value, share}. */

/** The first of the largest values has the share 1, all others 0. Padding never wins. */
function maxShares(plane, window, position) {
  const cells = windowCells(window, sizeOf(plane), position).filter((cell) => cell.inside);
  const values = cells.map((cell) => plane[cell.row][cell.column]);
  const winner = values.indexOf(Math.max(...values));
  return cells.map((cell, place) => ({ ...cell, value: values[place], share: place === winner ? 1 : 0 }));
}

/** Every cell has the share 1 / divisor; the divisor counts the padding only if that is wanted. */
function averageShares(plane, window, position, countPadding) {
  const cells = windowCells(window, sizeOf(plane), position);
  const divisor = countPadding ? cells.length : cells.filter((cell) => cell.inside).length;
  return cells.map((cell) => ({ ...cell, value: cell.inside ? plane[cell.row][cell.column] : 0, share: 1 / divisor }));
}

/** The rows (or columns) from `begin` to before `end` that cell i of `cells` covers, of `size`. */
function adaptiveSpan(i, size, cells) {
  return { begin: Math.floor(i * size / cells), end: Math.ceil((i + 1) * size / cells) };
}

function adaptiveShares(plane, [cellRows, cellColumns], [k, l]) {
  const [rows, columns] = sizeOf(plane);
  const down = adaptiveSpan(k, rows, cellRows), across = adaptiveSpan(l, columns, cellColumns);
  const size = [down.end - down.begin, across.end - across.begin];
  return makePlane(size, (i, j) => ({ row: down.begin + i, column: across.begin + j, inside: true }))
    .flat().map((cell) => ({ ...cell, value: plane[cell.row][cell.column], share: 1 / (size[0] * size[1]) }));
}

/** The output of any pooling; `shares(plane, [k, l])` is one of the above with its settings. */
function pool(image, size, shares) {
  return image.map((plane) => makePlane(size, (k, l) =>
    total(shares(plane, [k, l]).map(({ value, share }) => (share === 0 ? 0 : value * share)))));
}

/** What is added up to dL/dI[row,column] of a plane: {k, l, value, factor, product} for each window that it lies in. */
function poolInputTerms(plane, upstream, shares, row, column) {
  return makePlane(sizeOf(upstream), (k, l) => ({ k, l })).flat().flatMap(({ k, l }) =>
    shares(plane, [k, l]).filter((cell) => cell.row === row && cell.column === column).map(({ share }) => {
      const value = upstream[k][l];
      return { k, l, value, factor: share, product: value * share };
    }));
}

/** dL/dI: each output gives every pixel of its window its share of dL/dO. */
function poolInputGradient(image, upstream, shares) {
  return image.map((plane, c) => {
    const gradient = makePlane(sizeOf(plane), () => 0);
    upstream[c].forEach((line, k) => line.forEach((value, l) => {
      for (const { row, column, inside, share } of shares(plane, [k, l])) {
        if (inside) gradient[row][column] += value * share;
      }
    }));
    return gradient;
  });
}

/* --------------------------------------------------------------------------------- dropout and normalisation */

/** What each element is multiplied with, forward and backward: 0 where u < p, else 1 / (1 - p). */
function dropoutFactor(u, p) {
  return u < p || p === 1 ? 0 : 1 / (1 - p);
}

/** One channel: the values of all its pixels in all images, as one list. */
function batchNorm(values, gamma, beta, eps) {
  const mean = total(values) / values.length;
  const variance = total(values.map((value) => (value - mean) ** 2)) / values.length;
  const scale = 1 / Math.sqrt(variance + eps);
  const normalised = values.map((value) => (value - mean) * scale);
  return { mean, variance, scale, normalised, output: normalised.map((value) => value * gamma + beta) };
}

/** The gradients; `meanUpstream` and `meanProduct` are what reaches x by way of the mean and of the variance. */
function batchNormGradient(values, upstream, gamma, eps) {
  const { scale, normalised } = batchNorm(values, gamma, 0, eps);
  const products = upstream.map((g, place) => g * normalised[place]);
  const meanUpstream = total(upstream) / values.length, meanProduct = total(products) / values.length;
  const input = upstream.map((g, place) => gamma * scale * (g - meanUpstream - normalised[place] * meanProduct));
  return { input, gamma: total(products), beta: total(upstream), meanUpstream, meanProduct };
}

/* --------------------------------------------------------------------------------- distributions and losses */

/** y_i = e^(x_i - m) / sum of them; the largest value m is taken off so that nothing overflows. */
function softmax(x) {
  const largest = Math.max(...x);
  const powers = x.map((value) => Math.exp(value - largest));
  const sum = total(powers);
  return { largest, powers, sum, output: powers.map((power) => power / sum) };
}

/** dL/dx_i = y_i (g_i - sum over j of g_j y_j). */
function softmaxGradient(x, upstream) {
  const { output } = softmax(x);
  const mean = total(output.map((y, place) => y * upstream[place]));
  return { mean, input: output.map((y, place) => y * (upstream[place] - mean)) };
}

/** L = -sum of t_i log y_i with log y_i = x_i - m - log sum; a class with t_i = 0 adds nothing. */
function crossEntropy(x, target) {
  const { largest, sum, output } = softmax(x);
  const logarithms = x.map((value) => value - largest - Math.log(sum));
  const terms = target.map((t, place) => (t === 0 ? 0 : -t * logarithms[place]));
  return { output, logarithms, terms, loss: total(terms) };
}

/** dL/dx_i = y_i - t_i, where the target adds up to 1. */
function crossEntropyGradient(x, target, upstream) {
  const all = total(target);
  return softmax(x).output.map((y, place) => upstream * (y * all - target[place]));
}

/** 1 / (1 + e^-x), written so that neither side overflows. */
function sigmoid(x) {
  const power = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + power) : power / (1 + power);
}

function sigmoidGradient(x, upstream) {
  return upstream * sigmoid(x) * sigmoid(-x);
}

/** L = -t log y - (1 - t) log(1 - y), with logarithms cut off at -100. */
function binaryCrossEntropy(y, t) {
  const logarithm = (value) => Math.max(Math.log(value), -100);
  return -t * logarithm(y) - (1 - t) * logarithm(1 - y);
}

function binaryCrossEntropyGradient(y, t, upstream) {
  return upstream * (y - t) / Math.max(y * (1 - y), 1e-12);
}

/** The terms p_i (log p_i - log q_i) of KL(p|q); a class with p_i = 0 adds nothing. */
function divergenceTerms(p, q) {
  return p.map((share, place) => (share === 0 ? 0 : share * (Math.log(share) - Math.log(q[place]))));
}

/** dL/dq_i = -p_i / q_i. */
function divergenceGradient(p, q) {
  return p.map((share, place) => (share === 0 ? 0 : -share / q[place]));
}

/** sum of p_i log q_i: for q = p minus the entropy, else minus the cross-entropy. */
function expectedLogarithm(p, q) {
  return total(p.map((share, place) => (share === 0 ? 0 : share * Math.log(q[place]))));
}
