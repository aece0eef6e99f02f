"use strict";

/* The cycle of every page: what the reader changes or chooses -> the arithmetic -> what is shown. */

class Workbench {
  constructor(lesson) {
    this.lesson = lesson;
    this.state = structuredClone(page.state);
    this.view = lesson.views[0];
    this.player = new Player((step) => this.choose(this.view, step));
    part("player").append(this.player.element);
    this.#buildStage();
    this.#buildViews();
    this.#buildButtons();
    this.#buildSettings();
    lesson.buildMore();
    document.addEventListener("keydown", (event) => this.#keys(event));
    window.addEventListener("resize", () => this.#fitStage());
    this.compute();
    this.choosePlace(this.view, page.chosen);
  }

  /** The elements that are stepped through. */
  places() {
    return placesOf(this.result?.[this.view.grid] ?? []);
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
    const { lesson, state } = this;
    lesson.fit(state);
    this.problem = lesson.problem(state);
    this.result = this.problem ? null : lesson.compute(state);
  }

  show() {
    const { lesson, state, view, result } = this;
    const places = this.places();
    this.step = Math.min(Math.max(this.step, 0), Math.max(places.length - 1, 0));
    const chosen = [state, result, view, places[this.step]];
    const { sum, touched } = result ? lesson.spell(...chosen) : { sum: [], touched: [] };
    this.#drawGrids(places[this.step], touched);
    this.#fitStage();
    this.#tell(this.problem, result ? lesson.notices(state) : []);
    part("general").replaceChildren(lesson.general(view));
    part("sum").replaceChildren(...sum);
    part("formulas").replaceChildren(...(result ? lesson.formulas(...chosen) : []));
    document.body.classList.toggle("unsolved", !result);
    this.player.update(this.step, places.length);
    for (const update of this.settings) update(state.settings);
    for (const [name, radio] of this.radios) radio.checked = name === view.name;
    if (result) lesson.drawMore(...chosen);
  }

  #drawGrids(place, touched) {
    const marks = new Map([...this.grids.keys()].map((name) => [name, new Map()]));
    for (const { grid, place: where, note } of touched) marks.get(grid).set(String(where), { note });
    for (const [name, grid] of this.grids) {
      const shown = this.result || name !== "gradient"; // where there is no output, it has no gradient either
      const planes = this.result?.[name] ?? (shown ? this.state.grids[name] : null) ?? [];
      const chosen = name === this.view.grid ? place : null;
      grid.update(planes, { ...this.lesson.look(name, this.state), marks: marks.get(name), chosen });
    }
  }

  /** The more columns stand side by side, the smaller are the cells; what is told stands beside them if it fits. */
  #fitStage() {
    const widths = this.lesson.columns.map((names) => names.flat().map((name) => this.grids.get(name).columns));
    part("stage").style.setProperty("--total", total(widths.map((each) => Math.max(...each))));
    const [desk, stage] = [part("desk"), part("stage")];
    desk.classList.remove("wide");
    const isNarrow = window.matchMedia("(max-width: 62rem)").matches;
    desk.classList.toggle("wide", isNarrow || stage.scrollWidth > stage.clientWidth + 1);
  }

  #tell(problem, notices) {
    const lines = (list) => list.map(({ key, values }) => make("p", {}, word(key, values)));
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
    for (const [place, names] of this.lesson.columns.entries()) {
      const sign = make("span", { class: "sign", "aria-hidden": "true" }, this.lesson.signs[place - 1] ?? "");
      if (place) put(sign, 0, 2 * place - 1);
      for (const [row, name] of names.entries()) {
        put(Array.isArray(name) ? make("div", { class: "beside" }, ...name.map(grid)) : grid(name), row, 2 * place);
      }
    }
  }

  #gridOptions(name) {
    const { grids, views, editable } = this.lesson;
    const options = { ...grids[name] };
    const view = views.find((each) => each.grid === name), viewOf = views.find((each) => each.of === name);
    if (view) options.choose = (place) => this.choosePlace(view, place);
    if (name in editable) {
      options.rule = editable[name];
      options.edit = ([plane, row, column], number) => {
        this.state.grids[name][plane][row][column] = number;
        this.refresh();
      };
      options.visit = (place) => {
        if (viewOf && viewOf === this.view && this.result) this.choosePlace(viewOf, place);
      };
    }
    return options;
  }

  #buildViews() {
    this.radios = new Map();
    for (const [order, view] of this.lesson.views.entries()) {
      const radio = make("input", { type: "radio", name: "view", value: view.name });
      radio.addEventListener("change", () => this.choose(view, 0));
      this.radios.set(view.name, radio);
      const symbol = named(this.lesson.grids[view.grid].symbol);
      const shown = make("span", {}, word(order ? "backward" : "forward"), " ", symbol);
      part("views").append(make("label", {}, radio, shown));
    }
  }

  #buildButtons() {
    const button = (name, act) => makeButton({ "data-do": name }, word(name), () => {
      act();
      for (const grid of this.grids.values()) grid.forgetProblems();
      this.refresh();
    });
    part("buttons").append(
      button("reset", () => { this.state = structuredClone(page.state); }),
      button("random", () => this.lesson.shuffle(this.state)),
      ...this.lesson.actions.map(({ name, act }) => button(name, () => act(this.state))));
  }

  /** A field for each setting; two, for rows and for columns, where those differ at the start. */
  #buildSettings() {
    this.settings = []; // functions that bring the fields up to date
    for (const field of this.lesson.fields()) {
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

new Workbench(new LESSONS[page.operation]());
