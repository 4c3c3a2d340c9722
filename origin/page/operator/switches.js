// The kill switches of an event: what each does when it is thrown, and who is to know why.

import { make } from '../shared/dom.js';
import { confirmed, field } from './confirm.js';
import { attributes, card, say } from './parts.js';
import { clock } from './words.js';

/** `usual` is how it is unless somebody throws it. */
const FLAGS = [
  {
    id: 'ads', label: 'Ads', usual: 'on',
    thrown: 'The next break shows the match to everyone. A running break goes on.',
  },
  {
    id: 'low-latency', label: 'Low latency', usual: 'on',
    thrown: 'Viewers who enter from now on get whole segments, and are some seconds later.',
  },
  {
    id: 'snapshots', label: 'Snapshots', usual: 'on',
    thrown: 'No stored answer stands in for the origin’s API.',
  },
  {
    id: 'panic', label: 'Panic', usual: 'off',
    thrown: 'Edges answer the API from snapshots, and do not ask the origin.',
  },
];
const TIMES = [
  ['', 'until I turn it back'], ['300', 'for 5 minutes'], ['900', 'for 15 minutes'],
  ['3600', 'for an hour'], ['14400', 'for 4 hours'],
];
const REASON_MOST = 120;

export class Switches {
  #event;
  #title;
  #control;
  #refresh;
  #edge;
  #rows = new Map();
  #note = attributes(make('p', { className: 'hint' }), { role: 'status' });

  constructor({ event, title, control, may, refresh, edge }) {
    this.#event = event;
    this.#title = title;
    this.#control = control;
    this.#refresh = refresh;
    this.#edge = edge;
    const rows = FLAGS.map((flag) => this.#row(flag, may));
    this.node = card('Switches', ...rows, this.#note);
    if (may !== null) say(this.#note, may);
  }

  show(state) {
    for (const { id, usual } of FLAGS) {
      const { input, why } = this.#rows.get(id);
      const word = state.flags?.[id] ?? usual;
      attributes(input, { 'aria-checked': String(word === 'on') });
      input.dataset.thrown = String(word !== usual);
      say(why, because(state.switches?.[id]));
      why.hidden = why.textContent === '';
    }
  }

  #row(flag, may) {
    const id = `switch-${flag.id}`;
    const input = attributes(make('button', {
      type: 'button', className: 'switch', id, disabled: may !== null,
    }), { role: 'switch', 'aria-checked': String(flag.usual === 'on') });
    input.append(make('span', { textContent: flag.label }), make('i'));
    input.onclick = () => this.#throw(flag, input.getAttribute('aria-checked') !== 'true');
    const why = make('p', { className: 'hint', hidden: true });
    this.#rows.set(flag.id, { input, why });
    return make('div', {}, input, why);
  }

  async #throw(flag, on) {
    const word = on ? 'on' : 'off';
    const isBack = word === flag.usual;
    const until = make('select', { name: 'until' });
    for (const [value, textContent] of TIMES) until.append(make('option', { value, textContent }));
    const reason = make('input', {
      type: 'text', name: 'reason', maxLength: REASON_MOST, autocomplete: 'off',
    });
    const sure = await confirmed({
      title: `${flag.label} ${word} in ${this.#title()}?`,
      text: [isBack ? 'As it is usually.' : flag.thrown],
      yes: `Turn ${flag.label.toLowerCase()} ${word}`,
      grave: !isBack,
      fields: isBack ? [] : [field('How long', until), field('Why', reason, 'Kept in the log.')],
    });
    if (!sure) return;
    const change = { state: word };
    if (until.value !== '') {
      change.until_ms = Math.round(this.#edge() + Number(until.value) * 1000);
    }
    if (reason.value.trim() !== '') change.reason = reason.value.trim();
    const plain = Object.keys(change).length === 1;
    await this.#send({ [flag.id]: plain ? word : change }, `${flag.label} is ${word}.`);
  }

  async #send(body, done) {
    try {
      await this.#control.post(`/control/events/${this.#event}/flags`, body);
      say(this.#note, `${done} Edges see it within four seconds.`);
      this.#note.dataset.tone = 'good';
    } catch (error) {
      say(this.#note, error.message);
      this.#note.dataset.tone = 'bad';
    }
    this.#refresh();
  }
}

/** Until when and why a switch is thrown; empty where nobody said. */
function because(told) {
  if (told === undefined || told === null) return '';
  const parts = [];
  if (Number.isFinite(told.until_ms)) parts.push(`until ${clock(told.until_ms)}`);
  if (told.reason) parts.push(told.reason);
  return parts.join(' · ');
}
