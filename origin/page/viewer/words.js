// What the page says when there is no picture: a title, and what to do about it. By the codes of
// the edge's problems; a code that is not known here is said in general words.

/** `wait`: worth another try by itself. `button`: worth one when the viewer says so. */
const SAID = {
  'not-live': {
    title: 'The match has not begun',
    advice: 'The picture comes here by itself when it does.',
    wait: true,
  },
  'event-unknown': {
    title: 'There is no such match here',
    advice: 'Look at the link once more: it may be misspelt, or the match may be long over.',
  },
  'url-expired': {
    title: 'This link has expired',
    advice: 'Open the match again where you got the link.',
  },
  'url-not-yet-valid': {
    title: 'This link is not valid yet',
    advice: 'Come back later, or look at the clock of this device.',
    button: true,
  },
  'url-signature': {
    title: 'This link is damaged',
    advice: 'Copy it whole, or open the match again where you got the link.',
  },
  'plan-excludes': {
    title: 'Your plan does not have this match',
    advice: 'See where you signed up what it has.',
  },
  'region-excluded': {
    title: 'Not available in your country',
    advice: 'The match may not be shown where you are.',
  },
  'session-moved': {
    title: 'Playing on another screen',
    advice: 'It was opened elsewhere with your account.',
    button: true,
  },
  'playback-closed': {
    title: 'You need a link to watch this',
    advice: 'Open the match where you signed up.',
  },
  'edge-overloaded': {
    title: 'Very many people are coming in',
    advice: 'You are let in as soon as there is room.',
    wait: true,
  },
  offline: {
    title: 'You are offline',
    advice: 'The picture goes on when the network is back.',
    wait: true,
  },
  ended: { title: 'The match is over', advice: 'Thank you for watching.' },
  'no-player': {
    title: 'This browser cannot play the match',
    advice: 'Try a newer one, or another device.',
  },
};
SAID['url-malformed'] = SAID['url-signature'];
SAID['url-key-unknown'] = SAID['url-expired'];
SAID['route-unknown'] = SAID['event-unknown'];
SAID['session-revoked'] = SAID['session-moved'];

const AWAY = {
  title: 'The picture is not available at the moment',
  advice: 'It comes back here by itself.',
  wait: true,
};

/** What to say of a code. */
export function wordsOf(code) {
  return SAID[code] ?? AWAY;
}

/** A time in Unix milliseconds, as somebody else says it, or null. */
export function timeOf(value) {
  return Number.isFinite(value) && !Number.isNaN(new Date(value).getTime()) ? value : null;
}

/** What to say of a match that begins at this time. */
export function startsAt(ms) {
  return {
    title: `The match starts ${timeWords(ms)}`,
    advice: 'Stay here: the picture comes by itself.',
    wait: true,
  };
}

/** The sentence around it is English, so a date is too. */
const DATES = /^en(-[A-Z]{2})?$/.test(navigator.language) ? navigator.language : 'en';

/** `at 20:00`, or with its day unless that is today. */
export function timeWords(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const time = { hour: '2-digit', minute: '2-digit' };
  const form = today ? time : { weekday: 'long', day: 'numeric', month: 'long', ...time };
  const words = new Intl.DateTimeFormat(DATES, form).format(date);
  return `${today ? 'at' : 'on'} ${words}`;
}

const COHORT = {
  '18-34': '18 to 34 years', '35-plus': '35 and over',
  f: 'women', m: 'men', u: 'anybody',
  metro: 'in a large city', rest: 'outside large cities',
  mobile: 'on a phone', other: 'on a larger screen',
};
const NOBODY = { none: 'nobody: without advertisements', generic: 'everybody' };

/** A cohort's identifier as people would say it; what is not known stands as it is. */
export function cohortWords(cohort) {
  if (cohort === null) return '–';
  if (NOBODY[cohort] !== undefined) return NOBODY[cohort];
  return cohort.split('.').map((value) => COHORT[value] ?? languageName(value)).join(', ');
}

/** A language's own name, from its tag; anything else as it is. */
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([navigator.language], { type: 'language' }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** What a rendition is called, by its lines. */
export function qualityName(height) {
  if (height >= 2160) return `Ultra HD (${height}p)`;
  if (height >= 1080) return `Full HD (${height}p)`;
  if (height >= 720) return `HD (${height}p)`;
  if (height >= 360) return `Standard (${height}p)`;
  return `Least data (${height}p)`;
}

/** Seconds behind live as a clock shows them. */
export function behindWords(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const clock = `${two(minutes)}:${two(whole % 60)}`;
  return hours > 0 ? `−${hours}:${clock}` : `−${clock}`;
}
