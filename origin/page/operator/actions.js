// Break now, break at a time, extend, return: each asks before it acts, and says what came of it.

import { make } from '../shared/dom.js';
import { confirmed, field } from './confirm.js';
import { attributes, card, say } from './parts.js';
import { clock, lasting } from './words.js';

const LENGTHS = [10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300];
const USUAL_S = 20;

export class Actions {
  #event;
  #title;
  #control;
  #may;
  #refresh;
  #state = null;
  #edge;
  #length = make('select', { name: 'length' });
  #now = button('Break now', 'act primary');
  #later = button('Break at …', 'act');
  #more = button('Extend', 'act');
  #back = button('Return', 'act');
  #note = attributes(make('p', { className: 'hint' }), { role: 'status' });

  /** `refresh` reads the event again; `edge` says where the live edge is, `title` its name. */
  constructor({ event, title, control, may, refresh, edge }) {
    this.#event = event;
    this.#title = title;
    this.#control = control;
    this.#may = may;
    this.#refresh = refresh;
    this.#edge = edge;
    for (const length of LENGTHS) {
      this.#length.append(make('option', {
        value: length, textContent: lasting(length), selected: length === USUAL_S,
      }));
    }
    this.#now.onclick = () => this.#breakNow();
    this.#later.onclick = () => this.#breakLater();
    this.#more.onclick = () => this.#extend();
    this.#back.onclick = () => this.#return();
    this.node = card(
      'Break',
      field('Length', this.#length),
      make('div', { className: 'row' }, this.#now, this.#later, this.#more, this.#back),
      this.#note,
    );
    this.node.classList.add('actions');
    if (may !== null) say(this.#note, may);
    this.#enable();
  }

  show(state) {
    this.#state = state;
    this.#enable();
  }

  /** The break that a button is about: the one on the air, else the announced one. */
  #open() {
    const breaks = this.#state?.breaks ?? [];
    return breaks.find((one) => one.state === 'running') ??
      breaks.find((one) => one.state === 'announced') ?? null;
  }

  #enable() {
    const open = this.#open();
    const can = this.#may === null && ['live', 'interrupted'].includes(this.#state?.state);
    this.#now.disabled = !can;
    this.#later.disabled = !can;
    this.#more.disabled = !can || open === null || open.returned;
    this.#back.disabled = !can || open === null;
    say(this.#back, open?.state === 'announced' ? `Cancel ${open.id}` : 'Return');
  }

  /** Breaks come in the order of their announcement: a later one has to go first. */
  #isTaken() {
    const next = this.#state?.breaks?.find((one) => one.state === 'announced');
    if (next === undefined) return false;
    say(this.#note, `${next.id} is announced for ${clock(next.start_ms)}: cancel it first.`);
    this.#note.dataset.tone = 'warn';
    return true;
  }

  async #breakNow() {
    if (this.#isTaken()) return;
    const length = Number(this.#length.value);
    const text = [`For ${lasting(length)}, a few seconds from now. It can be cut short.`];
    const sure = await confirmed({
      title: `Break now in ${this.#title()}?`, text, yes: `Break for ${lasting(length)}`,
    });
    if (sure) await this.#announce({ length_s: length });
  }

  async #breakLater() {
    const time = make('input', { type: 'time', step: 1, required: true, name: 'at' });
    time.value = timeOf(new Date(this.#edge() + 120_000));
    const length = Number(this.#length.value);
    const wrong = () => {
      if (time.value === '') return 'Say at which time.';
      return next(time.value, this.#edge()) === null ? 'That is no time.' : null;
    };
    const sure = await confirmed({
      title: `Break in ${this.#title()} at a time`,
      text: [`For ${lasting(length)}. It can be cancelled until it begins.`, this.#clocks()],
      yes: 'Announce the break',
      fields: [field('Time of day', time)],
      check: wrong,
    });
    if (sure) await this.#announce({ length_s: length, at_ms: next(time.value, this.#edge()) });
  }

  /** This device's clock may be wrong; the origin's counts. */
  #clocks() {
    const ahead = Math.round((Date.now() - this.#edge()) / 1000);
    if (Math.abs(ahead) < 10) return `It is ${clock(this.#edge())} at the origin.`;
    return `It is ${clock(this.#edge())} at the origin. This device’s clock is ` +
      `${lasting(Math.abs(ahead))} ${ahead > 0 ? 'ahead' : 'behind'}: the origin’s counts.`;
  }

  async #extend() {
    const open = this.#open();
    if (open === null) return;
    const length = Number(this.#length.value);
    const whole = lasting(open.length_ms / 1000 + length);
    const kept = open.state === 'running'
      ? 'What is on the air in it stays as it is.'
      : 'What plays in it is decided anew.';
    const sure = await confirmed({
      title: `Extend ${open.id} by ${lasting(length)}?`,
      text: [`It will last ${whole}. ${kept}`],
      yes: `Extend by ${lasting(length)}`,
    });
    if (!sure) return;
    await this.#do(this.#path(open, 'extend'), { length_s: length }, (done) =>
      `${done.id} lasts ${lasting(done.length_ms / 1000)} now.`);
  }

  async #return() {
    const open = this.#open();
    if (open === null) return;
    const isOn = open.state === 'running';
    const sure = await confirmed({
      title: isOn ? `Return from ${open.id}?` : `Cancel ${open.id}?`,
      text: [
        isOn
          ? 'The match is back at the next segment that players do not know yet.'
          : `It was to begin at ${clock(open.start_ms)}. It will not come.`,
      ],
      yes: isOn ? 'Return to the match' : 'Cancel the break',
    });
    if (!sure) return;
    await this.#do(this.#path(open, 'return'), {}, (done) =>
      done.state === 'cancelled'
        ? `${done.id} is cancelled.`
        : `${done.id} ends after ${lasting(done.length_ms / 1000)}.`);
  }

  #path(open, act) {
    return `/control/events/${this.#event}/breaks/${encodeURIComponent(open.id)}/${act}`;
  }

  async #announce(body) {
    await this.#do(`/control/events/${this.#event}/breaks`, body, (plan) => {
      const wait = (plan.start_ms - this.#edge()) / 1000;
      return `${plan.id} begins at ${clock(plan.start_ms)}, in ${lasting(wait)}, ` +
        `for ${lasting(plan.length_ms / 1000)}.`;
    });
  }

  async #do(path, body, told) {
    say(this.#note, 'Asking the origin …');
    this.#note.dataset.tone = '';
    try {
      say(this.#note, told(await this.#control.post(path, body)));
      this.#note.dataset.tone = 'good';
    } catch (error) {
      say(this.#note, error.message);
      this.#note.dataset.tone = 'bad';
    }
    this.#refresh();
  }
}

function button(textContent, className) {
  return make('button', { type: 'button', className, textContent });
}

function timeOf(date) {
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0')).join(':');
}

/** The next time that the clock shows this, in Unix milliseconds; null where it is no time. */
export function next(text, nowMs) {
  const found = /^(\d\d):(\d\d)(?::(\d\d))?$/.exec(text);
  if (found === null) return null;
  const [, hours, minutes, seconds = '0'] = found;
  const date = new Date(nowMs);
  date.setHours(Number(hours), Number(minutes), Number(seconds), 0);
  if (date.getTime() <= nowMs) date.setDate(date.getDate() + 1);
  return date.getTime();
}
