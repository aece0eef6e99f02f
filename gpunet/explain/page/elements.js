"use strict";

/* What the page is made of: its words, numbers as text and text as numbers, elements, spelled out sums, formulas. */

const page = JSON.parse(document.getElementById("exercise").textContent);
const part = (identity) => document.getElementById(identity);

/** A text of the page in its language, with values in the places of {name}. */
function word(key, values = {}) {
  return page.words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/* ---------------------------------------------------------------------------------------------------- numbers */

/** A number as people read it, as gpunet/explain/grids.py writes it: whole, or of four digits. */
function show(number) {
  if (Number.isNaN(number)) return "?";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const size = Math.abs(number);
  if (Number.isInteger(number) && size < 1e9) return String(number + 0).replace("-", "−");
  const isOrdinary = size >= 1e-3 && size < 1e6;
  const decimals = Math.max(3 - Math.floor(Math.log10(size)), 0);
  const text = isOrdinary ? String(Number(number.toFixed(decimals))) : number.toExponential(2).replace("+", "");
  return text.replaceAll("-", "−");
}

/** In a product or a sum, negative numbers stand in parentheses. */
function inner(number) {
  return number < 0 ? `(${show(number)})` : show(number);
}

/** As `show`, in a field that can be edited: with the minus sign of the keyboard. */
function editable(number) {
  return show(number).replaceAll("−", "-");
}

/* What a cell may hold: a rule says of a number with which word it is refused, or null. */
const RULES = {
  number: () => null,
  probability: (number) => (number < 0 || number > 1 ? "cell_probability" : null),
  certainty: (number) => (number < 1e-9 || number > 1 - 1e-9 ? "cell_between" : null),
  draw: (number) => (number < 0 || number >= 1 ? "cell_draw" : null),
  positive: (number) => (number <= 0 ? "cell_positive" : null),
};

/** What a reader typed, "1,5" as well as "1.5": {number}, or {problem} with what is wrong. */
function readNumber(typed, rule = "number") {
  const refuse = (key) => ({ problem: word(key, { typed, largest: page.limits.largest }) });
  const plain = typed.trim().replace("−", "-").replace(",", ".");
  if (plain === "") return refuse("cell_empty");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return refuse("cell_no_number");
  const number = Number(plain);
  const key = Math.abs(number) < page.limits.largest ? RULES[rule](number) : "cell_too_large";
  return key ? refuse(key) : { number };
}

/** Numbers that look random and are the same each time the page is opened (mulberry32). */
const random = (() => {
  let state = 20150318;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
})();
const randomWhole = (low, high) => low + Math.floor(random() * (high - low + 1));

/* --------------------------------------------------------------------------------------------------- elements */

const NAMESPACES = { math: "http://www.w3.org/1998/Math/MathML", svg: "http://www.w3.org/2000/svg" };

function makeIn(namespace, name, attributes, children) {
  const element = namespace ? document.createElementNS(NAMESPACES[namespace], name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const make = (name, attributes = {}, ...children) => makeIn(null, name, attributes, children);
const draw = (name, attributes = {}, ...children) => makeIn("svg", name, attributes, children);

/** A button that says what it does, or shows a sign and says it to those who cannot see it. */
function makeButton(attributes, shown, act) {
  const button = make("button", { type: "button", ...attributes }, shown);
  button.addEventListener("click", act);
  return button;
}

/** Nodes with a text between each two of them. */
function between(nodes, separator) {
  return nodes.flatMap((node, place) => (place === 0 ? [node] : [separator, node]));
}

/** A line of text below, for those who want to know more. */
const remark = (key, values) => make("p", { class: "soft" }, word(key, values));

/* ------------------------------------------------------------------------------------------------ spelled out */

/** A text with elements in it, spelled`a ${element} b`, as a list of nodes. */
function spelled(texts, ...elements) {
  return texts.flatMap((text, place) => [text, ...[elements[place] ?? ""].flat()]);
}

const named = (name) => make("b", {}, name);
const asResult = (number) => make("b", { class: "result", "data-value": number }, show(number));

/** A number in the colour of the grid that it stands in. */
const coloured = (text, hue) => make("span", { class: `hue-${hue}` }, text);

/* --------------------------------------------------------------------------------------------------- formulas */

/* MathML out of short texts: of "H = 2 + P" every name, number and sign becomes an element of its own. */
const math = (name, ...children) => makeIn("math", name, {}, children);

function mathTokens(piece) {
  if (piece instanceof Node) return [piece];
  return (String(piece).match(/\d+(\.\d+)?(e[+−]?\d+)?|\p{L}\u0302?\p{L}*|\S/gu) ?? []).map((token) =>
    math(/^\d/.test(token) ? "mn" : /^\p{L}/u.test(token) ? "mi" : "mo", token));
}
const mathRow = (...pieces) => math("mrow", ...pieces.flatMap(mathTokens));
const fraction = (over, under) => math("mfrac", mathRow(over), mathRow(under));
const sub = (base, index) => math("msub", mathRow(base), mathRow(index));
const power = (base, exponent) => math("msup", mathRow(base), mathRow(exponent));
const root = (piece) => math("msqrt", mathRow(piece));
const below = (base, index) => math("munder", mathRow(base), mathRow(index));
const sumOver = (index) => below("∑", index);
const partial = (of, by) => fraction(mathRow("∂", of), mathRow("∂", by));

const [BREAK, GAP] = [Symbol("break"), Symbol("gap")];

/** formula`H = ${fraction("a", "b")}` on a line of its own, which may be broken at BREAK; at GAP another one begins. */
function formula(texts, ...elements) {
  const pieces = [{ content: [], style: "piece" }];
  for (const each of texts.flatMap((text, place) => [text, ...[elements[place] ?? ""].flat()])) {
    if (each === BREAK || each === GAP) pieces.push({ content: [], style: each === GAP ? "piece gap" : "piece" });
    else pieces.at(-1).content.push(each);
  }
  const shown = pieces.map(({ content, style }) => {
    const row = mathRow(...content);
    if (row.firstChild?.localName === "mo") row.firstChild.setAttribute("form", "infix"); // a sign that begins a line
    return make("span", { class: style }, makeIn("math", "math", { displaystyle: "true" }, [row]));
  });
  return make("div", { class: "formula scroll" }, ...between(shown, " "));
}

/* The pieces of a formula that is written as text, "dI[c,k,l] = Σ over o of dO[o,k,l] · F[o,c,i,j]", and what they
   become; what is none of them becomes tokens of its own. */
const WRITTEN = [
  [/^Σ (?:over|sobre) ([^ ]+) (?:of|de) /, (index) => sumOver(index)],
  [/^(max|máx) (?:over|sobre) ([^ ]+) (?:of|de) /, (name, index) => below(name, index)],
  [/^d([IFOxyqγβWbs][₁₂]?)(?:\[([^\]]*)\])?(?![\p{L}])/u, (name, index) =>
    partial("L", index ? sub(name, index) : name)],
  [/^([\p{L}]['′]?)\[([^\]]*)\]/u, (name, index) => sub(name, index)],
  [/^e\^x\[(\w)\]/, (index) => power("e", sub("x", index))],
  [/^√\(([^)]*)\)/, (inside) => root(inside)],
  [/^((?:\p{L}{2,}[ ,;]*)+)/u, (words) => math("mtext", `\u00a0${words.trim()}\u00a0`)],
];

/** A formula of text as MathML, which may be broken behind a comma. */
function mathText(text) {
  return formula`${between(text.split(/(?<=,) (?![^\[]*\])/).map(mathPieces), BREAK).flat()}`;
}

function mathPieces(text) {
  const pieces = [];
  let left = text, plain = "";
  while (left) {
    const [pattern, make_] = WRITTEN.find(([each]) => each.test(left)) ?? [];
    if (!pattern) {
      plain += left[0];
      left = left.slice(1);
      continue;
    }
    const found = left.match(pattern);
    pieces.push(plain, make_(...found.slice(1)));
    plain = "";
    left = left.slice(found[0].length);
  }
  return [...pieces, plain].filter((piece) => piece !== "");
}
