//! What came of asking the origin for a want: its answer, a copy that stands in for it, or nothing.
//!
//! This is the one place that says which answers are none, when a copy of an earlier document
//! answers instead, who may share what came, and for how long.

use sightscreen_core::document;
use sightscreen_core::keyring::Keyring;
use sightscreen_core::{Failure, Got, Object, Source, Want};

use crate::{Lifetime, headers};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The origin answered.
    Answer(Object),
    /// The origin sent a document, signed and not older than the copy.
    Document(Document),
    /// Asking failed, and this copy of an earlier document stands in.
    Copy(Object),
    /// Asking failed.
    Failed(Failure),
}

/// A document whose signature held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The answer that brought it, of status 200.
    pub object: Object,
    /// Its version; those of one name never fall.
    pub version: u64,
    /// Whether it says that there is none.
    pub is_absence: bool,
}

impl Document {
    /// Reads what is signed by a key of `keyring` under the name of `want`.
    #[must_use]
    pub fn genuine(want: &Want, object: Object, keyring: &Keyring) -> Option<Self> {
        let Source::Document(name) = &want.source else { return None };
        let signed = document::read(name, &object.body, keyring).ok()?;
        let (version, is_absence) = (signed.version, signed.payload == b"null");
        Some(Self { object, version, is_absence })
    }

    /// Whether it takes the place of `copy`, which is not newer. That something never was is not
    /// worth a copy: anyone can ask for any name.
    #[must_use]
    pub fn is_news(&self, copy: Option<&Self>) -> bool {
        copy.map_or(!self.is_absence, |copy| copy.version != self.version)
    }
}

impl Came {
    /// What the origin's answer comes to. `copy` is the document that the door has; a document of
    /// the origin that is not genuine, or older than the copy, counts as no answer.
    #[must_use]
    pub fn of(
        want: &Want,
        answer: Result<Object, Failure>,
        keyring: Option<&Keyring>,
        copy: Option<Document>,
    ) -> Self {
        let object = match answer {
            Ok(object) if want.class.is_failure(object.status) => {
                return Self::instead(copy).unwrap_or(match want.source {
                    Source::Document(_) => Self::Failed(Failure::Unreachable),
                    _ => Self::Answer(object),
                });
            }
            Ok(object) => object,
            Err(failure) => return Self::instead(copy).unwrap_or(Self::Failed(failure)),
        };
        if !matches!(want.source, Source::Document(_)) {
            return Self::Answer(object);
        }
        let genuine = keyring.and_then(|keyring| Document::genuine(want, object, keyring));
        match genuine {
            Some(document) if copy.as_ref().is_none_or(|c| c.version <= document.version) => {
                Self::Document(document)
            }
            _ => Self::instead(copy).unwrap_or(Self::Failed(Failure::Unreachable)),
        }
    }

    fn instead(copy: Option<Document>) -> Option<Self> {
        copy.map(|copy| Self::Copy(copy.object))
    }

    /// The whole of it, or why there is none.
    ///
    /// # Errors
    /// The failure, where neither the origin nor a copy answered.
    pub fn object(&self) -> Result<&Object, Failure> {
        match self {
            Self::Answer(object) | Self::Copy(object) => Ok(object),
            Self::Document(document) => Ok(&document.object),
            Self::Failed(failure) => Err(*failure),
        }
    }

    /// How long it is used, or `None` when it may be neither stored nor shared.
    #[must_use]
    pub fn lifetime(&self, want: &Want) -> Option<Lifetime> {
        match self {
            Self::Answer(object) | Self::Document(Document { object, is_absence: false, .. }) => {
                let cache_control = headers::value(&object.headers, "cache-control");
                Lifetime::of(want, object.status, cache_control)
            }
            Self::Document(_) => Some(Lifetime::of_absence(want)),
            Self::Copy(_) => Some(Lifetime::of_copy(want)),
            Self::Failed(_) => Some(Lifetime::default()),
        }
    }

    /// What the core is told.
    #[must_use]
    pub fn got(&self) -> Got {
        match self.object() {
            Ok(object) => Got::Object(object.clone()),
            Err(failure) => Got::Failed(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::testing;
    use sightscreen_core::Class;
    use sightscreen_core::keyring::Purpose;

    const HEX: &str = "00112233445566778899aabbccddeeff";

    fn keyring() -> Keyring {
        let text = format!(
            r#"{{"document":{{"d1":"{HEX}"}},"pass":{{"k1":"{HEX}"}},"url":{{"u1":"{HEX}"}}}}"#
        );
        Keyring::parse(text.as_bytes()).unwrap()
    }

    fn want() -> Want {
        let source = Source::Document("flags/demo".to_owned());
        Want { source, class: Class::Document, ..testing::want() }
    }

    fn document(version: u64, payload: &str) -> Document {
        let keyring = keyring();
        let key = keyring.first(Purpose::Document);
        let body = document::write("flags/demo", version, payload.as_bytes(), key);
        Document::genuine(&want(), Object::whole(body), &keyring).unwrap()
    }

    fn came(answer: Result<Object, Failure>, copy: Option<Document>) -> Came {
        Came::of(&want(), answer, Some(&keyring()), copy)
    }

    #[test]
    fn a_document_is_news_unless_it_is_older_than_the_copy() {
        let (old, new) = (document(4, "{}"), document(5, "{}"));
        let is = |answer: &Document, copy: &Document| {
            came(Ok(answer.object.clone()), Some(copy.clone()))
        };
        assert_eq!(is(&new, &old), Came::Document(new.clone()));
        assert_eq!(is(&new, &new), Came::Document(new.clone()));
        assert_eq!(is(&old, &new), Came::Copy(new.object.clone()));
    }

    #[test]
    fn whatever_is_not_a_signed_document_is_a_failure_for_which_the_copy_answers() {
        let copy = document(4, "{}");
        let unsigned = |status| Object { status, ..Object::whole(b"{}".to_vec()) };
        for status in [200, 204, 302, 403, 404, 410, 429, 500, 503] {
            let stands_in = came(Ok(unsigned(status)), Some(copy.clone()));
            assert_eq!(stands_in, Came::Copy(copy.object.clone()), "{status}");
            let alone = came(Ok(unsigned(status)), None);
            assert_eq!(alone, Came::Failed(Failure::Unreachable), "{status}");
        }
        let stands_in = came(Err(Failure::Timeout), Some(copy.clone()));
        assert_eq!(stands_in, Came::Copy(copy.object));
    }

    #[test]
    fn an_absence_is_signed_and_does_not_last() {
        let absence = document(5, "null");
        let came = came(Ok(absence.object.clone()), Some(document(4, "{}")));
        assert_eq!(came, Came::Document(absence));
        let forever = Want { fresh_ms: u32::MAX, ..want() };
        assert_eq!(came.lifetime(&forever), Some(Lifetime::fresh(1000)));
    }

    #[test]
    fn a_refusal_is_an_answer_and_an_overloaded_origin_is_none() {
        let api = Want { class: Class::Api, ..testing::want() };
        let status = |status| Ok(Object { status, ..Object::whole(vec![]) });
        for (code, is_failure) in
            [(200, false), (401, false), (404, false), (429, true), (302, true)]
        {
            assert_eq!(api.class.is_failure(code), is_failure, "{code}");
            assert!(matches!(Came::of(&api, status(code), None, None), Came::Answer(_)));
        }
    }
}
