// Two cohorts side by side: the viewers' page twice, each as another viewer, so that one sees that
// the same break shows other creatives. The pages come from an edge; no token goes there.

import { make } from '../shared/dom.js';
import { field } from './confirm.js';
import { Actions } from './actions.js';
import { poll } from '../shared/poll.js';
import { attributes, card, say } from './parts.js';
import { summary, Timeline } from './timeline.js';

const KEY = 'sightscreen-viewers-page';
const EVERY_MS = 1500;
/** Which value of each dimension the two begin with: the first, and the last. */
const SIDES = [
  { name: 'One', pick: (values) => values.at(0) },
  { name: 'Other', pick: (values) => values.at(-1) },
];

export class CohortsView {
  #event;
  #control;
  #watch;
  #ends = [];
  #base = make('input', {
    type: 'url', name: 'base', required: true, autocomplete: 'off', spellcheck: false,
    placeholder: 'https://edge.example.com',
  });
  #note = attributes(make('p', { className: 'hint' }), { role: 'status' });
  #now = make('p', { className: 'headline' });
  #timeline = new Timeline();
  #actions;
  #sides = SIDES.map((side) => new Side(side, () => this.#open()));
  #isOpen = false;
  #knows = false;

  constructor({ event, control, watch, may }) {
    this.#event = event;
    this.#control = control;
    this.#watch = watch;
    this.title = `Two cohorts of ${watch.title(event)}`;
    this.#actions = new Actions({
      event, control, may,
      title: () => watch.title(event),
      refresh: () => this.#read(),
      edge: () => this.#timeline.edge(),
    });
    this.node = this.#laidOut();
    const redraw = setInterval(() => this.#timeline.draw(), 500);
    this.#ends.push(
      () => clearInterval(redraw),
      () => this.#timeline.end(),
      poll(EVERY_MS, () => this.#read()),
      watch.follow(() => this.#learn()),
    );
    this.#learn();
  }

  end() {
    this.#ends.forEach((end) => end());
  }

  #laidOut() {
    const form = make(
      'form', { className: 'card base' },
      field('Address of an edge', this.#base, 'It plays where open-playback is on.'),
      make('button', { type: 'submit', className: 'act', textContent: 'Open' }),
      this.#note,
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#isOpen = true;
      this.#open();
    };
    const back = make('a', {
      className: 'act', textContent: 'Back to the stream',
      href: `#/event/${encodeURIComponent(this.#event)}`,
    });
    const head = make(
      'div', { className: 'head' }, make('h1', { textContent: this.title }), back,
    );
    return make(
      'div', { className: 'event' }, head, this.#now, this.#timeline.node,
      make('div', { className: 'pair' }, ...this.#sides.map((side) => side.node)),
      make('div', { className: 'columns' }, this.#actions.node, form),
    );
  }

  async #read() {
    try {
      const state = await this.#control.get(`/control/events/${this.#event}`);
      this.#timeline.show(state);
      this.#actions.show(state);
      say(this.#now, summary(state, this.#timeline.edge()));
      return true;
    } catch (error) {
      say(this.#now, error.message);
      return false;
    }
  }

  /** The cohorts that there are, and where viewers play, as soon as the API told. */
  #learn() {
    const stream = this.#watch.streams.get(this.#event);
    if (this.#knows || stream === undefined) return;
    this.#knows = true;
    const schema = (stream.cohorts ?? []).filter((one) => Array.isArray(one.values));
    this.#sides.forEach((side) => side.offer(schema));
    const own = /^https?:\/\/[^/]+/.exec(stream.playback_url ?? '');
    this.#base.value = keptBase() ?? own?.[0] ?? '';
    if (this.#base.value === '') {
      say(this.#note, 'Type the address of an edge, and the two viewers open.');
      return;
    }
    this.#isOpen = true;
    this.#open();
  }

  #open() {
    if (!this.#isOpen) return;
    const base = baseOf(this.#base.value);
    if (base === null) {
      say(this.#note, 'That is no address such as https://edge.example.com.');
      return;
    }
    if (location.protocol === 'https:' && base.protocol === 'http:' && !isLocal(base)) {
      say(this.#note, 'A browser shows no http page inside an https page: use the edge’s https.');
      return;
    }
    say(this.#note, '');
    try {
      sessionStorage.setItem(KEY, base.origin);
    } catch {
      // It is typed again next time.
    }
    this.#sides.forEach((side) => side.open(base, this.#event));
  }
}

/** One viewer: his cohort, and his page. */
class Side {
  #pick;
  #changed;
  #selects = make('div', { className: 'picker' });
  #frame = make('iframe', { loading: 'lazy', hidden: true });
  #shown = '';
  #values = new Map();

  constructor({ name, pick }, changed) {
    this.#pick = pick;
    this.#changed = changed;
    attributes(this.#frame, {
      title: `${name} viewer`, sandbox: 'allow-scripts allow-same-origin', allow: 'autoplay',
      referrerpolicy: 'no-referrer',
    });
    this.node = card(`${name} viewer`, this.#selects, this.#frame);
  }

  offer(schema) {
    for (const { name, values } of schema) {
      const select = make('select', { name });
      for (const value of values) {
        select.append(make('option', { value, textContent: value }));
      }
      select.value = this.#pick(values);
      this.#values.set(name, select);
      select.onchange = this.#changed;
      this.#selects.append(field(name, select));
    }
  }

  open(base, event) {
    const url = new URL(`/watch/${event}`, base);
    for (const [name, select] of this.#values) url.searchParams.set(name, select.value);
    url.searchParams.set('consent', '1');
    if (this.#shown === url.href) return;
    this.#shown = url.href;
    this.#frame.hidden = false;
    this.#frame.src = url.href;
  }
}

function baseOf(text) {
  try {
    const url = new URL(text.trim());
    return ['http:', 'https:'].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

function isLocal({ hostname }) {
  return ['127.0.0.1', 'localhost', '[::1]'].includes(hostname);
}

function keptBase() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
