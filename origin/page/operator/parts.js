// Pieces that several views are made of. All text from outside becomes text nodes.

import { make } from '../shared/dom.js';
import { stateOf } from './words.js';

/** Attributes as they are written, such as `aria-label`. */
export function attributes(node, all) {
  for (const [name, value] of Object.entries(all)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
  return node;
}

/** Sets a text only where it changed: readers of screens are told of changes. */
export function say(node, value) {
  const next = String(value);
  if (node.textContent !== next) node.textContent = next;
  return node;
}

export function badge() {
  return make('span', { className: 'badge' });
}

export function setBadge(node, state) {
  const { word, says } = stateOf(state);
  node.dataset.state = state ?? 'unknown';
  say(node, word);
  node.title = says;
}

/** A card with a heading; `body` is what is put into it. */
export function card(heading, ...body) {
  const id = `h-${heading.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`;
  const head = make('h2', { id, textContent: heading });
  return attributes(make('section', { className: 'card' }, head, ...body), {
    'aria-labelledby': id,
  });
}

/** A list of facts: `set` gives each its value. */
export class Facts {
  #values = new Map();

  constructor(names) {
    this.node = make('dl', { className: 'facts' });
    for (const name of names) {
      const value = make('dd', { textContent: '–' });
      this.#values.set(name, value);
      this.node.append(make('div', {}, make('dt', { textContent: name }), value));
    }
  }

  set(name, value, tone = '') {
    const node = this.#values.get(name);
    say(node, value);
    if (node.dataset.tone !== tone) node.dataset.tone = tone;
  }
}

/**
 * What a table's elements are, said again: on a phone rows are laid out as cards, and browsers then
 * forget that they were a table.
 */
function cell(tag, role, more = {}) {
  return attributes(make(tag, more), { role });
}

/**
 * A table whose rows stay while what they are of stays, so that nobody loses the row that has the
 * focus. `columns` are headings; `fill(row)` gives the cells: texts or nodes.
 */
export class Table {
  #rows = new Map();
  #body = cell('tbody', 'rowgroup');
  #columns;
  #empty;

  constructor(caption, columns, empty) {
    this.#columns = columns;
    const heads = columns.map((textContent) => cell('th', 'columnheader', { textContent }));
    const head = cell('thead', 'rowgroup');
    head.append(attributes(make('tr', {}, ...heads), { role: 'row' }));
    this.#empty = make('p', { className: 'hint', textContent: empty });
    this.table = cell('table', 'table');
    this.table.append(
      make('caption', { className: 'sr', textContent: caption }), head, this.#body,
    );
    this.node = make('div', { className: 'table' }, this.table, this.#empty);
  }

  /** `rows` have an `id` and `cells`. */
  show(rows) {
    const gone = new Set(this.#rows.keys());
    rows.forEach((row, at) => {
      gone.delete(row.id);
      const node = this.#row(row);
      const there = this.#body.children[at] ?? null;
      if (there !== node) this.#body.insertBefore(node, there);
    });
    for (const id of gone) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
    this.table.hidden = rows.length === 0;
    this.#empty.hidden = rows.length > 0;
  }

  #row(row) {
    let node = this.#rows.get(row.id);
    if (node === undefined) {
      node = cell('tr', 'row');
      this.#columns.forEach((head, at) => {
        const one = at === 0 ? cell('th', 'rowheader') : cell('td', 'cell');
        one.dataset.head = head;
        node.append(one);
      });
      this.#rows.set(row.id, node);
    }
    row.cells.forEach((value, at) => put(node.children[at], value));
    return node;
  }
}

function put(cell, value) {
  // On a phone a cell without anything to say is left out.
  const isEmpty = String(value === '–' || value?.text === '–');
  if (cell.dataset.empty !== isEmpty) cell.dataset.empty = isEmpty;
  if (value instanceof Node) {
    if (cell.firstChild !== value || cell.childNodes.length > 1) cell.replaceChildren(value);
    return;
  }
  // A text, or a text with a tone.
  const { text, tone } = typeof value === 'object' ? value : { text: value, tone: '' };
  say(cell, text);
  if ((cell.dataset.tone ?? '') !== tone) cell.dataset.tone = tone;
}
