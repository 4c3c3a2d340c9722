// A stream's timeline: what was on the air in the last minutes, what is now, and what is announced.
// Drawn as SVG by the origin's clock, not by this device's.

import { attributes, say } from './parts.js';
import { make } from '../shared/dom.js';
import { lasting, minute } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 96;
const BAR = { top: 30, height: 30 };
/** Minutes behind and ahead, by the room that there is. */
const WIDE = { behind: 10, ahead: 5, tick: 1 };
const NARROW = { behind: 4, ahead: 2, tick: 1 };
const NARROW_PX = 560;

export class Timeline {
  #svg = attributes(document.createElementNS(SVG, 'svg'), { role: 'img', height: HEIGHT });
  #caption = make('figcaption');
  #state = null;
  #readAt = 0;
  #watcher = new ResizeObserver(() => this.draw());

  constructor() {
    const key = (kind, word) => make('span', { className: `key ${kind}`, textContent: word });
    this.#caption.append(
      key('content', 'content'), key('ad', 'break'), key('next', 'announced'),
      key('off', 'break without ads'),
    );
    this.node = make('figure', { className: 'timeline' }, this.#caption);
    this.node.prepend(this.#svg);
    this.#watcher.observe(this.node);
  }

  /** Takes what the control API says of the event. */
  show(state) {
    this.#state = state;
    this.#readAt = performance.now();
    this.draw();
  }

  end() {
    this.#watcher.disconnect();
  }

  /** Where the live edge is by now, in Unix milliseconds. */
  edge() {
    if (this.#state === null) return NaN;
    const at = this.#state.live_edge?.program_date_time_ms;
    const moves = ['live', 'interrupted'].includes(this.#state.state);
    return at + (moves ? performance.now() - this.#readAt : 0);
  }

  draw() {
    const width = this.node.clientWidth - 32;
    const edge = this.edge();
    if (width <= 0 || !Number.isFinite(edge)) return;
    const span = width < NARROW_PX ? NARROW : WIDE;
    const [from, to] = [edge - span.behind * 60_000, edge + span.ahead * 60_000];
    const x = (ms) => ((ms - from) / (to - from)) * width;
    const view = { width, from, to, x, edge };
    const breaks = this.#state.breaks ?? [];
    const begun = Math.max(0, x(this.#state.started_ms ?? from));
    attributes(this.#svg, { width, viewBox: `0 0 ${width} ${HEIGHT}` });
    attributes(this.#svg, { 'aria-label': summary(this.#state, edge) });
    this.#svg.replaceChildren(
      ...ticks(view, span.tick),
      shape('rect', {
        class: 'content', x: begun, y: BAR.top, width: Math.max(0, x(edge) - begun),
        height: BAR.height, rx: 4,
      }),
      ...breaks.flatMap((one) => drawn(one, view)),
      shape('rect', {
        class: 'edge', x: x(edge) - 1, y: BAR.top - 8, width: 2, height: BAR.height + 16,
      }),
      label('now', x(edge), BAR.top - 14, 'edge'),
    );
  }
}

function drawn(one, view) {
  const end = one.start_ms + one.length_ms;
  if (one.state === 'cancelled' || end < view.from || one.start_ms > view.to) return [];
  const left = Math.max(0, view.x(one.start_ms));
  const width = Math.max(3, Math.min(view.width, view.x(end)) - left);
  const kind = one.state === 'announced' ? 'next' : withAds(one) ? 'ad' : 'off';
  const rect = shape('rect', {
    class: kind, x: left, y: BAR.top - 3, width, height: BAR.height + 6, rx: 4,
  });
  const nodes = [rect];
  if (width > 22) nodes.push(label(one.id, left + width / 2, BAR.top + BAR.height / 2 + 4, kind));
  return nodes;
}

/** Whether anybody sees ads in it. */
export function withAds(one) {
  const seen = Object.entries(one.levels ?? {});
  return seen.length === 0 || seen.some(([name, count]) => name !== 'suppressed' && count > 0);
}

function ticks(view, every) {
  const step = every * 60_000;
  const nodes = [];
  // Labels must not touch.
  const room = view.x(view.from + step);
  const each = Math.max(1, Math.ceil(52 / Math.max(room, 1)));
  for (let at = Math.ceil(view.from / step); at * step <= view.to; at += 1) {
    const place = view.x(at * step);
    nodes.push(shape('rect', {
      class: 'tick', x: place, y: BAR.top + BAR.height + 6, width: 1, height: 6,
    }));
    if (at % each === 0 && place > 18 && place < view.width - 18) {
      nodes.push(label(minute(at * step), place, HEIGHT - 8, 'time'));
    }
  }
  return nodes;
}

/** What the timeline shows, in words. */
export function summary(state, edge) {
  const breaks = state.breaks ?? [];
  const running = breaks.find((one) => one.state === 'running');
  if (running !== undefined) {
    const left = (running.start_ms + running.length_ms - edge) / 1000;
    if (edge < running.start_ms) return `Break ${running.id} begins now.`;
    return `In break ${running.id}: ${lasting(left)} left.`;
  }
  const next = breaks.find((one) => one.state === 'announced');
  if (next !== undefined) {
    const left = (next.start_ms - edge) / 1000;
    const length = lasting(next.length_ms / 1000);
    return `Content. Break ${next.id} begins in ${lasting(left)}, for ${length}.`;
  }
  return 'Content. No break is announced.';
}

function shape(name, all) {
  return attributes(document.createElementNS(SVG, name), all);
}

function label(words, x, y, kind) {
  return say(shape('text', { class: kind, x, y, 'text-anchor': 'middle' }), words);
}
