// Many cohorts in few words: "18-34, f, any, any, hi" rather than a list of twelve.

/** Cohorts named one by one where no phrase holds them. */
const NAMED_MOST = 6;

/** The values of each dimension that any of these cohorts has. */
function dimensions(cohorts) {
  const found = [];
  for (const cohort of cohorts) {
    cohort.split('.').forEach((value, at) => {
      found[at] ??= new Set();
      found[at].add(value);
    });
  }
  return found;
}

/** What some of the cohorts have in common, where they are all that have it. */
export function phrase(some, all) {
  const parted = (list) => list.filter((cohort) => cohort.includes('.'));
  const [own, others] = [parted(some), some.filter((cohort) => !cohort.includes('.'))];
  const words = own.length === 0 ? [] : [common(own, dimensions(parted(all)))];
  return [...words, ...others].join('; ');
}

function common(cohorts, known) {
  const own = dimensions(cohorts);
  const isWhole = own.reduce((product, values) => product * values.size, 1) === cohorts.length;
  if (!isWhole) return named(cohorts);
  const parts = own.map((values, at) =>
    values.size > 1 && values.size === known[at].size ? 'any' : [...values].join(' or '));
  return `${cohorts.length}: ${parts.join(' · ')}`;
}

function named(cohorts) {
  const more = cohorts.length - NAMED_MOST;
  const first = cohorts.slice(0, NAMED_MOST).join(', ');
  return more > 0 ? `${first} and ${more} more` : first;
}

/** What plays, each name once in a row: a rest is filled by several slates. */
export function plays(slots, lasting) {
  if (slots.length === 0) return 'the match goes on';
  const rows = [];
  for (const slot of slots) {
    const name = slot.name ?? slot.creative;
    const last = rows.at(-1);
    if (last?.name === name) last.ms += slot.length_ms;
    else rows.push({ name, ms: slot.length_ms });
  }
  return rows.map(({ name, ms }) => `${name} (${lasting(ms / 1000)})`).join(', then ');
}
