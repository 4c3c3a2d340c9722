// Players as their makers ship them play the entry: hls.js and shaka-player.

import { readFileSync } from 'node:fs';

import { check, plan, until } from '../chromium.mjs';
import { opened } from './parts.mjs';

/** Each player: its script, and what runs in the page to have it play. */
const PLAYERS = {
  'hls.js': { script: 'hls.js/dist/hls.min.js', start: startHls },
  'shaka-player': { script: 'shaka-player/dist/shaka-player.compiled.js', start: startShaka },
};
const PLAY_MS = 10_000;

export async function players(browser) {
  for (const [name, { script, start }] of Object.entries(PLAYERS)) {
    // An address of the edge that is no page of its own.
    const page = await opened(browser, '/api/events');
    await page.setContent('<video id="video" muted autoplay width="640"></video>');
    const content = readFileSync(`${plan.packages}/node_modules/${script}`, 'utf8');
    await page.addScriptTag({ content });
    const entry = `/live/demo/main.m3u8?${plan.signed}`;
    await page.evaluate(start, new URL(entry, plan.edge).href);
    const time = () => page.evaluate(() => document.getElementById('video').currentTime);
    const isThere = () => page.evaluate(() => document.getElementById('video').readyState >= 3);
    await until(`a picture in ${name}`, isThere);
    const before = await time();
    await page.waitForTimeout(PLAY_MS);
    const seconds = (await time()) - before;
    const errors = await page.evaluate(() => window.fatal);
    check(
      seconds > (PLAY_MS / 1000) * 0.9 && errors.length === 0,
      `${name} plays the entry: ${seconds.toFixed(1)} s in ${PLAY_MS / 1000} s ` +
        JSON.stringify(errors),
    );
    await page.context().close();
  }
}

/** Runs in the page. */
function startHls(url) {
  window.fatal = [];
  const hls = new window.Hls();
  hls.on(window.Hls.Events.ERROR, (_, { fatal, details }) => {
    if (fatal) window.fatal.push(details);
  });
  hls.loadSource(url);
  hls.attachMedia(document.getElementById('video'));
}

/** Runs in the page. */
async function startShaka(url) {
  window.fatal = [];
  window.shaka.polyfill.installAll();
  const player = new window.shaka.Player();
  await player.attach(document.getElementById('video'));
  player.configure({ streaming: { lowLatencyMode: true } });
  player.addEventListener('error', ({ detail }) => window.fatal.push(detail.code));
  await player.load(url);
}
