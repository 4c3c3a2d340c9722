// What the runs of the viewers' page share.

import { check, measured, open, plan, serious, until } from '../chromium.mjs';
import { structure } from './structure.mjs';

const SMALL = { width: 720, height: 540 };

/** A page of a viewer of the edge, small enough for its picture to be kept. */
export async function opened(browser, path) {
  const { page } = await open(browser, plan.edge + path, SMALL);
  return page;
}

/** Until the notice in place of the picture says so. */
export function shows(page, words) {
  const fits = (said) => (words instanceof RegExp ? words.test(said) : words === said);
  return until(`"${words}"`, async () =>
    (await page.isVisible('#notice')) && fits(await page.textContent('#notice-title')));
}

/** Until there is a picture that moves. */
export async function plays(page, patience) {
  const isSeen = async () => (await measured(page)).playing && !(await page.isVisible('#notice'));
  await until('a picture', isSeen, patience).catch(async (error) => {
    const { now, currentTime, errors, entries } = await measured(page);
    const notice = await page.textContent('#notice-title');
    const seen = JSON.stringify({ notice, currentTime, now, errors: errors.slice(-3), entries });
    throw new Error(`${error.message}: ${seen}`);
  });
}

/** How many seconds of the picture are played in so many milliseconds, and what was seen then. */
export async function played(page, ms) {
  const before = await measured(page);
  await page.waitForTimeout(ms);
  const after = await measured(page);
  return { seconds: after.currentTime - before.currentTime, after };
}

/** Waits for a state, keeps its picture, and judges how it is built. */
export async function look(page, name, there) {
  try {
    await there(page);
    await structure(page, name);
    await serious(page, name);
  } catch (error) {
    check(false, `${name}: ${error.message.split('\n')[0]}`);
  }
  await page.screenshot({ path: `${plan.shots}/viewer-${name}.png` });
}
