//! The main port: what edges fetch, and what viewers' applications ask.

pub mod api;
pub mod front;
pub mod media;
pub mod page;
pub mod playlist;
mod shown;

pub(crate) use shown::ApiAndPage;
