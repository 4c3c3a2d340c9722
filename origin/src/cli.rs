mod claims;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod rotate;
pub(crate) mod sign;
