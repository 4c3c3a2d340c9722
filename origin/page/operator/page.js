// The operator's page: who is let in, which view is open, and whether the origin answers. It is
// served by the control port and talks to nothing else.

import { element, keyed, make, text } from '../shared/dom.js';
import { CohortsView } from './cohorts.js';
import { Control } from './control.js';
import { EventView } from './event.js';
import { Gate, unsafe } from './gate.js';
import { LogView } from './log.js';
import { NumbersView } from './numbers.js';
import { attributes } from './parts.js';
import * as session from './session.js';
import { StreamsView } from './streams.js';
import { Watch } from './watch.js';
import { clock } from './words.js';

const READS_ONLY = 'This token may only read: actions need the role operator.';
const RETRY_MS = 4000;

let control = null;
let watch = null;
let view = null;
/** Why nothing can be done with this token, in words; null where it may act. */
let may = null;
let lastAnswer = 0;
let retry = 0;

start();

function start() {
  const given = session.fromAddress();
  if (!session.isSafe()) {
    session.forget();
    element('view').replaceChildren(unsafe());
    return;
  }
  element('leave').onclick = () => leave();
  element('skip').onclick = (event) => {
    event.preventDefault();
    element('view').focus();
  };
  addEventListener('hashchange', () => {
    const other = session.fromAddress();
    if (other === null) route();
    else enter(other);
  });
  const token = given ?? session.kept();
  if (token === null) ask();
  else enter(token);
}

function ask(words = '') {
  const gate = new Gate((token) => enter(token));
  show({ node: gate.node, title: 'Enter', end: () => {} });
  if (words !== '') gate.fault(words);
}

/** Tries a token: only one that the origin knows is kept. */
async function enter(token) {
  clearTimeout(retry);
  end();
  const tried = new Control(token);
  let who;
  try {
    who = await tried.get('/control/token');
  } catch (error) {
    if (error.kind !== 'away') session.forget();
    ask(error.message);
    // Nobody types the token again because an origin is restarted.
    if (error.kind === 'away') retry = setTimeout(() => enter(token), RETRY_MS);
    return;
  }
  session.keep(token);
  control = tried;
  may = who.role === 'viewer' ? READS_ONLY : null;
  text('who', `${who.name} · ${who.role}`);
  element('signed-in').hidden = false;
  watch = new Watch(control, noteTrouble);
  route();
}

function leave() {
  session.forget();
  end();
  ask();
}

function end() {
  watch?.end();
  watch = null;
  control = null;
  element('signed-in').hidden = true;
  element('trouble').hidden = true;
}

/** Whether the origin answers is said once, above every view. */
function noteTrouble(error) {
  if (error === null) lastAnswer = Date.now();
  const note = element('trouble');
  note.hidden = error === null;
  if (error === null) return;
  if (error.kind === 'token') {
    session.forget();
    end();
    ask(error.message);
    return;
  }
  const since = lastAnswer === 0 ? '' : ` The last answer came at ${clock(lastAnswer)}.`;
  text('trouble', `${error.message}${since} Asking again …`);
}

function route() {
  if (control === null) return;
  const [, name, id, more] = location.hash.slice(1).split('/');
  const event = name === 'event' ? keyed(decoded(id)) : null;
  const shared = { control, watch, may };
  if (event !== null && more === 'cohorts') show(new CohortsView({ ...shared, event }));
  else if (event !== null) show(new EventView({ ...shared, event }));
  else if (name === 'numbers') show(new NumbersView(shared));
  else if (name === 'log') show(new LogView(shared));
  else show(new StreamsView(shared));
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.hash === `#/${name ?? ''}` || (link.hash === '#/' && name === 'event');
    attributes(link, { 'aria-current': isHere ? 'page' : null });
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    return '';
  }
}

function show(next) {
  const isFirst = view === null;
  view?.end();
  view = next;
  document.title = `${next.title} · Sightscreen`;
  element('view').replaceChildren(next.node ?? make('p'));
  // A reader of screens is taken to the new view, but not away from the browser's own start.
  if (!isFirst) element('view').focus({ preventScroll: true });
  scrollTo(0, 0);
}
