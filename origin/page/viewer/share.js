// A link to the moment that is seen: the match's page with the time in it, and nothing of the
// viewer's own way in.

import { element, text } from '../shared/dom.js';

const SAID_MS = 5000;

/** The time of `?at=`, in Unix milliseconds, or null. */
export function momentOf(address) {
  const at = Number(address.searchParams.get('at'));
  return Number.isFinite(at) && at > 0 ? at * 1000 : null;
}

export class Share {
  #player;
  #event;
  #timer = null;

  constructor(player, event) {
    this.#player = player;
    this.#event = event;
    element('share').onclick = () => this.#share();
  }

  /** The link; without a time at the live edge. */
  link() {
    const link = new URL(`/watch/${this.#event}`, location.href);
    const date = this.#player.isLive ? null : this.#player.dateMs();
    if (date !== null) link.searchParams.set('at', String(Math.floor(date / 1000)));
    return link.href;
  }

  async #share() {
    const url = this.link();
    if (navigator.share) {
      await navigator.share({ title: document.title, url }).catch(() => {});
      return;
    }
    try {
      await navigator.clipboard.writeText(url);
      this.#say('The link is copied.');
    } catch {
      this.#say(url);
    }
  }

  #say(words) {
    text('said', words);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => text('said', ''), SAID_MS);
  }
}
