// Two viewers of different cohorts in Chromium, while an operator works at the control API. Prints,
// as one line of JSON, what the pages showed of it.
// Usage: node operate.mjs
// '{"packages":DIR,"chromium":FILE,"page":URL,"control":URL,"token":TOKEN,"queries":[QUERY,QUERY],
//   "shots":DIR}'

import {
  check, checks, control, faults, measured, open, plan, until as within, withChromium,
} from './chromium.mjs';

const PATIENCE_MS = 40_000;
const BREAK_S = 60;
/** Long enough for creatives to be told apart, and far from the break's end. */
const WATCH_MS = 7000;
const NARROW = [{ width: 390, height: 844 }, { width: 320, height: 640 }];
/** What the page's details say of the moment, and how each reads. */
const FACTS = {
  'm-latency': /^\d\.\d\d s$/,
  'm-sequence': /^\d+$/,
  'm-revision': /^\d+$/,
  'm-discontinuity': /^\d+$/,
  'm-buffer': /^\d+\.\d\d s$/,
  'm-stalls': /^\d+$/,
  'm-dropped': /^\d+$/,
  'cohort-name': /^18 to 34 years, women, in a large city, on a phone, Hindi$/,
};

await withChromium(async (browser) => {
  const [one, other] = await Promise.all(
    plan.queries.map((query) => open(browser, `${plan.page}?${query}`)),
  );
  const fetched = mediaOf(one.page);
  try {
    await Promise.all([playing(one.page), playing(other.page)]);
    await one.page.click('#details-open');
    await breakAndReturn(one.page, other.page);
    await apiAway(one.page);
    await menus(one.page, fetched);
    await narrow(one.page);
    await adsOff(browser);
    await lowLatencyOff(browser);
  } catch (error) {
    check(false, error.message.split('\n')[0]);
    await one.page.screenshot({ path: `${plan.shots}/operator-failed.png` });
  }
  const [first, second] = [await measured(one.page), await measured(other.page)];
  console.log(
    JSON.stringify({
      checks,
      viewers: [first, second],
      problems: [...one.problems, ...other.problems],
      ...faults,
    }),
  );
});

/** Two viewers share the machine with the origin. */
function until(what, look) {
  return within(what, look, PATIENCE_MS);
}

async function playing(page) {
  await until('a picture', async () => (await measured(page)).firstPictureMs !== null);
}

/** What stands there once all of it reads as it must, `more` included. */
async function facts(page, what, more) {
  const wanted = Object.entries({ ...FACTS, ...more });
  let shown = {};
  const look = async () => {
    shown = await page.evaluate(
      (ids) =>
        Object.fromEntries(ids.map((id) => [id, document.getElementById(id)?.textContent ?? null])),
      wanted.map(([id]) => id),
    );
    return wanted.every(([id, form]) => shown[id] !== null && form.test(shown[id]));
  };
  await until(what, look).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(shown)}`);
  });
  const { sequence } = (await measured(page)).now;
  check(
    Math.abs(Number(shown['m-sequence']) - sequence) <= 1,
    `${what} the page said ${JSON.stringify(shown)}`,
  );
  return shown;
}

async function breakAndReturn(page, other) {
  const before = await facts(page, 'before the break', {
    'timeline-text': /^match$/, 'm-picture': /^\d\.\d\d s$/,
  });
  const { id } = await control('POST', '/control/events/demo/breaks', { length_s: BREAK_S });
  const inBreak = async (viewer) => (await measured(viewer)).now.creative !== null;
  await until('a break for both', async () => await inBreak(page) && await inBreak(other));
  const begun = Date.now();
  await page.waitForTimeout(WATCH_MS);
  await page.screenshot({ path: `${plan.shots}/operator.png` });
  const left = /^advertisement, \d+ s left$/;
  const inside = await facts(page, 'in the break', { 'timeline-text': left });
  check(
    Number(inside['m-revision']) > Number(before['m-revision']),
    'the page showed a new revision of the ledger in the break',
  );
  const chip = await page.textContent('#chip-ad');
  check(/^Ad · \d+ s · \S/.test(chip), `the picture said ${chip}`);
  const heard = await page.textContent('#announce');
  check(/^Advertisements, \d+ seconds$/.test(heard), `who listens was told: ${heard}`);
  await extended(page, id);
  await control('POST', `/control/events/demo/breaks/${id}/return`, {});
  await until(
    'the early return for both',
    async () => !(await inBreak(page)) && !(await inBreak(other)),
  );
  const lasted = Math.round((Date.now() - begun) / 1000);
  check(lasted < BREAK_S - 10, `a break of ${BREAK_S} s was returned from after ${lasted} s`);
  await until(
    'the end of the break in words',
    async () => (await page.textContent('#announce')) === 'The match goes on',
  );
}

/** Throws a switch; it is thrown when the control API says so. */
async function turn(id, on) {
  const flag = { [id]: on ? 'on' : 'off' };
  if (id === 'api') await control('POST', '/control/api', { up: on });
  else await control('POST', '/control/events/demo/flags', flag);
  await until(`${id} ${on ? 'on' : 'off'}`, async () => {
    const state = await control('GET', '/control/events/demo');
    return (id === 'api' ? state.api.up : state.flags[id] === 'on') === on;
  });
}

/** A break that lasts longer says so at once, and is one break to whoever counts down. */
async function extended(page, id) {
  await control('POST', `/control/events/demo/breaks/${id}/extend`, { length_s: BREAK_S });
  const left = async () => (await measured(page)).now.breakLeft;
  await until('a countdown to the new end', async () => (await left()) > BREAK_S);
  const now = Math.round(await left());
  check(true, `a break of ${BREAK_S} s was extended by as much: ${now} s left`);
}

async function apiAway(page) {
  const score = () =>
    page.evaluate(async () => {
      const answer = await fetch('/api/events/demo/score', { cache: 'no-store' });
      return { status: answer.status, snapshot: answer.headers.get('sightscreen-snapshot') };
    });
  const snapshot = () =>
    until('a snapshot of the score', async () => {
      const answer = await score();
      return answer.status === 200 && answer.snapshot !== null && answer.snapshot;
    });
  const badge = (...states) =>
    until(`the badge ${states.join(' or ')}`, async () =>
      states.includes(await page.getAttribute('#api-state', 'data-state')),
    );
  await turn('api', false);
  const band = await snapshot();
  await badge('snapshot', 'stale');
  check(true, `without its API the score answered by a ${band} snapshot`);
  await turn('snapshots', false);
  await until('no score without snapshots', async () => (await score()).status === 503);
  await badge('gone');
  check(true, 'with snapshots off as well the score answered 503');
  await turn('snapshots', true);
  await snapshot();
  await turn('api', true);
  await until('the live API', async () => (await score()).snapshot === null);
  await badge('live');
}

/** Renditions whose media a page asks for, as they come. */
function mediaOf(page) {
  const fetched = [];
  page.on('request', (request) => {
    const found = /\/([av][a-z0-9-]*)\/(?:\d+\/)?(?:[a-z0-9]+-)?[\d.]+\.m4s$/.exec(
      new URL(request.url()).pathname,
    );
    if (found !== null) fetched.push(found[1]);
  });
  return fetched;
}

async function menus(page, fetched) {
  await page.focus('#settings');
  await page.click('#settings');
  const sounds = () => fetched.filter((name) => name.startsWith('a-'));
  const before = sounds().at(-1);
  const language = await page.evaluate(() => {
    const menu = document.getElementById('language');
    return [...menu.options].find((option) => option.value !== menu.value)?.value ?? null;
  });
  if (language === null) throw new Error('the language menu offers no other one');
  await page.selectOption('#language', language);
  const after = await until(
    'another audio track',
    async () => sounds().at(-1) !== before && sounds().at(-1),
  );
  await until(
    'the menu of the chosen track',
    async () => (await page.inputValue('#language')) === language,
  );
  check(true, `the language menu changed the sound from ${before} to ${after}`);
  await quality(page);
}

async function quality(page) {
  const shown = async () => (await measured(page)).size[1];
  const was = await shown();
  const levels = await page.evaluate(() =>
    [...document.getElementById('quality').options]
      .filter((option) => option.value !== '-1')
      .map(({ value, textContent }) => ({
        value,
        height: Number(/\((\d+)p\)/.exec(textContent)[1]),
      })),
  );
  const level = levels.find(({ height }) => height !== was) ?? levels[0];
  await page.selectOption('#quality', level.value);
  await until(`a picture of ${level.height} lines`, async () => (await shown()) === level.height);
  check(
    true,
    `the quality menu changed the picture from ${was} to ${level.height} lines, ` +
      `${levels.length} levels`,
  );
  await page.selectOption('#quality', '-1');
}

async function narrow(page) {
  const desktop = page.viewportSize();
  for (const size of NARROW) {
    await page.setViewportSize(size);
    await page.waitForTimeout(500);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    const path = `${plan.shots}/viewer-${size.width}.png`;
    await page.screenshot({ path, fullPage: true });
    check(wide <= size.width, `on a phone of ${size.width} points the page is ${wide} wide`);
  }
  await page.setViewportSize(desktop);
}

async function adsOff(browser) {
  await turn('ads', false);
  await until(
    'cohort none for who comes now',
    async () => (await newcomer(browser)).cohort === 'none',
  );
  await turn('ads', true);
  const cohort = await until('a cohort for who comes now', async () => {
    const found = (await newcomer(browser)).cohort;
    return found !== 'none' && found;
  });
  check(true, `with ads off a new viewer was in cohort none, with ads on in ${cohort}`);
}

async function lowLatencyOff(browser) {
  await turn('low-latency', false);
  await until(
    'a playlist without parts for who comes now',
    async () => !(await newcomer(browser)).parts,
  );
  await turn('low-latency', true);
  await until(
    'a playlist with parts for who comes now',
    async () => (await newcomer(browser)).parts,
  );
  check(true, 'with low latency off a new viewer was given no parts, with it on he was');
}

/** What who comes now is given: the cohort of his pass, and whether his playlist lists parts. */
async function newcomer(browser) {
  const { page } = await open(browser, plan.page);
  try {
    const request = await page.waitForRequest(
      (asked) => /\/v[a-z0-9-]*\/index\.m3u8$/.test(new URL(asked.url()).pathname),
      { timeout: PATIENCE_MS },
    );
    const playlist = await (await fetch(request.url().split('?')[0])).text();
    const cohort = await until('a cohort', async () => (await measured(page)).cohort);
    return { cohort, parts: playlist.includes('#EXT-X-PART:') };
  } finally {
    await page.context().close();
  }
}
