// Asks before anything is done, in the browser's own dialog: Escape and the back gesture close it,
// and the focus returns to where it was.

import { make } from '../shared/dom.js';
import { attributes, say } from './parts.js';

/**
 * Asks. `fields` are nodes with what else there is to say; `check` answers with a fault in words,
 * or null. The answer is whether it was confirmed.
 */
export function confirmed({ title, text, yes, fields = [], grave = false, check = () => null }) {
  const fault = attributes(make('p', { className: 'fault' }), { role: 'alert' });
  const no = make('button', { type: 'button', className: 'act', textContent: 'Cancel' });
  const go = make('button', {
    type: 'submit', className: `act ${grave ? 'grave' : 'primary'}`, textContent: yes,
  });
  const form = make(
    'form', { method: 'dialog' },
    make('h2', { id: 'dialog-title', textContent: title }),
    ...text.map((line) => make('p', { textContent: line })),
    ...fields,
    fault,
    make('div', { className: 'row' }, no, go),
  );
  const dialog = attributes(make('dialog', {}, form), { 'aria-labelledby': 'dialog-title' });
  document.body.append(dialog);
  return new Promise((done) => {
    let sure = false;
    no.onclick = () => dialog.close();
    form.onsubmit = (event) => {
      const wrong = check();
      if (wrong === null) {
        sure = true;
        return;
      }
      event.preventDefault();
      say(fault, wrong);
    };
    dialog.onclose = () => {
      dialog.remove();
      done(sure);
    };
    dialog.showModal();
    (grave ? no : form.querySelector('input, select') ?? go).focus();
  });
}

/** A field with its label. */
export function field(label, input, hint = '') {
  const said = make('span', { className: 'hint', textContent: hint });
  return make('label', { className: 'field' }, make('span', { textContent: label }), input, said);
}
