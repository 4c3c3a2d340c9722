// Never stuck: a network that goes and comes back, a wall clock that is set, and an hour in which
// the page did not run, asleep or in the background.
//
// The hour is compressed: the stream's window, passes and sessions are as short as they may be, so
// that after little more than a minute nothing that the page knew holds any more, and the page's
// clocks are moved on by an hour. Meanwhile the browser's processes are stopped, all of them, as a
// machine that sleeps stops them.

import { check, control, measured, until, withChromium } from '../chromium.mjs';
import { opened, played, plays, shows } from './parts.mjs';

const STREAM = 'short';
const HOUR_MS = 3_600_000;
const OFFLINE_MS = 10_000;
/** In which window, pass and session of the stream run out. */
const ASLEEP_MS = 65_000;
const SESSION_S = 60;
const BACK_MS = 20_000;
const WATCH_MS = 3000;
/** A viewer further behind is not live. */
const NEAR_S = 8;
const STARTED_MS = 60_000;

export async function resume() {
  await control('POST', '/api/v1/streams', {
    id: STREAM, title: 'A short memory', input: 'test', languages: ['en'],
    ladder: { max_height: 160 }, window_s: 12, dvr_s: 12,
    pass: { ttl_s: SESSION_S, session_s: SESSION_S },
  });
  // A browser of its own, because it is stopped.
  await withChromium(async (browser) => {
    const page = await opened(browser, `/watch/${STREAM}`);
    await plays(page, STARTED_MS);
    await network(page);
    await clockSteps(page);
    await hourUnseen(browser, page);
  });
}

async function network(page) {
  await page.context().setOffline(true);
  await shows(page, 'You are offline');
  await page.waitForTimeout(OFFLINE_MS);
  await page.context().setOffline(false);
  await isLive(page, 'the network is back');
}

async function clockSteps(page) {
  for (const hours of [1, -2, 1]) {
    const before = await measured(page);
    await page.evaluate(step, { hours, ms: HOUR_MS, monotonic: false });
    await isLive(page, `the wall clock went by ${hours} h`);
    const after = await measured(page);
    const stalls = after.stalls.slice(before.stalls.length);
    check(
      after.entries.length === before.entries.length && !stalls.some(({ seconds }) => seconds > 1),
      `the wall clock went by ${hours} h: not entered anew, stalls ${JSON.stringify(stalls)}`,
    );
  }
}

async function hourUnseen(browser, page) {
  await page.evaluate(() => {
    window.ticks = 0;
    setInterval(() => { window.ticks += 1; }, 1000);
  });
  await page.evaluate(show, false);
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  try {
    signal(processInfo, 'SIGSTOP');
    await new Promise((done) => setTimeout(done, ASLEEP_MS));
  } finally {
    signal(processInfo, 'SIGCONT');
  }
  await page.evaluate(step, { hours: 1, ms: HOUR_MS, monotonic: true });
  await page.evaluate(show, true);
  const ticks = await page.evaluate(() => window.ticks);
  check(ticks < 5, `of ${ASLEEP_MS / 1000} s the page ran for ${ticks} s`);
  await isLive(page, 'an hour passed unseen');
}

/** To each that is still there. */
function signal(processes, name) {
  for (const { id } of processes) {
    try {
      process.kill(id, name);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

/** Runs in the page: whether it is seen. */
function show(isSeen) {
  Object.defineProperty(document, 'hidden', { value: !isSeen, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}

/** Runs in the page: its clocks, as they would be. */
function step({ hours, ms, monotonic }) {
  const by = hours * ms;
  const wall = Date.now.bind(Date);
  Date.now = () => wall() + by;
  if (!monotonic) return;
  const now = performance.now.bind(performance);
  performance.now = () => now() + by;
}

async function isLive(page, after) {
  await plays(page, BACK_MS);
  const { latency, seen } = await until(`live again after ${after}`, async () => {
    const { seconds, after: seen } = await played(page, WATCH_MS);
    const isSmooth = seconds > 0.9 * WATCH_MS / 1000;
    const { latency } = seen.now;
    return isSmooth && latency !== null && latency < NEAR_S && { latency, seen };
  }, BACK_MS);
  check(
    true,
    `${after}: live again, ${latency.toFixed(1)} s behind, ` +
      `entered anew ${JSON.stringify(seen.entries)}`,
  );
}
