// The operator's buttons: shown only to who opened the page with `#operator=URL&token=TOKEN`.
// The fragment never leaves the browser, and the token goes only to the control address that came
// with it.

import { element, json, make, soon, text } from '../shared/dom.js';
import { poll } from '../shared/poll.js';

const EVERY_MS = 1500;
const FLAGS = [
  { id: 'ads', label: 'Ads' },
  { id: 'snapshots', label: 'Snapshots' },
  { id: 'low-latency', label: 'Low latency' },
];

export class Operator {
  #open = null;
  #turn = 0;
  #switches = {};

  /** The operator named by the address, or null. */
  static fromFragment(event) {
    const told = new URLSearchParams(location.hash.slice(1));
    const address = told.get('operator');
    const token = told.get('token');
    if (address === null || token === null) return null;
    return new Operator(address.replace(/\/+$/, ''), token, event);
  }

  constructor(address, token, event) {
    this.address = address;
    this.token = token;
    this.event = `/control/events/${event}`;
  }

  start() {
    element('operator').hidden = false;
    element('op-break').onclick = () =>
      this.#do(`${this.event}/breaks`, { length_s: Number(element('op-length').value) });
    element('op-return').onclick = () => this.#do(`${this.event}/breaks/${this.#open}/return`, {});
    this.#switch('api', 'Origin API', (on) => this.#do('/control/api', { up: on }));
    for (const { id, label } of FLAGS) {
      this.#switch(id, label, (on) => this.#do(`${this.event}/flags`, { [id]: on ? 'on' : 'off' }));
    }
    poll(EVERY_MS, () => this.#refresh());
  }

  #switch(id, label, act) {
    const input = make('input', { type: 'checkbox', checked: true });
    input.addEventListener('change', () => act(input.checked));
    this.#switches[id] = input;
    element('op-switches').append(make('label', { className: 'switch' }, label, input));
  }

  /**
   * Whether the origin said how things are. An answer that was overtaken by a later question is not
   * shown.
   */
  async #refresh() {
    const turn = ++this.#turn;
    try {
      const state = await this.#ask(this.event);
      if (turn === this.#turn) this.#show(state);
      return true;
    } catch (error) {
      if (turn === this.#turn) text('op-state', error.message);
      return false;
    }
  }

  #show(state) {
    const open = (state.breaks ?? []).find((one) => one.state === 'running');
    this.#open = open?.id ?? null;
    element('op-return').disabled = this.#open === null;
    text('op-state', state.state ?? '');
    this.#switches.api.checked = state.api?.up ?? true;
    for (const { id } of FLAGS) this.#switches[id].checked = state.flags?.[id] !== 'off';
  }

  async #do(path, body) {
    try {
      await this.#ask(path, body);
      text('op-note', '');
    } catch (error) {
      text('op-note', `Refused: ${error.message}`);
    }
    this.#refresh();
  }

  async #ask(path, body) {
    const answer = await fetch(this.address + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      body: body && JSON.stringify(body),
      signal: soon(),
    });
    return json(answer);
  }
}
