//! `headcount stat` against real nodes: every form of its output, and every way in which there is nothing good to show.

#![cfg(unix)]

mod support;

use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{MetricNumber, OpenMetricsValue, PrometheusType, PrometheusValue};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    Folder, Guarded, PATIENCE, Person, Site, headcount, patience, program, signal, stderr, stdout, until,
};

fn stat(folder: &Folder, args: &[&str]) -> Output {
    let mut line = vec!["stat", "--dir", folder.name()];
    line.extend(args);
    headcount(&line)
}

fn json(folder: &Folder, args: &[&str]) -> Value {
    let mut line = vec!["--json"];
    line.extend(args);
    serde_json::from_str(&stdout(&stat(folder, &line))).expect("JSON")
}

#[test]
fn all_processes_are_listed_and_one_is_told_in_detail() {
    let (site, folder) = (Site::new(), Folder::new("list"));
    let nodes = ["web-1", "web-2"].map(|name| folder.node(&site, name));
    let mut alice = Person::of(&nodes[0]);
    alice.ok("JOIN room:1 alice");
    until("both nodes to show it", || {
        let seen = json(&folder, &[]);
        let processes = seen["processes"].as_array().expect("processes");
        processes.iter().all(|process| process["tables"]["engine"][0]["entries"] == 1)
    });
    let list = stat(&folder, &[]);
    assert_eq!(list.status.code(), Some(0), "{}", stderr(&list));
    let text = stdout(&list);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].trim_start().starts_with("pid  node "), "{text}");
    for node in &nodes {
        let line = lines.iter().find(|line| line.contains(&node.ready().name)).expect("its line");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words[..4],
            [&node.id().to_string(), &*node.ready().name, &site.cluster, "running"],
            "{text}"
        );
    }

    let one = stat(&folder, &["--process", "web-1"]);
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    let text = stdout(&one);
    let head = format!("web-1 of cluster {}, pid {}: running for ", site.cluster, nodes[0].id());
    assert!(text.starts_with(&head), "{text}");
    for part in [
        &format!("listen {}", nodes[0].ready().clients),
        "network multicast",
        " on lo",
        "1 entry, 1 of them of this node's 1 session; 1 topic; ",
        "1 client connected",
        "1 other node\n",
        "clients: requests",
        "Shards: ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // By its process id, and without the option: the same process.
    for args in [&["--process", &*nodes[0].id().to_string()][..], &["web-1"]] {
        let again = stdout(&stat(&folder, args));
        assert!(again.starts_with(&head), "{again}");
    }
    let twice = stat(&folder, &["web-1", "--process", "web-1"]);
    assert_eq!(twice.status.code(), Some(2), "{}", stderr(&twice));
}

#[test]
fn rates_go_up_while_clients_join_and_totals_are_exact() {
    let (site, folder) = (Site::new(), Folder::new("rates"));
    let node = folder.node(&site, "web-1");
    let total = |seen: &Value| {
        let shards = seen["processes"][0]["tables"]["shard"].as_array().expect("shards").clone();
        shards.iter().filter_map(|shard| shard["tracked_total"].as_u64()).sum::<u64>()
    };
    let idle = json(&folder, &["--process", "web-1"]);
    assert_eq!(
        (total(&idle), &idle["processes"][0]["rates"]["shard"]["tracked_total"]),
        (0, &Value::from(0.0))
    );

    let (stop, stopped) = mpsc::channel::<()>();
    let joins = thread::scope(|scope| {
        let node = &node;
        let joining = scope.spawn(move || {
            let mut person = Person::of(node);
            let mut joins = 0;
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                person.ok(&format!("JOIN room:{} k{joins}", joins % 7));
                joins += 1;
            }
            person.ok("LEAVE *");
            joins
        });
        until("rates to go up", || {
            let seen = json(&folder, &["--process", "web-1"]);
            let rates = &seen["processes"][0]["rates"];
            let seconds = rates["seconds"].as_f64().expect("seconds");
            assert!(seconds > 0.4, "it looks twice: {rates}");
            rates["shard"]["tracked_total"].as_f64().expect("a rate") > 50.0
                && rates["clients"]["requests_total"].as_f64().expect("a rate") > 50.0
        });
        stop.send(()).expect("it joins");
        joining.join().expect("it joined")
    });
    let seen = json(&folder, &["--process", "web-1"]);
    assert_eq!(total(&seen), joins);
    assert_eq!(seen["processes"][0]["tables"]["clients"][0]["requests_total"], joins + 1);
}

#[test]
fn openmetrics_text_is_what_a_strict_parser_reads() {
    let (site, folder) = (Site::new(), Folder::new("metrics"));
    let nodes = ["web-1", "web \"2\" \\"].map(|name| folder.node(&site, name));
    Person::of(&nodes[0]).ok("JOIN room:1 alice");
    let output = stat(&folder, &["--prometheus=openmetrics"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let parsed = parse_openmetrics(&text).unwrap_or_else(|error| panic!("{error:?} in {text}"));
    let value = |family: &str, labels: &[(&str, &str)]| {
        let family = parsed.families.get(family).unwrap_or_else(|| panic!("no {family} in {text}"));
        let mut fitting = Vec::new();
        for sample in family.iter_samples() {
            let held = sample.get_labelset().expect("labels");
            if labels.iter().all(|(name, value)| held.get_label_value(name) == Some(*value)) {
                fitting.push(sample);
            }
        }
        fitting
            .iter()
            .map(|sample| match &sample.value {
                OpenMetricsValue::Gauge(MetricNumber::Int(number)) => *number as f64,
                OpenMetricsValue::Gauge(MetricNumber::Float(number)) => *number,
                OpenMetricsValue::Counter(counter) => counter.value.as_f64(),
                other => panic!("{other:?}"),
            })
            .sum::<f64>()
    };
    let pid = nodes[1].id().to_string();
    assert_eq!(
        value("headcount_up", &[("node", "web \"2\" \\"), ("pid", &pid), ("process", "headcount")]),
        1.0
    );
    assert_eq!(value("headcount_shard_tracked", &[("node", "web-1")]), 1.0);
    assert_eq!(value("headcount_clients_accepted", &[]), 1.0);
    assert!(value("headcount_start_timestamp_seconds", &[("node", "web-1")]) > 1.7e9);
    assert!(text.ends_with("# EOF\n"));

    for wrong in [&["--prometheus", "--json"][..], &["--prometheus=xml"]] {
        assert_eq!(stat(&folder, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn prometheus_text_is_what_a_parser_of_the_format_0_0_4_reads_with_the_kind_of_every_sample() {
    let (site, folder) = (Site::new(), Folder::new("text"));
    let nodes = ["web-1", "web \"2\" \\"].map(|name| folder.node(&site, name));
    Person::of(&nodes[0]).ok("JOIN room:1 alice");
    let output = stat(&folder, &["--prometheus"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    // It refuses a kind that the format does not have, and the rest of the text with it.
    let parsed = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error:?} in {text}"));
    for family in parsed.families.values() {
        // What is declared under another name than its samples have is of no kind.
        assert_ne!(family.family_type, PrometheusType::Unknown, "{}", family.family_name);
        assert!(family.iter_samples().count() > 0, "{} is declared and has no sample", family.family_name);
        let is_counter = family.family_type == PrometheusType::Counter;
        assert_eq!(family.family_name.ends_with("_total"), is_counter, "{}", family.family_name);
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let family = parsed.families.get(name).unwrap_or_else(|| panic!("no {name} in {text}"));
        let fits = |sample: &&openmetrics_parser::Sample<PrometheusValue>| {
            let held = sample.get_labelset().expect("labels");
            labels.iter().all(|(name, value)| held.get_label_value(name) == Some(*value))
        };
        let sample = family.iter_samples().find(fits).unwrap_or_else(|| panic!("no such {name} in {text}"));
        match &sample.value {
            PrometheusValue::Gauge(number) => number.as_f64(),
            PrometheusValue::Counter(counter) => counter.value.as_f64(),
            PrometheusValue::Histogram(histogram) => histogram.count.expect("a count") as f64,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(value("headcount_up", &[("node", "web \"2\" \\"), ("process", "headcount")]), 1.0);
    assert_eq!(value("headcount_clients_accepted_total", &[("node", "web-1")]), 1.0);
    assert_eq!(value("headcount_process_info", &[("node", "web-1")]), 1.0);
    assert!(value("headcount_times_apply_seconds", &[("node", "web-1")]) > 0.0);
    for none in ["# UNIT", "# EOF", " info\n", " unknown\n"] {
        assert!(!text.contains(none), "{none} in {text}");
    }
}

#[test]
fn the_recipe_for_node_exporter_replaces_what_is_over() {
    let (site, folder) = (Site::new(), Folder::new("recipe"));
    let mut node = folder.node(&site, "web-1");
    let file = folder.path.join("headcount.prom");
    let up = || {
        let line = format!(
            "{} stat --dir {} --prometheus > {file}.new && mv {file}.new {file}",
            program().display(),
            folder.name(),
            file = file.display()
        );
        assert!(Command::new("sh").args(["-c", &line]).status().expect("a shell").success());
        let text = fs::read_to_string(&file).expect("it was moved there");
        let up = text.lines().filter(|line| line.starts_with("headcount_up{"));
        up.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(up(), ["1"]);
    node.kill().expect("it is a child");
    until("it to be told dead", || up() == ["0"]);
    drop(node);
    fs::remove_file(
        fs::read_dir(&folder.path)
            .expect("a directory")
            .flatten()
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|end| end == "0"))
            .expect("its file"),
    )
    .expect("removed");
    assert_eq!(up(), [""; 0], "nothing runs: that is whole, too");
}

#[test]
fn nothing_that_runs_is_said_with_how_to_have_something() {
    let folder = Folder::new("nothing");
    for args in [&[][..], &["--json"], &["--watch"]] {
        let output = stat(&folder, args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let words = stderr(&output);
        assert!(
            words.starts_with("error: nothing runs that keeps counters in ")
                && words.contains("headcount node"),
            "{words}"
        );
    }
    assert_eq!(json(&folder, &[]), serde_json::json!({ "processes": [] }));
    let output = stat(&folder, &["--process", "web-1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).starts_with("error: no process \"web-1\" keeps counters in "),
        "{}",
        stderr(&output)
    );

    let output = headcount(&["stat", "--dir", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: --dir /nowhere/at/all: there is no such directory; leave --dir out for the usual one\n"
    );
    let output = stat(&folder, &["--watch", "0"]);
    assert_eq!(
        (stderr(&output).as_str(), output.status.code()),
        ("error: invalid value '0' for '--watch [<SECS>]': write seconds from 0.1 to 3600\n", Some(2))
    );
}

/// A watcher, with the lines that it writes on standard output and on standard error.
fn watch(folder: &Folder, args: &[&str]) -> (Guarded, Receiver<String>) {
    let mut child = Command::new(program())
        .args(["stat", "--dir", folder.name()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let (send, lines) = mpsc::channel();
    let pass_on = |stream: Box<dyn std::io::Read + Send>, send: mpsc::Sender<String>| {
        thread::spawn(move || {
            BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
    };
    pass_on(Box::new(child.stdout.take().expect("a pipe")), send.clone());
    pass_on(Box::new(child.stderr.take().expect("a pipe")), send);
    (Guarded(child), lines)
}

fn said(lines: &Receiver<String>, part: &str) -> String {
    let limit = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
        if line.contains(part) {
            return line;
        }
        all.push(line);
    }
    panic!("{part} was not said: {all:#?}");
}

#[test]
fn a_watcher_says_within_two_seconds_that_its_process_was_killed() {
    let (site, folder) = (Site::new(), Folder::new("killed"));
    let mut node = folder.node(&site, "web-1");
    // However rarely it is asked to write.
    let (watcher, lines) = watch(&folder, &["--process", "web-1", "--watch", "0.2"]);
    let (seldom, seldom_lines) = watch(&folder, &["--process", "web-1", "--watch", "3000"]);
    let (all, all_lines) = watch(&folder, &["--watch", "0.3"]);
    said(&seldom_lines, "changes/s");
    said(&lines, " 0 ");
    said(&all_lines, "running");
    let killed = Instant::now();
    node.kill().expect("it is a child");
    for lines in [&lines, &seldom_lines, &all_lines] {
        let words = said(lines, "is dead: killed or crashed");
        assert!(
            words.starts_with(&format!("web-1 (pid {}) is dead: killed or crashed ", node.id())),
            "{words}"
        );
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}: {words}", killed.elapsed());
    }
    for watcher in [watcher, seldom, all] {
        assert_eq!(watcher.ended().code(), Some(4));
    }
    // Whoever comes later hears the same, and sees what it did last.
    let output = stat(&folder, &["--process", "web-1"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stdout(&output).contains(": dead: killed or crashed ") && stdout(&output).contains("Shards: "));
    let output = stat(&folder, &[]);
    assert_eq!(output.status.code(), Some(4), "nothing else runs: {}", stdout(&output));
    let metrics = stdout(&stat(&folder, &["--prometheus"]));
    let up: Vec<&str> = metrics.lines().filter(|line| line.starts_with("headcount_up{")).collect();
    assert!(up.len() == 1 && up[0].ends_with("} 0") && !metrics.contains("headcount_shard"), "{metrics}");
}

#[test]
fn a_process_that_leaves_in_order_is_said_to_have_ended() {
    let (site, folder) = (Site::new(), Folder::new("ended"));
    let node = folder.node(&site, "web-1");
    let (watcher, lines) = watch(&folder, &["--process", "web-1", "--watch", "0.2", "--json"]);
    let first: Value = serde_json::from_str(&said(&lines, "processes")).expect("JSON");
    assert_eq!(first["processes"][0]["life"], "running");
    assert!(node.leave(&patience()).expect("it leaves").success());
    assert!(said(&lines, "web-1 (pid").ends_with("is ended"));
    assert_eq!(watcher.ended().code(), Some(3));
    assert_eq!(fs::read_dir(&folder.path).expect("a directory").count(), 0, "it took its file with it");
}

#[test]
fn a_stopped_process_is_silent_until_it_goes_on() {
    let (site, folder) = (Site::new(), Folder::new("stopped"));
    let node = folder.node(&site, "web-1");
    signal(node.id(), "-STOP");
    let (_watcher, lines) = watch(&folder, &["--process", "web-1", "--watch", "0.2"]);
    assert!(said(&lines, "is silent for ").contains("stopped (SIGSTOP"));
    until("it to be silent", || json(&folder, &[])["processes"][0]["life"] == "silent");
    let output = stat(&folder, &["--process", "web-1"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        stdout(&output).contains("pid ") && stdout(&output).contains(": silent for "),
        "{}",
        stdout(&output)
    );
    assert_eq!(stat(&folder, &[]).status.code(), Some(5));
    signal(node.id(), "-CONT");
    said(&lines, "is running");
    until("it to run", || stat(&folder, &["--process", "web-1"]).status.code() == Some(0));
}

#[test]
fn a_watcher_that_is_stopped_holds_nothing_up() {
    let (site, folder) = (Site::new(), Folder::new("hangs"));
    let node = folder.node(&site, "web-1");
    let (watcher, lines) = watch(&folder, &["--watch", "0.1"]);
    said(&lines, "web-1");
    signal(watcher.0.id(), "-STOP");
    let mut alice = Person::of(&node);
    for key in 0..1000 {
        alice.ok(&format!("JOIN room:1 k{key}"));
    }
    until("others to see what it does", || {
        json(&folder, &[])["processes"][0]["tables"]["engine"][0]["entries"] == 1000
    });
    // It even takes its file with it.
    assert!(node.leave(&patience()).expect("it leaves").success());
    assert_eq!(fs::read_dir(&folder.path).expect("a directory").count(), 0);
    signal(watcher.0.id(), "-CONT");
    said(&lines, "web-1 (pid");
    assert_eq!(watcher.ended().code(), Some(3));
}

/// A copy of a running node's file that says that another process has it, with a change.
fn forged(folder: &Folder, pid: u32, change: impl Fn(&File)) -> PathBuf {
    let original =
        fs::read_dir(&folder.path).expect("a directory").next().expect("a file").expect("an entry").path();
    let path = folder.path.join(format!("headcount.{pid}.0"));
    fs::copy(original, &path).expect("a copy");
    change(&File::options().write(true).open(&path).expect("the copy"));
    path
}

#[test]
fn other_versions_and_other_files_are_told_apart() {
    let (site, folder) = (Site::new(), Folder::new("foreign"));
    let _node = folder.node(&site, "web-1");
    forged(&folder, 4_000_001, |file| file.write_all_at(&(9_u64 << 32).to_ne_bytes(), 8).expect("written"));
    fs::write(folder.path.join("headcount.4000002.0"), "something else").expect("written");
    for (pid, words) in [
        (
            "4000001",
            "has layout 9, this program reads 1: use the program that came with the version that runs there",
        ),
        ("4000002", "is not a counters file of headcount"),
    ] {
        let output = stat(&folder, &["--process", pid]);
        assert_eq!(output.status.code(), Some(6));
        let expected = format!("error: {}/headcount.{pid}.0 {words}\n", folder.name());
        assert_eq!(stderr(&output), expected);
    }
    // The others are shown all the same.
    let output = stat(&folder, &[]);
    assert_eq!(output.status.code(), Some(0));
    for part in ["web-1", "other version", "no counters", "4000001: ", "4000002: "] {
        assert!(stdout(&output).contains(part), "{part} is not in {}", stdout(&output));
    }
    assert!(stdout(&stat(&folder, &["--prometheus"])).contains("headcount_unreadable_files 2\n"));
    assert_eq!(json(&folder, &[])["processes"][1]["status"], 6);
}

#[test]
fn another_users_process_is_not_shown() {
    let (site, folder) = (Site::new(), Folder::new("permission"));
    let node = folder.node(&site, "web-1");
    let stat_as_another = |args: &[&str]| {
        let mut command = Command::new(program());
        command.args(["stat", "--dir", folder.name()]).args(args);
        if is_root() {
            // Nobody, on every system that has one.
            command.uid(65534).gid(65534);
        }
        command.output()
    };
    if !is_root() {
        for entry in fs::read_dir(&folder.path).expect("a directory") {
            let closed = fs::Permissions::from_mode(0o000);
            fs::set_permissions(entry.expect("an entry").path(), closed).expect("it is this user's");
        }
    }
    let output = match stat_as_another(&["--process", &node.id().to_string()]) {
        // The program lies where that user may not go.
        Err(error) if is_root() => return assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        output => output.expect("it runs"),
    };
    assert_eq!(output.status.code(), Some(7), "{}", stdout(&output));
    assert!(stderr(&output).contains("it is another user's; run this as that user"), "{}", stderr(&output));
    let output = stat_as_another(&[]).expect("it runs");
    assert_eq!(output.status.code(), Some(7));
    assert!(stdout(&output).contains("not readable"), "{}", stdout(&output));
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("there is an id command");
    stdout(&id).trim() == "0"
}

#[test]
fn a_node_keeps_counters_unless_told_not_to_and_serves_without_them() {
    let (site, folder) = (Site::new(), Folder::new("off"));
    let node = site.command("web-1").start().expect("it starts").ready(&patience()).expect("it gets ready");
    let mut alice = Person::of(&node);
    alice.ok("JOIN room:1 alice");
    assert_eq!((alice.stat("clients.accepted_total"), alice.stat("clients.connections")), (1, 1));
    let pid = node.id().to_string();
    assert_eq!(headcount(&["stat", "--process", &pid]).status.code(), Some(3));

    // By default it keeps them where everybody looks.
    let mut command = site.command("web-2");
    command.options.clear();
    let other = command.start().expect("it starts").ready(&patience()).expect("it gets ready");
    let pid = other.id().to_string();
    let output = headcount(&["stat", "--process", &pid]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("web-2 of cluster "), "{}", stdout(&output));
    assert!(other.leave(&patience()).expect("it leaves").success());

    let nowhere = folder.path.join("nowhere");
    let args =
        ["node", "--name", "n", "--cluster", &site.cluster, "--counters", &nowhere.display().to_string()];
    let output = headcount(&args);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("error: --counters {0}: counters file {0}/headcount.", nowhere.display());
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
    assert!(stderr(&output).contains("or off") && Path::new(folder.name()).is_dir());
}
