// The viewers' page: in every state that a viewer may meet, by keyboard alone, and never stuck; and
// other players at the same entry. Prints one line of JSON.
// Usage: node viewer.mjs
// '{"packages":DIR,"chromium":FILE,"edge":URL,"control":URL,"token":TOKEN,"expired":QUERY,
//   "signed":QUERY,"waiting":EVENT,"away":EVENT,"publish":URL,"clip":FILE,
//   "states":DIR,"players":FILE,"shots":DIR}'

import { check, checks, faults, withChromium } from './chromium.mjs';
import { joins } from './viewer/joins.mjs';
import { keyboard } from './viewer/keyboard.mjs';
import { players } from './viewer/players.mjs';
import { resume } from './viewer/resume.mjs';
import { states } from './viewer/states.mjs';

// Side by side, because all mostly wait.
const LANES = [{ states, keyboard, players }, { joins }, { resume }];

await withChromium(async (browser) => {
  await Promise.all(LANES.map((lane) => walk(browser, lane)));
  console.log(JSON.stringify({ checks, ...faults }));
});

async function walk(browser, lane) {
  for (const [name, step] of Object.entries(lane)) {
    const began = Date.now();
    try {
      await step(browser);
    } catch (error) {
      check(false, `${name}: ${error.message.split('\n')[0]}`);
    }
    console.error(`${name}: ${Math.round((Date.now() - began) / 1000)} s`);
  }
}
