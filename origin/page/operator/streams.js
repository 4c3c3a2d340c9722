// All streams: state, input, how far behind, and the break that is or comes. Those that need
// somebody come first.

import { make } from '../shared/dom.js';
import { attributes, badge, Facts, say, setBadge } from './parts.js';
import { lasting, number, stateOf } from './words.js';

const ORDER = ['interrupted', 'live', 'ready', 'ended'];
const FACTS = ['Input', 'Behind', 'Encoder', 'Breaks'];
/** Behind by more than this is worth a colour, in milliseconds. */
const LATE_MS = 1500;
/** An encoder slower than this falls behind. */
const SLOW = 0.95;

export class StreamsView {
  #watch;
  #end;
  #cards = new Map();
  #list = make('ul', { className: 'streams' });
  #note = make('p', { className: 'hint' });
  #ended = make('button', { type: 'button', className: 'act ended', hidden: true });
  #withEnded = false;

  constructor({ watch }) {
    this.#watch = watch;
    this.title = 'Streams';
    this.node = make(
      'div', {}, make('h1', { textContent: 'Streams' }), this.#note, this.#list, this.#ended,
    );
    this.#ended.onclick = () => {
      this.#withEnded = !this.#withEnded;
      this.#show();
    };
    this.#end = watch.follow(() => this.#show());
    this.#show();
  }

  end() {
    this.#end();
  }

  #show() {
    const { metrics, without } = this.#watch;
    if (metrics === null) {
      say(this.#note, 'Asking the origin …');
      return;
    }
    const all = found(this.#watch);
    const past = all.filter((one) => one.state === 'ended').length;
    // A season's matches would bury the one that is on.
    const isShown = (one) => one.state !== 'ended' || this.#withEnded || past === all.length;
    const streams = all.filter(isShown);
    this.#ended.hidden = past === 0 || past === all.length;
    say(this.#ended, this.#withEnded ? 'Hide those that ended' : `Show ${past} that ended`);
    const gone = new Set(this.#cards.keys());
    streams.forEach((stream, at) => {
      gone.delete(stream.id);
      if (!this.#cards.has(stream.id)) this.#cards.set(stream.id, new Card(stream.id));
      const card = this.#cards.get(stream.id);
      card.show(stream);
      if (this.#list.children[at] !== card.node) {
        this.#list.insertBefore(card.node, this.#list.children[at] ?? null);
      }
    });
    for (const id of gone) {
      this.#cards.get(id).node.remove();
      this.#cards.delete(id);
    }
    say(this.#note, words(all, without));
  }
}

function words(streams, without) {
  const told = without === '' ? '' : ` Names cannot be read: ${without}`;
  if (streams.length === 0) return `There is no stream.${told}`;
  const counts = ORDER.map((state) => [state, streams.filter((one) => one.state === state).length]);
  const parts = counts.filter(([, count]) => count > 0);
  const list = parts.map(([state, count]) => `${count} ${stateOf(state).word.toLowerCase()}`);
  return `${list.join(', ')}.${told}`;
}

/** What is known of all streams, by the metrics and by the API. */
function found(watch) {
  const { metrics, streams, history } = watch;
  const states = new Map();
  for (const { labels, value } of metrics.all('sightscreen_event_state')) {
    if (value === 1) states.set(labels.event, labels.state);
  }
  const ids = new Set([...states.keys(), ...streams.keys()]);
  const speed = history.lines.get('speed');
  const list = [...ids].map((event) => {
    const of = (name, more = {}) => metrics.value(`sightscreen_${name}`, { event, ...more });
    const told = streams.get(event);
    return {
      id: event,
      runs: states.has(event),
      title: watch.title(event),
      state: states.get(event) ?? told?.status ?? 'ended',
      cause: told?.cause ?? '',
      takes: ['rtmp', 'udp', 'pipe'].includes(told?.input),
      connected: of('input_connected') === 1,
      lacking: of('lacking_renditions') ?? 0,
      behindMs: (of('behind_seconds') ?? NaN) * 1000,
      speed: speed?.get(event)?.at(-1) ?? null,
      announced: of('breaks', { state: 'announced' }) ?? 0,
      running: of('breaks', { state: 'frozen' }) ?? 0,
      past: of('breaks', { state: 'ended' }) ?? 0,
      late: of('disk_late') === 1,
    };
  });
  const rank = (one) => ORDER.indexOf(one.state);
  return list.sort((a, b) => rank(a) - rank(b) || a.title.localeCompare(b.title));
}

class Card {
  #badge = badge();
  #link = make('a');
  #cause = make('p', { className: 'cause' });
  #facts = new Facts(FACTS);

  constructor(id) {
    this.#link.href = `#/event/${encodeURIComponent(id)}`;
    const head = make('div', { className: 'head' }, this.#link, this.#badge);
    this.node = make('li', { className: 'card stream' }, head, this.#cause, this.#facts.node);
  }

  show(one) {
    say(this.#link, one.title);
    attributes(this.#link, { title: one.id });
    setBadge(this.#badge, one.state);
    this.node.dataset.state = one.state;
    say(this.#cause, one.late ? 'The disk is late: viewers are served from memory.' : one.cause);
    this.#cause.hidden = this.#cause.textContent === '';
    const [input, tone] = inputOf(one);
    this.#facts.set('Input', input, tone);
    const late = one.state === 'live' && one.behindMs > LATE_MS;
    this.#facts.set('Behind', one.runs ? behind(one.behindMs) : '–', late ? 'bad' : '');
    const slow = one.state === 'live' && one.speed !== null && one.speed < SLOW;
    const speed = one.speed === null ? '–' : `${number(one.speed, 2)} ×`;
    this.#facts.set('Encoder', speed, slow ? 'bad' : '');
    this.#facts.set('Breaks', breaks(one), one.running > 0 ? 'break' : '');
  }
}

function behind(ms) {
  return ms < 10_000 ? `${number(ms)} ms` : lasting(ms / 1000);
}

function inputOf(one) {
  if (!one.runs || one.state === 'ended') return ['closed', ''];
  if (one.state === 'interrupted') return [one.connected ? 'no picture' : 'gone', 'bad'];
  if (one.state === 'ready') return [one.connected ? 'connected' : 'awaited', 'warn'];
  if (one.lacking > 0) return [`${one.lacking} tracks missing`, 'bad'];
  return [one.takes && !one.connected ? 'gone' : 'good', 'good'];
}

function breaks(one) {
  if (one.running > 0) return 'on air now';
  if (one.announced > 0) return 'announced';
  return one.past === 0 ? 'none yet' : `${one.past} so far`;
}
