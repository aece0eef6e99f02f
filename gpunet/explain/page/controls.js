"use strict";

/* What the reader sets and steps with: fields for the settings, and the player. */

/** A setting that is a number, with buttons for one less and one more.

    field: {name, symbol, low, high}, and {decimal, step, rule} for one that is not whole; `axis` is 0 or 1 for a field
    of rows or of columns alone. */
class Field {
  constructor(field, axis, change) {
    Object.assign(this, { field, change, step: field.step ?? 1 });
    const name = axis === null ? word(field.name) : `${word(field.name)} ${word(axis ? "of_columns" : "of_rows")}`;
    const identity = `field-${field.name}${axis ?? ""}`;
    this.input = make("input", {
      id: identity, type: "text", inputmode: field.decimal ? "decimal" : "numeric", autocomplete: "off",
      "data-field": field.name,
    });
    this.message = make("p", { class: "cell-problem", role: "status", hidden: "" });
    const button = (sign, direction, label) =>
      makeButton({ "aria-label": `${name}: ${word(label)}` }, sign, () => this.#move(direction));
    this.element = make("div", { class: "field" },
      make("label", { for: identity }, name, make("i", {}, ` ${field.symbol ?? ""}`)),
      make("div", { class: "stepper" }, button("−", -1, "less"), this.input, button("+", 1, "more")),
      this.message);
    this.input.addEventListener("input", () => {
      const { number, problem } = readNumber(this.input.value, field.rule);
      if (problem) this.#refuse(problem);
      else this.#take(number);
    });
    this.input.addEventListener("keydown", (event) => {
      const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      this.#move(direction);
    });
  }

  update(value) {
    this.value = value;
    if (readNumber(this.input.value).number !== value) this.input.value = editable(value);
    this.#refuse(null);
  }

  #move(direction) {
    this.#take(Number((this.value + direction * this.step).toFixed(6))); // 0.1 + 0.2 is 0.3 here
  }

  #take(number) {
    const { low, high, decimal } = this.field;
    if (!decimal && !Number.isInteger(number)) this.#refuse(word("field_whole"));
    else if (number < low || number > high) this.#refuse(word("field_range", { low, high }));
    else this.change(number);
  }

  #refuse(problem) {
    this.input.classList.toggle("wrong", problem !== null);
    this.input.setAttribute("aria-invalid", problem !== null);
    this.message.hidden = problem === null;
    this.message.textContent = problem ?? "";
  }
}

/** A setting that is on or off. */
class Switch {
  constructor(field, change) {
    this.input = make("input", { type: "checkbox", "data-field": field.name });
    this.input.addEventListener("change", () => change(this.input.checked));
    this.element = make("label", { class: "field switch" }, this.input, word(field.name));
  }

  update(value) {
    this.input.checked = value;
  }
}

/** Back, play, forward, and a slider over all elements. */
class Player {
  constructor(choose) {
    this.choose = choose;
    const button = (name, sign, act) =>
      makeButton({ "data-do": name, "aria-label": word(name), title: word(name) }, sign, act);
    this.playing = button("play", "▶", () => this.toggle());
    this.slider = make("input", { type: "range", min: "0", step: "1", "aria-label": word("element") });
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value)));
    this.where = make("output", { class: "where" });
    const speeds = [2, 1, 0.5].map((seconds) => make("option", { value: seconds }, `${seconds} s`));
    speeds[1].selected = true;
    this.speed = make("select", { "aria-label": word("speed") }, ...speeds);
    this.speed.addEventListener("change", () => {
      if (this.timer) this.#start();
    });
    this.element = make("div", { class: "player", role: "group", "aria-label": word("player") },
      button("first", "|◀", () => this.choose(0)), button("back", "◀", () => this.move(-1)), this.playing,
      button("next", "▶", () => this.move(1)), this.slider, this.where, this.speed);
  }

  update(step, count) {
    Object.assign(this, { step, count });
    this.slider.max = Math.max(count - 1, 0);
    this.slider.value = step;
    this.where.textContent = count ? `${step + 1} / ${count}` : "";
    for (const control of this.element.querySelectorAll("button, input")) control.disabled = count === 0;
    if (count === 0) this.#stop();
  }

  /** One element further, or back; after the last comes the first. */
  move(by) {
    if (this.count) this.choose((this.step + by + this.count) % this.count);
  }

  toggle() {
    if (this.timer) this.#stop();
    else this.#start();
  }

  #start() {
    clearInterval(this.timer);
    this.timer = setInterval(() => this.move(1), 1000 * Number(this.speed.value));
    this.#tell("pause", "❚❚");
  }

  #stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.#tell("play", "▶");
  }

  /** What the button does now; while it plays, the sums are not read aloud. */
  #tell(name, sign) {
    this.playing.replaceChildren(sign);
    this.playing.setAttribute("aria-label", word(name));
    this.playing.title = word(name);
    part("sum").setAttribute("aria-live", name === "pause" ? "off" : "polite");
  }
}
