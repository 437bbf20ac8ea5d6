//! The concurrent parts, small enough for a model checker.
//!
//! A kernel imports nothing but [`crate::sync`] and the words of [`crate::memory`], so that `loom_tests` compiles these very
//! files against loom: what the engine runs is what the models checked. Each takes a `const FAULT` that is 0 in the engine; the other values plant
//! one named bug each, and the models assert that loom finds it.

pub(crate) mod bell;
pub(crate) mod change;
pub(crate) mod counts;
pub(crate) mod group;
pub(crate) mod label;
pub(crate) mod mailbox;
pub(crate) mod members;
pub(crate) mod origin;
pub(crate) mod revise;
pub(crate) mod slot;
pub(crate) mod table;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
