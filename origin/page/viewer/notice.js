// What stands in place of the picture, and what is said to whoever cannot see it.

import { element, text } from '../shared/dom.js';
import { startsAt, wordsOf } from './words.js';

/** Trouble of so short a time is not worth a word, in milliseconds. */
const PATIENCE_MS = 1500;

export class Notice {
  /** Called when the viewer wants another try. */
  onAct = () => {};
  #match;
  #code = null;
  #timer = null;

  constructor(match) {
    this.#match = match;
    element('notice-act').onclick = () => this.onAct();
  }

  /** Why there is no picture, as a code, or null. */
  show(code) {
    if (code === this.#code) {
      // The time of the start may have passed since.
      if (code === 'not-live') this.again();
      return;
    }
    this.#code = code;
    clearTimeout(this.#timer);
    element('big-play').hidden = code !== 'gesture';
    if (code === null || code === 'gesture') element('notice').hidden = true;
    else if (code === 'joining') this.#timer = setTimeout(() => this.#say(), PATIENCE_MS);
    else this.#say();
  }

  /** The same code, said anew: more is known of the match now. */
  again() {
    if (!element('notice').hidden) this.#say();
  }

  #say() {
    const { title, advice, button } = this.#words();
    text('notice-title', title);
    text('notice-advice', advice);
    element('notice-act').hidden = button !== true;
    element('notice').hidden = false;
  }

  #words() {
    const { state, startsAtMs } = this.#match;
    if (this.#code === 'event-unknown' && state === 'ended') return wordsOf('ended');
    if (this.#code === 'not-live' && startsAtMs !== null && startsAtMs > Date.now())
      return startsAt(startsAtMs);
    return wordsOf(this.#code);
  }
}

/** Says something to whoever listens, and nothing twice. */
export class Announcer {
  #creative = null;

  /** Breaks, as they begin and end. */
  follow({ creative, breakLeft }) {
    const isBreak = creative !== null;
    if (isBreak === (this.#creative !== null)) return;
    this.#creative = creative;
    const seconds = Math.ceil(breakLeft);
    text('announce', isBreak ? `Advertisements, ${seconds} seconds` : 'The match goes on');
  }
}
