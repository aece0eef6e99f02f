"use strict";

/* What a page can be asked about its operation; the families of operations answer.

   The state of a lesson is {grids: {name: planes}, settings: {name: number or [rows, columns]}}. A place in a grid is
   [plane, row, column]. */

class Lesson {
  /** All grids: {symbol, hue}, where the hue tells what belongs together. */
  grids = {};
  /** The rule that the numbers of a grid obey, for each grid that can be edited. */
  editable = {};
  /** The grids of the stage, column by column from left to right, and the signs between the columns. */
  columns = [];
  signs = [];
  /** What can be stepped through: {name, grid}, the first is the way forward; `of` is what a gradient is one by. */
  views = [];
  /** Further buttons: {name, act(state)}. */
  actions = [];

  /** The settings, as Field and Switch take them. */
  fields() {
    return [];
  }

  /** Make the grids as large as the settings say. */
  fit(_state) {}

  /** Why nothing can be computed: {key, values} of a word, or null. */
  problem(_state) {
    return null;
  }

  /** What the reader should know although it can be computed: a list of {key, values}. */
  notices(_state) {
    return [];
  }

  /** The planes of all grids that are computed, by name, and whatever else the lesson needs to tell. */
  compute(_state) {
    return {};
  }

  /** The chosen element in full: {sum: nodes, touched: [{grid, place, note}]}. */
  spell(_state, _result, _view, _place) {
    return { sum: [], touched: [] };
  }

  /** The formula of what is computed, without numbers. */
  general(_view) {
    return formula``;
  }

  /** Formulas with the numbers in them. */
  formulas(_state, _result, _view, _place) {
    return [];
  }

  /** How a grid is drawn beyond its numbers: the options of Grid.update. */
  look(_name, _state) {
    return {};
  }

  /** Other numbers in the grids that can be edited. */
  shuffle(_state) {}

  /** What else the page shows: built once, then drawn after each change. */
  buildMore() {}
  drawMore(_state, _result, _view, _place) {}
}

/* ----------------------------------------------------------------------------------------------------- planes */

/** Planes of another number and size: what was there stays, the rest is new. */
function resized(planes, count, size, fresh) {
  return range(count).map((p) => makePlane(size, (row, column) => planes[p]?.[row]?.[column] ?? fresh()));
}

/** Planes of the same size, in which each number is change(number, ...place). */
function mapped(planes, change) {
  return planes.map((plane, p) => plane.map((row, r) => row.map((number, column) => change(number, p, r, column))));
}

/** All places of planes, row by row. */
function placesOf(planes) {
  return planes.flatMap((plane, p) => plane.flatMap((row, r) => row.map((_, column) => [p, r, column])));
}

const at = (planes, [p, row, column]) => planes[p][row][column];
const samePlace = (one, other) => String(one) === String(other);

/** A place as formulas write it: the plane only where there is more than one. */
const index = (planes, place) => `[${(planes.length > 1 ? place : place.slice(1)).join(",")}]`;

/* ----------------------------------------------------------------------------------------------------- images */

/** The settings that all images share. */
const imageFields = () => [
  { name: "height", symbol: "H", low: 1, high: page.limits.pixels },
  { name: "width", symbol: "W", low: 1, high: page.limits.pixels },
  { name: "channels", symbol: "C", low: 1, high: page.limits.channels },
];
const imageSize = ({ settings }) => [settings.height, settings.width];
const channelNames = (count) => (count > 1 ? range(count).map((c) => word("channel", { c })) : []);
const IMAGE_GRIDS = {
  input: { symbol: "I", hue: "one" },
  input_gradient: { symbol: "∂L/∂I", hue: "one" },
  output: { symbol: "O", hue: "three" },
  gradient: { symbol: "∂L/∂O", hue: "three" },
};
