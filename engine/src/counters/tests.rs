//! The file, from both ends.

use super::format::{HEADER_BYTES, TABLE_WORDS, word};
use super::*;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

mod strangers;
mod trackers;

/// A directory of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-counters-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CELLS: Schema = Schema {
    name: "cell",
    help: "A row of the test.",
    fields: &[
        Field::counter("count_total", "things", "Counts."),
        Field::text("label", 20, "Says."),
        Field::histogram("time", "ns", "Takes."),
        Field::gauge("level", "", "Moves."),
    ],
};

#[test]
fn what_is_counted_is_read_by_name_with_its_kind_and_unit() {
    let folder = Folder::new("read");
    let counters = Counters::create(&folder.0).unwrap();
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    assert!(reader.table("cell").is_none());
    let table = counters.table(&CELLS, 3);
    let row = table.row(1);
    row.number("count_total").add(3);
    row.number("count_total").add(4);
    row.number("level").set(u64::MAX);
    row.text("label").set("a text that is too long for its room");
    for value in 1..=100 {
        row.histogram("time").record(value * 1000);
    }
    let mut reader = reader;
    reader.look_for_tables().unwrap();
    let read = reader.table("cell").unwrap();
    assert_eq!((read.rows(), read.live_rows().count()), (3, 0), "it is not shown yet");
    row.show();
    assert_eq!(read.live_rows().collect::<Vec<_>>(), [1]);
    assert_eq!(read.number(1, "count_total"), Some(7));
    assert_eq!(read.number(1, "level"), Some(u64::MAX));
    // Words are filled: 20 bytes take three.
    assert_eq!(read.text(1, "label").as_deref(), Some("a text that is too long "));
    let times = read.distribution(1, "time").unwrap();
    assert_eq!((times.count(), times.sum(), times.max()), (100, 5_050_000, 100_000));
    let median = times.quantile(0.5).unwrap();
    assert!((50_000..54_000).contains(&median), "{median}");
    let field = &read.fields()[2];
    assert_eq!((field.name.as_str(), field.kind, field.unit.as_str()), ("time", Kind::Histogram, "ns"));
    assert_eq!((read.help(), field.help.as_str()), ("A row of the test.", "Takes."));
    assert_eq!(read.number(1, "label"), None, "it is no number");
    assert_eq!(read.number(3, "level"), None, "there is no such row");
    row.hide();
    assert!(!read.is_live(1));
    assert_eq!(read.number(1, "count_total"), Some(0));
}

#[test]
fn a_table_that_is_there_is_given_again_and_another_of_its_name_is_not_seen() {
    let folder = Folder::new("again");
    let counters = Counters::create(&folder.0).unwrap();
    counters.table(&CELLS, 2).row(0).number("level").set(5);
    assert_eq!(counters.table(&CELLS, 2).row(0).number("level").get(), 5);
    assert_eq!(counters.table(&CELLS, 4).row(0).number("level").get(), 0, "another");
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    let errors = reader.table("error").unwrap();
    assert_eq!(errors.text(0, "message").as_deref(), Some("counters: there is another table cell"));
    for _ in 0..40 {
        drop(counters.table(&CELLS, 5));
    }
    assert_eq!(errors.number(0, "count_total"), Some(41));
}

#[test]
fn facts_errors_and_events_are_kept_within_their_room() {
    let folder = Folder::new("diary");
    let counters = Counters::create(&folder.0).unwrap();
    counters.set_fact("node", "web-1");
    counters.set_fact("node", "web-2");
    for number in 0..100 {
        counters.count_error(&format!("error {number}"), 2);
        counters.count_error("error 0", 1);
    }
    for number in 0..300 {
        counters.note_event(&format!("event {number}"));
    }
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    assert_eq!(reader.fact("node").as_deref(), Some("web-2"));
    assert_eq!(reader.fact("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let errors = reader.table("error").unwrap();
    assert_eq!(errors.live_rows().count(), 64);
    let total: u64 = errors.live_rows().filter_map(|row| errors.number(row, "count_total")).sum();
    assert_eq!((total, errors.number(0, "count_total")), (300, Some(102)));
    let events = reader.table("event").unwrap();
    let mut numbers: Vec<u64> = events.live_rows().filter_map(|row| events.number(row, "number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (173..=300).collect::<Vec<_>>());
}

#[test]
fn a_file_is_its_owners_alone_and_goes_with_the_counters() {
    let folder = Folder::new("own");
    let counters = Counters::create(&folder.0).unwrap();
    let path = counters.path().unwrap().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.life(), reader.pid()), (Life::Running, std::process::id()));
    let other = Counters::create(&folder.0).unwrap();
    assert_eq!(find(&folder.0).unwrap().len(), 2);
    drop(other);
    drop(counters.clone());
    assert_eq!(find(&folder.0).unwrap().len(), 1);
    let row = counters.table(&CELLS, 1).row(0);
    drop(counters);
    assert_eq!((reader.life(), folder.names()), (Life::Ended, Vec::<String>::new()));
    // What still counts, counts.
    row.number("level").add(1);
    assert!(matches!(Reader::open(&path), Err(ReadError::NotFound { .. })));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let refused = Counters::create("/nowhere/at/all").unwrap_err().to_string();
    assert!(refused.starts_with("counters file /nowhere/at/all/headcount."), "{refused}");
}

/// A file as a killed process leaves it: without its lock, and with an old beat.
fn orphan(folder: &Folder, name: &str, change: impl Fn(&File)) -> PathBuf {
    let counters = Counters::create(&folder.0).unwrap();
    drop(counters.table(&CELLS, 2));
    let path = folder.0.join(name);
    fs::copy(counters.path().unwrap(), &path).unwrap();
    change(&File::options().write(true).open(&path).unwrap());
    path
}

fn set(file: &File, at: usize, value: u64) {
    file.write_all_at(&value.to_ne_bytes(), at as u64 * 8).unwrap();
}

#[test]
fn what_a_dead_process_left_is_told_from_the_living_and_removed_after_a_while() {
    let folder = Folder::new("dead");
    let fresh = orphan(&folder, "headcount.1.0", |_| ());
    let old = orphan(&folder, "headcount.2.0", |file| set(file, word::BEAT, 1));
    let strange = folder.0.join("headcount.3.0");
    fs::write(&strange, "not one of ours").unwrap();
    assert!(matches!(Reader::open(&fresh).unwrap().life(), Life::Dead(_)));
    let counters = Counters::create(&folder.0).unwrap();
    let uptime = super::file::monotonic() / 1_000_000_000;
    assert_eq!(old.exists(), uptime < KEPT_SECS, "a machine that has just started has no old beats");
    assert!(fresh.exists() && strange.exists());
    assert!(counters.path().unwrap().exists());
}

#[test]
fn what_is_no_counters_file_or_of_another_version_or_damaged_is_said_to_be() {
    let folder = Folder::new("strange");
    let error = |path: &PathBuf| Reader::open(path).unwrap_err().to_string();
    let short = folder.0.join("headcount.1.0");
    fs::write(&short, "short").unwrap();
    assert!(error(&short).ends_with("is not a counters file of headcount"));
    assert!(error(&folder.0).ends_with("is not a counters file of headcount"));
    let other = orphan(&folder, "headcount.2.0", |file| set(file, word::MAGIC, 7));
    assert!(error(&other).ends_with("is not a counters file of headcount"));
    let later = orphan(&folder, "headcount.3.0", |file| set(file, word::VERSION, 2 << 32));
    assert!(error(&later).contains("has layout 2, this program reads 1"));
    // A later minor version is read.
    let minor = orphan(&folder, "headcount.4.0", |file| set(file, word::VERSION, 1 << 32 | 9));
    assert!(Reader::open(minor).is_ok());
    let table = word::DIRECTORY + TABLE_WORDS;
    for (words, value) in
        [(20, u64::MAX), (20, 8), (21, 1 << 40), (22, 1 << 50), (23, 1 << 60), (24, u64::MAX / 2)]
    {
        let path = orphan(&folder, "headcount.5.0", |file| set(file, table + words, value));
        assert!(error(&path).contains("is damaged: table 1 cannot be"), "word {words}: {}", error(&path));
    }
    let cut = orphan(&folder, "headcount.6.0", |file| file.set_len(HEADER_BYTES as u64).unwrap());
    assert!(error(&cut).contains("is damaged"));
    assert_eq!(find(&folder.0).unwrap().len(), 6);
}

#[test]
fn fields_of_kinds_that_are_not_known_are_left_out() {
    let folder = Folder::new("kinds");
    let reader_of = |kind: u64| {
        let path = orphan(&folder, "headcount.1.0", |file| {
            // The first field of the table that was added last, in its last words.
            let header = fs::read(folder.0.join("headcount.1.0")).unwrap();
            let at = |word: usize| u64::from_ne_bytes(header[word * 8..][..8].try_into().unwrap());
            let tables = at(word::TABLES) as usize;
            let first = at(word::DIRECTORY + (tables - 1) * TABLE_WORDS + 20) as usize / 8;
            set(file, first + 24, kind);
        });
        Reader::open(path).unwrap()
    };
    assert_eq!(reader_of(1).table("cell").unwrap().fields().len(), 4);
    let later = reader_of(9);
    let names: Vec<&str> = later.table("cell").unwrap().fields().iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["label", "time", "level"]);
}

/// The thread beats: a reader that watches sees it do so.
#[test]
fn a_living_process_beats() {
    let folder = Folder::new("beat");
    let counters = Counters::create(&folder.0).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let mut left = 2;
    counters.every_second(move || {
        left -= 1;
        tell.send(()).unwrap();
        left > 0
    });
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    told.recv().unwrap();
    assert_eq!(reader.life(), Life::Running);
    told.recv().unwrap();
    assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError), "it said that it is done");
}
