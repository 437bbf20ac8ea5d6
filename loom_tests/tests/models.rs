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
//! Two threads are explored exhaustively, three threads up to two preemptions (six in a deep run). loom has no clock: of
//! the waits with a deadline, the models have those whose deadline has passed already.

#[cfg(loom)]
#[path = "../../engine/src/kernel/mod.rs"]
mod kernel;
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
            check: $model::<{ crate::kernel::$kernel::fault::$fault }>,
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
    pub(crate) mod mailbox;
    mod task;
}

/// What cargo and libtest call a failed run.
const FAILED: u8 = 101;

#[cfg(loom)]
fn main() -> std::process::ExitCode {
    use headcount_loom_tests::{Args, Census, Effort, Kernel, run};

    const CENSUS: Census = Census { models: 20, faults: 13 };
    let kernels = [
        Kernel {
            name: "bell",
            source: include_str!("../../engine/src/kernel/bell.rs"),
            models: models::bell::MODELS,
        },
        Kernel {
            name: "mailbox",
            source: include_str!("../../engine/src/kernel/mailbox.rs"),
            models: models::mailbox::MODELS,
        },
        Kernel {
            name: "change",
            source: include_str!("../../engine/src/kernel/change.rs"),
            models: models::change::MODELS,
        },
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
