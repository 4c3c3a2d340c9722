// The viewers' page: wires the way in, the player, its controls and what is said around it. Owns no
// state but theirs. Everything it shows comes through the edge.

import { Controls } from './controls.js';
import { Details, cohortPlaying } from './details.js';
import { Entrance, eventOf } from './entrance.js';
import { Keys } from './keys.js';
import { Match } from './match.js';
import { Measure } from './measure.js';
import { Names } from './names.js';
import { Announcer, Notice } from './notice.js';
import { Player } from './player.js';
import { Share, momentOf } from './share.js';
import { describe } from './stream.js';
import { element, json, soon, text } from '../shared/dom.js';
import { list, theOnlyEvent } from './list.js';

const CLOCK_MS = 1000;
const CLOCK_MOST_MS = 15_000;
/** Four times a second is what a reader can follow, and costs little beside decoding. */
const REFRESH_MS = 250;

const address = new URL(location.href);
if (address.searchParams.get('dir') === 'rtl') document.documentElement.dir = 'rtl';

const event = eventOf(address) ?? await theOnlyEvent();
if (event === null) list();
else watch(event);

function watch(event) {
  element('stage').hidden = false;
  element('about').hidden = false;
  const measure = new Measure(element('video'));
  const entrance = new Entrance(event, address);
  const player = new Player(element('video'), { entrance, measure });
  const names = new Names(event);
  const match = new Match(event, names);
  const notice = new Notice(match);
  const controls = new Controls(player);
  const details = new Details(measure, names);
  const announcer = new Announcer();
  new Keys(controls, player, address);
  new Share(player, event);
  player.onTrouble = (code) => notice.show(code);
  notice.onAct = () => player.enter();
  match.onChange = () => {
    element('chip-feed').hidden = match.state !== 'interrupted';
    notice.again();
  };
  player.enter(momentOf(address));
  match.start();
  learn(event, { match, measure, player });
  setInterval(() => refresh({ player, controls, details, announcer, measure, names }), REFRESH_MS);
  window.sightscreen = {
    measure: () => ({
      ...measure.report(),
      cohort: cohortPlaying(player.state().details),
      now: describe(player.state()),
      bites: player.watchdog.bites,
    }),
  };
}

/**
 * What the event is, and what the picture's frame numbers count from. While that is not known, it
 * is asked for less and less often: many may wait for a match to begin.
 */
async function learn(event, around, wait = CLOCK_MS) {
  const { match, measure, player } = around;
  const detail = await fetch(`/api/events/${event}`, { signal: soon() })
    .then(json)
    .catch(() => null);
  if (detail !== null) match.learn(detail);
  const framesPerSecond = player.framesPerSecond();
  if (detail?.started_ms > 0 && framesPerSecond > 0)
    measure.clock = { epochMs: detail.started_ms, framesPerSecond };
  else setTimeout(() => learn(event, around, Math.min(wait * 2, CLOCK_MOST_MS)), wait);
}

function refresh({ player, controls, details, announcer, measure, names }) {
  player.keepUp();
  const state = player.state();
  const now = describe(state);
  measure.note(now);
  controls.refresh();
  announcer.follow(now);
  showAd(now, names);
  details.show(state, now);
}

/** `Ad · 17 s`, and the advertiser where the API says who it is; slate is nobody's. */
function showAd(now, names) {
  const chip = element('chip-ad');
  chip.hidden = now.creative === null;
  if (now.creative === null) return;
  const name = names.of(now.creative);
  const left = `${Math.ceil(now.breakLeft)} s`;
  const who = name === now.creative ? '' : ` · ${name}`;
  text('chip-ad', names.isSlate(now.creative) ? `Back in ${left}` : `Ad · ${left}${who}`);
}
