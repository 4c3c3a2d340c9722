// What people call the creatives, and which of them are slate. The API knows; an identifier stands
// in until it has told.

import { json, soon } from '../shared/dom.js';

const AGAIN_MS = 10_000;

export class Names {
  #event;
  #known = new Map();
  #slates = new Set();
  #askedAt = -Infinity;

  constructor(event) {
    this.#event = event;
  }

  /** Takes what an answer of the API says of the event. */
  learn(detail) {
    for (const [id, name] of Object.entries(detail?.creatives ?? {})) {
      if (typeof name === 'string' && name !== '') this.#known.set(id, name);
    }
    if (Array.isArray(detail?.slates)) detail.slates.forEach((id) => this.#slates.add(id));
  }

  /** Whether it fills what is left of a break, and is nobody's advertisement. */
  isSlate(id) {
    return this.#slates.has(id);
  }

  /**
   * The name, or the identifier. A creative that is not known yet is asked for, but not more often
   * than every few seconds.
   */
  of(id) {
    const name = this.#known.get(id);
    if (name === undefined) this.#ask();
    return name ?? id;
  }

  #ask() {
    const now = performance.now();
    if (now - this.#askedAt < AGAIN_MS) return;
    this.#askedAt = now;
    fetch(`/api/events/${this.#event}`, { signal: soon() })
      .then(json)
      .then((detail) => this.learn(detail))
      // The API may be down; the identifier is good enough until it is back.
      .catch(() => {});
  }
}
