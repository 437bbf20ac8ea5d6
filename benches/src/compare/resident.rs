//! Everything that is measured with all contestants resident at once.

use super::clock::timed;
use super::data::Data;
use super::machine;
use super::plan::{Plan, progress};
use super::report::{Figures, Tail};
use super::stats::{OURS, Rounds, best_peer, ratio};
use super::threads;
use super::topics::{self, Lister};
use super::turns::{Contestant, Mix};
use crate::mix;
use indexmap::IndexMap;

const JOIN_AND_LEAVE: [&str; 4] = ["track", "untrack", "track_untrack", "update_vs_insert"];
const UPDATE: [&str; 2] = ["update", "update_vs_insert"];
const LIST: [&str; 2] = ["list", "list_owned"];
const LIST_AGAIN: &str = "list_again";
const TAIL: &str = "tail";
/// Reads of a burst: far shorter than a time slice.
const BURST: usize = 200;
/// Name, updates of a hundred operations, threads.
const MIXES: [(&str, u64, usize); 4] =
    [("mix_90_10_1t", 10, 1), ("mix_90_10_2t", 10, 2), ("mix_50_50_1t", 50, 1), ("mix_50_50_2t", 50, 2)];
/// As they are reported.
const ORDER: [&str; 20] = [
    "get_hit",
    "get_stream",
    "get_many",
    "get_owned_hit",
    "get_miss",
    "track",
    "untrack",
    "track_untrack",
    "track_many",
    "update",
    "update_ref",
    "update_vs_insert",
    "session_end",
    "list",
    "list_owned",
    LIST_AGAIN,
    "mix_90_10_1t",
    "mix_90_10_2t",
    "mix_50_50_1t",
    "mix_50_50_2t",
];

/// The rounds of each operation.
type Table = IndexMap<&'static str, Rounds>;

/// Measures what is wanted of it.
pub(crate) fn measure(plan: &Plan, figures: &mut Figures) {
    if !plan.wants_any(&ORDER) && !plan.wants(TAIL) {
        return;
    }
    let data = Data::new(plan.shape, plan.operations, plan.args.seed);
    let mut contestants = Vec::new();
    for entrant in &plan.entrants {
        progress(&format!("{} entries into {}", plan.shape.entries, entrant.name));
        contestants.push((entrant.load)(&data));
    }
    let listers = if plan.wants_any(&LIST) || plan.wants(LIST_AGAIN) {
        let trackers = contestants.iter().filter_map(|contestant| contestant.tracker());
        topics::listers(plan, &data, trackers)
    } else {
        Vec::new()
    };
    figures.huge_pages_used = machine::huge_pages();
    let table = rounds(plan, &data, &contestants, &listers);
    let names: Vec<&str> = contestants.iter().map(|contestant| contestant.name()).collect();
    for name in ORDER {
        if let Some(rounds) = table.get(name).filter(|_| plan.wants(name)) {
            figures.operations.insert(name.to_owned(), rounds.operation(&names));
        }
    }
    if plan.wants(TAIL) {
        figures.tail = Some(tail(plan, &data, &contestants, usize::MAX));
        figures.tail_bursts = Some(tail(plan, &data, &contestants, BURST));
    }
}

fn rounds(
    plan: &Plan,
    data: &Data,
    contestants: &[Box<dyn Contestant>],
    listers: &[Box<dyn Lister>],
) -> Table {
    let mut table = Table::new();
    let own: Vec<_> = [1, 2].into_iter().map(|threads| data.by_thread(threads)).collect();
    let listed = topics::shuffled(plan, data);
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        // Other residents for each operation of each round, and the same for everybody.
        let turn = |operation: u64| mix((round as u64) << 8 | operation);
        let residents = |operation| data.residents(turn(operation), plan.operations);
        let each = || Plan::order(contestants.len(), round).map(|at| &contestants[at]);
        let mut add = |name: &'static str, contestant: &str, cost| {
            table.entry(name).or_default().add(contestant, cost);
        };
        for contestant in each().filter(|_| plan.wants("get_hit")) {
            add("get_hit", contestant.name(), contestant.read(residents(0), true));
        }
        for contestant in each().filter(|_| plan.wants("get_stream")) {
            add("get_stream", contestant.name(), contestant.read_stream(residents(3)));
        }
        for contestant in each().filter(|_| plan.wants("get_many")) {
            add("get_many", contestant.name(), contestant.read_many(residents(5)));
        }
        for contestant in each().filter(|_| plan.wants("get_owned_hit")) {
            add("get_owned_hit", contestant.name(), contestant.read_owned(residents(1)));
        }
        for contestant in each().filter(|_| plan.wants("get_miss")) {
            add("get_miss", contestant.name(), contestant.read(&data.fresh_random, false));
        }
        for contestant in each().filter(|_| plan.wants_any(&JOIN_AND_LEAVE)) {
            let [joined, left] = contestant.join_and_leave(&data.fresh, &data.fresh_random);
            add("track", contestant.name(), joined);
            add("untrack", contestant.name(), left);
        }
        for contestant in each().filter(|_| plan.wants("track_many")) {
            add("track_many", contestant.name(), contestant.join_many(&data.fresh));
        }
        for contestant in each().filter(|_| plan.wants_any(&UPDATE)) {
            let meta = [u8::try_from(round % 256).unwrap_or(0); 32];
            add("update", contestant.name(), contestant.update(residents(2), &meta));
        }
        for contestant in each().filter(|_| plan.wants("update_ref")) {
            let meta = [u8::try_from(round % 256).unwrap_or(0) ^ 0x80; 32];
            add("update_ref", contestant.name(), contestant.update_ref(residents(4), &meta));
        }
        for contestant in each().filter(|_| plan.wants("session_end")) {
            add("session_end", contestant.name(), contestant.end_sessions(&data.fresh));
        }
        for (at, (name, owned)) in LIST.into_iter().zip([false, true]).enumerate() {
            // No list finds warm what the other has just read.
            let topics = topics::of_turn(plan, &listed, round * LIST.len() + at);
            for lister in Plan::order(listers.len(), round).map(|at| &listers[at]) {
                let (members, timing) = timed(|| lister.list(topics, owned));
                add(name, lister.name(), timing.per(members));
            }
        }
        let topics = topics::of_turn(plan, &listed, round * LIST.len());
        for lister in
            Plan::order(listers.len(), round).map(|at| &listers[at]).filter(|_| plan.wants(LIST_AGAIN))
        {
            add(LIST_AGAIN, lister.name(), topics::again(lister.as_ref(), topics));
        }
        for (name, updates, threads) in MIXES {
            let own = &own[threads - 1];
            let (all, seed) = (&data.random[..], turn(updates));
            let mix = Mix { all, own, updates, operations: plan.operations / threads, seed };
            for contestant in each().filter(|_| plan.wants(name)) {
                add(name, contestant.name(), contestant.mix(&mix));
            }
        }
    }
    derive(&mut table);
    table
}

/// Adds what follows from other operations.
fn derive(table: &mut Table) {
    if let Some((joins, leaves)) = table.get("track").zip(table.get("untrack")) {
        let sum = joins.sum(leaves);
        table.insert("track_untrack", sum);
    }
    if let Some((updates, joins)) = table.get("update").zip(table.get("track")) {
        let beside = updates.ours_beside(joins);
        table.insert("update_vs_insert", beside);
    }
}

fn tail(plan: &Plan, data: &Data, contestants: &[Box<dyn Contestant>], burst: usize) -> Tail {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let own = data.by_thread(2 * cores + 2);
    let mut tail = Tail { writers: own.len(), seconds: plan.tail.as_secs_f64(), ..Tail::default() };
    progress(&format!("reads beside {} writers", own.len()));
    let mut seen = vec![threads::Tail::new(); contestants.len()];
    let rounds = u32::try_from(plan.rounds).unwrap_or(u32::MAX);
    for round in 0..plan.rounds {
        for at in Plan::order(contestants.len(), round) {
            contestants[at].tail(&data.random, &own, plan.tail / rounds, burst, &mut seen[at]);
        }
    }
    for (contestant, seen) in contestants.iter().zip(&seen) {
        tail.contestants.insert(contestant.name().to_owned(), seen.figure());
    }
    let locked = plan.entrants.iter().filter(|entrant| entrant.locked);
    let p9999 = |name: &str| tail.contestants.get(name).map(|figure| figure.p9999_ns as f64);
    let best = best_peer(locked.filter_map(|entrant| Some((entrant.name, p9999(entrant.name)?))));
    tail.ratio_best_locked_to_ours = best.and_then(|(_, theirs)| ratio(theirs, p9999(OURS)?));
    tail.best_locked = best.map(|(name, _)| name.to_owned());
    tail
}
