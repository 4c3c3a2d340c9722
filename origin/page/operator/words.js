// Times, lengths and states in words.

const STATES = {
  ready: { word: 'Waiting', says: 'Nothing is on the air yet' },
  live: { word: 'Live', says: 'On the air' },
  interrupted: { word: 'Interrupted', says: 'No picture arrives: viewers see the slate' },
  ended: { word: 'Ended', says: 'Over for good' },
};

const LEVELS = {
  cohort: 'own',
  generic: 'generic',
  fallback: 'fallback',
  slate: 'slate only',
  suppressed: 'no ads',
};

const ENCODERS = { x264: 'x264 (processor)', nvenc: 'NVENC', qsv: 'Quick Sync', vaapi: 'VA-API' };

/** A stream's state: a word, and what it means. */
export function stateOf(state) {
  return STATES[state] ?? { word: 'Unknown', says: 'The origin did not say' };
}

export function encoder(name) {
  return ENCODERS[name] ?? String(name ?? '–');
}

export function level(name) {
  return LEVELS[name] ?? String(name);
}

/** `{"cohort": 70, "generic": 3}` as a phrase. */
export function levels(counts) {
  const parts = Object.entries(counts ?? {}).filter(([, count]) => count > 0);
  if (parts.length === 0) return 'not decided yet';
  return parts.map(([name, count]) => `${count} ${level(name)}`).join(', ');
}

const CLOCK = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit', minute: '2-digit', second: '2-digit',
});
const SHORT = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

/** The time of day, with the day where it is another. */
export function clock(ms) {
  if (!Number.isFinite(ms)) return '–';
  const today = new Date(ms).toDateString() === new Date().toDateString();
  return (today ? CLOCK : DAY).format(ms);
}

export function minute(ms) {
  return SHORT.format(ms);
}

/** Seconds as `8 s`, `1 min 20 s` or `2 h 5 min`. */
export function lasting(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
}

/** A number with at most so many digits after the point, or a dash. */
export function number(value, digits = 0) {
  return Number.isFinite(value) ? value.toFixed(digits) : '–';
}

const ACTIONS = [
  [/^POST \/control\/events\/[^/]+\/breaks\/([^/ ]+)\/return/, 'Returned from break $1'],
  [/^POST \/control\/events\/[^/]+\/breaks\/([^/ ]+)\/extend/, 'Extended break $1'],
  [/^POST \/control\/events\/[^/]+\/breaks/, 'Announced a break'],
  [/^POST \/control\/events\/[^/]+\/flags/, 'Threw a switch'],
  [/^POST \/control\/events\/[^/]+\/keys/, 'Changed the keys in force'],
  [/^POST \/control\/events\/[^/]+\/snapshots/, 'Took the snapshots'],
  [/^POST \/control\/events\/[^/]+\/end/, 'Ended the event'],
  [/^PUT \/control\/events\/[^/]+\/score/, 'Set the score'],
  [/^DELETE \/control\/events\/[^/]+\/score/, 'Removed the score'],
  [/^POST \/control\/api/, 'Switched the API'],
  [/^POST \/api\/v1\/streams\/[^/]+\/key/, 'Changed the stream key'],
  [/^POST \/api\/v1\/streams\/[^/]+\/end/, 'Ended the stream'],
  [/^POST \/api\/v1\/streams/, 'Made a stream'],
  [/^PATCH \/api\/v1\/streams/, 'Changed a stream'],
  [/^DELETE \/api\/v1\/streams/, 'Deleted a stream'],
  [/^POST \/api\/v1\/tokens/, 'Made a token'],
  [/^DELETE \/api\/v1\/tokens/, 'Revoked a token'],
  [/^POST \/api\/v1\/webhooks/, 'Made a webhook'],
  [/^DELETE \/api\/v1\/webhooks/, 'Deleted a webhook'],
  [/^POST \/api\/v1\/reload/, 'Read the configuration again'],
];

/** What an entry of the audit log says was done, and what was said of it. */
export function action(text) {
  for (const [form, words] of ACTIONS) {
    const found = form.exec(text);
    if (found === null) continue;
    // What follows the path is a note of the origin.
    const [, note] = /^\S+ \S+ (.+)$/.exec(text) ?? [];
    const done = words.replace('$1', found[1] ?? '');
    return note === undefined ? done : `${done}: ${timed(note)}`;
  }
  return text;
}

/** Times in a note are Unix milliseconds. */
function timed(note) {
  const told = (_, word, ms) => `${word} ${clock(Number(ms))}`;
  return note.replaceAll(/\b(at|until) (\d{13})\b/g, told);
}

/** How it went. */
export function outcome(status) {
  if (status >= 200 && status < 300) return 'done';
  if (status === 401 || status === 403) return 'not allowed';
  return status >= 500 ? `failed (${status})` : `refused (${status})`;
}
