//! The commands beside `serve`.

pub(crate) mod inspect;
pub(crate) mod rotate;
pub(crate) mod sign;
