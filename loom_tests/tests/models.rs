//! The models of the engine's kernels. `cargo test -p headcount-loom-tests` runs them, and so does
//! `cargo test --workspace`: this crate's build script sets `--cfg loom` for it alone, and here the kernels are compiled
//! from the engine's own files, against loom's atomics and locks.
//!
//! ```text
//! cargo test -p headcount-loom-tests                                    all, some seconds
//! cargo test -p headcount-loom-tests --test models -- bell              those with `bell` in their name
//! HEADCOUNT_LOOM_DEEP=1 cargo test --release -p headcount-loom-tests    more operations and preemptions, some minutes
//! ```
//!
//! Two threads are explored exhaustively in the models of bell, mailbox, change, origin and slot (there but for a third thread, and for
//! what goes on around a slot that is revised), and up to two or three preemptions in those of the other storage kernels; three threads
//! up to two preemptions. A deep run adds four, but for two revisions of which a reader may meet both: these are more than it
//! can go through. loom has no clock: of the waits with a deadline, the models have those whose deadline has passed already.

#[cfg(loom)]
#[allow(dead_code, reason = "the kernels offer the engine more than the models use")]
#[path = "../../engine/src/kernel/mod.rs"]
mod kernel;
#[cfg(loom)]
#[path = "models/memory.rs"]
mod memory;
#[cfg(loom)]
#[allow(unused_imports, reason = "the door offers more than the kernels use")]
#[path = "../../engine/src/sync.rs"]
mod sync;

/// A fault of a kernel in a model (a function that is generic over the fault), and how the model must fail.
#[cfg(loom)]
macro_rules! planting {
    ($kernel:ident :: $fault:ident in $model:ident, $symptom:expr) => {
        headcount_loom_tests::Planting {
            fault: concat!(stringify!($kernel), "::", stringify!($fault)),
            check: $model::<{ crate::planted::$kernel::fault::$fault }>,
            symptom: $symptom,
        }
    };
}

/// A model, with the faults that it must notice.
#[cfg(loom)]
macro_rules! model {
    ($model:ident $(, $kernel:ident :: $fault:ident => $symptom:expr)* $(,)?) => {
        headcount_loom_tests::Model {
            name: stringify!($model),
            check: $model::<0>,
            plantings: &[$(planting!($kernel :: $fault in $model, $symptom)),*],
        }
    };
}

#[cfg(loom)]
mod models {
    pub(crate) mod bell;
    pub(crate) mod change;
    pub(crate) mod counts;
    pub(crate) mod group;
    pub(crate) mod handoff;
    pub(crate) mod label;
    pub(crate) mod mailbox;
    pub(crate) mod members;
    pub(crate) mod origin;
    pub(crate) mod revise;
    mod shard;
    pub(crate) mod slot;
    pub(crate) mod table;
    mod task;
}

/// What has faults.
#[cfg(loom)]
mod planted {
    pub(crate) use crate::kernel::*;
    pub(crate) use crate::memory;
    pub(crate) use crate::models::handoff;
}

/// What cargo and libtest call a failed run.
const FAILED: u8 = 101;

#[cfg(loom)]
fn main() -> std::process::ExitCode {
    use headcount_loom_tests::{Args, Census, Effort, Kernel, run};

    macro_rules! kernel {
        ($name:literal, $source:literal, $models:expr) => {
            Kernel { name: $name, source: include_str!($source), models: $models }
        };
    }

    const CENSUS: Census = Census { models: 63, faults: 66 };
    let kernels = [
        kernel!("bell", "../../engine/src/kernel/bell.rs", models::bell::MODELS),
        kernel!("mailbox", "../../engine/src/kernel/mailbox.rs", models::mailbox::MODELS),
        kernel!("change", "../../engine/src/kernel/change.rs", models::change::MODELS),
        kernel!("slot", "../../engine/src/kernel/slot.rs", models::slot::MODELS),
        kernel!("table", "../../engine/src/kernel/table.rs", models::table::MODELS),
        kernel!("group", "../../engine/src/kernel/group.rs", models::group::MODELS),
        kernel!("members", "../../engine/src/kernel/members.rs", models::members::MODELS),
        kernel!("revise", "../../engine/src/kernel/revise.rs", models::revise::MODELS),
        kernel!("origin", "../../engine/src/kernel/origin.rs", models::origin::MODELS),
        kernel!("label", "../../engine/src/kernel/label.rs", models::label::MODELS),
        kernel!("counts", "../../engine/src/kernel/counts.rs", models::counts::MODELS),
        kernel!("memory", "models/memory.rs", &[]),
        kernel!("handoff", "models/handoff.rs", models::handoff::MODELS),
    ];
    let args = Args::parse(std::env::args().skip(1));
    match run(&kernels, CENSUS, Effort::from_env(), &args, &mut std::io::stdout()) {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) | Err(_) => FAILED.into(),
    }
}

#[cfg(not(loom))]
#[expect(clippy::print_stderr, reason = "there is no other way to say it")]
fn main() -> std::process::ExitCode {
    eprintln!("error: built without `--cfg loom`, so there is no model in here and nothing was checked");
    FAILED.into()
}
