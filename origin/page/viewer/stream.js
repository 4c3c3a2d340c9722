// Reads a media playlist as hls.js holds it: where the playhead is, what plays there, and what is
// announced.

const CREATIVE = /\/ads\/([^/]+)\//;
const REVISION = /^#EXT-X-SIGHTSCREEN-LEDGER:(?:[a-z0-9]+\.)?(\d+)\s*$/m;

/** The creative that a fragment belongs to, or null for content. */
export function creativeOf(fragment) {
  return CREATIVE.exec(fragment.url)?.[1] ?? null;
}

/** The ledger revision that a playlist was written under, without the event's epoch, or null. */
export function revisionOf(details) {
  const found = REVISION.exec(details.m3u8);
  return found === null ? null : Number(found[1]);
}

/**
 * The cohort that a media URL's pass names: version, then key, event and cohort, each after its
 * length in one byte.
 */
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

/**
 * One cell for each media sequence number: the whole segments, then the one that is still being
 * made, from its parts.
 */
export function cells(details) {
  const all = details.fragments.map((fragment) => cell(fragment, fragment, fragment.end));
  const last = details.fragments.at(-1);
  const growing = (details.partList ?? []).filter((part) => part.fragment.sn > (last?.sn ?? -1));
  if (growing.length > 0)
    all.push({ ...cell(growing[0], growing[0].fragment, growing.at(-1).end), partial: true });
  return all;
}

function cell(piece, fragment, end) {
  const { sn, cc, gap } = fragment;
  return {
    sn,
    cc,
    start: piece.start,
    end,
    creative: creativeOf(piece),
    gap: gap === true,
    partial: false,
  };
}

/** What follows within so many seconds is the same break, extended. */
const SAME_WITHIN_S = 0.05;

/**
 * Breaks that the playlist announces, as times of the player's timeline; an unknown end is null. An
 * extension has a range of its own, and is one with its break.
 */
export function announced(details) {
  const breaks = [];
  for (const range of ranges(details).sort((one, other) => one.start - other.start)) {
    const last = breaks.at(-1);
    const goesOn = last && last.end !== null && range.start <= last.end + SAME_WITHIN_S;
    if (!goesOn) breaks.push(range);
    else last.end = range.end === null ? null : Math.max(last.end, range.end);
  }
  return breaks.filter(({ start, end }) => end === null || end > start);
}

function ranges(details) {
  const anchor = details.fragments.find((fragment) => fragment.programDateTime !== null);
  if (anchor === undefined) return [];
  const at = (date) => (date.getTime() - anchor.programDateTime) / 1000 + anchor.start;
  return Object.values(details.dateRanges ?? {})
    .filter((range) => range?.startDate)
    .map((range) => {
      const length = range.duration ?? range.plannedDuration;
      return {
        id: range.id,
        start: at(range.startDate),
        end: length === null ? null : at(range.startDate) + length,
      };
    });
}

const NOTHING = {
  latency: null, sequence: null, revision: null, discontinuity: null, buffer: null,
  creative: null, breakLeft: 0, nextBreak: null, playhead: 0,
};

/** What a viewer would ask: everything about this moment. */
export function describe({ details, playhead, latency, buffer, revision }) {
  if (!details) return NOTHING;
  const here = cells(details).find((one) => playhead >= one.start && playhead < one.end) ?? null;
  const breaks = announced(details);
  const within = breaks.find(
    (one) => one.start <= playhead && (one.end === null || playhead < one.end),
  );
  const next = breaks.filter((one) => one.start > playhead).sort((a, b) => a.start - b.start)[0];
  const creative = here?.creative ?? null;
  return {
    latency, buffer, revision, playhead, creative,
    sequence: here?.sn ?? null,
    discontinuity: here?.cc ?? null,
    breakLeft: creative === null ? 0 : Math.max(0, (within?.end ?? here.end) - playhead),
    nextBreak: next === undefined ? null : next.start - playhead,
  };
}
