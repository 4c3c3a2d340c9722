// The page in each state that a viewer may meet.

import { control, measured, plan, until } from '../chromium.mjs';
import { look, opened, plays, shows } from './parts.mjs';

const DAY_MS = 86_400_000;

/** Each state: how it comes about, and by what it is known that it is there. */
const STATES = {
  'on-the-air': { path: '/watch/demo', there: plays },
  'by-a-link': { path: () => `/watch/demo?${plan.signed}`, there: plays },
  'details': { path: '/watch/demo', there: details },
  'settings': { path: '/watch/demo', there: settings },
  'not-begun': { path: () => `/watch/${plan.waiting}`, words: 'The match has not begun' },
  'starts-at': { path: () => `/watch/${plan.waiting}`, there: startsAt },
  'unknown': { path: '/watch/no-such-match', words: 'There is no such match here' },
  'link-expired': { path: () => `/watch/demo?${plan.expired}`, words: 'This link has expired' },
  'link-damaged': {
    path: () => `/watch/demo?${plan.signed.replace(/sig=.{4}/, 'sig=AAAA')}`,
    words: 'This link is damaged',
  },
  // No door refuses for these here, so the driver answers in its place.
  'other-screen': {
    path: '/watch/demo',
    code: 'session-moved',
    words: 'Playing on another screen',
  },
  'other-country': {
    path: '/watch/demo',
    code: 'region-excluded',
    words: 'Not available in your country',
  },
  'no-link': {
    path: '/watch/demo',
    code: 'playback-closed',
    words: 'You need a link to watch this',
  },
  'edge-away': {
    path: '/watch/demo',
    code: 'origin-unavailable',
    words: 'The picture is not available at the moment',
  },
  'list': { path: '/', there: list },
  // The last, because it changes what the others would show.
  'in-a-break': { path: '/watch/demo', there: inBreak },
};

export async function states(browser) {
  for (const [name, state] of Object.entries(STATES)) {
    const path = typeof state.path === 'function' ? state.path() : state.path;
    const page = await refusing(browser, state.code, path);
    await look(page, name, state.there ?? ((one) => shows(one, state.words)));
    await page.context().close();
  }
}

/** A page that is refused its way in with this code, if there is one. */
async function refusing(browser, code, path) {
  if (code === undefined) return opened(browser, path);
  const page = await opened(browser, '/page/mark.svg');
  await page.route(/\/playback\?/, (route) =>
    route.fulfill({
      status: 403,
      contentType: 'application/problem+json',
      body: JSON.stringify({ type: `urn:sightscreen:problem:${code}`, title: 'x', status: 403 }),
    }),
  );
  await page.goto(plan.edge + path, { waitUntil: 'domcontentloaded' });
  return page;
}

async function details(page) {
  await plays(page);
  await page.click('#details-open');
  await until('numbers', async () => /^\d/.test(await page.textContent('#m-latency')));
}

async function settings(page) {
  await plays(page);
  await page.focus('#settings');
  await page.keyboard.press('Enter');
  await until('the panel', () => page.isVisible('#panel'));
}

/** Somebody sets the time, and who waits is told. */
async function startsAt(page) {
  const starts_at = new Date(Date.now() + 3 * DAY_MS).toISOString();
  await control('PATCH', `/api/v1/streams/${plan.waiting}`, { starts_at });
  const day = new Intl.DateTimeFormat('en-US', { weekday: 'long' }).format(new Date(starts_at));
  await page.reload();
  await shows(page, new RegExp(`^The match starts on ${day}, .*\\d:\\d\\d`));
}

/** How each match stands is not compared with a file, because it changes. */
async function list(page) {
  const standing = { demo: /^live$/, [plan.waiting]: /^starts on \S+day, .*\d:\d\d/ };
  for (const [event, words] of Object.entries(standing)) {
    await until(`${event} in the list to be ${words}`, async () =>
      words.test(await page.textContent(`#events a[href^="/watch/${event}"] .state`)));
  }
}

async function inBreak(page) {
  await plays(page);
  await control('POST', '/control/events/demo/breaks', { length_s: 20 });
  await until('a break', async () => (await measured(page)).now.creative !== null);
  await until('the advertiser', async () =>
    /^Ad · \d+ s · \S/.test(await page.textContent('#chip-ad')));
}
