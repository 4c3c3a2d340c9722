//! What is there for the demonstration alone: a test match with its score, a cohort
//! schema, and a switch that takes the API down.

pub mod cohorts;
pub mod gate;
pub mod score;
pub mod testmatch;
