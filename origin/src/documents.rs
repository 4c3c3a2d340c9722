//! Signed documents: which keys sign them, which keys are in force, and where they are kept.

pub mod in_force;
pub mod keys;
pub mod publish;
