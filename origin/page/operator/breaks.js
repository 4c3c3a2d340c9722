// The breaks of an event as a table, and what each cohort sees in one of them.

import { make } from '../shared/dom.js';
import { attributes, card, say, Table } from './parts.js';
import { phrase, plays } from './phrases.js';
import { clock, lasting, level, levels } from './words.js';

const STATES = {
  announced: { text: 'announced', tone: 'warn' },
  running: { text: 'on air', tone: 'break' },
  ended: { text: 'over', tone: '' },
  cancelled: { text: 'cancelled', tone: '' },
};
const HEADS = ['Break', 'State', 'Begins', 'Length', 'Cohorts see', 'Because'];

export class Breaks {
  #table = new Table('Breaks, newest first', HEADS, 'There was no break yet.');
  #buttons = new Map();
  #open;

  /** `open` shows what plays in a break. */
  constructor(open) {
    this.#open = open;
    this.node = card('Breaks', this.#table.node);
  }

  show(state) {
    const rows = [...(state.breaks ?? [])].reverse().map((one) => ({
      id: one.id,
      cells: [
        this.#button(one),
        STATES[one.state] ?? String(one.state),
        clock(one.start_ms),
        length(one),
        one.state === 'cancelled' ? '–' : levels(one.levels),
        { text: (one.causes ?? []).join('; ') || '–', tone: one.causes?.length ? 'warn' : '' },
      ],
    }));
    this.#table.show(rows);
  }

  #button(one) {
    if (!this.#buttons.has(one.id)) {
      const button = make('button', { type: 'button', className: 'link', textContent: one.id });
      attributes(button, { 'aria-label': `${one.id}: what plays` });
      button.onclick = () => this.#open(one.id);
      this.#buttons.set(one.id, button);
    }
    return this.#buttons.get(one.id);
  }
}

function length(one) {
  const now = lasting(one.length_ms / 1000);
  return one.returned ? `${now} of ${lasting(one.planned_ms / 1000)}` : now;
}

/** What plays in a break, by pod. */
export class Pods {
  #control;
  #event;
  #table = new Table(
    'Pods of the break', ['Pod', 'Cohorts', 'Plays', 'Because'], 'Nothing is decided yet.',
  );
  #title = make('h2');
  #note = make('p', { className: 'hint' });
  #id = null;

  constructor({ event, control }) {
    this.#event = event;
    this.#control = control;
    const close = make('button', { type: 'button', className: 'act', textContent: 'Close' });
    close.onclick = () => this.#close();
    const head = make('div', { className: 'head' }, this.#title, close);
    this.node = attributes(
      make('section', { className: 'card pods', hidden: true }, head, this.#note, this.#table.node),
      { 'aria-label': 'What plays in a break', tabindex: '-1' },
    );
  }

  async open(id) {
    this.#id = id;
    say(this.#title, `What plays in ${id}`);
    say(this.#note, 'Asking the origin …');
    this.#table.show([]);
    this.node.hidden = false;
    this.node.focus();
    await this.refresh();
  }

  /** Reads it again, where it is open. */
  async refresh() {
    const id = this.#id;
    if (id === null) return;
    try {
      const path = `/control/events/${this.#event}/breaks/${encodeURIComponent(id)}`;
      const found = await this.#control.get(path);
      if (id === this.#id) this.#show(found);
    } catch (error) {
      if (id === this.#id) say(this.#note, error.message);
    }
  }

  #close() {
    this.#id = null;
    this.node.hidden = true;
  }

  #show(found) {
    const pods = found.pods ?? [];
    const all = pods.flatMap((pod) => pod.cohorts ?? []);
    const isFrozen = found.decided === 'frozen';
    say(this.#note, isFrozen
      ? 'As it was frozen: only an extension adds to it.'
      : 'As it stands; decided for good when the break begins.');
    this.#table.show(pods.map((pod, at) => ({
      id: String(at),
      cells: [
        level(pod.level),
        phrase(pod.cohorts ?? [], all),
        plays(pod.slots ?? [], lasting),
        { text: (pod.causes ?? []).join('; ') || '–', tone: pod.causes?.length ? 'warn' : '' },
      ],
    })));
  }
}

const CREATIVES = {
  ready: { text: 'ready', tone: 'good' },
  preparing: { text: 'being prepared', tone: 'warn' },
  failed: { text: 'failed', tone: 'bad' },
  missing: { text: 'missing', tone: 'bad' },
};

/** The creatives of the event's pods, and whether each can play. */
export class Creatives {
  #table = new Table(
    'Creatives', ['Creative', 'State', 'Length', 'Because'], 'The pods name no creative.',
  );
  #note = make('p', { className: 'hint', hidden: true });

  constructor() {
    this.node = card('Creatives', this.#note, this.#table.node);
  }

  show(list) {
    this.#note.hidden = true;
    this.#table.show(list.map((one) => ({
      id: one.source,
      cells: [
        one.name ?? one.source,
        CREATIVES[one.state] ?? String(one.state),
        Number.isFinite(one.length_ms) ? lasting(one.length_ms / 1000) : '–',
        one.reason ?? '–',
      ],
    })));
  }

  fail(message) {
    this.#note.hidden = false;
    say(this.#note, message);
  }
}
