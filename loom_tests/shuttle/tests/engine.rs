//! The engine, whole, through its public face, under random schedules: every access to an atomic and every lock is a place where
//! another thread may go on.
//!
//! ```text
//! cargo test -p headcount-shuttle-tests                                       some schedules of each test, well below a minute
//! HEADCOUNT_SHUTTLE_ITERATIONS=5000 cargo test --release -p headcount-shuttle-tests                        more of them
//! HEADCOUNT_SHUTTLE_SEED=17 HEADCOUNT_SHUTTLE_ITERATIONS=1 cargo test -p headcount-shuttle-tests -- NAME   one again
//! ```
//!
//! What shuttle cannot find: it runs atomics one after the other, so an ordering that is too weak or a missing fence goes unnoticed.
//! That is what the models in `headcount-loom-tests` are for; here it is the order of steps that is explored, over structures of their
//! real sizes. The arena's words are made one by one here, and an access beyond the page of a cell fails, as does a schedule that
//! takes more steps than any that ends.

#[cfg(shuttle)]
extern crate headcount_under_shuttle as headcount;

#[cfg(shuttle)]
#[path = "../../../engine/tests/common/mod.rs"]
mod common;

#[cfg(shuttle)]
mod engine {
    mod explore;
    mod stage;

    mod evictions;
    mod growth;
    mod hidden;
    mod keys;
    mod lists;
    mod pins;
    mod shutdown;
    mod topics;
    mod updates;
}

#[cfg(not(shuttle))]
#[test]
fn is_built_under_shuttle() {
    panic!("built without `--cfg shuttle`, so there is no test in here and nothing was explored");
}
