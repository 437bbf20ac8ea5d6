//! `headcount top` inside a real terminal (tmux): what its screen shows, and that the terminal is left as it was found.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::{Folder, Person, Site, headcount, program, signal, stderr, until};

/// A terminal in which a shell runs the program, between two notes of the terminal's settings.
struct Terminal {
    socket: String,
    /// For what the shell notes.
    notes: Folder,
}

impl Terminal {
    /// `None`, with a word about it, if there is no tmux.
    #[expect(
        clippy::print_stderr,
        reason = "whoever reads the test's output wants to know that nothing was tested"
    )]
    fn with(args: &[&str], size: (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: there is no tmux to test a terminal with");
            return None;
        }
        static TERMINALS: AtomicU32 = AtomicU32::new(0);
        let number = TERMINALS.fetch_add(1, Ordering::Relaxed);
        let socket = format!("headcount-{}-{number}", std::process::id());
        let notes = Folder::new(&format!("terminal-{number}"));
        let script = format!(
            "cd '{}'; echo before; stty -g > found; sh -c 'echo $$ > pid; exec \"$@\"' sh '{}' top {}; \
             echo \"status $?\"; stty -g > left; exec cat",
            notes.name(),
            program().display(),
            args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" "),
        );
        let terminal = Self { socket, notes };
        let (cols, rows) = (size.0.to_string(), size.1.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "test",
            "-x",
            &cols,
            "-y",
            &rows,
            "sh",
            "-c",
            &script,
        ]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-L", &self.socket])
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("tmux runs");
        assert!(output.status.success(), "tmux {args:?}: {}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "test"])
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "test"], keys].concat());
    }

    /// Waits until the screen is right.
    fn until(&self, what: &str, so: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let limit = Instant::now() + support::PATIENCE;
        while Instant::now() < limit {
            screen = self.screen();
            if so(&screen) {
                return screen;
            }
            std::thread::yield_now();
        }
        panic!("waited in vain for {what}; the screen is\n{screen}")
    }

    fn shows(&self, part: &str) -> String {
        self.until(part, |screen| screen.contains(part))
    }

    fn pid(&self) -> u32 {
        fs::read_to_string(self.notes.path.join("pid"))
            .expect("the shell noted it")
            .trim()
            .parse()
            .expect("a number")
    }

    /// That the program has ended so, and has left nothing behind: no other screen, no hidden cursor, no settings.
    fn is_as_it_was(&self, status: i32) {
        let note = format!("status {status}");
        let screen = self.shows(&note);
        assert!(screen.starts_with("before\n"), "{screen}");
        assert!(!screen.contains("q quit"), "{screen}");
        let note = |name: &str| fs::read_to_string(self.notes.path.join(name)).unwrap_or_default();
        until("the shell to note the settings", || !note("left").is_empty());
        assert_eq!(note("found"), note("left"));
        assert_eq!(
            self.tmux(&["display-message", "-p", "-t", "test", "#{alternate_on} #{cursor_flag}"]),
            "0 1\n"
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

#[test]
fn the_screen_shows_what_a_node_does_and_obeys_its_keys() {
    let (site, folder) = (Site::new(), Folder::new("top"));
    let nodes = ["web-1", "web-2"].map(|name| folder.node(&site, name));
    let Some(terminal) =
        Terminal::with(&["--dir", folder.name(), "--process", "web-1", "--every", "0.2"], (120, 40))
    else {
        return;
    };
    let head = format!("web-1 of cluster {}, pid {}: running for ", site.cluster, nodes[0].id());
    let parts = [
        "1 nodes",
        "2 rates",
        "3 times",
        "4 hottest topics",
        "5 shards",
        "6 largest topics",
        "7 errors",
        "q quit",
    ];
    terminal.until("all of the screen", |screen| {
        screen.contains(&head) && parts.iter().all(|part| screen.contains(part))
    });
    // What clients do is seen.
    let (alice, joined) = (RefCell::new(Person::of(&nodes[0])), Cell::new(0));
    terminal.until("the topic that is busy", |screen| {
        for _ in 0..50 {
            joined.set(joined.get() + 1);
            alice.borrow_mut().ok(&format!("JOIN lobby k{}", joined.get()));
        }
        screen.contains("members  lobby") && !screen.contains("changes here                0")
    });
    terminal.shows("1 client ");

    terminal.press(&["?"]);
    terminal.shows("any key closes it");
    terminal.press(&["x"]);
    terminal.until("the help to go", |screen| !screen.contains("any key closes it"));
    terminal.press(&["4", "s"]);
    terminal.shows("4 hottest topics, by members");
    terminal.press(&["Enter"]);
    terminal.until("one pane alone", |screen| screen.contains("4 hottest") && !screen.contains("5 shards"));
    terminal.press(&["Enter", "Right"]);
    terminal.shows(&format!("web-2 of cluster {}, pid {}: running", site.cluster, nodes[1].id()));
    terminal.press(&["Left"]);
    terminal.shows(&head);

    // A smaller terminal, down to next to nothing, and back.
    for (cols, rows) in [("60", "15"), ("10", "3"), ("1", "1"), ("200", "50")] {
        terminal.tmux(&["resize-window", "-t", "test", "-x", cols, "-y", rows]);
        if rows == "15" {
            terminal.until("one pane", |screen| screen.contains("4 hottest") && !screen.contains("5 shards"));
        }
    }
    terminal.until("all panes", |screen| screen.contains("4 hottest") && screen.contains("5 shards"));
    terminal.tmux(&["resize-window", "-t", "test", "-x", "120", "-y", "40"]);
    terminal.press(&["q"]);
    terminal.is_as_it_was(0);
}

#[test]
fn a_killed_process_is_said_at_the_top_within_two_seconds() {
    let (site, folder) = (Site::new(), Folder::new("top-killed"));
    let mut node = folder.node(&site, "web-1");
    // However rarely it looks.
    let Some(terminal) = Terminal::with(&["--dir", folder.name(), "--every", "600"], (100, 30)) else {
        return;
    };
    terminal.shows(": running for ");
    let killed = Instant::now();
    node.kill().expect("it is a child");
    let screen = terminal.shows("is dead: killed or crashed");
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    let first = screen.lines().next().unwrap_or_default();
    assert!(first.starts_with("web-1 of cluster ") && first.contains("is dead"), "{screen}");
    terminal.press(&["Escape"]);
    terminal.is_as_it_was(0);
}

#[test]
fn a_stopped_process_is_said_and_signals_restore_the_terminal() {
    let (site, folder) = (Site::new(), Folder::new("top-stopped"));
    let node = folder.node(&site, "web-1");
    let args = ["--dir", folder.name(), "--every", "0.2"];
    let Some(terminal) = Terminal::with(&args, (100, 30)) else { return };
    terminal.shows(": running for ");
    signal(node.id(), "-STOP");
    terminal.shows("is silent for ");
    signal(node.id(), "-CONT");
    terminal.shows(": running for ");
    signal(terminal.pid(), "-TERM");
    terminal.is_as_it_was(130);

    for name in ["-QUIT", "-HUP", "-INT"] {
        let Some(terminal) = Terminal::with(&args, (100, 30)) else { return };
        terminal.shows(": running for ");
        signal(terminal.pid(), name);
        terminal.is_as_it_was(130);
    }

    let Some(terminal) = Terminal::with(&args, (100, 30)) else { return };
    terminal.shows(": running for ");
    terminal.press(&["C-c"]);
    terminal.is_as_it_was(0);
}

#[test]
fn a_terminal_that_goes_away_takes_it_along() {
    let (site, folder) = (Site::new(), Folder::new("top-gone"));
    let _node = folder.node(&site, "web-1");
    let Some(terminal) = Terminal::with(&["--dir", folder.name()], (100, 30)) else { return };
    terminal.shows(": running for ");
    let process = format!("/proc/{}/stat", terminal.pid());
    drop(terminal);
    // Ended is ended, though nobody may have asked how.
    until("the program to end", || fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn a_file_of_another_version_or_another_user_is_refused_with_a_status_of_its_own() {
    let (site, folder) = (Site::new(), Folder::new("top-strange"));
    let node = folder.node(&site, "web-1");
    let file = folder.path.join(format!("headcount.{}.0", node.id()));
    let strange = Folder::new("top-foreign");
    let copy = strange.path.join("headcount.4000001.0");
    fs::copy(&file, &copy).expect("a copy");
    let version = (9_u64 << 32).to_ne_bytes();
    fs::File::options()
        .write(true)
        .open(&copy)
        .and_then(|copy| copy.write_all_at(&version, 8))
        .expect("written");
    for more in [&["--process", "4000001"][..], &[]] {
        let output = headcount(&[&["top", "--dir", strange.name()], more].concat());
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(stderr(&output).contains(" has layout 9, this program reads 1: "), "{}", stderr(&output));
    }

    let is_root =
        String::from_utf8_lossy(&Command::new("id").arg("-u").output().expect("id").stdout).trim() == "0";
    let mut command = Command::new(program());
    if is_root {
        // Where everybody can run it, and by a process of its own: a child that another test starts at this moment would keep the copy open.
        let copy = folder.path.join("program");
        assert!(Command::new("cp").arg(program()).arg(&copy).status().expect("there is cp").success());
        command = Command::new(copy);
        command.uid(65534).gid(65534);
    } else {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("it is this user's");
    }
    let output = command.args(["top", "--dir", folder.name()]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("it is another user's; run this as that user"), "{}", stderr(&output));
}

#[test]
fn without_a_terminal_or_a_process_it_says_so() {
    let (site, folder) = (Site::new(), Folder::new("top-none"));
    let output = headcount(&["top", "--dir", folder.name()]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: nothing runs that keeps counters in "),
        "{}",
        stderr(&output)
    );

    let _node = folder.node(&site, "web-1");
    let output = headcount(&["top", "--dir", folder.name()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: top needs a terminal"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());

    let picture = folder.path.join("top.svg");
    let name = picture.display().to_string();
    let args = ["top", "--dir", folder.name(), "--every", "0.1", "--svg", &name];
    let output = headcount(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let svg = fs::read_to_string(&picture).expect("a picture");
    assert!(
        svg.starts_with("<svg ") && svg.contains("web-1 of cluster") && svg.contains("hottest topics"),
        "{svg}"
    );
    let output = headcount(&[&args[..], &["--size", "1x1"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).starts_with("error: invalid value '1x1' for '--size <COLSxROWS>': write columns"),
        "{}",
        stderr(&output)
    );
}
