// The control API, as the page asks it: every request ends in time, and everything that is no
// answer becomes an error in words.

import { soon } from '../shared/dom.js';

/**
 * Why there is no answer. `kind` is `away` (nobody answers), `token` (it is not good), `role` (it
 * may not do this) or `refused` (the message says why).
 */
export class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const WORDS = {
  token: 'The origin does not know this token: it is wrong, or was revoked.',
  away: 'The origin does not answer.',
  unsure: 'No answer came in time. It may have been done all the same: look before you try again.',
};

export class Control {
  #token;

  constructor(token) {
    this.#token = token;
  }

  /** JSON of a path. */
  async get(path) {
    return parsed(await this.#ask('GET', path, undefined, WORDS.away));
  }

  /** The text of a path. */
  async text(path) {
    return (await this.#ask('GET', path, undefined, WORDS.away)).text();
  }

  /** Does something; JSON of what came of it. */
  async post(path, body = {}) {
    return parsed(await this.#ask('POST', path, body, WORDS.unsure));
  }

  async #ask(method, path, body, away) {
    const headers = { authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const options = { method, headers, cache: 'no-store', redirect: 'error', signal: soon() };
    if (body !== undefined) options.body = JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Refusal('away', away);
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }
}

async function parsed(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Refusal('away', 'What answers here is not an origin.');
  }
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const title = typeof problem?.title === 'string' && problem.title !== '' ? problem.title : null;
  if (answer.status === 401) return new Refusal('token', WORDS.token);
  if (answer.status === 403) return new Refusal('role', title ?? 'The token may not do this.');
  return new Refusal('refused', title ?? `The origin answered with status ${answer.status}.`);
}
