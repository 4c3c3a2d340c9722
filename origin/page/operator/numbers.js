// The numbers of origin and edges as charts, for as long as this page was open.

import { make } from '../shared/dom.js';
import { Chart } from './chart.js';
import { SERIES } from './history.js';
import { card, Table } from './parts.js';

const HEADS = ['Edge', 'State', 'Connections', 'Requests', 'Failed'];
const NO_EDGES = 'The origin knows no edge: name them in its setting edges.';

export class NumbersView {
  #watch;
  #end;
  #edges;
  #charts = Object.entries(SERIES).map(([id, series]) => ({ id, chart: new Chart(series) }));
  #watcher = new ResizeObserver(() => this.#charts.forEach(({ chart }) => chart.fit()));

  constructor({ watch }) {
    this.#watch = watch;
    this.title = 'Numbers';
    this.#edges = new Table('Edges', HEADS, NO_EDGES);
    const charts = this.#charts.map(({ chart }) => chart.node);
    const grid = make('div', { className: 'charts' }, ...charts);
    this.node = make(
      'div', {},
      make('h1', { textContent: 'Numbers' }),
      make('p', {
        className: 'hint', textContent: 'Since this page was opened, one reading each 5 s.',
      }),
      grid,
      card('Edges', this.#edges.node),
    );
    this.#end = watch.follow(() => this.#show());
    this.#watcher.observe(grid);
    // A chart is as wide as its place, which is known once it is in the page.
    requestAnimationFrame(() => this.#show());
  }

  end() {
    this.#end();
    this.#watcher.disconnect();
    this.#charts.forEach(({ chart }) => chart.end());
  }

  #show() {
    const { history, edges } = this.#watch;
    this.#edges.show(edges.map((edge) => ({
      id: edge.name,
      cells: [edge.name, stateOf(edge), ...counts(edge)],
    })));
    for (const { id, chart } of this.#charts) {
      chart.show(history.times, history.lines.get(id) ?? new Map());
    }
  }
}

function stateOf(edge) {
  if (edge.reachable) return { text: 'answers', tone: 'good' };
  return { text: edge.reason || 'not known', tone: 'bad' };
}

/** Counted since the edge was started. */
function counts(edge) {
  return [edge.connections, edge.requests, edge.failures].map((count) =>
    Number.isFinite(count) ? count.toLocaleString('en') : '–');
}
