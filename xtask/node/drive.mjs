// Plays the page in Chromium for a time and prints, as one line of JSON, what it saw.
// Usage: node drive.mjs
// '{"packages":DIR,"chromium":FILE,"url":URL,"beside":URL|null,"seconds":N,"screenshot":FILE|null}'

import { faults, measured, open, plan, withChromium } from './chromium.mjs';

const SAMPLE_MS = 500;

await withChromium(async (browser) => {
  const [report, beside] = await Promise.all([
    seen(browser, plan.url, plan.screenshot),
    plan.beside ? seen(browser, plan.beside, null) : null,
  ]);
  console.log(JSON.stringify({ ...report, beside, ...faults }));
});

/** Plays one page, and tells what was seen in it. */
async function seen(browser, url, screenshot) {
  const { page, problems, opened } = await open(browser, url);
  await page.evaluate(noteTasks);
  const samples = await watch(page, opened, screenshot);
  const report = await measured(page);
  const longestTaskMs = await page.evaluate(() => window.longestTaskMs);
  if (screenshot && !samples.shot) await page.screenshot({ path: screenshot });
  return { ...report, longestTaskMs, opened, samples: samples.list, problems };
}

/** One sample every half second: the clock, the counters, and a sum of what the picture shows. */
async function watch(page, opened, screenshot) {
  const seen = { list: [], shot: false };
  while (Date.now() - opened < plan.seconds * 1000) {
    const sample = await page.evaluate(look);
    seen.list.push({ at: Date.now() - opened, ...sample });
    // The picture that says most is one inside a break.
    if (screenshot && !seen.shot && sample.creative !== null && sample.firstPicture) {
      await page.waitForTimeout(2500);
      await page.screenshot({ path: screenshot });
      seen.shot = true;
    }
    await page.waitForTimeout(SAMPLE_MS);
  }
  return seen;
}

/** Runs in the page: notes the longest task in which it could not answer its viewer. */
function noteTasks() {
  window.longestTaskMs = 0;
  const note = (list) => {
    for (const { duration } of list.getEntries())
      window.longestTaskMs = Math.max(window.longestTaskMs, duration);
  };
  new PerformanceObserver(note).observe({ type: 'longtask', buffered: true });
}

/** Runs in the page. */
function look() {
  const video = document.getElementById('video');
  const canvas = (window.probe ??= new OffscreenCanvas(64, 36));
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  let picture = null;
  if (video.readyState >= 2) {
    pen.drawImage(video, 0, 0, canvas.width, canvas.height);
    picture = 0;
    for (const value of pen.getImageData(0, 0, canvas.width, canvas.height).data)
      picture = (picture * 31 + value) >>> 0;
  }
  const measured = window.sightscreen.measure();
  return {
    picture,
    time: video.currentTime,
    frames: measured.frames,
    audioBytes: measured.audioBytes,
    creative: measured.now.creative,
    sequence: measured.now.sequence,
    firstPicture: measured.firstPictureMs !== null,
  };
}
