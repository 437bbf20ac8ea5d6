//! Mutants, and what killed them.

use crate::report::Bad;
use crate::workers;
use headcount_net::sim::{self, Hunt, Mutant};
use serde::Serialize;
use std::io::{self, Write as _};
use std::ops::Range;

#[derive(Serialize, Debug)]
struct Hunted {
    mutant: &'static str,
    /// PROTOCOL.md names it.
    named: bool,
    killed: bool,
    seeds: u64,
    steps: u64,
    killed_by: Option<Bad>,
    /// What invariants saw of it that are not meant to.
    strays: Vec<Bad>,
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
            strays: hunt.strays.iter().map(Bad::new).collect(),
        }
    }
}

/// Hunts every mutant over these seeds. Whether all are dead.
pub(crate) fn run(seeds: Range<u64>, threads: u64, json: bool) -> io::Result<bool> {
    // A mutant that panics is one that is killed, and said below.
    std::panic::set_hook(Box::new(|_| {}));
    let hunt = |at| {
        let mutant = usize::try_from(at).ok().and_then(|at| Mutant::ALL.get(at));
        let &mutant = mutant.ok_or_else(|| io::Error::other("there is no such mutant"))?;
        let one = Hunted::new(&sim::hunt(mutant, seeds.clone()));
        let fate = if one.killed { "killed" } else { "LIVES" };
        writeln!(io::stderr(), "{}: {fate} after {} seeds", one.mutant, one.seeds)?;
        Ok(one)
    };
    let done = workers::run(0..Mutant::ALL.len() as u64, threads, hunt)?;
    let hunted: Vec<&Hunted> = done.results.values().collect();
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&hunted)?)?;
    } else {
        for one in &hunted {
            let how = one.killed_by.as_ref().map_or_else(
                || "LIVES".to_owned(),
                |bad| format!("seed {}, invariant {}: {:.90}", bad.seed, bad.invariant, bad.what),
            );
            let strays = one.strays.len();
            let how = if strays > 0 { format!("{how} ({strays} before by others)") } else { how };
            let mark = if one.named { "*" } else { " " };
            writeln!(out, "{mark} {:<40} {:>5} seeds {:>9} steps  {how}", one.mutant, one.seeds, one.steps)?;
        }
        writeln!(out, "* named by PROTOCOL.md")?;
    }
    let name =
        |at| usize::try_from(at).ok().and_then(|at| Mutant::ALL.get(at)).map_or("", |mutant| mutant.name());
    let is_whole = done.say_missing(|at| format!("mutant \"{}\"", name(at)))?;
    Ok(is_whole && hunted.iter().all(|one| one.killed))
}
