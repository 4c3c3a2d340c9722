// How a state of the viewers' page is built: what assistive technology is told, but for what
// differs from moment to moment. It is compared with a file of `states`, which is written where it
// is missing.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';

import { check, plan, until } from '../chromium.mjs';

/** How a match of the list stands. */
const STANDING = /(link ".*|text:) (?:has not begun|starts on .*?|live|interrupted|over)("|$)/gm;
/** For all of a state to be there: title, score and numbers come one after another. */
const SETTLED_MS = 10_000;

export async function structure(page, name) {
  const file = `${plan.states}/${name}.yml`;
  if (!existsSync(file)) {
    await page.waitForTimeout(SETTLED_MS / 2);
    writeFileSync(file, `${await told(page)}\n`);
    check(false, `${name} was not known: look at ${file}, and run again`);
    return;
  }
  const was = readFileSync(file, 'utf8').trimEnd();
  let is = '';
  const isAsItWas = async () => (is = await told(page)) === was;
  const same = await until('the structure', isAsItWas, SETTLED_MS).catch(() => false);
  check(same, `${name} is built as it was${same ? '' : `, but ${differing(is, was)}`}`);
}

async function told(page) {
  return (await page.locator('body').ariaSnapshot())
    .replace(/(The match starts on ).*/, '$1…')
    .replace(STANDING, '$1 …$2')
    .replace(/\d+(\.\d+)?/g, 'N')
    .replace(/slider "Position".*/, 'slider "Position"')
    .replace(/button "(Play|Pause)"/, 'button "Play"')
    .replace(/button "(−N:N, go live|Live|Joining)".*/, 'button "Live"')
    .replace(/(term: Read off the picture\n.*definition: ).*/, '$1N s');
}

function differing(is, was) {
  const [now, before] = [is.split('\n'), was.split('\n')];
  const only = (one, other) => one.filter((line) => !other.includes(line));
  return JSON.stringify({ new: only(now, before), gone: only(before, now) });
}
