// What is known of the match beside its picture: title, score, and whether it has begun, is
// interrupted or over. From the API through the edge, which has a stored answer when the origin is
// away.

import { element, json, soon, text } from '../shared/dom.js';
import { poll } from '../shared/poll.js';
import { timeOf } from './words.js';

const EVERY_MS = 3000;
const FROM = {
  live: 'the origin',
  snapshot: 'a stored answer',
  stale: 'an old stored answer',
  gone: 'nobody: the origin is away',
};

export class Match {
  /** `ready`, `live`, `interrupted` or `ended`; null while nobody says. */
  state = null;
  /** When it begins, in Unix milliseconds, where that is known. */
  startsAtMs = null;
  /** Called when its state, or when it begins, has changed. */
  onChange = () => {};
  #event;
  #names;

  constructor(event, names) {
    this.#event = event;
    this.#names = names;
  }

  start() {
    poll(EVERY_MS, () => this.#ask());
  }

  /** Takes what the API says of the event as a whole. */
  learn(detail) {
    this.#names.learn(detail);
    if (typeof detail?.title === 'string' && detail.title !== '') {
      text('title', detail.title);
      element('title').classList.remove('sr');
      document.title = detail.title;
      element('video').setAttribute('aria-label', detail.title);
    }
    this.#become(detail?.state, timeOf(detail?.starts_at_ms));
  }

  /** Whether an answer came, of whatever age. */
  async #ask() {
    try {
      const url = `/api/events/${this.#event}/score`;
      const answer = await fetch(url, { cache: 'no-store', signal: soon() });
      const score = await json(answer);
      this.#show(score);
      this.#say(band(answer.headers.get('sightscreen-snapshot')));
      this.#become(score.state);
      return true;
    } catch {
      this.#say('gone');
      return false;
    }
  }

  #become(state, startsAtMs = this.startsAtMs) {
    if (typeof state !== 'string') return;
    if (state === this.state && startsAtMs === this.startsAtMs) return;
    this.state = state;
    this.startsAtMs = startsAtMs;
    this.onChange();
  }

  #show({ teams = [], score = '', detail = '' }) {
    element('score').hidden = teams.length === 0;
    text('score-teams', teams.join(' v '));
    text('score-stands', score);
    text('score-detail', detail);
  }

  #say(from) {
    element('api-state').dataset.state = from;
    text('api-state', FROM[from]);
  }
}

function band(header) {
  if (header === null) return 'live';
  return header === 'stale' ? 'stale' : 'snapshot';
}
