"use strict";

/* A grid of numbers: an image, filters, a gradient, a matrix. Its cells can be edited, or chosen, or only looked at.

   The table is built anew only when its shape changes, so that whoever types keeps the cursor. Inside a grid the arrow
   keys move, and only one cell is a stop of the Tab key. */

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [1, 0] };

class Grid {
  /** options: symbol, hue; small for cells that show a number by their colour alone, upright for a row that stands as a
      column; choose(place) makes cells buttons; edit(place, number) makes them fields for numbers that
      obey `rule`, and visit(place) is told which of them is entered. */
  constructor(name, options) {
    Object.assign(this, options);
    this.problems = new Map();
    this.cells = new Map();
    this.body = make("div", { class: "planes" });
    this.size = make("span", { class: "size" });
    this.message = make("p", { class: "cell-problem", role: "status", hidden: "" });
    // What holds no control must be a stop of the Tab key itself, to be scrolled with the keyboard.
    const region = this.edit || this.choose ? {} : { tabindex: "0", role: "region", "aria-label": this.symbol };
    this.scroll = make("div", { class: "scroll", ...region }, this.body);
    const caption = make("figcaption", {}, named(this.symbol), " ", this.size);
    const kind = this.small ? " small" : this.upright ? " upright" : "";
    const look = { class: `numbers hue-${this.hue}${kind}`, "data-grid": name };
    this.element = make("figure", look, caption, this.scroll, this.message);
    this.element.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Show planes of numbers.

      marks: a Map from the places, as texts, that the chosen element is made of, to {note}; chosen: its own place.
      frame, frameText: rows and columns of padding around each plane, and what stands in them.
      rowNames, columnNames: if they are not numbered; down: how many planes stand below one another; channels: of
      filters, as many planes belong to each; shaded: the larger a
      number, the darker its cell, as in a picture. */
  update(planes, { marks = new Map(), chosen = null, ...layout } = {}) {
    if (this.small) this.largest = Math.max(...planes.flat(2).map(Math.abs), 1e-300);
    const sizes = planes.map((plane) => [plane.length, plane[0]?.length ?? 0]);
    const shape = JSON.stringify([sizes, layout]);
    if (shape !== this.shape) this.#build(planes, sizes[0] ?? [0, 0], layout);
    this.shape = shape;
    for (const [key, cell] of this.cells) this.#show(cell, planes, marks.get(key), key === String(chosen));
    this.#keepOneStop(chosen);
  }

  /** Forget what was typed and could not be read; the next update shows the numbers. */
  forgetProblems() {
    this.problems.clear();
    this.#tellProblems();
    this.shape = null;
  }

  /** Scroll within the grid so that what is marked can be seen. */
  reveal() {
    const marked = this.body.querySelector(".touched, .chosen");
    if (!marked) return;
    const [outer, place] = [this.scroll, marked].map((element) => element.getBoundingClientRect());
    if (place.top < outer.top || place.bottom > outer.bottom) {
      this.scroll.scrollTop += place.top - outer.top - outer.height / 2;
    }
    if (place.left < outer.left || place.right > outer.right) {
      this.scroll.scrollLeft += place.left - outer.left - outer.width / 2;
    }
  }

  #build(planes, [rows, columns], { frame = [0, 0], frameText = "0", down = planes.length, channels, ...names }) {
    this.cells.clear();
    this.forgetProblems();
    this.channels = channels;
    const counts = channels ? [planes.length / channels, channels] : planes.length > 1 ? [planes.length] : [];
    this.isNamed = planes.length > 1;
    if (!this.small) this.largest = names.shaded ? Math.max(...planes.flat(2)) : 0;
    this.columns = (columns + 2 * frame[1]) * Math.ceil(planes.length / (down || 1));
    this.size.textContent = [...counts, rows, columns].join(" × ");
    this.body.style.gridTemplateRows = `repeat(${down}, auto)`;
    this.body.replaceChildren(...planes.map((plane, p) => this.#table(plane, p, frame, frameText, names)));
  }

  #table(plane, p, frame, frameText, { rowNames, columnNames }) {
    const [rows, columns] = [plane.length, plane[0].length].map((count, axis) =>
      range(count + 2 * frame[axis]).map((each) => each - frame[axis]));
    const heading = (names, each, scope) => make("th", { scope }, String(names ? names[each] ?? "" : each));
    const head = make("tr", {}, make("td"), ...columns.map((column) => heading(columnNames, column, "col")));
    const body = rows.map((row) => make("tr", {}, heading(rowNames, row, "row"),
      ...columns.map((column) => this.#cell(plane, [p, row, column], frameText))));
    const caption = this.isNamed ? [make("caption", {}, `${this.small ? "" : this.symbol}[${this.#planeOf(p)}]`)] : [];
    return make("table", { class: "cells" }, ...caption, make("thead", {}, head), make("tbody", {}, ...body));
  }

  #cell(plane, place, frameText) {
    const inside = plane[place[1]]?.[place[2]] !== undefined;
    const control = inside ? this.#control(place) : make("span", {}, frameText);
    control.classList.add("number");
    const note = make("small", { class: "note", "aria-hidden": "true" });
    const element = make("td", { "data-place": String(place) }, control, note);
    this.cells.set(String(place), { element, control, note, inside, place });
    return element;
  }

  #control(place) {
    const label = this.#nameOf(place);
    if (this.edit) {
      const traits = { type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false", tabindex: "-1" };
      const input = make("input", { ...traits, "aria-label": label });
      input.addEventListener("input", () => this.#read(place, input));
      input.addEventListener("focus", () => {
        input.select();
        this.#keepOneStop(place);
        this.visit(place);
      });
      return input;
    }
    if (this.choose) return makeButton({ tabindex: "-1", "aria-label": label }, "", () => this.choose(place));
    return make("span");
  }

  /** The name of an element: the plane is part of it only where there is more than one. */
  #nameOf([plane, ...rest]) {
    return `${this.symbol}[${[...(this.isNamed ? [this.#planeOf(plane)] : []), ...rest].join(",")}]`;
  }

  /** The plane as PyTorch's shape has it: a channel, or a filter and a channel. */
  #planeOf(plane) {
    return this.channels ? `${Math.floor(plane / this.channels)},${plane % this.channels}` : String(plane);
  }

  #show({ element, control, note, inside, place }, planes, mark, isChosen) {
    const traits = [!inside && "outside", mark && "touched", isChosen && "chosen"];
    const look = traits.filter(Boolean).join(" ");
    if (element.className !== look) element.className = look;
    if (note.textContent !== (mark?.note ?? "")) note.textContent = mark?.note ?? "";
    if (!inside) return;
    element.classList.toggle("shaded", Boolean(this.largest));
    if (this.choose) control.setAttribute("aria-current", isChosen);
    const number = at(planes, place);
    this.#colour(element, number);
    if (this.edit) this.#showEditable(element, control, place, number);
    else if (element.dataset.value !== String(number)) {
      if (!this.small) control.textContent = show(number);
      element.title = String(number);
      if (this.choose) control.setAttribute("aria-label", `${this.#nameOf(place)} = ${show(number)}`);
    }
    element.dataset.value = number;
  }

  /** The larger a number, the stronger the colour; where only colour tells it, negative ones have another. */
  #colour(element, number) {
    if (!this.largest) return;
    const most = this.small ? 100 : 45, size = this.small ? Math.abs(number) : Math.max(number, 0);
    element.style.setProperty("--share", `${Math.round(most * size / this.largest)}%`);
    element.classList.toggle("negative", this.small && number < 0);
  }

  /** What cannot be read stays as it was typed; so does what can be, such as "1.50", if it is the number. */
  #showEditable(element, input, place, number) {
    const isWrong = this.problems.has(String(place));
    if (!isWrong && readNumber(input.value, this.rule).number !== number) input.value = editable(number);
    input.style.width = `${Math.max(input.value.length, 1) + 1.5}ch`;
    input.classList.toggle("wrong", isWrong);
    input.setAttribute("aria-invalid", isWrong);
  }

  #read(place, input) {
    const { number, problem } = readNumber(input.value, this.rule);
    const cell = this.cells.get(String(place));
    if (problem) this.problems.set(String(place), { place, problem, kept: Number(cell.element.dataset.value) });
    else this.problems.delete(String(place));
    this.#tellProblems();
    if (problem) this.#showEditable(cell.element, input, place, null);
    else this.edit(place, number);
  }

  #tellProblems() {
    this.message.hidden = this.problems.size === 0;
    this.message.replaceChildren(...[...this.problems.values()].map(({ place, problem, kept }) =>
      make("span", {}, `${this.#nameOf(place)}: ${problem} ${word("cell_kept", { kept: show(kept) })}`)));
  }

  #keepOneStop(place) {
    if (!this.edit && !this.choose) return;
    const usable = [...this.cells.values()].filter(({ inside }) => inside);
    const stop = this.cells.get(String(place)) ?? usable.find(({ control }) => control.tabIndex === 0) ?? usable[0];
    for (const { control } of usable) control.tabIndex = control === stop.control ? 0 : -1;
  }

  /** Arrow keys move from cell to cell; within a text that is being typed they move in it first. */
  #move(event) {
    const step = STEPS[event.key], from = event.target.closest("td")?.dataset.place;
    if (!step || !from || event.ctrlKey || event.altKey || event.metaKey) return;
    const isTyping = event.target.matches("input");
    if (event.key === "Enter" && !isTyping) return; // it presses the button
    if (isTyping && step[1] !== 0) {
      const { selectionStart: start, selectionEnd: end, value } = event.target;
      const isWhole = end - start === value.length, edge = step[1] < 0 ? 0 : value.length;
      if (!isWhole && !(start === end && start === edge)) return;
    }
    event.preventDefault();
    event.stopPropagation();
    const [plane, row, column] = from.split(",").map(Number);
    const target = this.cells.get(String([plane, row + step[0], column + step[1]]));
    if (!target?.inside) return;
    target.control.focus();
    if (this.choose && !isTyping) this.choose(target.place);
  }
}
