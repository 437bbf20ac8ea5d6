//! `headcount top`: what a process does, live, on the whole screen of a terminal.

mod draw;
mod hot;
mod picture;
mod process;
mod svg;
#[cfg(test)]
mod tests;
mod view;

use crate::error::{Error, INTERRUPTED};
use crate::inspect::choose::{Where, is_alive, unseen};
use crate::stat::seconds;
use headcount::counters::{Found, Reader};
use picture::Picture;
use process::Process;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::SIGQUIT;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use view::{View, Wish};

/// After a signal to stop, the program ends in this time, whatever it waits for.
const STOP_MAX: Duration = Duration::from_secs(1);
/// How long it waits for a key before it looks again at the clock, and at who lives.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// How often the directory is searched for processes that have started.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Looks that a picture in a file is made of.
const SVG_LOOKS: usize = 12;

/// See what a process does, live, on the whole screen
///
/// Nodes, rates, times, the hottest and the largest topics, shards, errors and events. It reads the counters file that the process keeps in memory,
/// which costs the process nothing. ? in it tells the keys.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,

    /// Seconds between two looks
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds)]
    every: Duration,

    /// Write one picture to a file, as SVG, after a few looks, and end
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// The size of that picture, in characters
    #[arg(long, value_name = "COLSxROWS", default_value = "120x36", value_parser = svg::size, requires = "svg")]
    size: (u16, u16),
}

const AFTER_HELP: &str = "\
Exit status: 0 it was left with a key, or has written its picture; 1 there is no terminal, or it cannot be drawn on; 2 the command line is
wrong; 3 nothing runs, or not that process; 6 its file is of another version, damaged, or none of headcount's; 7 its file is another
user's; 130 it was ended by a signal. A process that is killed meanwhile is shown as dead, and headcount stat ends with a status for it.";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut processes = Processes::find(&args.place)?;
    if let Some(path) = &args.svg {
        for _ in 0..SVG_LOOKS {
            thread::sleep(args.every);
            processes.look();
        }
        let text = svg::draw(&processes.picture(&View::default()), &View::default(), args.size);
        return match std::fs::write(path, text) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(Error::option("--svg", path.display(), error.to_string())),
        };
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::Unseen {
            problem: "top needs a terminal, and standard input or output is none; headcount stat --watch writes lines, top --svg FILE \
                      a picture"
                .into(),
            status: 1,
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let stopped = move || {
        // Relaxed: the flag carries nothing but itself.
        flag.store(true, Ordering::Relaxed);
        // Waiting for a key of a terminal that is gone does not end by itself.
        thread::sleep(STOP_MAX);
        let _ = ratatui::try_restore();
        std::process::exit(i32::from(INTERRUPTED));
    };
    ctrlc::set_handler(stopped).map_err(|error| Error::Cluster(format!("cannot handle signals: {error}")))?;
    // Which the handler is not for.
    signal_hook::flag::register(SIGQUIT, Arc::clone(&stop))
        .map_err(Error::system("cannot handle SIGQUIT"))?;
    let terminal = ratatui::try_init().map_err(|source| {
        ratatui::restore();
        Error::System { what: "cannot draw on this terminal", source }
    })?;
    let screen = Screen { terminal };
    screen.show(processes, args, &stop).map_err(Error::system("cannot draw on this terminal"))?;
    // Relaxed: as above.
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(ExitCode::SUCCESS) }
}

/// The terminal, given back as it was when this is dropped. At a panic ratatui's hook has done that before the message was written, and doing it
/// again would move the cursor back over it.
#[derive(Debug)]
struct Screen {
    terminal: DefaultTerminal,
}

impl Drop for Screen {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        // Who made it go away knows.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

impl Screen {
    fn show(mut self, mut processes: Processes, args: &Args, stop: &AtomicBool) -> io::Result<()> {
        let mut view = View::default();
        let mut look_at = Instant::now() + args.every;
        let mut search_at = Instant::now() + SEARCH_EVERY;
        let mut levels = processes.levels();
        let mut draw = true;
        // Relaxed: the flag carries nothing but itself.
        while !stop.load(Ordering::Relaxed) {
            if draw {
                let picture = processes.picture(&view);
                self.terminal.draw(|frame| draw::draw(frame, &picture, &view))?;
                draw = false;
            }
            if event::poll(KEY_WAIT.min(look_at.saturating_duration_since(Instant::now())))? {
                draw = true;
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => match view.key(key) {
                        Wish::Quit => return Ok(()),
                        Wish::NextProcess => processes.turn(1),
                        Wish::LastProcess => processes.turn(-1),
                        Wish::None => {}
                    },
                    // A new size too: drawing finds it out.
                    _ => {}
                }
            }
            let now = Instant::now();
            if search_at <= now {
                search_at = now + SEARCH_EVERY;
                processes.add_new(&args.place);
            }
            if look_at <= now {
                look_at = now + args.every;
                processes.look();
                draw = true;
            }
            // Who is gone is gone at once, however long the time between two looks.
            let present = processes.levels();
            draw |= present != levels;
            levels = present;
        }
        Ok(())
    }
}

/// The processes that can be switched between.
#[derive(Debug)]
struct Processes {
    all: Vec<Process>,
    shown: usize,
}

impl Processes {
    fn find(place: &Where) -> Result<Self, Error> {
        let chosen = match place.wanted() {
            Some(_) => Some(place.chosen()?.path().display().to_string()),
            None => None,
        };
        let mut refused = None;
        let mut all = Vec::new();
        for Found { reader, .. } in place.find()? {
            match reader {
                Ok(reader) => all.push(Process::new(reader)),
                Err(error) => refused = Some(unseen(&error)),
            }
        }
        let shown = match &chosen {
            Some(file) => all.iter().position(|process| process.file() == file),
            None => all.iter().position(|process| is_alive(process.life())),
        };
        match (all.is_empty(), refused) {
            (true, Some(refused)) => Err(refused),
            (true, None) => Err(place.nothing()),
            _ => Ok(Self { all, shown: shown.unwrap_or(0) }),
        }
    }

    /// Adds what has started since.
    fn add_new(&mut self, place: &Where) {
        // What cannot be read just now has no new ones.
        let readers = place.find().unwrap_or_default().into_iter().filter_map(|found| found.reader.ok());
        let is_new = |reader: &Reader| {
            !self.all.iter().any(|known| known.file() == reader.path().display().to_string())
        };
        let new: Vec<Process> = readers.filter(is_new).map(Process::new).collect();
        self.all.extend(new);
    }

    fn look(&mut self) {
        self.all.iter_mut().for_each(Process::look);
    }

    fn levels(&self) -> Vec<picture::Level> {
        self.all.iter().map(Process::level).collect()
    }

    fn turn(&mut self, by: isize) {
        let count = self.all.len().max(1);
        self.shown = (self.shown + count).saturating_add_signed(by) % count;
    }

    fn picture(&self, view: &View) -> Picture {
        let mut picture = self.all.get(self.shown).map_or_else(Picture::default, Process::picture);
        picture.processes = self.all.iter().map(|process| (process.name(), process.level())).collect();
        picture.shown = self.shown;
        view.sort(&mut picture);
        picture
    }
}
