"use strict";

/* The cycle of every page: what the reader changes or chooses -> the arithmetic -> what is shown. */

class Workbench {
  constructor(program) {
    this.program = program;
    this.state = structuredClone(page.state);
    this.view = program.views[0]; // the name of the grid that is stepped through
    this.compute();
    this.player = new Player((step) => this.choose(this.view, step));
    part("player").append(this.player.element);
    this.#buildStage();
    this.#buildViews();
    this.#buildButtons();
    this.#buildSettings();
    this.im2col = part("product") && new Im2col();
    part("controls").open = !window.matchMedia("(max-width: 46rem), (max-height: 30rem)").matches;
    document.addEventListener("keydown", (event) => this.#keys(event));
    window.addEventListener("resize", () => this.#fitStage());
    document.body.classList.toggle("small", program.small);
    this.choosePlace(this.view, page.chosen);
  }

  /** The elements that are stepped through. */
  places() {
    return placesOf(this.values?.[this.view] ?? []);
  }

  choose(view, step) {
    Object.assign(this, { view, step });
    this.show();
  }

  choosePlace(view, place) {
    this.view = view;
    this.choose(view, this.places().findIndex((each) => samePlace(each, place)));
  }

  /** After a change of numbers or settings. */
  refresh() {
    this.compute();
    this.show();
  }

  compute() {
    const { program, state } = this;
    program.fit(state);
    this.problem = program.problem(state);
    this.values = this.problem ? null : program.compute(state);
  }

  show() {
    const { program, state, view, values } = this;
    const places = this.places();
    this.step = Math.min(Math.max(this.step, 0), Math.max(places.length - 1, 0));
    const place = places[this.step];
    const { sum, touched } = values ? spellStep(program, state, values, view, place) : { sum: [], touched: [] };
    this.#drawGrids(place, touched);
    this.#fitStage();
    this.#tell(this.problem, values ? program.notices(state) : []);
    part("general").replaceChildren(...program.general(view));
    part("sum").replaceChildren(...sum);
    part("formulas").replaceChildren(...(values ? program.details(state, values, view, place) : []));
    document.body.classList.toggle("unsolved", !values);
    this.player.update(this.step, places.length);
    for (const update of this.settings) update(state.settings);
    for (const [name, radio] of this.radios) radio.checked = name === view;
    if (!values) return;
    program.showPicture(state, values, view, place);
    this.im2col?.update(program, state, values, view, place);
  }

  #drawGrids(place, touched) {
    const marks = new Map([...this.grids.keys()].map((name) => [name, new Map()]));
    for (const { grid, place: where, note } of touched) marks.get(grid)?.set(String(where), { note });
    for (const [name, grid] of this.grids) {
      const shown = this.values || name !== "gradient"; // where there is no output, it has no gradient either
      const planes = this.values?.[name] ?? (shown ? this.state.grids[name] : null) ?? [];
      const chosen = name === this.view ? place : null;
      grid.update(planes, { ...this.program.look(name, this.state), marks: marks.get(name), chosen });
    }
  }

  /** The more columns stand side by side, the smaller are the cells; what is told stands beside them if it fits. */
  #fitStage() {
    const widths = this.program.columns.map((names) => names.flat().map((name) => this.grids.get(name).columns));
    part("stage").style.setProperty("--total", total(widths.map((each) => Math.max(...each))));
    const [desk, stage] = [part("desk"), part("stage")];
    desk.classList.remove("wide");
    const isNarrow = window.matchMedia("(max-width: 46rem)").matches;
    desk.classList.toggle("wide", isNarrow || stage.scrollWidth > stage.clientWidth + 1);
  }

  #tell(problem, notices) {
    const lines = (list) => list.map((text) => make("p", {}, text));
    part("problem").replaceChildren(...lines(problem ? [problem] : []));
    part("notices").replaceChildren(...lines(notices));
  }

  /** Values stand in the first row, their gradients below them; a phone shows those in the order of the way back. */
  #buildStage() {
    this.grids = new Map();
    const put = (element, row, column) => {
      element.style.setProperty("--row", row + 1);
      element.style.setProperty("--column", column + 1);
      element.style.setProperty("--order", row ? 100 - column : column);
      part("stage").append(element);
    };
    const grid = (name) => {
      this.grids.set(name, new Grid(name, this.#gridOptions(name)));
      return this.grids.get(name).element;
    };
    for (const [place, names] of this.program.columns.entries()) {
      const sign = make("span", { class: "sign", "aria-hidden": "true" }, this.program.signs[place - 1] ?? "");
      if (place) put(sign, 0, 2 * place - 1);
      for (const [row, name] of names.entries()) {
        put(Array.isArray(name) ? make("div", { class: "beside" }, ...name.map(grid)) : grid(name), row, 2 * place);
      }
    }
    part("below").append(...this.program.below.map((names) => make("div", {}, ...names.map(grid))));
  }

  /** What is computed can be chosen, what is given can be edited; to enter it shows the gradient by it, on that way. */
  #gridOptions(name) {
    const { program } = this, { hue, rule } = program.named[name];
    const isRow = this.values?.[name]?.[0].length === 1, gradient = `${name}_gradient`;
    const look = program.small ? { small: !isRow, upright: isRow } : {};
    const options = { symbol: program.symbol(name), hue, ...look };
    if (name in program.trees) return { ...options, choose: (place) => this.choosePlace(name, place) };
    if (program.small && gradient in program.trees) options.choose = (place) => this.choosePlace(gradient, place);
    if (program.small) return options;
    return {
      ...options, rule,
      edit: ([plane, row, column], number) => {
        this.state.grids[name][plane][row][column] = number;
        this.refresh();
      },
      visit: (place) => {
        if (this.view === `${name}_gradient` && this.values) this.choosePlace(this.view, place);
      },
    };
  }

  #buildViews() {
    this.radios = new Map();
    for (const view of this.program.views) {
      const radio = make("input", { type: "radio", name: "view", value: view });
      radio.addEventListener("change", () => this.choose(view, 0));
      this.radios.set(view, radio);
      const way = word(this.program.isBackward(view) ? "backward" : "forward");
      part("views").append(make("label", {}, radio, make("span", {}, way, " ", named(this.program.symbol(view)))));
    }
  }

  #buildButtons() {
    const after = (act) => {
      act();
      for (const grid of this.grids.values()) grid.forgetProblems();
      this.refresh();
    };
    const button = (name, act) => makeButton({ "data-do": name }, word(name), () => after(act));
    part("buttons").append(
      button("reset", () => { this.state = structuredClone(page.state); }),
      ...this.program.actions().map(({ name, act }) => button(name, () => act(this.state))));
    if (!page.digits.length) return;
    const choices = [word("digit"), ...range(10)];
    const select = make("select", { "aria-label": word("digit"), "data-do": "digit" },
      ...choices.map((name, place) => make("option", { value: place - 1 }, String(name))));
    select.addEventListener("change", () => {
      if (Number(select.value) >= 0) after(() => this.program.showDigit(this.state, Number(select.value)));
    });
    part("buttons").append(select);
  }

  /** A field for each setting; two, for rows and for columns, where those differ at the start. */
  #buildSettings() {
    this.settings = []; // functions that bring the fields up to date
    for (const field of this.program.fieldsOf()) {
      const opening = this.state.settings[field.name];
      const together = !Array.isArray(opening) || opening[0] === opening[1];
      for (const axis of together ? [null] : [0, 1]) {
        const change = (value) => {
          const pair = this.state.settings[field.name];
          if (!Array.isArray(pair)) this.state.settings[field.name] = value;
          else for (const each of together ? [0, 1] : [axis]) pair[each] = value;
          this.refresh();
        };
        const shown = field.switch ? new Switch(field, change) : new Field(field, axis, change);
        this.settings.push((settings) => shown.update([settings[field.name]].flat()[axis ?? 0]));
        part("settings").append(shown.element);
      }
    }
  }

  /** Arrows and the space bar, where no control has them for itself. */
  #keys(event) {
    const busy = event.target.closest("input, button, select, summary, a, [tabindex]");
    if (busy || event.ctrlKey || event.altKey || event.metaKey) return;
    const acts = {
      ArrowLeft: () => this.player.move(-1), ArrowRight: () => this.player.move(1), " ": () => this.player.toggle(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }
}

new Workbench(new Program(page));
