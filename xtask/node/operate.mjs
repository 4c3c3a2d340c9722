// An operator and two viewers of different cohorts: clicks what the page offers and prints, as one
// line of JSON, what came of it.
// Usage: node operate.mjs
// '{"packages":DIR,"chromium":FILE,"page":URL,"operator":FRAGMENT,"query":QUERY,"shots":DIR}'

import { faults, measured, open, operator, plan, withChromium } from './chromium.mjs';

const PATIENCE_MS = 40_000;
const POLL_MS = 250;
const BREAK_S = '60';
/** Long enough for creatives to be told apart, and far from the break's end. */
const WATCH_MS = 7000;
const PHONE = { width: 390, height: 844 };
const LABELS = {
  ads: 'Ads',
  snapshots: 'Snapshots',
  'low-latency': 'Low latency',
  api: 'Origin API',
};
/** What the page says of the moment, and how each reads. */
const FACTS = {
  'm-latency': /^\d\.\d\d$/,
  'm-sequence': /^\d+$/,
  'm-revision': /^\d+$/,
  'm-discontinuity': /^\d+$/,
  'm-buffer': /^\d+\.\d s$/,
  'm-stalls': /^\d+$/,
  'm-dropped': /^\d+$/,
  'cohort-name': /^[a-z0-9+-]+( · [a-z0-9+-]+)+$/,
};

const checks = [];

await withChromium(async (browser) => {
  const one = await open(browser, `${plan.page}?${plan.query}${plan.operator}`);
  const other = await open(browser, plan.page);
  const fetched = mediaOf(one.page);
  try {
    await playing(one.page);
    await pick(other.page, { age: '35-plus', gender: 'm', metro: 'rest' });
    await breakAndReturn(one.page, other.page);
    await apiAway(one.page);
    await menus(one.page, fetched);
    await phone(one.page);
    await adsOff(browser, one.page);
    await lowLatencyOff(browser, one.page);
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

function check(passed, what) {
  checks.push({ passed, what });
}

/** Looks again and again until `look` gives something; an error says what did not come. */
async function until(what, look) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

async function playing(page) {
  await until('a picture', async () => (await measured(page)).firstPictureMs !== null);
}

/** By the picker, as a viewer would. */
async function pick(page, values) {
  await playing(page);
  for (const [name, value] of Object.entries(values))
    await page.selectOption(`#cohort select[name=${name}]`, value);
  const cohort = await until('the picked cohort', async () => {
    const now = await measured(page);
    return now.cohort?.startsWith('35-plus.m.rest.') && now.playing && now.cohort;
  });
  check(true, `the picker leads to cohort ${cohort}`);
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
    'timeline-text': /^content, sequence \d+$/, 'm-picture': /^\d\.\d\d s read off the picture$/,
  });
  await page.selectOption('#op-length', BREAK_S);
  await page.click('#op-break');
  const inBreak = async (viewer) => (await measured(viewer)).now.creative !== null;
  await until('a break for both', async () => await inBreak(page) && await inBreak(other));
  const begun = Date.now();
  await page.waitForTimeout(WATCH_MS);
  await page.screenshot({ path: `${plan.shots}/operator.png` });
  const inside = await facts(page, 'in the break', { 'timeline-text': /^break, sequence \d+$/ });
  check(
    Number(inside['m-revision']) > Number(before['m-revision']),
    'the page showed a new revision of the ledger in the break',
  );
  const chip = await page.textContent('#chip-ad');
  check(/ · \d+ s left$/.test(chip), `the creative's chip said ${chip}`);
  await page.click('#op-return');
  await until(
    'the early return for both',
    async () => !(await inBreak(page)) && !(await inBreak(other)),
  );
  const lasted = Math.round((Date.now() - begun) / 1000);
  check(
    lasted < Number(BREAK_S) - 10,
    `a break of ${BREAK_S} s was returned from after ${lasted} s`,
  );
}

/**
 * Throws a switch on the page; it is thrown when the control API says so, and the page shows what
 * that says.
 */
async function turn(page, id, on) {
  const input = page.locator('#op-switches label', { hasText: LABELS[id] }).locator('input');
  const word = `${LABELS[id]} ${on ? 'on' : 'off'}`;
  if (await input.isChecked() !== on) await input.click();
  await until(`${word} by the control API`, async () => isOn(await state(), id) === on);
  // By then the page has asked again: a box keeps what was clicked no longer than that.
  await page.waitForTimeout(2000);
  await until(`${word} on the page`, async () => await input.isChecked() === on);
}

function isOn(state, id) {
  return id === 'api' ? state.api.up : state.flags[id] === 'on';
}

/** What the control API says of the event. */
async function state() {
  const { address, token } = operator(plan.operator);
  const answer = await fetch(`${address}/control/events/demo`, {
    headers: { authorization: `Bearer ${token}` },
  });
  if (!answer.ok) throw new Error(`the control API answered ${answer.status}`);
  return answer.json();
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
  await turn(page, 'api', false);
  const band = await snapshot();
  await badge('snapshot', 'stale');
  check(true, `without its API the score answered by a ${band} snapshot`);
  await turn(page, 'snapshots', false);
  await until('no score without snapshots', async () => (await score()).status === 503);
  await badge('gone');
  check(true, 'with snapshots off as well the score answered 503');
  await turn(page, 'snapshots', true);
  await snapshot();
  await turn(page, 'api', true);
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
      .map((option) => ({ value: option.value, height: parseInt(option.textContent, 10) })),
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

async function phone(page) {
  const desktop = page.viewportSize();
  await page.setViewportSize(PHONE);
  await page.waitForTimeout(500);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.screenshot({ path: `${plan.shots}/operator-phone.png`, fullPage: true });
  check(wide <= PHONE.width, `on a phone of ${PHONE.width} points the page is ${wide} wide`);
  await page.setViewportSize(desktop);
}

async function adsOff(browser, page) {
  await turn(page, 'ads', false);
  await until(
    'cohort none for who comes now',
    async () => (await newcomer(browser)).cohort === 'none',
  );
  await turn(page, 'ads', true);
  const cohort = await until('a cohort for who comes now', async () => {
    const found = (await newcomer(browser)).cohort;
    return found !== 'none' && found;
  });
  check(true, `with ads off a new viewer was in cohort none, with ads on in ${cohort}`);
}

async function lowLatencyOff(browser, page) {
  await turn(page, 'low-latency', false);
  await until(
    'a playlist without parts for who comes now',
    async () => !(await newcomer(browser)).parts,
  );
  await turn(page, 'low-latency', true);
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
