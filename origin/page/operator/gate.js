// The way in: takes the token, or says why this is no place to type one.

import { make } from '../shared/dom.js';
import { field } from './confirm.js';
import { attributes, say } from './parts.js';
import { clean } from './session.js';

/** Shown where others could read what is typed. */
export function unsafe() {
  const { host, port } = location;
  const local = port === '' ? '9081' : port;
  return make(
    'section', { className: 'card gate' },
    make('h1', { textContent: 'Not over this connection' }),
    make('p', {
      textContent: `Others on the way can read what you send to ${host}, so this page takes no ` +
        'token here. Do one of these:',
    }),
    make(
      'ul', {},
      make('li', { textContent: 'Open it by https, behind a proxy that has a certificate.' }),
      make(
        'li', {}, 'Make a tunnel, and open the page at your own end of it: ',
        make('code', { textContent: `ssh -L ${local}:127.0.0.1:${local} ORIGIN` }), ', then ',
        make('code', { textContent: `http://127.0.0.1:${local}/operator` }),
      ),
    ),
  );
}

/** Asks for the token; `enter` takes it. */
export class Gate {
  #fault = attributes(make('p', { className: 'fault' }), { role: 'alert' });
  #input = make('input', {
    type: 'password', name: 'token', required: true, autocomplete: 'current-password',
  });

  constructor(enter) {
    const go = make('button', { type: 'submit', className: 'act primary', textContent: 'Enter' });
    const form = make('form', {}, field('Token', this.#input), this.#fault, go);
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = clean(this.#input.value);
      if (token === null) say(this.#fault, 'That is no token: it has letters and digits only.');
      else enter(token);
    };
    this.node = make(
      'section', { className: 'card gate' },
      make('h1', { textContent: 'Operator' }),
      make('p', {
        textContent:
          'The token stays in this tab until you close it, and goes to this origin only.',
      }),
      form,
    );
  }

  /** Says why somebody is here again. */
  fault(words) {
    say(this.#fault, words);
    this.#input.focus();
  }
}
