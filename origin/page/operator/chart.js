// A chart of one series, and the same numbers as a table for who does not see it.

import uPlot from 'uplot';
import { make } from '../shared/dom.js';
import { attributes, Table, say } from './parts.js';
import { clock, minute, number } from './words.js';

const HEIGHT = 190;
const COLOURS = ['#4cc38a', '#f2b24a', '#6cb6ff', '#f29ac0', '#b79bff', '#c9d1cc', '#5fd3d3'];
const GRID = { stroke: '#212a25', width: 1 };
const AXIS = { stroke: '#a3b1a9', grid: GRID, ticks: GRID, font: '12px system-ui, sans-serif' };
/** Rows of the table: the newest of each so many readings. */
const ROWS = 12;

export class Chart {
  #series;
  #plot = null;
  #drawn = '';
  #place = make('div', { className: 'plot' });
  #now = make('p', { className: 'now' });
  #table;
  #details;
  #data = [[], []];

  constructor(series) {
    this.#series = series;
    const { title, unit, about } = series;
    this.#details = make(
      'details', {}, make('summary', { textContent: 'As a table' }),
    );
    this.#table = null;
    this.node = make(
      'figure', { className: 'card chart' },
      make('h2', { textContent: unit === '' ? title : `${title} (${unit})` }),
      this.#now,
      this.#place,
      make('figcaption', { className: 'hint', textContent: about }),
      this.#details,
    );
    attributes(this.#place, { role: 'img' });
    this.#details.addEventListener('toggle', () => this.#fillTable());
  }

  show(times, lines) {
    const names = [...lines.keys()].sort();
    this.#data = [times, ...names.map((name) => lines.get(name))];
    const latest = names.map((name) => `${name} ${this.#told(lines.get(name).at(-1))}`);
    const said = latest.length === 0 ? 'No numbers yet.' : latest.join(' · ');
    say(this.#now, said);
    attributes(this.#place, { 'aria-label': `${this.#series.title}: ${said}` });
    if (names.length > 0) this.#draw(names);
    this.#names = names;
    this.#fillTable();
  }

  #names = [];

  /** As wide as there is room. */
  fit() {
    const width = this.#place.clientWidth;
    if (this.#plot !== null && width > 0) this.#plot.setSize({ width, height: HEIGHT });
  }

  end() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#drawn = '';
  }

  #draw(names) {
    const wanted = names.join('\n');
    if (this.#plot !== null && this.#drawn === wanted) {
      this.#plot.setData(this.#data);
      return;
    }
    this.end();
    const width = this.#place.clientWidth;
    if (width === 0) return;
    this.#drawn = wanted;
    const line = (name, at) => ({
      label: name, stroke: COLOURS[at % COLOURS.length], width: 2, points: { show: false },
      dash: at >= COLOURS.length ? [6, 4] : undefined,
      value: (_, value) => this.#told(value),
    });
    this.#plot = new uPlot({
      width,
      height: HEIGHT,
      series: [{}, ...names.map(line)],
      axes: [
        { ...AXIS, space: 70, size: 34, values: times },
        { ...AXIS, size: 52, values: (_, ticks) => ticks.map(onAxis) },
      ],
      scales: { y: { range: (_, low, high) => around(low, high, this.#series.least) } },
      cursor: { drag: { x: false, y: false } },
      legend: { live: false },
    }, this.#data, this.#place);
  }

  #told(value) {
    const { unit, digits = 0 } = this.#series;
    return value === null || value === undefined ? '–' : `${number(value, digits)} ${unit}`.trim();
  }

  /** Filled only where somebody looks. */
  #fillTable() {
    if (!this.#details.open) return;
    const [times, ...columns] = this.#data;
    const heads = ['Time', ...this.#names];
    if (this.#table?.heads !== heads.join('\n')) {
      this.#table?.table.node.remove();
      const table = new Table(this.#series.title, heads, 'No numbers yet.');
      this.#table = { heads: heads.join('\n'), table };
      this.#details.append(table.node);
    }
    const rows = times.slice(-ROWS).map((at, index) => {
      const place = times.length - Math.min(times.length, ROWS) + index;
      return {
        id: String(at),
        cells: [clock(at * 1000), ...columns.map((column) => this.#told(column[place]))],
      };
    });
    this.#table.table.show(rows.reverse());
  }
}

function onAxis(tick) {
  return number(tick, tick % 1 === 0 ? 0 : tick % 0.1 < 1e-9 ? 1 : 2);
}

function times(_, ticks, axis, space, step) {
  return ticks.map((tick) => (step < 60 ? clock : minute)(tick * 1000));
}

/** From zero, unless something is below it; at least as high as is worth a look. */
function around(low, high, least = 1) {
  if (low === null || high === null) return [0, least];
  const room = (high - Math.min(low, 0)) * 0.1;
  return [low < 0 ? Math.min(low - room, -least) : 0, Math.max(high + room, least)];
}
