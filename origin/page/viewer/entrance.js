// The way in: which event the address names, and the signed URL with which a player enters it.
//
// A link of a shop has the signature in the page's own query, which is passed on as it is.
// Otherwise the origin's API is asked, which gives URLs to everyone where it is set so.

import { keyed, soon } from '../shared/dom.js';

/** Claims that a demonstration may choose in the address. */
const CLAIMS = ['age', 'gender', 'metro', 'device', 'language', 'consent'];

/** Why there is no way in, as a code of the edge's problems. */
export class Refused extends Error {
  constructor(code, retryS = null) {
    super(code);
    this.code = code;
    /** Seconds after which to come again, where the answer says so. */
    this.retryS = retryS;
  }
}

/** The event of `/watch/{event}` or `/?event={event}`, or null. */
export function eventOf(address) {
  const [, event] = /^\/watch\/([^/]+)\/?$/.exec(address.pathname) ?? [];
  return keyed(event ?? address.searchParams.get('event'));
}

export class Entrance {
  #event;
  #query;
  #early;

  constructor(event, address) {
    this.#event = event;
    this.#query = address.searchParams;
    /** Whether the address is a link that somebody signed. */
    this.isSigned = this.#query.has('sig');
    // Asked at once, while the player is still being set up.
    this.#early = this.isSigned ? null : this.#ask();
    this.#early?.catch(() => {});
  }

  /** The claims that the address chooses. */
  get claims() {
    const chosen = CLAIMS.map((name) => [name, this.#query.get(name) ?? '']);
    return Object.fromEntries(chosen.filter(([, value]) => value !== ''));
  }

  /** The signed entry URL. */
  async url() {
    if (this.isSigned) return `/live/${this.#event}/main.m3u8?${signed(this.#query)}`;
    const asked = this.#early ?? this.#ask();
    this.#early = null;
    return asked;
  }

  /** Why a player was turned away at this URL, or null where it is let in now. */
  async why(url) {
    if (!navigator.onLine) return new Refused('offline');
    const answer = await fetch(url, { cache: 'no-store', signal: soon() }).catch(() => null);
    if (answer === null) return new Refused('unreachable');
    return answer.ok ? null : refusal(answer);
  }

  async #ask() {
    const query = new URLSearchParams({ consent: '1', ...this.claims });
    const path = `/api/events/${this.#event}/playback?${query}`;
    const answer = await fetch(path, { cache: 'no-store', signal: soon() }).catch(() => null);
    if (answer === null) throw new Refused(navigator.onLine ? 'unreachable' : 'offline');
    if (!answer.ok) throw await refusal(answer);
    return (await answer.json()).url;
  }
}

/** The query without what is the page's own. */
function signed(query) {
  const own = ['event', 'at', 'dir', 'tv'];
  return new URLSearchParams([...query].filter(([name]) => !own.includes(name)));
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const type = typeof problem.type === 'string' ? problem.type : '';
  const code = type.split(':').at(-1) || problem.error || `status-${answer.status}`;
  const retry = Number(answer.headers.get('retry-after'));
  return new Refused(code, Number.isFinite(retry) && retry > 0 ? Math.min(retry, 60) : null);
}
