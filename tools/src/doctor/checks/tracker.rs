//! The tracker in the process: its memory, its shards, its subscriptions.

use super::super::finding::Finding;
use super::super::patient::Patient;
use super::super::sample::Shard;
use super::super::words::{bytes, count, percent, plain};
use crate::number::grouped;
use std::collections::BTreeMap;

/// With less memory than this huge pages make no difference.
const HUGE_MATTERS: u64 = 32 << 20;
/// Parts of a limit, in percent, from which on it is near, and reached.
const NEAR: u64 = 80;
const REACHED: u64 = 95;
/// A share of all changes by which a shard is hot, in percent: as many times its part, and no less than that.
const HOT_TIMES: u64 = 4;
const HOT_PERCENT: u64 = 40;
/// Changes a second below which no shard is hot, and from which on a hot one is a limit.
const CHANGES_MIN: u64 = 100;
const CHANGES_MANY: u64 = 20_000;
/// Changes since the start from which on their shares mean something.
const CHANGES_EVER: u64 = 10_000;

/// Whether the arena is in huge pages.
pub(super) fn huge_pages(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "huge-pages";
    let engine = patient.now.engine.as_ref()?;
    let system = &patient.system;
    let held = engine.memory_held;
    if held < HUGE_MATTERS {
        return Some(Finding::ok(CHECK, format!("{} held: too little to matter", bytes(held))));
    }
    if system.huge_pages.as_deref() == Some("never") {
        return Some(Finding::warning(CHECK, "turned off on this machine: reads of a large tracker miss the TLB more often")
            .remedy("`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`; memory that is taken from then on gets them"));
    }
    if system.huge_allowed == Some(false) {
        return Some(
            Finding::warning(
                CHECK,
                "forbidden to this process (PR_SET_THP_DISABLE), or to one that started it",
            )
            .remedy("have its supervisor not forbid them, and start it again"),
        );
    }
    if !engine.huge_advised {
        return Some(
            Finding::warning(CHECK, "refused by the system when the arena was made").remedy(
                "use a kernel with transparent huge pages (`ls /sys/kernel/mm/transparent_hugepage`)",
            ),
        );
    }
    let Some(huge) = system.huge_bytes else {
        let what = "how much of the arena is in huge pages only the owner of the process and root may see";
        return Some(Finding::unknown(CHECK, what).remedy("run this as the process's user"));
    };
    let share = percent(huge.min(held), held);
    let what = format!("{} of {} are in huge pages ({share} %)", bytes(huge.min(held)), bytes(held));
    Some(if share >= 50 {
        Finding::ok(CHECK, what)
    } else {
        Finding::note(CHECK, what).remedy(
            "the machine's memory is in small pieces: `echo 1 > /proc/sys/vm/compact_memory`, and `echo defer+madvise > \
             /sys/kernel/mm/transparent_hugepage/defrag` for later; khugepaged mends it with time",
        )
    })
}

/// Whether the arena has room left.
pub(super) fn memory(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "memory";
    let engine = patient.now.engine.as_ref()?;
    let share = percent(engine.memory_used, engine.memory_max);
    let what = format!("{} of {} used ({share} %)", bytes(engine.memory_used), bytes(engine.memory_max));
    let remedy = "raise Config::memory_max on every node before it is full: entries are refused then";
    Some(match share {
        REACHED.. => Finding::problem(CHECK, what).remedy(remedy),
        NEAR.. => Finding::warning(CHECK, what).remedy(remedy),
        _ => Finding::ok(CHECK, what),
    })
}

/// Whether the fullest shard has room left.
pub(super) fn shard_room(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "shard-room";
    let max = patient.now.engine.as_ref()?.shard_entries_max;
    let fullest = patient.now.shards.iter().max_by_key(|shard| shard.entries)?;
    let share = percent(fullest.entries, max);
    let entries = grouped(fullest.entries);
    let what =
        format!("the fullest, {}, has {entries} of {} entries ({share} %)", fullest.number, grouped(max));
    let remedy = "raise Config::shard_entries_max, or use more shards (Config::shards) or smaller topics: entries of a full shard are refused";
    Some(match share {
        REACHED.. => Finding::problem(CHECK, what).remedy(remedy),
        NEAR.. => Finding::warning(CHECK, what).remedy(remedy),
        _ => Finding::ok(CHECK, what),
    })
}

/// The shard with the most changes and the share of it, in percent, of all of these changes.
fn hottest<'a>(changes: &[(&'a Shard, u64)]) -> Option<(&'a Shard, u64, u64)> {
    let all: u64 = changes.iter().map(|(_, changes)| changes).sum();
    let &(shard, most) = changes.iter().max_by_key(|(_, changes)| changes)?;
    let hot = (HOT_TIMES * 100 / changes.len().max(1) as u64).max(HOT_PERCENT);
    let share = percent(most, all);
    (changes.len() > 1 && share >= hot).then_some((shard, share, all))
}

/// The topic that most of the shard's sampled changes were in.
fn hot_topic(shard: &Shard) -> String {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &shard.sampled {
        *seen.entry(topic).or_default() += 1;
    }
    match seen.into_iter().max_by_key(|&(_, times)| times) {
        Some((topic, times)) => {
            format!("; {times} of {} sampled changes were in topic \"{}\"", shard.sampled.len(), plain(topic))
        }
        None => String::new(),
    }
}

/// Whether one shard has most of the work.
pub(super) fn hot_shard(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "hot-shard";
    let now = &patient.now.shards;
    if now.is_empty() {
        return None;
    }
    let before = |shard: &Shard| {
        let before = patient.before.shards.iter().find(|before| before.number == shard.number);
        before.map_or(0, |before| before.changes)
    };
    let lately: Vec<_> =
        now.iter().map(|shard| (shard, shard.changes.saturating_sub(before(shard)))).collect();
    let ever: Vec<_> = now.iter().map(|shard| (shard, shard.changes)).collect();
    let rate = patient.per_second(lately.iter().map(|(_, changes)| changes).sum());
    let told = |shard: &Shard, share, of: &str| {
        format!("shard {} of {} has {share} % of {of}{}", shard.number, now.len(), hot_topic(shard))
    };
    if rate >= CHANGES_MIN
        && let Some((shard, share, _)) = hottest(&lately)
    {
        let what = told(shard, share, &format!("{} changes a second", grouped(rate)));
        let remedy = "one topic has one lock for its writers: split it (room:42:a, room:42:b ...), or have it change less often";
        return Some(match rate {
            CHANGES_MANY.. => Finding::warning(CHECK, what).remedy(remedy),
            _ => Finding::note(CHECK, format!("{what}; so few do not matter")),
        });
    }
    if let Some((shard, share, all)) = hottest(&ever)
        && all >= CHANGES_EVER
    {
        let changes = format!("the {} since the start", count(all, "change"));
        return Some(Finding::note(CHECK, format!("{}; not now", told(shard, share, &changes))));
    }
    Some(Finding::ok(
        CHECK,
        format!("none; {} a second in {}", count(rate, "change"), count(now.len() as u64, "shard")),
    ))
}

/// Whether all subscriptions are read fast enough.
pub(super) fn subscriptions(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "subscriptions";
    let engine = patient.now.engine.as_ref()?;
    let missed_before = patient.before.engine.as_ref().map_or(0, |engine| engine.events_missed);
    let missed = patient.per_second(engine.events_missed.saturating_sub(missed_before));
    let (live, lagging) = (engine.subscriptions, engine.subscriptions_lagging);
    let fullest = format!(
        "the fullest queue has {} of {} events",
        grouped(engine.queue_longest),
        grouped(engine.queue_max)
    );
    let remedy = "whoever reads them is too slow: read in a loop that does nothing else, hand the work on; filter by topic; raise \
                  Config::subscription_queue_max for bursts. `resync` takes the view anew after Lagged";
    Some(if lagging > 0 || missed > 0 {
        let events = if missed > 0 {
            format!("; {} a second are missed", count(missed, "event"))
        } else {
            String::new()
        };
        let what = format!(
            "{lagging} of {live} lag, {} missed so far{events}",
            count(engine.events_missed, "event")
        );
        Finding::warning(CHECK, what).remedy(remedy)
    } else if percent(engine.queue_longest, engine.queue_max) >= NEAR {
        Finding::warning(CHECK, format!("none lags yet; {fullest}")).remedy(remedy)
    } else {
        Finding::ok(CHECK, format!("{live}, none lags; {fullest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::super::made::{self, found};
    use super::*;

    #[test]
    fn huge_pages_that_are_off_forbidden_or_few_are_told() {
        let mut patient = made::healthy();
        let expected = "62 MiB of 64 MiB are in huge pages (96 %)";
        assert_eq!(found(huge_pages(&patient)), (Status::Ok, expected.into()));
        patient.system.huge_bytes = Some(4 << 20);
        let finding = huge_pages(&patient).unwrap();
        assert_eq!(
            (finding.status, finding.what.as_str()),
            (Status::Note, "4 MiB of 64 MiB are in huge pages (6 %)")
        );
        assert!(finding.remedy.unwrap().contains("compact_memory"));
        patient.system.huge_bytes = None;
        assert_eq!(found(huge_pages(&patient)).0, Status::Unknown);
        patient.engine().huge_advised = false;
        let expected = "refused by the system when the arena was made";
        assert_eq!(found(huge_pages(&patient)), (Status::Warning, expected.into()));
        patient.system.huge_allowed = Some(false);
        assert!(found(huge_pages(&patient)).1.starts_with("forbidden to this process"));
        patient.system.huge_pages = Some("never".into());
        let finding = huge_pages(&patient).unwrap();
        assert_eq!(finding.status, Status::Warning);
        assert!(
            finding
                .remedy
                .unwrap()
                .starts_with("`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`")
        );
        patient.engine().memory_held = 2 << 20;
        assert_eq!(found(huge_pages(&patient)), (Status::Ok, "2 MiB held: too little to matter".into()));
    }

    #[test]
    fn memory_and_shards_that_are_nearly_full_are_told() {
        let mut patient = made::healthy();
        assert_eq!(found(memory(&patient)), (Status::Ok, "60 MiB of 16,384 MiB used (0 %)".into()));
        patient.engine().memory_max = 70 << 20;
        assert_eq!(found(memory(&patient)), (Status::Warning, "60 MiB of 70 MiB used (85 %)".into()));
        patient.engine().memory_max = 61 << 20;
        assert_eq!(found(memory(&patient)).0, Status::Problem);
        patient.now.shards[5].entries = 1001;
        let expected = "the fullest, 5, has 1,001 of 16,777,216 entries (0 %)";
        assert_eq!(found(shard_room(&patient)), (Status::Ok, expected.into()));
        patient.engine().shard_entries_max = 1200;
        let expected = "the fullest, 5, has 1,001 of 1,200 entries (83 %)";
        assert_eq!(found(shard_room(&patient)), (Status::Warning, expected.into()));
        patient.engine().shard_entries_max = 1010;
        assert_eq!(found(shard_room(&patient)).0, Status::Problem);
    }

    #[test]
    fn a_hot_shard_is_told_with_its_topic_and_matters_if_there_is_much_to_do() {
        let mut patient = made::healthy();
        let expected = "none; 800 changes a second in 16 shards";
        assert_eq!(found(hot_shard(&patient)), (Status::Ok, expected.into()));
        let hot = &mut patient.now.shards[3];
        hot.changes += 2000;
        hot.sampled = ["lobby", "lobby", "room", "lobby"].map(str::to_owned).into();
        let said = "shard 3 of 16 has 73 % of 2,800 changes a second; 3 of 4 sampled changes were in topic \"lobby\"";
        let expected = format!("{said}; so few do not matter");
        assert_eq!(found(hot_shard(&patient)), (Status::Note, expected));
        patient.now.shards[3].changes += 50_000;
        let finding = hot_shard(&patient).unwrap();
        assert_eq!(finding.status, Status::Warning);
        assert!(
            finding.what.starts_with("shard 3 of 16 has 98 % of 52,800 changes a second; 3 of 4"),
            "{finding:?}"
        );
        assert!(finding.remedy.unwrap().contains("split it"));
        // It was hot, and rests.
        patient.now.shards[3].changes += 500_000;
        patient.before.shards = patient.now.shards.clone();
        let (status, what) = found(hot_shard(&patient));
        assert_eq!(status, Status::Note);
        assert!(what.contains("changes since the start") && what.ends_with("; not now"), "{what}");
        // Of two shards one may well have most.
        patient.before.shards.truncate(2);
        patient.now.shards.truncate(2);
        patient.now.shards[1].changes += 50_000;
        assert_eq!(found(hot_shard(&patient)).0, Status::Ok);
    }

    #[test]
    fn subscriptions_that_lag_or_soon_will_are_told() {
        let mut patient = made::healthy();
        let expected = "2, none lags; the fullest queue has 3 of 4,096 events";
        assert_eq!(found(subscriptions(&patient)), (Status::Ok, expected.into()));
        patient.engine().queue_longest = 3300;
        let expected = "none lags yet; the fullest queue has 3,300 of 4,096 events";
        assert_eq!(found(subscriptions(&patient)), (Status::Warning, expected.into()));
        patient.engine().subscriptions_lagging = 1;
        patient.engine().events_missed = 90;
        let finding = subscriptions(&patient).unwrap();
        let expected = "1 of 2 lag, 90 events missed so far; 90 events a second are missed";
        assert_eq!((finding.status, finding.what.as_str()), (Status::Warning, expected));
        assert!(finding.remedy.unwrap().contains("subscription_queue_max"));
    }
}
