// What is on, where the address names no match and there is not just one.

import { element, json, keyed, make, soon, text } from '../shared/dom.js';
import { timeOf, timeWords } from './words.js';

const STATES = {
  ready: 'has not begun', live: 'live', interrupted: 'interrupted', ended: 'over',
};
const AGAIN_MS = 5000;

/** The only event there is, or null; asks until somebody answers. */
export async function theOnlyEvent() {
  const events = await all();
  return events?.length === 1 ? keyed(events[0].event) : null;
}

/** Shows what is on, again and again. */
export async function list() {
  element('list').hidden = false;
  const events = await all();
  if (events === null) text('list-said', 'What is on cannot be told at the moment.');
  else if (events.length === 0) text('list-said', 'Nothing is on.');
  else show(events);
  setTimeout(list, AGAIN_MS);
}

function show(events) {
  text('list-said', '');
  const query = new URLSearchParams(location.search);
  query.delete('event');
  const suffix = query.size === 0 ? '' : `?${query}`;
  const known = events.filter(({ event }) => keyed(event) !== null);
  element('events').replaceChildren(...known.map((one) => item(one, suffix)));
}

function item({ event, title, state, starts_at_ms }, suffix) {
  const link = make('a', { href: `/watch/${event}${suffix}` });
  const startsAtMs = timeOf(starts_at_ms);
  const isToCome = state === 'ready' && startsAtMs > Date.now();
  const word = isToCome ? `starts ${timeWords(startsAtMs)}` : STATES[state] ?? '';
  const badge = make('span', { className: 'state', textContent: word });
  badge.dataset.state = state;
  link.append(make('strong', { textContent: title || event }), badge);
  return make('li', {}, link);
}

async function all() {
  const answer = await fetch('/api/events', { signal: soon() }).then(json).catch(() => null);
  return Array.isArray(answer?.events) ? answer.events : null;
}
