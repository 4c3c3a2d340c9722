// An operator and two viewers of different cohorts: clicks what the page offers and prints, as one line of JSON, what came of it.
// Usage: node operate.mjs '{"packages":DIR,"chromium":FILE,"page":URL,"operator":FRAGMENT,"query":QUERY,"shots":DIR}'

import { measured, open, plan, withChromium } from './chromium.mjs';

const PATIENCE_MS = 40_000;
const POLL_MS = 250;
const BREAK_S = '60';
/** Long enough for creatives to be told apart, and far from the break's end. */
const WATCH_MS = 7000;
const PHONE = { width: 390, height: 844 };

const checks = [];

await withChromium(async (browser) => {
  const one = await open(browser, `${plan.page}?${plan.query}${plan.operator}`);
  const other = await open(browser, plan.page);
  const fetched = mediaOf(one.page);
  try {
    await playing(one.page);
    await pick(other.page, { age: '35+', gender: 'm', metro: 'non-metro' });
    await breakAndReturn(one.page, other.page);
    await apiAway(one.page);
    await menus(one.page, fetched);
    await phone(one.page);
    await adsOff(browser, one.page);
  } catch (error) {
    check(false, error.message.split('\n')[0]);
    await one.page.screenshot({ path: `${plan.shots}/operator-failed.png` });
  }
  const [first, second] = [await measured(one.page), await measured(other.page)];
  console.log(JSON.stringify({ checks, viewers: [first, second], problems: [...one.problems, ...other.problems] }));
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
  for (const [name, value] of Object.entries(values)) await page.selectOption(`#cohort select[name=${name}]`, value);
  const cohort = await until('the picked cohort', async () => {
    const now = await measured(page);
    return now.cohort?.startsWith('35-plus.m.rest.') && now.playing && now.cohort;
  });
  check(true, `the picker leads to cohort ${cohort}`);
}

async function breakAndReturn(page, other) {
  await page.selectOption('#op-length', BREAK_S);
  await page.click('#op-break');
  const inBreak = async (viewer) => (await measured(viewer)).now.creative !== null;
  await until('a break for both', async () => await inBreak(page) && await inBreak(other));
  const begun = Date.now();
  await page.waitForTimeout(WATCH_MS);
  await page.screenshot({ path: `${plan.shots}/operator.png` });
  await page.click('#op-return');
  await until('the early return for both', async () => !(await inBreak(page)) && !(await inBreak(other)));
  const lasted = Math.round((Date.now() - begun) / 1000);
  check(lasted < Number(BREAK_S) - 10, `a break of ${BREAK_S} s was returned from after ${lasted} s`);
}

/** The box of a switch by its label. */
function box(page, label) {
  return page.locator('#op-switches label', { hasText: label }).locator('input');
}

async function turn(page, label, on) {
  const input = box(page, label);
  if (await input.isChecked() !== on) await input.click();
  // The page shows what the origin says, not what was clicked.
  await page.waitForTimeout(2000);
  await until(`${label} ${on ? 'on' : 'off'}`, async () => await input.isChecked() === on);
}

async function apiAway(page) {
  const score = () => page.evaluate(async () => {
    const answer = await fetch('/api/events/demo/score', { cache: 'no-store' });
    return { status: answer.status, snapshot: answer.headers.get('sightscreen-snapshot') };
  });
  const badge = () => page.getAttribute('#api-state', 'data-state');
  await turn(page, 'Origin API', false);
  const { snapshot } = await until('a snapshot of the score', async () => {
    const answer = await score();
    return answer.status === 200 && answer.snapshot !== null && answer;
  });
  await until('the badge of a snapshot', async () => ['snapshot', 'stale'].includes(await badge()));
  check(true, `without its API the score answered by a ${snapshot} snapshot`);
  await turn(page, 'Origin API', true);
  await until('the live API', async () => (await score()).snapshot === null && await badge() === 'live');
}

/** Renditions whose media a page asks for, as they come. */
function mediaOf(page) {
  const fetched = [];
  page.on('request', (request) => {
    const found = /\/([av][a-z0-9-]*)\/(?:\d+\/)?[\d.]+\.m4s$/.exec(new URL(request.url()).pathname);
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
  const after = await until('another audio track', async () => sounds().at(-1) !== before && sounds().at(-1));
  await until('the menu of the chosen track', async () => await page.inputValue('#language') === language);
  check(true, `the language menu changed the sound from ${before} to ${after}`);
  await quality(page);
}

async function quality(page) {
  const shown = async () => (await measured(page)).size[1];
  const was = await shown();
  const levels = await page.evaluate(() => [...document.getElementById('quality').options]
    .filter((option) => option.value !== '-1').map((option) => ({ value: option.value, height: parseInt(option.textContent, 10) })));
  const level = levels.find(({ height }) => height !== was) ?? levels[0];
  await page.selectOption('#quality', level.value);
  await until(`a picture of ${level.height} lines`, async () => await shown() === level.height);
  check(true, `the quality menu changed the picture from ${was} to ${level.height} lines, ${levels.length} levels`);
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
  await turn(page, 'Ads', false);
  await until('cohort none for who comes now', async () => await cohortOfNew(browser) === 'none');
  await turn(page, 'Ads', true);
  const cohort = await until('a cohort for who comes now', async () => {
    const found = await cohortOfNew(browser);
    return found !== 'none' && found;
  });
  check(true, `with ads off a new viewer was in cohort none, with ads on in ${cohort}`);
}

async function cohortOfNew(browser) {
  const { page } = await open(browser, plan.page);
  try {
    return await until('a cohort', async () => (await measured(page)).cohort);
  } finally {
    await page.context().close();
  }
}
