// Players as their makers ship them play the entry, by the scripts of docs/players.md.

import { readFileSync } from 'node:fs';

import { check, plan, until } from '../chromium.mjs';
import { opened } from './parts.mjs';

/** Each player, and where its script is in the packages. */
const PLAYERS = {
  'hls.js': 'hls.js/dist/hls.min.js',
  'Shaka Player': 'shaka-player/dist/shaka-player.compiled.js',
};
const PLAY_S = 10;
/** A script of the document. */
const SCRIPT = /```js\n\/\/ ([^\n]*) ([\d.]+)\n(.*?)```/gs;

export async function players(browser) {
  const scripts = documented();
  check(
    Object.keys(PLAYERS).every((name) => scripts.has(name)),
    `the document has scripts for ${[...scripts.keys()].join(' and ')}`,
  );
  for (const [name, script] of scripts) await plays(browser, name, script);
}

/** The scripts of the document, by the player that the first line of each names. */
function documented() {
  const found = new Map();
  for (const [, name, version, script] of readFileSync(plan.players, 'utf8').matchAll(SCRIPT)) {
    const [folder] = PLAYERS[name].split('/');
    const file = `${plan.packages}/node_modules/${folder}/package.json`;
    const is = JSON.parse(readFileSync(file, 'utf8')).version;
    check(is === version, `the document has ${name} ${version}, and ${is} plays here`);
    found.set(name, script);
  }
  return found;
}

async function plays(browser, name, script) {
  // An address of the edge that is no page of its own.
  const page = await opened(browser, '/api/events');
  await page.setContent('<video id="video" muted autoplay width="640"></video>');
  const content = readFileSync(`${plan.packages}/node_modules/${PLAYERS[name]}`, 'utf8');
  await page.addScriptTag({ content });
  const entry = new URL(`/live/demo/main.m3u8?${plan.signed}`, plan.edge).href;
  await page.evaluate(start, { script, entry });
  const video = (what) => page.evaluate((of) => document.getElementById('video')[of], what);
  await until(`a picture in ${name}`, async () => (await video('readyState')) >= 3);
  const before = await video('currentTime');
  await until(`${PLAY_S} s of picture in ${name}`, async () =>
    (await video('currentTime')) > before + PLAY_S);
  const failures = await page.evaluate(() => window.failures);
  check(failures.length === 0, `${name} plays the entry ${JSON.stringify(failures)}`);
  await page.context().close();
}

/** Runs in the page. */
async function start({ script, entry }) {
  window.failures = [];
  const failed = (what) => window.failures.push(what);
  const video = document.getElementById('video');
  const run = new Function('video', 'entry', 'failed', `return (async () => {${script}})()`);
  await run(video, entry, failed);
}
