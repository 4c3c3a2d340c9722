//! What is there for the demonstration alone: a test match with its score, and a cohort schema.

pub mod cohorts;
pub mod score;
pub mod testmatch;
