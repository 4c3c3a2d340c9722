//! The results that one exchange leads, on platforms whose exchanges share an instance.
//!
//! Owns what those who wait get. Owns no response that is kept. Invariant: what is not finished
//! here is handed over when it is dropped.

use std::rc::Rc;

use super::Lead;
use crate::{Object, Response};

/// See the module.
#[derive(Debug, Default)]
pub struct Led(Vec<Lead<Rc<Object>>>);

impl Led {
    /// This exchange leads one more.
    pub fn add(&mut self, lead: Lead<Rc<Object>>) {
        self.0.push(lead);
    }

    /// Whether it leads none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives `object`, with which this exchange was answered, to all who wait.
    pub fn share(&mut self, object: &Object) {
        if self.is_empty() {
            return;
        }
        let shared = Rc::new(object.clone());
        for lead in self.0.drain(..) {
            lead.finish(Rc::clone(&shared));
        }
    }

    /// Gives `response` to those who wait for a key that it is stored under; the others take their
    /// turns.
    pub fn settle(self, response: &Response) {
        if self.is_empty() || response.store.is_empty() {
            return;
        }
        let Response { status, headers, body, store } = response;
        let shared =
            Rc::new(Object { status: *status, headers: headers.clone(), body: body.clone() });
        for lead in self.0 {
            if store.iter().any(|store| store.key == lead.key()) {
                lead.finish(Rc::clone(&shared));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::door::{Flights, Seen, Turn, Waiting};

    fn lead(flights: &Flights<Rc<Object>>, led: &mut Led, key: &str) -> Waiting<Rc<Object>> {
        match flights.turn(key, 0, 10) {
            Turn::Lead(lead) => led.add(lead),
            Turn::Wait(_) => panic!("another leads"),
        }
        match flights.turn(key, 1, 10) {
            Turn::Wait(waiting) => waiting,
            Turn::Lead(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn a_response_is_for_its_keys_and_the_others_take_their_turns() {
        let (flights, mut led) = (Flights::default(), Led::default());
        let (one, other) = (lead(&flights, &mut led, "one"), lead(&flights, &mut led, "other"));
        let store = Store { key: "one".to_owned(), fresh_ms: 0 };
        led.settle(&Response {
            status: 200,
            headers: Vec::new(),
            body: b"one".to_vec(),
            store: vec![store],
        });
        assert_eq!(one.look(), Seen::Outcome(Rc::new(Object::whole(b"one".to_vec()))));
        assert_eq!(other.look(), Seen::Over);
    }

    #[test]
    fn what_stands_in_is_for_all() {
        let (flights, mut led) = (Flights::default(), Led::default());
        let waiting = ["one", "other"].map(|key| lead(&flights, &mut led, key));
        let object = Object::whole(b"last good".to_vec());
        led.share(&object);
        for one in waiting {
            assert_eq!(one.look(), Seen::Outcome(Rc::new(object.clone())));
        }
    }
}
