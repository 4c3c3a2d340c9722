// Never stuck: viewers who join while the publisher is away and a break is near. And the end.

import { spawn } from 'node:child_process';

import { check, control, measured, plan, until } from '../chromium.mjs';
import { look, opened, played, plays, shows } from './parts.mjs';

/** How often a viewer joins while the publisher is away. */
const JOINS = 3;
const AWAY_MS = 12_000;
/** From when the publisher is back to its picture at a viewer who joined without it. */
const BACK_MS = 20_000;
const PUBLISHER_MS = 60_000;

/** Who joins while the publisher is away and a break is near has its picture when it is back. */
export async function joins(browser) {
  let publisher = publish();
  try {
    await became('live');
    for (let turn = 1; turn <= JOINS; turn += 1) {
      publisher.kill('SIGKILL');
      await became('interrupted');
      await control('POST', `/control/events/${plan.away}/breaks`, { length_s: 10 });
      const page = await opened(browser, `/watch/${plan.away}`);
      await until('the page says so', () => page.isVisible('#chip-feed'));
      await page.waitForTimeout(AWAY_MS);
      publisher = publish();
      await became('live');
      await back(page, turn);
      await page.context().close();
    }
    await over(browser);
  } finally {
    publisher.kill('SIGKILL');
  }
}

function became(state) {
  return until(`the publisher to be ${state}`, async () =>
    (await control('GET', `/control/events/${plan.away}`)).state === state, PUBLISHER_MS);
}

async function back(page, turn) {
  await until(
    `the picture, for who joined without it, turn ${turn}`,
    async () => (await measured(page)).playing && !(await page.isVisible('#chip-feed')),
    BACK_MS,
  );
  const { seconds, after } = await played(page, 4000);
  check(
    seconds > 2 && after.now.creative === null,
    `turn ${turn}: played ${seconds.toFixed(1)} s in 4 s, ` +
      `stalls ${JSON.stringify(after.stalls)}, entered anew ${JSON.stringify(after.entries)}`,
  );
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
  const { seconds } = await played(late, 3000);
  check(
    seconds > 2 && !(await late.isVisible('#notice')),
    `after the end the last minute plays: ${seconds.toFixed(1)} s in 3 s`,
  );
  await late.context().close();
}

function publish() {
  const words = ['-v', 'error', '-re', '-stream_loop', '-1', '-i', plan.clip, '-c', 'copy'];
  return spawn('ffmpeg', [...words, '-f', 'flv', plan.publish], { stdio: 'ignore' });
}
