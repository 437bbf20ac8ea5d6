//! Mutants, and what killed them.

use crate::report::Bad;
use headcount_net::sim::{self, Hunt, Mutant};
use serde::Serialize;
use std::io::{self, Write as _};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Serialize, Debug)]
struct Hunted {
    mutant: &'static str,
    /// PROTOCOL.md names it.
    named: bool,
    killed: bool,
    seeds: u64,
    steps: u64,
    killed_by: Option<Bad>,
}

impl Hunted {
    fn new(hunt: &Hunt) -> Self {
        Self {
            mutant: hunt.mutant.name(),
            named: hunt.mutant.is_named(),
            killed: hunt.killed_by.is_some(),
            seeds: hunt.seeds,
            steps: hunt.steps,
            killed_by: hunt.killed_by.as_deref().map(Bad::new),
        }
    }
}

/// Hunts every mutant over these seeds. Whether all are dead.
pub(crate) fn run(seeds: Range<u64>, threads: u64, json: bool) -> io::Result<bool> {
    // A mutant that panics is one that is killed, and said below.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let hunted = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let hunters: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> io::Result<()> {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(&mutant) = Mutant::ALL.get(at) else {
                            return Ok(());
                        };
                        let one = Hunted::new(&sim::hunt(mutant, seeds.clone()));
                        let fate = if one.killed { "killed" } else { "LIVES" };
                        writeln!(io::stderr(), "{}: {fate} after {} seeds", one.mutant, one.seeds)?;
                        let mut hunted = hunted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        hunted.push((at, one));
                    }
                })
            })
            .collect();
        hunters.into_iter().try_for_each(|hunter| hunter.join().unwrap_or(Ok(())))
    })?;
    let mut hunted = hunted.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    hunted.sort_by_key(|&(at, _)| at);
    let hunted: Vec<Hunted> = hunted.into_iter().map(|(_, one)| one).collect();
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&hunted)?)?;
    } else {
        for one in &hunted {
            let how = one.killed_by.as_ref().map_or_else(
                || "LIVES".to_owned(),
                |bad| format!("seed {}, invariant {}: {:.90}", bad.seed, bad.invariant, bad.what),
            );
            let mark = if one.named { "*" } else { " " };
            writeln!(out, "{mark} {:<40} {:>5} seeds {:>9} steps  {how}", one.mutant, one.seeds, one.steps)?;
        }
        writeln!(out, "* named by PROTOCOL.md")?;
    }
    Ok(hunted.iter().all(|one| one.killed))
}
