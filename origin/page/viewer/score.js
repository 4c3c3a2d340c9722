// The score: from `/api/events/{event}/score` through the edge, with where the answer came from.

import { element, json, soon, text } from '../shared/dom.js';
import { poll } from '../shared/poll.js';

const EVERY_MS = 3000;
const TITLES = { live: 'live API', snapshot: 'snapshot', stale: 'stale snapshot', gone: 'no API' };

export class Score {
  constructor(event) {
    this.url = `/api/events/${event}/score`;
  }

  start() {
    poll(EVERY_MS, () => this.#ask());
  }

  /** Whether an answer came, of whatever age. */
  async #ask() {
    try {
      const answer = await fetch(this.url, { cache: 'no-store', signal: soon() });
      const score = await json(answer);
      this.#show(score, state(answer.headers.get('sightscreen-snapshot')));
      return true;
    } catch {
      this.#badge('gone');
      return false;
    }
  }

  #show(score, from) {
    const { teams = [], score: stands = '', detail = '' } = score;
    element('score').hidden = teams.length === 0;
    text('score-teams', teams.join(' v '));
    text('score-stands', stands);
    text('score-detail', detail);
    this.#badge(from);
  }

  #badge(from) {
    element('api-state').dataset.state = from;
    text('api-state', TITLES[from]);
  }
}

function state(header) {
  if (header === null) return 'live';
  return header === 'stale' ? 'stale' : 'snapshot';
}
