// Who did what, and how it went: the audit log, of all streams or of one.

import { make } from '../shared/dom.js';
import { poll } from '../shared/poll.js';
import { say, Table } from './parts.js';
import { action, clock, outcome } from './words.js';

const EVERY_MS = 5000;
const SHOWN = 50;
/** Entries that the page holds: it is open for hours. */
const MOST = 500;
const HEADS = ['When', 'Who', 'What', 'How it went', 'Stream'];

export class Log {
  #control;
  #stream;
  #stop = null;
  #entries = [];
  #next = null;
  #table;
  #note = make('p', { className: 'hint' });
  #more = make('button', {
    type: 'button', className: 'act', textContent: 'Show older ones', hidden: true,
  });

  /** `stream` is one stream's name, or empty for all. */
  constructor({ control, stream = '' }) {
    this.#control = control;
    this.#stream = stream;
    // The stream of one stream's log goes without saying.
    const heads = stream === '' ? HEADS : HEADS.slice(0, -1);
    this.#table = new Table('Log, newest first', heads, 'Nothing was done yet.');
    this.#more.onclick = () => this.#older();
    this.node = make('div', {}, this.#note, this.#table.node, this.#more);
    this.#stop = poll(EVERY_MS, () => this.#read());
  }

  end() {
    this.#stop();
  }

  async #page(cursor) {
    const of = this.#stream === '' ? '' : `&stream=${encodeURIComponent(this.#stream)}`;
    const from = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    return this.#control.get(`/api/v1/audit?limit=${SHOWN}${of}${from}`);
  }

  async #read() {
    try {
      const { entries = [], next = null } = await this.#page(null);
      const known = new Set(entries.map((entry) => entry.id));
      const older = this.#entries.filter((entry) => !known.has(entry.id));
      if (older.length === 0) this.#next = next;
      this.#entries = [...entries, ...older].slice(0, MOST);
      say(this.#note, '');
      this.#show();
      return true;
    } catch (error) {
      const words = error.kind === 'role'
        ? 'The log is for tokens with the role admin.'
        : error.message;
      say(this.#note, words);
      return false;
    }
  }

  async #older() {
    try {
      const { entries = [], next = null } = await this.#page(this.#next);
      this.#entries = [...this.#entries, ...entries];
      this.#next = next;
      this.#show();
    } catch (error) {
      say(this.#note, error.message);
    }
  }

  #show() {
    this.#more.hidden = this.#next === null;
    this.#table.show(this.#entries.map((entry) => ({
      id: entry.id,
      cells: [
        clock(entry.at_ms),
        `${entry.actor_name} (${entry.role})`,
        action(entry.action),
        { text: outcome(entry.status), tone: entry.status < 300 ? 'good' : 'bad' },
        ...(this.#stream === '' ? [entry.target || '–'] : []),
      ],
    })));
  }
}

export class LogView {
  #log;

  constructor({ control }) {
    this.title = 'Log';
    this.#log = new Log({ control });
    const body = make('section', { className: 'card' }, this.#log.node);
    this.node = make('div', {}, make('h1', { textContent: 'Who did what' }), body);
  }

  end() {
    this.#log.end();
  }
}
