//! T1, T2, T4, T7, T8, T9: one entry comes and goes.

use super::common::{drain, fingerprint, listed, told};
use headcount::{Config, Error, Filter, NodeId, Tracker};

#[test]
fn t1_a_tracked_entry_is_listed_with_its_ref_as_soon_as_track_returns() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for at in 0..100 {
        let (topic, key) = (format!("topic:{}", at % 7), format!("key:{at}"));
        let dot = session.track(&topic, &key, "meta").unwrap();
        let found = tracker.get(&topic, &key);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entry_ref(), dot);
        assert_eq!(tracker.list(&topic).last(), Some(&found[0]));
        assert_eq!((found[0].topic().as_bytes(), found[0].key()), (topic.as_bytes(), key.as_bytes()));
        assert_eq!(found[0].meta(), b"meta");
        assert_eq!(found[0].session(), Some(session.id()));
        assert_eq!((found[0].prev_ref(), found[0].joined_ref()), (None, dot));
        assert!(tracker.contains(&topic, &key));
    }
    assert_eq!((tracker.len(), session.len()), (100, 100));
}

#[test]
fn t1_refs_are_unique_and_count_the_operations_of_their_lane() {
    let tracker = Config::default().shards(4).node(NodeId(9)).build().unwrap();
    let session = tracker.session();
    let mut clocks = [0; 4];
    for at in 0..64 {
        let dot = session.track(format!("topic:{at}"), "key", "").unwrap();
        assert_eq!(dot.node, NodeId(9));
        clocks[usize::from(dot.lane)] += 1;
        assert_eq!(dot.clock, clocks[usize::from(dot.lane)]);
    }
    let told: Vec<u64> = tracker.stats().shards.iter().map(|shard| shard.clock).collect();
    assert_eq!(told, clocks);
    assert!(clocks.iter().all(|&clock| clock > 0), "the topics are spread: {clocks:?}");
}

#[test]
fn t2_a_second_track_is_already_tracked_with_the_existing_ref() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let first = session.track("room", "alice", "1").unwrap();
    let before = fingerprint(&tracker);
    let refused = session.track("room", "alice", "2").unwrap_err();
    assert_eq!(refused, Error::AlreadyTracked { existing: first });
    assert!(refused.to_string().contains(&first.to_string()), "{refused}");
    assert_eq!(fingerprint(&tracker), before, "its entry stands as it was");

    let second = session.update("room", "alice", "2").unwrap();
    let refused = session.track("room", "alice", "3").unwrap_err();
    assert_eq!(refused, Error::AlreadyTracked { existing: second }, "the ref of the present version");
}

#[test]
fn t2_another_topic_key_or_session_is_fine() {
    let tracker = Tracker::new();
    let (one, other) = (tracker.session(), tracker.session());
    let refs = [
        one.track("room", "alice", "1").unwrap(),
        one.track("hall", "alice", "2").unwrap(),
        one.track("room", "bob", "3").unwrap(),
        other.track("room", "alice", "4").unwrap(),
    ];
    assert!((1..4).all(|at| !refs[..at].contains(&refs[at])), "each has a ref of its own");
    assert_eq!(listed(&tracker, "room"), ["alice=1", "bob=3", "alice=4"]);
    assert_eq!(listed(&tracker, "hall"), ["alice=2"]);
    // The bytes of topic and key are not run together.
    one.track("ro", "omalice", "5").unwrap();
    assert_eq!(tracker.len(), 5);
}

#[test]
fn t4_untrack_of_something_absent_is_false_and_silent() {
    let tracker = Tracker::new();
    let (session, other) = (tracker.session(), tracker.session());
    session.track("room", "alice", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let before = fingerprint(&tracker);
    assert_eq!(session.untrack("room", "bob"), Ok(false));
    assert_eq!(session.untrack("hall", "alice"), Ok(false));
    assert_eq!(other.untrack("room", "alice"), Ok(false), "it is not this session's");
    assert_eq!(other.untrack_topic("room"), Ok(0));
    assert_eq!(other.untrack_topic("nowhere"), Ok(0));
    assert_eq!(other.clear(), Ok(0));
    assert_eq!(fingerprint(&tracker), before);
    assert!(drain(&mut events).is_empty());
}

#[test]
fn t4_untrack_of_one_of_several_keeps_the_rest() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for key in ["a", "b", "c"] {
        session.track("room", key, "").unwrap();
    }
    session.track("hall", "b", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    assert_eq!(session.untrack("room", "b"), Ok(true));
    assert_eq!(session.untrack("room", "b"), Ok(false), "once only");
    assert_eq!(listed(&tracker, "room"), ["a=", "c="]);
    assert_eq!(listed(&tracker, "hall"), ["b="]);
    assert_eq!(told(&mut events), ["-b="]);
    assert_eq!(session.len(), 3);
}

#[test]
fn t7_get_returns_the_key_of_every_session_oldest_first() {
    let tracker = Tracker::new();
    let sessions: Vec<_> = (0..5).map(|_| tracker.session()).collect();
    for (at, session) in sessions.iter().enumerate() {
        session.track("room", "alice", at.to_string()).unwrap();
    }
    sessions[2].update("room", "alice", "two").unwrap();
    let metas = || tracker.get("room", "alice").iter().map(|e| e.meta_str().into_owned()).collect::<Vec<_>>();
    assert_eq!(metas(), ["0", "1", "two", "3", "4"], "an update keeps the place");
    assert_eq!(tracker.count("room"), 5);

    sessions[1].untrack("room", "alice").unwrap();
    assert_eq!(metas(), ["0", "two", "3", "4"], "the others stay");
    sessions[1].track("room", "alice", "again").unwrap();
    assert_eq!(metas(), ["0", "two", "3", "4", "again"], "who comes back comes last");
}

#[test]
fn t7_the_key_leaves_the_topic_with_the_last_session() {
    let tracker = Tracker::new();
    let mut sessions: Vec<_> = (0..4).map(|_| tracker.session()).collect();
    for session in &sessions {
        session.track("room", "alice", "").unwrap();
    }
    while let Some(session) = sessions.pop() {
        assert!(tracker.contains("room", "alice"));
        assert_eq!(tracker.get("room", "alice").len(), sessions.len() + 1);
        drop(session);
    }
    assert!(!tracker.contains("room", "alice"));
    assert!(tracker.get("room", "alice").is_empty());
    assert!(tracker.topics().is_empty());
}

#[test]
fn t8_reads_of_an_unknown_topic_are_empty() {
    let tracker = Tracker::new();
    assert!(tracker.list("room").is_empty());
    assert!(tracker.get("room", "alice").is_empty());
    assert!(!tracker.contains("room", "alice"));
    assert_eq!(tracker.count("room"), 0);
    assert!(tracker.topics().is_empty());
    assert!(tracker.snapshot("room").entries.is_empty());
    let page = tracker.list_page("room", None, 10);
    assert!(page.entries.is_empty() && page.next.is_none());
    assert_eq!(tracker.pages("room", 10).count(), 0);
    assert!(tracker.is_empty());
}

#[test]
fn t8_an_emptied_topic_disappears_from_topics() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let topics = || {
        let mut topics: Vec<String> = tracker.topics().iter().map(ToString::to_string).collect();
        topics.sort_unstable();
        topics
    };
    session.track("room", "a", "").unwrap();
    session.track("room", "b", "").unwrap();
    session.track("hall", "a", "").unwrap();
    assert_eq!(topics(), ["hall", "room"]);
    session.untrack("room", "a").unwrap();
    assert_eq!(topics(), ["hall", "room"]);
    session.untrack("room", "b").unwrap();
    assert_eq!(topics(), ["hall"]);

    // A listener keeps a topic's record, but does not list it.
    let _events = tracker.subscribe(Filter::topic("hall"));
    session.untrack("hall", "a").unwrap();
    assert!(topics().is_empty());
    assert_eq!(tracker.count("hall"), 0);
    session.track("hall", "a", "").unwrap();
    assert_eq!(topics(), ["hall"]);
}

#[test]
fn t9_topics_and_keys_are_arbitrary_bytes() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let names: [&[u8]; 10] = [
        b"",
        b"__proto__",
        b"constructor",
        b"\0",
        b"\0\0",
        b"\xff\xfe not utf-8 \x80",
        "zażółć 🦀".as_bytes(),
        b"a/b:c*?#+",
        b" ",
        &[0xff; 256],
    ];
    let mut events = tracker.subscribe(Filter::all());
    for topic in names {
        for key in names {
            let dot = session.track(topic, key, key).unwrap();
            let found = tracker.get(topic, key);
            assert_eq!(found.len(), 1, "{topic:?} {key:?}");
            assert_eq!(found[0].entry_ref(), dot);
            assert_eq!((&found[0].topic()[..], found[0].key(), found[0].meta()), (topic, key, key));
        }
        assert_eq!(tracker.count(topic), names.len());
    }
    assert_eq!(tracker.topics().len(), names.len());
    assert_eq!(tracker.len(), names.len() * names.len());
    assert_eq!(drain(&mut events).len(), names.len() * (names.len() + 1));
    for topic in names {
        assert_eq!(session.untrack_topic(topic), Ok(names.len()));
    }
    assert!(tracker.is_empty());
}

#[test]
fn t9_the_exact_limit_is_fine_and_one_more_is_an_error_that_names_it() {
    let tracker = Config::default().topic_len_max(5).key_len_max(7).meta_len_max(9).build().unwrap();
    let session = tracker.session();
    let (topic, key, meta) = ([b't'; 5], [b'k'; 7], [b'm'; 9]);
    session.track(topic, key, meta).unwrap();
    session.update(topic, key, [b'n'; 9]).unwrap();
    session.update_with(topic, key, |_| meta).unwrap();

    let mut events = tracker.subscribe(Filter::all());
    let before = fingerprint(&tracker);
    let long = |field, len| Error::TooLong { field, len, max: len - 1 };
    let (topic_6, key_8, meta_10) = ([b't'; 6], [b'k'; 8], [b'm'; 10]);
    let calls = [
        (session.track(topic_6, key, meta), long("topic", 6)),
        (session.track(topic, key_8, meta), long("key", 8)),
        (session.track("x", key, meta_10), long("meta", 10)),
        (session.update(topic_6, key, meta), long("topic", 6)),
        (session.update(topic, key_8, meta), long("key", 8)),
        (session.update(topic, key, meta_10), long("meta", 10)),
        (session.update_with(topic_6, key, |_| meta), long("topic", 6)),
        (session.update_with(topic, key_8, |_| meta), long("key", 8)),
        (session.update_with(topic, key, |_| meta_10), long("meta", 10)),
    ];
    for (at, (refused, expected)) in calls.into_iter().enumerate() {
        assert_eq!(refused, Err(expected), "call {at}");
    }
    assert_eq!(long("key", 8).to_string(), "key is 8 bytes, the limit is 7");
    assert_eq!(fingerprint(&tracker), before, "nothing has changed");
    assert!(drain(&mut events).is_empty());
    // Reads and untracks have nothing to refuse: what is too long is not there.
    assert!(tracker.get(topic_6, key_8).is_empty());
    assert_eq!(session.untrack(topic_6, key_8), Ok(false));
}

#[test]
fn t9_limits_of_nothing_still_allow_the_empty_string() {
    let tracker = Config::default().topic_len_max(0).key_len_max(0).meta_len_max(0).build().unwrap();
    let session = tracker.session();
    session.track("", "", "").unwrap();
    assert_eq!(session.track("a", "", ""), Err(Error::TooLong { field: "topic", len: 1, max: 0 }));
    assert_eq!(session.update("", "", "a"), Err(Error::TooLong { field: "meta", len: 1, max: 0 }));
    assert_eq!(tracker.count(""), 1);
}
