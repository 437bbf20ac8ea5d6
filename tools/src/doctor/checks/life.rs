//! Whether the process lives, is a member, and gets its turns; and the errors that it has logged.

use super::super::finding::{Finding, Status};
use super::super::patient::Patient;
use super::super::words::{count, list, nanos, plain, span};
use headcount::counters::Life;
use std::time::Duration;

/// Errors that are no older are of the present.
const LATELY: Duration = Duration::from_secs(60);
/// A turn that is later than this part of a heartbeat strains the node.
const LATE_PART: u64 = 4;

/// `others`: all processes that were found; another that goes on in its place makes a dead one a thing of the past.
pub(super) fn life(patient: &Patient, others: &[Patient]) -> Finding {
    const CHECK: &str = "life";
    let (pid, file) = (patient.pid, patient.file.display());
    match patient.life {
        Life::Running => Finding::ok(CHECK, format!("runs, for {}", span(patient.age))),
        Life::Silent(silence) => Finding::problem(CHECK, format!("there, and has not moved for {}", span(silence)))
            .remedy(format!(
                "it is stopped (a debugger, SIGSTOP, a frozen container) or its machine is far too busy: `ps -o stat,wchan {pid}` tells (T is \
                 stopped); `kill -CONT {pid}` lets it go on"
            )),
        Life::Ended => Finding::note(CHECK, "has ended"),
        Life::Dead(age) => {
            let is_next = |other: &&Patient| {
                other.is_alive() && (&other.name, &other.cluster) == (&patient.name, &patient.cluster)
            };
            let what = format!("was killed or crashed {} ago", span(age));
            if let Some(next) = others.iter().find(is_next) {
                let what = format!("{what}; process {} goes on in its place", next.pid);
                return Finding::note(CHECK, what);
            }
            Finding::problem(CHECK, what).remedy(format!(
                "look for the reason in its own log and with `journalctl -k | grep -i -e oom -e {pid}`; start it again. `rm {file}` ends this \
                 message, and so does the next process of its user that keeps counters there, ten minutes after the last beat"
            ))
        }
        _ => Finding::unknown(CHECK, "in a state that this version does not know"),
    }
}

/// Whether it is a member of a cluster.
pub(super) fn member(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "member";
    let Some(node) = &patient.now.node else {
        return Some(Finding::note(CHECK, "has not joined a cluster: its tracker works for itself alone"));
    };
    Some(match node.status {
        1 => Finding::note(CHECK, "listens before it joins"),
        2 => {
            let sealed = match node.key_epoch {
                0 => "without a key".to_owned(),
                epoch => format!("with the key of epoch {epoch}"),
            };
            Finding::ok(CHECK, format!("of cluster {} by {}, {sealed}", patient.cluster, patient.now.network))
        }
        3 => Finding::note(CHECK, format!("has left cluster {}", patient.cluster)),
        _ => {
            let why = patient.now.events.iter().rev().find(|(_, what)| what.starts_with("stopped:"));
            let why = why.map_or_else(String::new, |(_, what)| {
                format!(": {}", plain(&what["stopped:".len()..]).trim())
            });
            Finding::problem(CHECK, format!("has stopped taking part in cluster {}{why}", patient.cluster))
                .remedy("start the program again; if it stops again, its last events (`headcount stat`) and its log say more")
        }
    })
}

/// Whether it is cut off, and others not.
pub(super) fn isolation(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "isolation";
    let node = patient.member()?;
    Some(match patient.now.ago(node.stale_since) {
        None => Finding::ok(CHECK, "hears the cluster"),
        Some(age) => Finding::problem(
            CHECK,
            format!("cut off for {}: most other nodes fell silent at once; its view is of then", span(age)),
        )
        .remedy(format!(
            "look at this machine's network first: `ip -s link`, the cable or the virtual switch, a firewall that drops UDP to {}",
            patient.now.address
        )),
    })
}

/// Whether the network thread gets its turns in time.
pub(super) fn lag(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "lag";
    let node = patient.member()?;
    let lag = patient.lag;
    let late = node.heartbeat / LATE_PART;
    let remedy = "its machine is too busy, or its container's processor share too small: `top`, `cat /sys/fs/cgroup/cpu.stat` (nr_throttled); \
                  give it more processors or a higher priority";
    let turns = format!("99 of 100 turns of the network thread began within {}", nanos(lag.p99));
    Some(if lag.turns == 0 {
        Finding::warning(CHECK, format!("the network thread had no turn within {}", span(patient.between)))
            .remedy(remedy)
    } else if lag.p99 > node.heartbeat {
        Finding::problem(CHECK, format!("{turns}: later than a heartbeat ({})", nanos(node.heartbeat)))
            .remedy(remedy)
    } else if lag.p99 > late {
        Finding::warning(CHECK, format!("{turns}: a quarter of a heartbeat ({}) is too late", nanos(late)))
            .remedy(remedy)
    } else if node.patience > 1000 {
        let percent = (node.patience - 1000) / 10;
        let what =
            format!("under strain lately: it bears silence {percent} % longer before it suspects anybody");
        Finding::warning(CHECK, what)
            .remedy(format!("late turns and dropped datagrams strain a node; {remedy}"))
    } else {
        Finding::ok(CHECK, turns)
    })
}

/// What is said about an error: what it comes from and what to do. A part of its message, and the remedy.
const REMEDIES: [(&str, &str); 20] = [
    (
        "not well-formed",
        "something else sends to this node's address or group: `ss -ulnp` and `tcpdump -ni any udp` show what; give the \
      cluster a group or port of its own (--group, --bind)",
    ),
    (
        "another cluster, version",
        "two clusters share a group or port, or versions differ: give each cluster a group of its own (--group), and \
      update the oldest nodes",
    ),
    (
        "in clear, or with a key",
        "somebody has no key, or one of an epoch that is not installed here: install the same keys on every node \
      (--key-file, HEADCOUNT_KEY) before any node seals with them",
    ),
    (
        "wrong tag",
        "somebody has another key under the same epoch, or forges: compare the key files by `sha256sum`; keep strangers off the \
      network",
    ),
    (
        "played again",
        "somebody repeats old datagrams, or a machine was restored from a picture of its memory: nothing was taken of them; look \
      for the source with `tcpdump`",
    ),
    (
        "over their source's budget",
        "a source sends more than any node does: look for it with `tcpdump`, and keep it off the network",
    ),
    ("proofs of strangers", "somebody answers in others' names: look for the source with `tcpdump`"),
    (
        "lives were not believed",
        "another process may use this node's name: give each node a name of its own (--name)",
    ),
    (
        "quarantine",
        "a node's frames made this one stumble, which no frame should: run the same version everywhere, restart that node, and \
      report it with both versions",
    ),
    (
        "made this node stumble, and were dropped",
        "somebody sends what no node of this version does: run the same version everywhere; if all do, report it with what `tcpdump`       shows of its source",
    ),
    (
        "is reached",
        "raise that limit of Config if what the sessions of this process have is meant to be so much; `headcount stat -p` shows entries,       topics and memory",
    ),
    (
        "was too long",
        "this process tracks longer names, keys or metas than its Config allows: shorten them, or raise topic_len_max, key_len_max,       meta_len_max on every node",
    ),
    (
        "could not be sent",
        "the interface or a route is gone, or a firewall refuses: `ip route get` the peer's address, `iptables -L OUTPUT`",
    ),
    (
        "refused by this node's limits",
        "raise the limit that another node's sessions pass, the same on every node: meta_len_max, key_len_max, \
      origin_entries_max, memory_max of Config",
    ),
    (
        "as many are known as are allowed",
        "raise origins_max of Config, or give nodes names that stay the same when they restart",
    ),
    (
        "differed from their owner's by digest",
        "mended by a snapshot each time; if it goes on, run the same version everywhere and report it",
    ),
    ("could not be looked up", "the name service does not answer for a --peer: `getent hosts` its name"),
    (
        "errors while receiving",
        "the interface went away for a moment, or the system is out of memory for sockets: `ip -s link`, `dmesg`; if it goes on, start \
      the process again",
    ),
    (
        "found no room",
        "datagrams overtake each other, or get lost, faster than gaps are closed: see drops and gaps above, here and on those that send; \
      what found no room is repaired",
    ),
    (
        "streams of lanes failed",
        "streams come by TCP from the address that a node's datagrams come from: let a firewall pass that as well; they are tried again",
    ),
];
/// What other checks tell of, with more to say.
const TOLD_ELSEWHERE: [&str; 2] = ["found the receive buffer full", "missed by subscriptions"];

/// What the check of errors is called.
pub(super) const ERRORS: &str = "errors";

/// Errors of the last minute.
pub(super) fn errors(patient: &Patient) -> Vec<Finding> {
    const CHECK: &str = ERRORS;
    let sample = &patient.now;
    let is_told = |message: &str| TOLD_ELSEWHERE.iter().any(|told| message.contains(told));
    let mut lately: Vec<_> = sample.errors.iter().filter(|error| !is_told(&error.message)).collect();
    let earlier = lately.len();
    lately.retain(|error| sample.ago(error.last_at).is_some_and(|age| age <= LATELY));
    if lately.is_empty() {
        let Some(last) =
            sample.errors.iter().filter(|error| !is_told(&error.message)).max_by_key(|e| e.last_at)
        else {
            return vec![Finding::ok(CHECK, "none")];
        };
        let age = sample.ago(last.last_at).unwrap_or_default();
        let kinds = count(earlier as u64, "kind");
        let what = format!(
            "none in the last minute; {kinds} before, the last {} ago: {}",
            span(age),
            plain(&last.message)
        );
        return vec![Finding::note(CHECK, what)];
    }
    // A node that hears nobody and is sent what it cannot open has the wrong key.
    let is_locked_out = sample.peers.is_empty();
    let found = lately.iter().map(|error| {
        let is_key = ["in clear, or with a key", "wrong tag"].iter().any(|part| error.message.contains(part));
        let status = if is_key && is_locked_out { Status::Problem } else { Status::Warning };
        let what = format!(
            "{} (the last {} ago): {}",
            count(error.count, "error"),
            span(sample.ago(error.last_at).unwrap_or_default()),
            plain(&error.message)
        );
        let remedy =
            REMEDIES.iter().find(|(part, _)| error.message.contains(part)).map(|(_, remedy)| *remedy);
        let finding = Finding::new(CHECK, status, what);
        match remedy {
            Some(remedy) => finding.remedy(remedy),
            None => finding.remedy(format!("the log of {} may say more", list([&patient.name]))),
        }
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::Logged;
    use super::super::made::{self, MS, S};
    use super::*;

    fn found(finding: &Finding) -> (Status, &str) {
        (finding.status, &finding.what)
    }

    /// The messages of headcount-net, as they stand there.
    fn messages_of_net() -> Vec<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../net/src/shown/words.rs");
        let source = std::fs::read_to_string(path).unwrap();
        let (_, table) = source.split_once("const ERRORS: ").expect("the table of messages");
        let (table, _) = table.split_once("\n];").expect("its end");
        table.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// What a tracker logs, as it stands in the engine.
    fn messages_of_engine() -> Vec<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/src/gauges.rs");
        let source = std::fs::read_to_string(path).unwrap();
        let begins = |text: &&str| text.starts_with("operations were") || text.starts_with("events were");
        source.split('"').filter(begins).map(str::to_owned).collect()
    }

    #[test]
    fn every_error_that_is_logged_has_a_remedy_and_every_remedy_an_error() {
        let (mut messages, of_engine) = (messages_of_net(), messages_of_engine());
        assert!(messages.len() > 15 && of_engine.len() == 3, "{messages:?} {of_engine:?}");
        messages.extend(of_engine);
        let parts = || REMEDIES.iter().map(|(part, _)| *part).chain(TOLD_ELSEWHERE);
        for message in &messages {
            let fitting: Vec<_> = parts().filter(|part| message.contains(part)).collect();
            assert_eq!(fitting.len(), 1, "{message}: {fitting:?}");
        }
        for part in parts() {
            assert!(messages.iter().any(|message| message.contains(part)), "nothing is said of {part:?}");
        }
    }

    #[test]
    fn the_dead_and_the_stopped_are_told_apart() {
        let mut patient = made::healthy();
        assert_eq!(found(&life(&patient, &[])), (Status::Ok, "runs, for 5 min"));
        patient.life = Life::Silent(Duration::from_secs(7));
        let finding = life(&patient, &[]);
        assert_eq!(found(&finding), (Status::Problem, "there, and has not moved for 7.0 s"));
        assert!(finding.remedy.unwrap().contains("kill -CONT 4242"));
        patient.life = Life::Dead(Duration::from_secs(12));
        let finding = life(&patient, std::slice::from_ref(&patient));
        assert_eq!(found(&finding), (Status::Problem, "was killed or crashed 12 s ago"));
        assert!(finding.remedy.unwrap().contains("`rm /dev/shm/headcount.4242.0`"));
        let next = Patient { pid: 4243, ..made::healthy() };
        let finding = life(&patient, &[patient.clone(), next]);
        let expected = "was killed or crashed 12 s ago; process 4243 goes on in its place";
        assert_eq!(found(&finding), (Status::Note, expected));
        patient.life = Life::Ended;
        assert_eq!(found(&life(&patient, &[])), (Status::Note, "has ended"));
    }

    #[test]
    fn a_node_that_stopped_by_itself_says_why() {
        let mut patient = made::healthy();
        let expected = "of cluster chat by multicast 239.255.70.70:7070 on 10.0.0.1, with the key of epoch 1";
        assert_eq!(found(&member(&patient).unwrap()), (Status::Ok, expected));
        patient.now.events = vec![(1, "met web-2".into()), (2, "stopped: its name is taken".into())];
        patient.set_node(|node| node.status = 4);
        let expected = "has stopped taking part in cluster chat: its name is taken";
        assert_eq!(found(&member(&patient).unwrap()), (Status::Problem, expected));
        patient.set_node(|node| node.status = 3);
        assert_eq!(found(&member(&patient).unwrap()), (Status::Note, "has left cluster chat"));
    }

    #[test]
    fn a_node_that_is_cut_off_is_a_problem() {
        let mut patient = made::healthy();
        let since = patient.now.now - 4 * S;
        patient.set_node(|node| node.stale_since = since);
        let finding = isolation(&patient).unwrap();
        let expected = "cut off for 4.0 s: most other nodes fell silent at once; its view is of then";
        assert_eq!(found(&finding), (Status::Problem, expected));
        assert!(finding.remedy.unwrap().contains("10.0.0.1:40000"));
    }

    #[test]
    fn late_turns_and_strain_are_told() {
        let mut patient = made::healthy();
        let mut of = |p99, patience, turns| {
            (patient.lag.p99, patient.lag.turns) = (p99, turns);
            patient.set_node(|node| node.patience = patience);
            let finding = lag(&patient).unwrap();
            (finding.status, finding.what)
        };
        let said = "99 of 100 turns of the network thread began within";
        assert_eq!(of(300_000, 1000, 9), (Status::Ok, format!("{said} 300 µs")));
        let late = format!("{said} 26 ms: a quarter of a heartbeat (25 ms) is too late");
        assert_eq!(of(26 * MS, 1000, 9), (Status::Warning, late));
        let later = format!("{said} 101 ms: later than a heartbeat (100 ms)");
        assert_eq!(of(101 * MS, 1000, 9), (Status::Problem, later));
        let strain = "under strain lately: it bears silence 25 % longer before it suspects anybody";
        assert_eq!(of(300_000, 1250, 9), (Status::Warning, strain.into()));
        assert_eq!(of(0, 1000, 0), (Status::Warning, "the network thread had no turn within 1.0 s".into()));
    }

    #[test]
    fn errors_of_the_last_minute_have_their_remedy() {
        let mut patient = made::healthy();
        assert_eq!(found(&errors(&patient)[0]), (Status::Ok, "none"));
        let logged = |message: &str, age: u64| Logged {
            message: message.into(),
            count: 3,
            last_at: patient.now.now - age * S,
        };
        let noise = logged("datagrams were not well-formed", 5);
        let old = logged("streams of lanes failed", 61);
        let full = logged("datagrams found the receive buffer full", 1);
        let wrong = logged("datagrams or streams had a wrong tag: another key, forged, or damaged", 1);
        patient.now.errors = vec![noise, old.clone(), full];
        let findings = errors(&patient);
        assert_eq!(findings.len(), 1, "{findings:?}");
        let expected = "3 errors (the last 5.0 s ago): datagrams were not well-formed";
        assert_eq!(found(&findings[0]), (Status::Warning, expected));
        assert!(findings[0].remedy.as_ref().unwrap().contains("--group"));
        patient.now.errors = vec![old];
        let expected = "none in the last minute; 1 kind before, the last 61 s ago: streams of lanes failed";
        assert_eq!(found(&errors(&patient)[0]), (Status::Note, expected));
        // A wrong key is worse for who hears nobody.
        patient.now.errors = vec![wrong];
        assert_eq!(errors(&patient)[0].status, Status::Warning);
        patient.now.peers.clear();
        let finding = &errors(&patient)[0];
        assert_eq!(finding.status, Status::Problem);
        assert!(finding.remedy.as_ref().unwrap().contains("compare the key files"));
    }
}
