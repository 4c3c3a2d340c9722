// The viewers' page in every state that a viewer may meet: what it says, how it is built, whether
// axe finds anything serious, by keyboard alone, narrow, and never stuck. Prints one line of JSON.
// Usage: node viewer.mjs
// '{"packages":DIR,"chromium":FILE,"edge":URL,"control":URL,"token":TOKEN,"expired":QUERY,
//   "signed":QUERY,"waiting":EVENT,"away":EVENT,"publish":URL,"clip":FILE,
//   "states":DIR,"shots":DIR,"steadyMs":N}'

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

import { faults, measured, open, plan, withChromium } from './chromium.mjs';

const PATIENCE_MS = 30_000;
const POLL_MS = 200;
/** How often a viewer joins while the publisher is away. */
const JOINS = 3;
/** From when the publisher is back to its picture at a viewer who joined without it. */
const BACK_MS = 20_000;
const SMALL = { width: 720, height: 540 };

/** Each state: how it comes about, and by what it is known that it is there. */
const STATES = {
  'on-the-air': { path: '/watch/demo', there: plays },
  'by-a-link': { path: () => `/watch/demo?${plan.signed}`, there: plays },
  'in-a-break': { path: '/watch/demo', there: inBreak },
  'details': { path: '/watch/demo', there: details },
  'settings': { path: '/watch/demo', there: settings },
  'not-begun': { path: () => `/watch/${plan.waiting}`, words: 'The match has not begun' },
  'unknown': { path: '/watch/no-such-match', words: 'There is no such match here' },
  'link-expired': { path: () => `/watch/demo?${plan.expired}`, words: 'This link has expired' },
  'link-damaged': {
    path: () => `/watch/demo?${plan.signed.replace(/sig=.{4}/, 'sig=AAAA')}`,
    words: 'This link is damaged',
  },
  // No door refuses for these here, so the driver answers in its place.
  'other-screen': { path: '/watch/demo', code: 'session-moved', words: 'Playing on another screen' },
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
  'list': { path: '/', there: (page) => page.waitForSelector('#events li') },
};

const checks = [];

await withChromium(async (browser) => {
  const steps = { states, keyboard, steady, joins };
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step(browser);
    } catch (error) {
      check(false, `${name}: ${error.message.split('\n')[0]}`);
    }
  }
  console.log(JSON.stringify({ checks, ...faults }));
});

function check(passed, what) {
  checks.push({ passed, what });
}

async function until(what, look, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patience / 1000} s`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

async function control(method, path, body) {
  const answer = await fetch(plan.control + path, {
    method,
    headers: { authorization: `Bearer ${plan.token}` },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** A page, at most of the size that is kept. */
async function opened(browser, path) {
  const { page } = await open(browser, plan.edge + path);
  await page.setViewportSize(SMALL);
  return page;
}

function shows(page, words) {
  return until(`"${words}"`, async () => (await page.textContent('#notice-title')) === words);
}

async function plays(page) {
  const isSeen = async () => (await measured(page)).playing && !(await page.isVisible('#notice'));
  await until('a picture', isSeen).catch(async (error) => {
    const { now, currentTime, errors, entries } = await measured(page);
    const notice = await page.textContent('#notice-title');
    const seen = JSON.stringify({ notice, currentTime, now, errors: errors.slice(-3), entries });
    throw new Error(`${error.message}: ${seen}`);
  });
}

async function states(browser) {
  for (const [name, state] of Object.entries(STATES)) {
    const path = typeof state.path === 'function' ? state.path() : state.path;
    const page = await refusing(browser, state.code, path);
    await look(page, name, state.there ?? ((one) => shows(one, state.words)));
    await page.context().close();
  }
}

/** Waits for a state, keeps its picture, and judges how it is built. */
async function look(page, name, there) {
  try {
    await there(page);
    await structure(page, name);
    await serious(page, name);
  } catch (error) {
    check(false, `${name}: ${error.message.split('\n')[0]}`);
  }
  await page.screenshot({ path: `${plan.shots}/viewer-${name}.png` });
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

async function inBreak(page) {
  await plays(page);
  await control('POST', '/control/events/demo/breaks', { length_s: 20 });
  await until('a break', async () => (await measured(page)).now.creative !== null);
  await until('the advertiser', async () =>
    /^Ad · \d+ s · \S/.test(await page.textContent('#chip-ad')));
}

async function details(page) {
  await plays(page);
  await until('the match', async () => (await measured(page)).now.creative === null);
  await page.click('#details-open');
  await until('numbers', async () => /^\d/.test(await page.textContent('#m-latency')));
}

async function settings(page) {
  await plays(page);
  await page.focus('#settings');
  await page.keyboard.press('Enter');
  await until('the panel', () => page.isVisible('#panel'));
}

/** What assistive technology is told, but for what differs from moment to moment. */
async function structure(page, name) {
  await settled(page, name);
  const told = (await page.locator('body').ariaSnapshot())
    .replace(/\d+(\.\d+)?/g, 'N')
    .replace(/slider "Position".*/, 'slider "Position"')
    .replace(/button "(Play|Pause)"/, 'button "Play"')
    .replace(/button "(−N:N, go live|Live|Joining)".*/, 'button "Live"')
    .replace(/(term: Read off the picture\n.*definition: ).*/, '$1N s');
  const file = `${plan.states}/${name}.yml`;
  if (!existsSync(file)) writeFileSync(file, `${told}\n`);
  const lines = { is: told.split('\n'), was: readFileSync(file, 'utf8').trimEnd().split('\n') };
  const only = (one, other) => lines[one].filter((line) => !lines[other].includes(line));
  const differs = told === lines.was.join('\n') ? '' : `, but ${JSON.stringify({
    new: only('is', 'was'), gone: only('was', 'is'),
  })}`;
  check(differs === '', `${name} is built as it was${differs}`);
}

/** Until title and score are there, where there are any. */
async function settled(page, name) {
  if (name === 'unknown' || name === 'list') return;
  const title = () => page.textContent('#title');
  await until('the title', async () => (await title()) !== 'Live picture');
  if ((await title()).startsWith('Sightscreen'))
    await until('the score', () => page.isVisible('#score'));
}

/** What axe calls serious or worse. */
async function serious(page, name) {
  const axe = readFileSync(`${plan.packages}/node_modules/axe-core/axe.min.js`, 'utf8');
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document);
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id} at ${nodes.map(({ target }) => target).join(' ')}`);
  });
  check(found.length === 0, `${name}: axe finds nothing serious ${JSON.stringify(found)}`);
}

async function keyboard(browser) {
  const page = await opened(browser, '/watch/demo');
  await plays(page);
  const paused = () => page.evaluate(() => document.getElementById('video').paused);
  const muted = () => page.evaluate(() => document.getElementById('video').muted);
  const press = async (key, what, look) => {
    await page.keyboard.press(key);
    await until(what, look, 5000);
    check(true, `${key}: ${what}`);
  };
  await press('Space', 'paused', paused);
  await press('Space', 'plays', async () => !(await paused()));
  const was = await muted();
  await press('m', 'the sound is switched', async () => (await muted()) !== was);
  const behind = () => page.textContent('#chip-live');
  await press('ArrowLeft', 'ten seconds back', async () => (await behind()).startsWith('−'));
  await press('l', 'live again', async () => (await behind()) === 'Live');
  await press('?', 'the list of keys', () => page.isVisible('#help'));
  await press('Escape', 'closed', async () => !(await page.isVisible('#help')));
  await reached(page);
  await television(browser);
  await page.context().close();
}

/** By the tabulator, every control is reached, and is as large as a finger. */
async function reached(page) {
  const names = new Set();
  for (let i = 0; i < 30; i += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const { id, tagName } = document.activeElement;
      const box = document.activeElement.getBoundingClientRect();
      return { id, tagName, height: box.height, width: box.width };
    });
    if (focused.tagName === 'BUTTON' && (focused.height < 44 || focused.width < 44))
      check(false, `${focused.id} is ${focused.width} by ${focused.height}`);
    names.add(focused.id);
  }
  const wanted = ['seek', 'play', 'mute', 'volume', 'go-live', 'settings', 'full', 'share'];
  const missing = wanted.filter((id) => !names.has(id));
  check(missing.length === 0, `the tabulator reaches all but ${JSON.stringify(missing)}`);
}

/** Arrows alone lead to the controls and along them. */
async function television(browser) {
  const page = await opened(browser, '/watch/demo?tv=1');
  await plays(page);
  const focused = () => page.evaluate(() => document.activeElement.id);
  await page.keyboard.press('ArrowDown');
  const first = await focused();
  await page.keyboard.press('ArrowRight');
  const second = await focused();
  await page.keyboard.press('ArrowDown');
  const below = await focused();
  check(
    first === 'play' && second === 'mute' && below === 'share',
    `by arrows: ${first}, ${second}, ${below}`,
  );
  await page.context().close();
}

/** A minute of play: no task that a viewer would feel. */
async function steady(browser) {
  const page = await opened(browser, '/watch/demo');
  await plays(page);
  const { firstPictureMs } = await measured(page);
  await page.evaluate(() => {
    window.long = [];
    const seen = (list) => window.long.push(...list.getEntries().map((one) => one.duration));
    new PerformanceObserver(seen).observe({ type: 'longtask' });
  });
  await page.waitForTimeout(plan.steadyMs);
  const long = await page.evaluate(() => window.long);
  const longest = Math.max(0, ...long);
  console.error(`first picture ${firstPictureMs} ms, longest task ${longest} ms of ${long.length}`);
  checks.push({ passed: true, what: `first picture ${firstPictureMs} ms, longest task ${longest} ms` });
  await page.context().close();
}

/** Who joins while the publisher is away and a break is near has its picture when it is back. */
async function joins(browser) {
  let publisher = publish();
  try {
    const state = () => control('GET', `/control/events/${plan.away}`).then((told) => told.state);
    await until('the publisher', async () => (await state()) === 'live', 60_000);
    for (let turn = 1; turn <= JOINS; turn += 1) {
      publisher.kill('SIGKILL');
      await until('no publisher', async () => (await state()) === 'interrupted');
      await control('POST', `/control/events/${plan.away}/breaks`, { length_s: 10 });
      const page = await opened(browser, `/watch/${plan.away}`);
      await until('the page says so', () => page.isVisible('#chip-feed'));
      await page.waitForTimeout(12_000);
      publisher = publish();
      await until('the publisher', async () => (await state()) === 'live');
      await until(
        `the picture, for who joined without it, turn ${turn}`,
        async () => (await measured(page)).playing && !(await page.isVisible('#chip-feed')),
        BACK_MS,
      );
      const before = await measured(page);
      await page.waitForTimeout(4000);
      const after = await measured(page);
      check(
        after.currentTime > before.currentTime + 2 && after.now.creative === null,
        `turn ${turn}: played ${(after.currentTime - before.currentTime).toFixed(1)} s in 4 s, ` +
          `stalls ${JSON.stringify(after.stalls)}, entered anew ${JSON.stringify(after.entries)}`,
      );
      await page.context().close();
    }
    await over(browser);
  } finally {
    publisher.kill('SIGKILL');
  }
}

/** Who is there to the end is told, and who comes later sees the last minute first. */
async function over(browser) {
  const page = await opened(browser, `/watch/${plan.away}`);
  await plays(page);
  await control('POST', `/control/events/${plan.away}/end`, {});
  await look(page, 'over', (one) => shows(one, 'The match is over'));
  await page.context().close();
  const late = await opened(browser, `/watch/${plan.away}`);
  await plays(late);
  const { currentTime } = await measured(late);
  await late.waitForTimeout(3000);
  const played = (await measured(late)).currentTime - currentTime;
  check(
    played > 2 && !(await late.isVisible('#notice')),
    `after the end the last minute plays: ${played.toFixed(1)} s in 3 s`,
  );
  await late.context().close();
}

function publish() {
  const words = ['-v', 'error', '-re', '-stream_loop', '-1', '-i', plan.clip, '-c', 'copy'];
  return spawn('ffmpeg', [...words, '-f', 'flv', plan.publish], { stdio: 'ignore' });
}
