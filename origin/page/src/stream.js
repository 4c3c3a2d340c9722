// Reads a media playlist as hls.js holds it: where the playhead is, what plays there, and what is announced.

const CREATIVE = /\/ads\/([^/]+)\//;
const REVISION = /^#EXT-X-SIGHTSCREEN-LEDGER:(\d+)/m;

/** The creative that a fragment belongs to, or null for content. */
export function creativeOf(fragment) {
  return CREATIVE.exec(fragment.url)?.[1] ?? null;
}

/** The ledger revision that a playlist was written under, or null. */
export function revisionOf(details) {
  const found = REVISION.exec(details.m3u8);
  return found === null ? null : Number(found[1]);
}

/** The cohort that a media URL's pass names: version, then key, event and cohort, each after its length in one byte. */
export function cohortOf(url) {
  const pass = /\/live\/[^/]+\/([A-Za-z0-9_-]+)\//.exec(url)?.[1];
  if (pass === undefined) return null;
  const bytes = atob(pass.replaceAll('-', '+').replaceAll('_', '/'));
  let at = 1;
  const field = () => {
    const end = at + 1 + bytes.charCodeAt(at);
    const value = bytes.slice(at + 1, end);
    at = end;
    return value;
  };
  return [field(), field(), field()][2];
}

/** The fragment at a time of the player's timeline, or null. */
export function fragmentAt(details, time) {
  return details.fragments.find((fragment) => time >= fragment.start && time < fragment.end) ?? null;
}

/** Breaks that the playlist announces, as times of the player's timeline; an unknown end is null. */
export function announced(details) {
  const anchor = details.fragments.find((fragment) => fragment.programDateTime !== null);
  if (anchor === undefined) return [];
  const at = (date) => (date.getTime() - anchor.programDateTime) / 1000 + anchor.start;
  return Object.values(details.dateRanges ?? {})
    .filter((range) => range?.startDate)
    .map((range) => {
      const length = range.duration ?? range.plannedDuration;
      return { id: range.id, start: at(range.startDate), end: length === null ? null : at(range.startDate) + length };
    });
}

const NOTHING = {
  latency: null, sequence: null, revision: null, discontinuity: null, buffer: null,
  creative: null, breakLeft: 0, nextBreak: null, playhead: 0,
};

/** What a viewer would ask: everything about this moment. */
export function describe({ details, playhead, latency, buffer, revision }) {
  if (!details) return NOTHING;
  const fragment = fragmentAt(details, playhead);
  const creative = fragment === null ? null : creativeOf(fragment);
  const breaks = announced(details);
  const within = breaks.find((one) => one.start <= playhead && (one.end === null || playhead < one.end));
  const next = breaks.filter((one) => one.start > playhead).sort((a, b) => a.start - b.start)[0];
  return {
    latency, buffer, revision, playhead, creative,
    sequence: fragment?.sn ?? null,
    discontinuity: fragment?.cc ?? null,
    breakLeft: creative === null ? 0 : Math.max(0, (within?.end ?? fragment.end) - playhead),
    nextBreak: next === undefined ? null : next.start - playhead,
  };
}
