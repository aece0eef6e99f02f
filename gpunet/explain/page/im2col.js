"use strict";

/* A convolution as one matrix product: im2col(I) · F = O, with what the chosen element is made of marked in it. */

class Im2col {
  constructor() {
    const grid = (name, symbol, hue) => new Grid(name, { symbol, hue });
    this.rows = grid("rows", "im2col(I)", "one");
    this.filters = grid("filters", "F", "two");
    this.output = grid("product", "O", "three");
    this.upstream = grid("upstream", "∂L/∂O", "three");
    this.signs = ["·", "="].map((sign) => make("span", { class: "sign", "aria-hidden": "true" }, sign));
    part("product").append(this.rows.element, this.signs[0], this.filters.element, this.signs[1],
      this.output.element, this.upstream.element);
  }

  /** Show the matrices; `view` says what is chosen at `place`: an element of O, or of the gradient by I or F. */
  update(program, state, values, view, place) {
    const { input: image, weight, output, gradient } = values, window = state.settings;
    const positions = placesOf([output[0]]).map(([, ...position]) => position);
    const filters = range(window.filters).map((o) => weight.slice(o * image.length, (o + 1) * image.length));
    const elements = placesOf([filters[0][0]]).flatMap(([, i, j]) => image.map((_, c) => [c, i, j])); // as in memory
    const nameOfElement = (element) => (image.length > 1 ? element : element.slice(1)).join(",");
    const [rowNames, columnNames] = [positions.map((position) => position.join(",")), elements.map(nameOfElement)];
    const asColumns = (planes) => [positions.map(([k, l]) => planes.map((plane) => plane[k][l]))]; // (Ho*Wo, O)
    const marks = this.#marks(program, state, values, view, place, positions, elements);
    this.rows.update([im2col(image, window)], { rowNames, columnNames, marks: marks.rows });
    const transposed = elements.map(([c, i, j]) => filters.map((filter) => filter[c][i][j])); // (kh*kw*C, O)
    this.filters.update([transposed], { rowNames: columnNames, marks: marks.filters });
    this.output.update(asColumns(output), { rowNames, marks: marks.results });
    this.upstream.update(asColumns(gradient), { rowNames, marks: marks.results });
    const isForward = view === "output";
    for (const each of [this.output.element, ...this.signs]) each.hidden = !isForward;
    this.upstream.element.hidden = isForward;
    for (const each of [this.rows, this.filters, this.output, this.upstream]) each.reveal();
    this.#tellSizes(view, image, window, { M: positions.length, K: elements.length, N: filters.length });
  }

  /** Which cells of the rows, the filters and the result belong to the chosen element. */
  #marks(program, { settings: window }, values, view, [p, a, b], positions, elements) {
    const { input: image } = values;
    const rowOf = (k, l) => positions.findIndex((each) => each[0] === k && each[1] === l);
    const columnOf = (c, i, j) => (i * window.kernel[1] + j) * image.length + c;
    const marked = (places) => new Map(places.map((place) => [String([0, ...place]), {}]));
    if (view === "output") { // O[p,a,b]: a row times a column
      const row = rowOf(a, b);
      return {
        rows: marked(elements.map((_, column) => [row, column])), filters: marked(elements.map((_, each) => [each, p])),
        results: marked([[row, p]]),
      };
    }
    if (view === "weight_gradient") { // a column of im2col times the gradient
      const [o, c] = [Math.floor(p / image.length), p % image.length], column = columnOf(c, a, b);
      return {
        rows: marked(positions.map((_, row) => [row, column])), filters: marked([[column, o]]),
        results: marked(positions.map((_, row) => [row, o])),
      };
    }
    const tree = program.trees.input_gradient;
    const terms = gradientTerms(tree, program.trees, values, window, [p, a, b]); // the pixel, wherever it stands
    return {
      rows: marked(terms.map(({ output: [, k, l], by: [, i, j] }) => [rowOf(k, l), columnOf(p, i, j)])),
      filters: marked(terms.map(({ output: [o], by: [, i, j] }) => [columnOf(p, i, j), o])),
      results: marked(terms.map(({ output: [o, k, l] }) => [rowOf(k, l), o])),
    };
  }

  #tellSizes(view, image, window, { M, K, N }) {
    const pixels = total(image.map((plane) => plane.length * plane[0].length));
    const bytes = word("bytes", { bytes: 4 * M * K });
    const times = word("times_image", { times: show((M * K) / pixels), bytes: 4 * pixels });
    const tile = (name, value, detail) => make("div", {}, make("dt", {}, word(name)),
      make("dd", {}, named(value), make("span", { class: "soft" }, detail)));
    part("product-sizes").replaceChildren(
      make("p", { class: "equation" }, word(`product_${view}`)),
      make("dl", { class: "tiles" },
        tile("product_size", `(${M} × ${K}) · (${K} × ${N})`, `= (${M} × ${N})`),
        tile("product_work", String(2 * M * K * N), `= 2·${M}·${K}·${N}`),
        tile("product_bytes", bytes, rowsArePixels(window) ? word("rows_are_pixels") : `= ${M}·${K}·4, ${times}`)));
  }
}
