// The operator's page: uses it with mouse, keyboard and thumb, and prints, as one line of JSON,
// what came of it.
// Usage: node operator.mjs '{"packages":DIR,"chromium":FILE,"control":URL,"edge":URL,
// "token":TOKEN,"viewer":TOKEN,"shots":DIR}'

import { check, checks, control, faults, plan, serious as axe, until, withChromium } from
  './chromium.mjs';
import { STRUCTURE, structure } from './structure.mjs';

const DESK = { width: 1440, height: 1000 };
const PHONES = [{ width: 390, height: 844 }, { width: 320, height: 640 }];
/** A name that leads here and that no browser takes for this machine. */
const ELSEWHERE = 'operator.test';
const TARGET_PX = 44;
const TABS_MOST = 80;
/** Lengths between the usual one and two minutes. */
const STEPS_TO_120_S = 5;

let page = null;
let finished = false;

await withChromium(async (browser) => {
  try {
    await all(browser);
    finished = true;
  } catch (error) {
    check(false, error.message.split('\n')[0]);
    await page?.screenshot({ path: `${plan.shots}/operator-page-failed.png` }).catch(() => {});
  }
  console.log(JSON.stringify({ checks, finished, ...faults }));
}, [`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`]);

async function all(browser) {
  await notOverThisConnection(browser);
  await theWayIn(browser);
  page = await opened(browser, `#token=${plan.token}`);
  await addressIsClean();
  await streams();
  await breakByKeyboard();
  await pods();
  await extend();
  await returnByKeyboard();
  await breakAtATime();
  await switches();
  await numbers();
  await log();
  await away();
  await cohorts();
  await phones();
  await readsOnly(browser);
}

/** A page of somebody who shares nothing with the others. */
async function opened(browser, hash, base = plan.control) {
  const context = await browser.newContext({ viewport: DESK, reducedMotion: 'reduce' });
  const allowed = [new URL(base).origin, plan.control, plan.edge];
  context.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    const own = protocol === 'data:' || protocol === 'blob:';
    if (!own && !allowed.includes(origin)) faults.outside.push(request.url());
  });
  const made = await context.newPage();
  made.on('pageerror', (error) => faults.thrown.push(String(error?.message ?? error)));
  made.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) faults.thrown.push(message.text());
  });
  await made.goto(`${base}/operator${hash}`, { waitUntil: 'domcontentloaded' });
  return made;
}

function state() {
  return control('GET', '/control/events/demo');
}

function said(text) {
  return until(`"${text}" on the page`, async () =>
    (await page.locator('main').innerText()).includes(text));
}

async function notOverThisConnection(browser) {
  const { port } = new URL(plan.control);
  const there = await opened(browser, `#token=${plan.token}`, `http://${ELSEWHERE}:${port}`);
  await there.waitForSelector('h1');
  const shown = await there.evaluate(() => ({
    isSafe: window.isSecureContext,
    words: document.querySelector('main').innerText,
    inputs: document.querySelectorAll('input').length,
    address: location.href,
    kept: sessionStorage.length,
  }));
  check(
    !shown.isSafe && shown.words.includes('ssh -L') && shown.inputs === 0 && shown.kept === 0 &&
      !shown.address.includes('token='),
    'over plain http from elsewhere the page takes no token, and says what to do',
  );
  await there.context().close();
}

async function theWayIn(browser) {
  page = await opened(browser, '');
  await page.waitForSelector('input[name=token]');
  await axe(page, 'the way in');
  await page.keyboard.press('Tab');
  await tabTo('input[name=token]');
  await page.keyboard.type('no-such-token-at-all');
  await page.keyboard.press('Enter');
  await said('does not know this token');
  await tabTo('input[name=token]');
  await page.keyboard.type(plan.token);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.stream a');
  check(true, 'a wrong token is refused in words, and the right one is typed by keyboard');
  await page.click('#leave');
  await page.waitForSelector('input[name=token]');
  const kept = await page.evaluate(() => sessionStorage.length);
  check(kept === 0, 'after leaving the tab keeps no token');
  await page.context().close();
}

async function addressIsClean() {
  await page.waitForSelector('.stream a');
  const { address, kept, local, length } = await page.evaluate(() => ({
    address: location.href,
    kept: Object.values(sessionStorage).length,
    local: localStorage.length + document.cookie.length,
    length: history.length,
  }));
  check(
    !address.includes('token=') && kept === 1 && local === 0,
    `the token is taken out of the address (${address}, ${length} in history)`,
  );
}

async function streams() {
  await until('the stream to be live', async () =>
    (await page.locator('.stream .badge').first().innerText()) === 'Live');
  await axe(page, 'streams');
  await compared('streams');
  await shot('streams-1440');
}

/** Presses Tab until the focus is there, and looks whether it can be seen on the way. */
async function tabTo(selector) {
  for (let count = 0; count < TABS_MOST; count += 1) {
    const { isThere, isSeen, what } = await page.evaluate((wanted) => {
      const node = document.activeElement;
      const style = getComputedStyle(node);
      const isSeen = node === document.body || node.localName === 'main' ||
        node.localName === 'iframe' ||
        (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2);
      const what = `${node.localName} ${node.textContent.slice(0, 20)}`;
      return { isThere: node.matches(wanted), isSeen, what };
    }, selector);
    if (!isSeen) check(false, `the focus on ${what} cannot be seen`);
    if (isThere) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not lead to ${selector}`);
}

async function breakByKeyboard() {
  await tabTo('.stream a');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.actions .primary:enabled');
  await axe(page, 'event');
  await compared('event');
  await tabTo('select[name=length]');
  for (let step = 0; step < STEPS_TO_120_S; step += 1) await page.keyboard.press('ArrowDown');
  await tabTo('.actions .primary');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  await axe(page, 'dialog');
  await shot('dialog-1440');
  await page.keyboard.press('Escape');
  await until('the dialog to close', async () => (await page.locator('dialog').count()) === 0);
  const back = await page.evaluate(() => document.activeElement.textContent);
  check(back === 'Break now', `Escape closes the dialog, and the focus returns to "${back}"`);
  check((await state()).breaks.length === 0, 'nothing is announced before it is confirmed');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Enter');
  await said('begins at');
  const [one] = (await state()).breaks;
  check(one?.length_ms === 120_000, `by keyboard a break of ${one?.length_ms} ms was announced`);
}

async function pods() {
  await until('the break on the timeline', async () =>
    /In break b1/.test(await page.getAttribute('.timeline svg', 'aria-label')));
  await page.click('button.link');
  await until('what plays', async () => (await page.locator('.pods tbody tr').count()) > 1);
  const words = await page.locator('.pods').innerText();
  check(/own/.test(words) && /\d+: 18-34 · f · /.test(words), 'a break shows its pods by cohort');
  const creatives = await page.locator('section', { hasText: 'Creatives' }).last().innerText();
  check(/ready/.test(creatives), 'creatives are shown with their state');
  await axe(page, 'event in a break');
  await shot('1440');
}

async function extend() {
  const before = (await state()).breaks.at(-1);
  await page.getByRole('button', { name: 'Extend', exact: true }).click();
  await page.waitForSelector('dialog[open]');
  await axe(page, 'dialog of an extension');
  await page.click('dialog .primary');
  await said(`${before.id} lasts`);
  const one = (await state()).breaks.at(-1);
  check(
    one.length_ms === before.length_ms + 120_000 && one.planned_ms === one.length_ms,
    `a break of ${before.length_ms} ms was extended to ${one.length_ms} ms`,
  );
}

async function returnByKeyboard() {
  await page.locator('main').focus();
  await tabTo('.actions .row .act:last-child');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Enter');
  await said('ends after');
  const one = (await state()).breaks.at(-1);
  check(one.returned, `by keyboard the break was cut to ${one.length_ms} ms`);
  await until('the break to end', async () => (await state()).breaks.at(-1).state === 'ended');
}

async function breakAtATime() {
  await page.click('.actions .act:nth-child(2)');
  await page.waitForSelector('dialog[open] input[type=time]');
  const at = new Date(Date.now() + 600_000);
  const told = [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => String(part).padStart(2, '0')).join(':');
  await page.fill('dialog input[type=time]', told);
  await page.click('dialog .primary');
  await said('b2 begins at');
  const one = (await state()).breaks.at(-1);
  const off = one.start_ms - Math.floor(at.getTime() / 1000) * 1000;
  check(off >= 0 && off < 2500, `a break at ${told} begins ${off} ms after that`);
  await page.click('.actions .primary');
  await said('cancel it first');
  await page.click('.actions .row .act:last-child');
  await page.click('dialog .primary');
  await said('b2 is cancelled');
}

async function switches() {
  await page.click('#switch-ads');
  await page.selectOption('dialog select[name=until]', '300');
  await page.fill('dialog input[name=reason]', 'rain delay');
  await axe(page, 'dialog of a switch');
  await page.click('dialog .grave');
  await said('Ads is off');
  const thrown = await state();
  const told = thrown.switches.ads;
  check(
    thrown.flags.ads === 'off' && told.reason === 'rain delay' && told.until_ms > Date.now(),
    'a switch is thrown with a reason, until a time',
  );
  await said('rain delay');
  await page.click('#switch-ads');
  await page.click('dialog .primary');
  await said('Ads is on');
  check((await state()).flags.ads === 'on', 'and turned back');
}

async function numbers() {
  await page.click('nav a:nth-child(2)');
  await until('charts', async () => (await page.locator('.plot canvas').count()) >= 4);
  await until('an edge that answers', async () =>
    /answers/.test(await page.locator('section', { hasText: 'Edges' }).last().innerText()));
  // A rate needs somebody who asks.
  await until('a hit rate', async () => {
    await fetch(`${plan.edge}/api/events`);
    return / \d+\.\d %/.test(await page.locator('.chart', { hasText: 'Hit rate' }).innerText());
  });
  await page.click('.chart >> nth=1 >> summary');
  await until('a chart as a table', async () =>
    (await page.locator('.chart >> nth=1 >> tbody tr').count()) >= 2);
  check(true, 'charts show the numbers of origin and edge, as tables too');
  await axe(page, 'numbers');
  await compared('numbers');
  await shot('numbers-1440');
}

async function log() {
  await page.click('nav a:nth-child(3)');
  await said('Announced a break: for 120 s');
  const words = await page.locator('main').innerText();
  check(
    /Returned from break b1/.test(words) && /rain delay/.test(words),
    'the log says who did what, and why',
  );
  await axe(page, 'log');
  await compared('log');
  await shot('log-1440');
}

async function away() {
  await page.route('**/*', (route) => route.abort());
  await until('that the origin is away', async () =>
    (await page.locator('#trouble').isVisible()) &&
      /does not answer/.test(await page.locator('#trouble').innerText()));
  await axe(page, 'origin away');
  await page.unroute('**/*');
  await until('that it is back', async () => !(await page.locator('#trouble').isVisible()));
  check(true, 'that the origin is away is said in words, and taken back when it answers');
}

async function cohorts() {
  await page.goto(`${plan.control}/operator#/event/demo/cohorts`);
  await until('two viewers', async () => (await viewers()).length === 2);
  const [one, other] = await until('two cohorts', async () => {
    const both = await viewers();
    return both.every((cohort) => cohort !== null) && both;
  });
  check(one !== other, `side by side are the cohorts ${one} and ${other}`);
  await axe(page, 'side by side');
  await compared('cohorts');
  await shot('cohorts-1440');
  await page.setViewportSize(PHONES[0]);
  await narrow('cohorts', PHONES[0]);
  await page.setViewportSize(DESK);
}

/** The cohort of each viewer's page in a frame. */
async function viewers() {
  const frames = page.frames().filter((frame) => frame.url().startsWith(plan.edge));
  return Promise.all(frames.map((frame) =>
    frame.evaluate(() => window.sightscreen?.measure().cohort ?? null).catch(() => null)));
}

async function phones() {
  for (const size of PHONES) {
    await page.setViewportSize(size);
    for (const [name, hash] of [
      ['streams', '#/'], ['event', '#/event/demo'], ['numbers', '#/numbers'], ['log', '#/log'],
    ]) {
      await page.goto(`${plan.control}/operator${hash}`);
      await until(`${name} on a phone`, async () =>
        (await page.locator('tbody tr, .stream, .plot canvas').count()) > 0);
      await page.waitForTimeout(1800);
      await narrow(name, size);
    }
    await page.goto(`${plan.control}/operator#/event/demo`);
    await page.waitForSelector('.actions .primary:enabled');
    await page.click('.actions .act:nth-child(2)');
    await page.waitForSelector('dialog[open]');
    await shot(`dialog-${size.width}`);
    await narrow('dialog', size);
    await page.keyboard.press('Escape');
  }
}

/** Nothing sticks out, and all that can be pressed is large enough. */
async function narrow(name, { width }) {
  const found = await page.evaluate((least) => {
    const pressed = document.querySelectorAll('a, button, input, select, summary');
    const small = [...pressed].filter((node) => {
      const box = node.getBoundingClientRect();
      const isShown = box.width > 0 && box.bottom > 0 && node.id !== 'skip';
      // The whole card of a stream leads there.
      const whole = node.closest('.stream') !== null;
      return isShown && !whole && (box.height < least - 0.5 || box.width < least - 0.5);
    });
    return {
      wide: document.documentElement.scrollWidth,
      small: small.map((node) => `${node.localName} ${node.textContent.trim().slice(0, 24)}`),
    };
  }, TARGET_PX);
  check(found.wide <= width, `${name} at ${width}: ${found.wide} points wide`);
  check(found.small.length === 0, `${name} at ${width}: too small ${JSON.stringify(found.small)}`);
  await axe(page, `${name} at ${width}`);
  if (name !== 'dialog') await shot(`${name}-${width}`, true);
}

async function readsOnly(browser) {
  await page.context().close();
  page = await opened(browser, `#token=${plan.viewer}`);
  await page.waitForSelector('.stream a');
  await page.goto(`${plan.control}/operator#/event/demo`);
  await page.waitForSelector('.actions');
  await said('may only read');
  await said('The log is for tokens with the role admin');
  const enabled = await page.locator('.actions button:enabled, .switch:enabled').count();
  check(enabled === 0, 'a token that reads only can press nothing, and is told why');
  await axe(page, 'reads only');
}

/** The picture's structure: what stands there, in which order, in how many columns. */
async function compared(name) {
  const found = await page.evaluate(structure);
  const wanted = STRUCTURE[name] ?? [];
  const missing = wanted.filter((line) => !found.includes(line));
  const order = wanted.map((line) => found.indexOf(line)).filter((at) => at >= 0);
  const isInOrder = order.every((at, index) => index === 0 || at >= order[index - 1]);
  check(
    wanted.length > 0 && missing.length === 0 && isInOrder,
    `the structure of ${name} is as it was: missing ${JSON.stringify(missing)}` +
      (missing.length === 0 && isInOrder ? '' : `, found ${JSON.stringify(found)}`),
  );
}

async function shot(name, fullPage = false) {
  await page.screenshot({ path: `${plan.shots}/operator-page-${name}.png`, fullPage });
}
