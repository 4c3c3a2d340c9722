// The cohort picker: what this viewer says of himself, kept in the page's address so that a window
// can be opened again.

import { json, make, soon } from '../shared/dom.js';

// The values of the demonstration's cohort schema. The empty one claims nothing: the edge decides.
const FIELDS = [
  {
    id: 'age',
    label: 'Age',
    values: [['', 'not told'], ['18-34', '18 to 34'], ['35-plus', '35 and over']],
  },
  {
    id: 'gender',
    label: 'Gender',
    values: [['', 'not told'], ['f', 'female'], ['m', 'male'], ['u', 'not known']],
  },
  {
    id: 'metro',
    label: 'Home',
    values: [['', 'not told'], ['metro', 'metro'], ['rest', 'elsewhere']],
  },
  {
    id: 'device',
    label: 'Device',
    values: [['', 'as detected'], ['mobile', 'mobile'], ['other', 'other']],
  },
  {
    id: 'language',
    label: 'Language',
    values: [['', 'as the browser'], ['en', 'English'], ['hi', 'Hindi'], ['regional', 'regional']],
  },
  {
    id: 'consent',
    label: 'Consent',
    values: [['1', 'given'], ['0', 'refused']],
  },
];

export class Cohort {
  constructor(form) {
    this.onChange = () => {};
    const asked = new URLSearchParams(location.search);
    this.values = {};
    for (const field of FIELDS) {
      const value = asked.get(field.id) ?? '';
      const [[first]] = field.values;
      this.values[field.id] = field.values.some(([known]) => known === value) ? value : first;
      form.append(this.#select(field));
    }
  }

  /** The signed entry URL for this viewer. */
  async entry(event) {
    const query = new URLSearchParams(
      Object.entries(this.values).filter(([, value]) => value !== ''),
    );
    const answer = await fetch(`/api/events/${event}/playback?${query}`, {
      cache: 'no-store',
      signal: soon(),
    });
    return (await json(answer)).url;
  }

  #select(field) {
    const select = make('select', { name: field.id });
    for (const [value, label] of field.values) {
      select.append(
        make('option', { value, textContent: label, selected: value === this.values[field.id] }),
      );
    }
    select.addEventListener('change', () => {
      this.values[field.id] = select.value;
      this.#remember();
      this.onChange();
    });
    return make('label', {}, field.label, select);
  }

  #remember() {
    const address = new URL(location.href);
    for (const [id, value] of Object.entries(this.values)) {
      if (value === '') address.searchParams.delete(id);
      else address.searchParams.set(id, value);
    }
    history.replaceState(null, '', address);
  }
}
