// The demonstration page: wires the player, the timeline, the cohort picker, the score and the
// operator's buttons. Owns no state but theirs. Everything it shows comes through the edge; only
// the operator's buttons talk to the origin.

import { Cohort } from './cohort.js';
import { Measure } from './measure.js';
import { Names } from './names.js';
import { Operator } from './operator.js';
import { Player } from './player.js';
import { Score } from './score.js';
import { Timeline } from './timeline.js';
import { cohortOf, describe } from './stream.js';
import { element, json, keyed, soon, text } from '../shared/dom.js';

const CLOCK_MS = 1000;
const CLOCK_MOST_MS = 15_000;

const event = keyed(new URLSearchParams(location.search).get('event')) ?? 'demo';

const cohort = new Cohort(element('cohort'));
const measure = new Measure(element('video'));
const player = new Player(element('video'), {
  entry: () => cohort.entry(event),
  language: () => cohort.values.language,
  measure,
});
const names = new Names(event);
const timeline = new Timeline(element('timeline'), (creative) => names.of(creative));
const operator = Operator.fromFragment(event);

cohort.onChange = () => player.enter();
operator?.start();
new Score(event).start();
player.enter();
learnClock();

// Four times a second is what a reader can follow, and costs little beside decoding.
setInterval(refresh, 250);

/**
 * What the picture's frame numbers count from. Where the API does not answer, it is asked less and
 * less often.
 */
async function learnClock(wait = CLOCK_MS) {
  const detail = await fetch(`/api/events/${event}`, { signal: soon() })
    .then(json)
    .catch(() => null);
  names.learn(detail);
  const framesPerSecond = player.framesPerSecond();
  if (detail?.started_ms > 0 && framesPerSecond > 0)
    measure.clock = { epochMs: detail.started_ms, framesPerSecond };
  else setTimeout(learnClock, wait, detail === null ? Math.min(wait * 2, CLOCK_MOST_MS) : CLOCK_MS);
}

function refresh() {
  player.keepUp();
  const state = player.state();
  const now = describe(state);
  measure.note(now);
  text('cohort-name', cohortName(state.details));
  text('m-latency', seconds(now.latency));
  text('m-picture', pictureText(measure.pictureLatency));
  text('m-sequence', now.sequence ?? '–');
  text('m-revision', now.revision ?? '–');
  text('m-discontinuity', now.discontinuity ?? '–');
  text('m-buffer', now.buffer === null ? '–' : `${now.buffer.toFixed(1)} s`);
  text('m-stalls', measure.stalls.length);
  text('m-dropped', measure.dropped());
  chips(now);
  timeline.draw(state, now);
  text('timeline-text', timelineText(now));
}

function chips(now) {
  const live = element('go-live');
  const near = now.latency !== null && now.latency < 5;
  live.dataset.on = String(near);
  text('chip-live', now.latency === null ? player.word : near ? 'Live' : 'Go live');
  const ad = element('chip-ad');
  ad.hidden = now.creative === null;
  if (now.creative !== null) {
    ad.textContent = `${names.of(now.creative)} · ${Math.ceil(now.breakLeft)} s left`;
  }
}

function timelineText(now) {
  if (now.sequence === null) return '';
  if (now.creative !== null) return `break, sequence ${now.sequence}`;
  if (now.nextBreak !== null) return `break in ${Math.ceil(now.nextBreak)} s`;
  return `content, sequence ${now.sequence}`;
}

function pictureText(latency) {
  return latency === null ? '' : `${latency.toFixed(2)} s read off the picture`;
}

function playing(details) {
  const url = details?.fragments?.at(-1)?.baseurl;
  return url === undefined ? null : cohortOf(url);
}

function cohortName(details) {
  return playing(details)?.split('.').join(' · ') ?? '–';
}

function seconds(value) {
  return value === null ? '–' : value.toFixed(2);
}

window.sightscreen = {
  measure: () => ({
    ...measure.report(),
    cohort: playing(player.state().details),
    now: describe(player.state()),
  }),
  operator: operator !== null,
};
