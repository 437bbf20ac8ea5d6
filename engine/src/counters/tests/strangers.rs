//! What others put into the directory: what is no file, other users' files, damaged ones, and names that are taken.

use super::super::file::lock;
use super::super::format::{FIELD_WORDS, HEADER_BYTES, TABLE_WORDS, word};
use super::*;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

/// Somebody who is neither root nor whoever runs the test.
const NOBODY: u32 = 65_534;

/// Runs what may hang, and says so if it does.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let runs = std::thread::spawn(move || {
        // Who is told has given up if it is gone.
        let _ = tell.send(run());
    });
    let result = told.recv_timeout(Duration::from_secs(20));
    if let Err(mpsc::RecvTimeoutError::Disconnected) = result {
        runs.join().unwrap();
    }
    result.unwrap_or_else(|_| panic!("{what} hangs"))
}

#[test]
fn a_fifo_a_link_and_a_directory_are_no_counters_and_keep_nobody() {
    let folder = Folder::new("fifo");
    let counters = Counters::create(&folder.0).unwrap();
    let fifo = folder.0.join("headcount.1.0");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = folder.0.join("headcount.2.0");
    symlink(counters.path().unwrap(), &link).unwrap();
    fs::create_dir(folder.0.join("headcount.3.0")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(folder.0.join("headcount.4.0")).unwrap();
    let dir = folder.0.clone();
    let other = in_time("making a file beside a FIFO", move || Counters::create(dir).unwrap());
    drop(other);
    let dir = folder.0.clone();
    let found = in_time("looking for files beside a FIFO", move || find(dir).unwrap());
    let strange = |found: &&Found| matches!(found.reader, Err(ReadError::NotCounters { .. }));
    let strange: Vec<u32> = found.iter().filter(strange).map(|found| found.pid).collect();
    assert_eq!(strange, [1, 2, 3, 4]);
    assert_eq!(found.iter().filter(|found| found.reader.is_ok()).count(), 1);
}

/// Runs this on a thread of another effective user. False if this process may not do that.
#[cfg(target_os = "linux")]
fn as_user(uid: u32, run: impl FnOnce() + Send) -> bool {
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| {
            // SAFETY: the system call takes numbers only, and changes the users of this thread, which ends after this.
            let refused = unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, uid, u32::MAX) };
            if refused == 0 {
                run();
            }
            refused == 0
        });
        runs.join().expect("it passes")
    })
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_read_of_the_same_user_and_of_root_and_root_reads_all() {
    let folder = Folder::new("users");
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give files away, or become another user.
        return;
    }
    let file = |name: &str, uid: u32| {
        let path = orphan(&folder, name, |_| ());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        chown(&path, Some(uid), None).unwrap();
        path
    };
    let [of_root, of_nobody, of_other] =
        [("headcount.1.0", 0), ("headcount.2.0", NOBODY), ("headcount.3.0", 4_711)]
            .map(|(name, uid)| file(name, uid));
    assert!([&of_root, &of_nobody, &of_other].iter().all(|path| Reader::open(path).is_ok()));
    let looked = as_user(NOBODY, || {
        assert!(Reader::open(&of_root).is_ok() && Reader::open(&of_nobody).is_ok());
        let refused = Reader::open(&of_other).unwrap_err();
        assert!(matches!(refused, ReadError::OtherUser { uid: 4_711, .. }), "{refused}");
        assert!(refused.to_string().contains("is of the user 4711"), "{refused}");
    });
    assert!(looked, "root can become anybody");
}

#[test]
fn files_that_were_never_finished_and_old_ones_are_removed_unless_somebody_has_them() {
    let folder = Folder::new("unfinished");
    let ages_ago = SystemTime::now() - Duration::from_secs(KEPT_SECS + 60);
    let make = |name: &str, age: Option<SystemTime>| {
        let path = folder.0.join(name);
        let file = File::create_new(&path).unwrap();
        age.inspect(|&at| file.set_modified(at).unwrap());
        (path, file)
    };
    let (old, _) = make("headcount.1.0.new", Some(ages_ago));
    let (fresh, _) = make("headcount.1.1.new", None);
    let (held, holder) = make("headcount.1.2.new", Some(ages_ago));
    lock(&holder).unwrap();
    let (other, _) = make("headcount.1.x.new", Some(ages_ago));
    let foreign = rustix::process::geteuid().is_root().then(|| {
        let (path, _) = make("headcount.1.3.new", Some(ages_ago));
        chown(&path, Some(NOBODY), None).unwrap();
        path
    });
    let _counters = Counters::create(&folder.0).unwrap();
    assert!(!old.exists());
    assert!(fresh.exists() && held.exists() && other.exists());
    assert!(foreign.is_none_or(|path| path.exists()), "another user's is left alone");
}

/// The names that this process would take next, taken by files which are as those of a process of the same number in another namespace.
fn take_names(folder: &Folder, after: &str, is_alive: bool) -> Vec<(PathBuf, File)> {
    let number: u64 = after.rsplit('.').next().unwrap().parse().unwrap();
    // Other tests take numbers meanwhile.
    let names = (number + 1..number + 200).map(|n| format!("headcount.{}.{n}", std::process::id()));
    let taken = names.map(|name| {
        let path = folder.0.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        if is_alive {
            lock(&file).unwrap();
        }
        (path, file)
    });
    taken.collect()
}

#[test]
fn a_name_that_a_living_process_has_is_left_to_it_and_a_dead_ones_is_taken() {
    let folder = Folder::new("names");
    let first = Counters::create(&folder.0).unwrap();
    let name = first.path().unwrap().to_str().unwrap().to_owned();
    let theirs = take_names(&folder, &name, true);
    let inode = |path: &PathBuf| fs::metadata(path).unwrap().ino();
    let before: Vec<u64> = theirs.iter().map(|(path, _)| inode(path)).collect();
    let second = Counters::create(&folder.0).unwrap();
    let mine = second.path().unwrap().to_owned();
    assert!(theirs.iter().all(|(path, _)| *path != mine));
    assert!(Reader::open(&mine).is_ok());
    drop(second);
    assert!(!mine.exists());
    let after: Vec<u64> = theirs.iter().map(|(path, _)| inode(path)).collect();
    assert_eq!(before, after, "all that live have their files still");
    assert!(folder.names().iter().all(|name| !name.ends_with(".new")), "{:?}", folder.names());

    // Of dead ones, the next name is taken.
    let name = mine.to_str().unwrap();
    let dead = take_names(&folder, name, false);
    let third = Counters::create(&folder.0).unwrap();
    let mine = third.path().unwrap().to_owned();
    assert!(dead.iter().any(|(path, _)| *path == mine), "{}", mine.display());
    assert_eq!(Reader::open(&mine).unwrap().life(), Life::Running);
    drop(third);
    assert!(!mine.exists());
}

#[test]
fn what_has_taken_the_place_of_a_file_is_left_there() {
    let folder = Folder::new("place");
    let counters = Counters::create(&folder.0).unwrap();
    let path = counters.path().unwrap().to_owned();
    let other = folder.0.join("other");
    fs::write(&other, "another's").unwrap();
    fs::rename(&other, &path).unwrap();
    drop(counters);
    assert_eq!(fs::read(&path).unwrap(), b"another's");
}

/// Everything that can be asked of a reader.
fn look_at_all(reader: &mut Reader) {
    let _ = (reader.life(), reader.pid(), reader.created(), reader.fact("node"), reader.look_for_tables());
    for table in reader.tables() {
        let live: Vec<usize> = table.live_rows().collect();
        for row in live.into_iter().take(4).chain([0, table.rows(), usize::MAX]) {
            for field in table.fields() {
                let _ = (table.number(row, &field.name), table.text(row, &field.name));
                if let Some(times) = table.distribution(row, &field.name) {
                    let _ = (times.count(), times.quantile(0.99), times.since(&times).max());
                    let _ = times.since(&Distribution::default()).max();
                    times.buckets().for_each(drop);
                }
            }
        }
    }
}

/// Whatever a word of a file is, it is read, or the file is said to be damaged.
#[test]
fn no_word_of_a_file_makes_its_reader_panic_or_go_on_for_ever() {
    let folder = Folder::new("words");
    let path = {
        let counters = Counters::create(&folder.0).unwrap();
        let row = counters.table(&CELLS, 2).row(0);
        row.histogram("time").record(1 << 35);
        row.text("label").set("here");
        row.show();
        counters.set_fact("node", "a");
        let path = folder.0.join("headcount.1.0");
        fs::copy(counters.path().unwrap(), &path).unwrap();
        path
    };
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let at = move |word: usize| u64::from_ne_bytes(bytes[word * 8..][..8].try_into().unwrap());
    let tables = at(word::TABLES) as usize;
    let mut words: Vec<usize> = (0..word::DIRECTORY).collect();
    words.extend(word::DIRECTORY..(word::DIRECTORY + (tables + 1) * TABLE_WORDS).min(HEADER_BYTES / 8));
    for table in 0..tables {
        let record = word::DIRECTORY + table * TABLE_WORDS;
        let (first, fields, row_words) = (at(record + 20) / 8, at(record + 22), at(record + 24));
        let end = first as usize + fields as usize * FIELD_WORDS + row_words.min(300) as usize;
        words.extend(first as usize..end);
    }
    // Alive and dead ones are asked for different things.
    let holder = File::open(&path).unwrap();
    let mut opened = 0;
    in_time("reading a damaged file", move || {
        for is_alive in [true, false] {
            if is_alive {
                lock(&holder).unwrap();
            } else {
                rustix::fs::flock(&holder, rustix::fs::FlockOperation::Unlock).unwrap();
            }
            for &word in &words {
                for value in [0, 1, 63, 1 << 12, 1 << 32, 1 << 62, u64::MAX / 2, u64::MAX] {
                    set(&file, word, value);
                    match Reader::open(&path) {
                        Ok(mut reader) => {
                            opened += 1;
                            look_at_all(&mut reader);
                        }
                        Err(
                            ReadError::Damaged { .. }
                            | ReadError::NotCounters { .. }
                            | ReadError::Version { .. },
                        ) => (),
                        Err(error) => panic!("word {word} as {value}: {error}"),
                    }
                }
                set(&file, word, at(word));
            }
        }
        assert!(opened > words.len(), "most of the words are read as they are");
    });
}
