//! Runs models of the concurrency kernels of `headcount` under the model checker [loom](https://docs.rs/loom), and the
//! same models with bugs planted, which the checker must find.
//!
//! The models are in `tests/models/`, one file a kernel, and `tests/models.rs` drives them; this library is the runner. A
//! green run of a model checker can mean that it checked nothing, so the runner insists on all of these:
//!
//! * every [`Model`] passes, and every [`Planting`] fails **with its own symptom**, not with any panic;
//! * every model has a planting, so every model is known to be able to fail;
//! * every fault that the kernel's source declares is planted somewhere ([`Kernel::source`] is read for that);
//! * there are as many models and faults as the caller says there are.

mod args;
mod effort;
mod runner;

pub use args::Args;
pub use effort::Effort;
pub use runner::{Census, Kernel, Model, Planting, Symptom, run};
