// The page by keyboard alone, and by a television's arrows.

import { check, until } from '../chromium.mjs';
import { opened, plays } from './parts.mjs';

const TARGET_PX = 44;
const TABS = 30;
const PATIENCE_MS = 5000;

export async function keyboard(browser) {
  const page = await opened(browser, '/watch/demo');
  await plays(page);
  const paused = () => page.evaluate(() => document.getElementById('video').paused);
  const muted = () => page.evaluate(() => document.getElementById('video').muted);
  const press = async (key, what, seen) => {
    await page.keyboard.press(key);
    await until(what, seen, PATIENCE_MS);
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
  await page.context().close();
  await television(browser);
}

/** By the tabulator, every control is reached, and is as large as a finger. */
async function reached(page) {
  const names = new Set();
  for (let i = 0; i < TABS; i += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const { id, tagName } = document.activeElement;
      const box = document.activeElement.getBoundingClientRect();
      return { id, tagName, height: box.height, width: box.width };
    });
    const isSmall = focused.height < TARGET_PX || focused.width < TARGET_PX;
    if (focused.tagName === 'BUTTON' && isSmall)
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
  const pressed = async (key) => {
    await page.keyboard.press(key);
    return page.evaluate(() => document.activeElement.id);
  };
  const first = await pressed('ArrowDown');
  const second = await pressed('ArrowRight');
  const below = await pressed('ArrowDown');
  check(
    first === 'play' && second === 'mute' && below === 'share',
    `by arrows: ${first}, ${second}, ${below}`,
  );
  await page.context().close();
}
