// Behind one button: the timeline, the numbers of the moment, and the cohort in words.

import { element, text } from '../shared/dom.js';
import { cohortOf } from './stream.js';
import { Timeline } from './timeline.js';
import { cohortWords } from './words.js';

export class Details {
  #measure;
  #timeline;

  constructor(measure, names) {
    this.#measure = measure;
    this.#timeline = new Timeline(element('timeline'), (creative) => names.of(creative));
    const button = element('details-open');
    button.onclick = () => {
      const section = element('details');
      section.hidden = !section.hidden;
      button.setAttribute('aria-expanded', String(!section.hidden));
    };
  }

  show(state, now) {
    if (element('details').hidden) return;
    const measure = this.#measure;
    text('cohort-name', cohortWords(cohortPlaying(state.details)));
    text('m-latency', seconds(now.latency));
    text('m-picture', seconds(measure.pictureLatency));
    text('m-sequence', now.sequence ?? '–');
    text('m-revision', now.revision ?? '–');
    text('m-discontinuity', now.discontinuity ?? '–');
    text('m-buffer', seconds(now.buffer));
    text('m-stalls', measure.stalls.length);
    text('m-dropped', measure.dropped());
    this.#timeline.draw(state, now);
    text('timeline-text', sentence(now));
  }
}

/** The cohort in the pass of what plays, or null. */
export function cohortPlaying(details) {
  const url = details?.fragments?.at(-1)?.baseurl;
  return url === undefined ? null : cohortOf(url);
}

function sentence(now) {
  if (now.sequence === null) return '';
  if (now.creative !== null) return `advertisement, ${Math.ceil(now.breakLeft)} s left`;
  if (now.nextBreak !== null) return `advertisements in ${Math.ceil(now.nextBreak)} s`;
  return 'match';
}

function seconds(value) {
  return value === null ? '–' : `${value.toFixed(2)} s`;
}
