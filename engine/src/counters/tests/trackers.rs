//! What a tracker says of itself in its process's error log.

use super::*;
use crate::{Config, Error, Filter, Tracker};
use std::time::{Duration, Instant};

fn watched(folder: &Folder, config: Config) -> (Tracker, Reader) {
    let counters = Counters::create(&folder.0).unwrap();
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    (config.shards(1).counters(counters).build().unwrap(), reader)
}

/// How often an error came, if it is in the log.
fn logged(reader: &Reader, message: &str) -> Option<u64> {
    let errors = reader.table("error").unwrap();
    let row = errors.live_rows().find(|&row| errors.text(row, "message").as_deref() == Some(message))?;
    errors.number(row, "count_total")
}

#[test]
fn what_limits_refuse_is_in_the_error_log_by_limit() {
    let folder = Folder::new("refused");
    let config = Config::default().session_entries_max(2).key_len_max(8).meta_len_max(8);
    let (tracker, reader) = watched(&folder, config);
    let session = tracker.session();
    for key in ["a", "b"] {
        session.track("room", key, "").unwrap();
    }
    let full = "operations were refused: session_entries_max is reached";
    assert_eq!(logged(&reader, full), None);
    assert!(matches!(session.track("room", "c", ""), Err(Error::Full { .. })));
    assert!(matches!(session.track_many([("room", "c", ""), ("room", "d", "")]), Err(Error::Full { .. })));
    assert_eq!(logged(&reader, full), Some(2));
    let long = |field: &str| logged(&reader, &format!("operations were refused: the {field} was too long"));
    assert!(session.track("room", "a key that is too long", "").is_err());
    assert_eq!((long("key"), long("meta")), (Some(1), None));
    let (meta, of) = ("a meta that is too long", tracker.get("room", "a")[0].entry_ref());
    assert!(session.update("room", "a", meta).is_err());
    assert!(session.update_ref(of, meta).is_err());
    assert!(session.update_with("room", "a", |_| meta).is_err());
    assert_eq!((long("key"), long("meta")), (Some(1), Some(3)));
    // What the caller gets wrong otherwise is no matter of limits.
    assert!(session.track("room", "a", "").is_err() && session.update("room", "z", "").is_err());
    assert_eq!(reader.table("error").unwrap().live_rows().count(), 3);
}

#[test]
fn what_slow_subscriptions_miss_is_in_the_error_log() {
    let folder = Folder::new("lags");
    let (tracker, reader) = watched(&folder, Config::default().subscription_queue_max(16));
    let message = "events were missed by subscriptions whose readers are too slow";
    let missed_of = |of: &Tracker| of.stats().events_missed_total;
    let slow = tracker.subscribe(Filter::topic("room"));
    let session = tracker.session();
    for key in 0..100 {
        session.track("room", format!("{key}"), "").unwrap();
    }
    let missed = missed_of(&tracker);
    assert!(missed > 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while logged(&reader, message) != Some(missed) {
        assert!(Instant::now() < deadline, "{:?} of {missed}", logged(&reader, message));
        std::thread::yield_now();
    }
    // One that ends before it is looked at is noted at its end.
    for key in 100..110 {
        session.track("room", format!("{key}"), "").unwrap();
    }
    let missed = missed_of(&tracker);
    drop(slow);
    assert_eq!(logged(&reader, message), Some(missed));
}
