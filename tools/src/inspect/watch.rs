//! `headcount watch`: the changes of a topic as they come.

use super::link::{Link, Lost};
use super::lookup::{self, Options};
use super::table::shown;
use super::{Name, NameParser, print, print_json, status};
use crate::error::Error;
use crate::number::counted;
use crate::ui;
use headcount_net::admin::{Change, Request, Row, Text};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often Ctrl-C is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process says something twice a second.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Show the changes of a topic of a running process, from now on, until Ctrl-C
///
/// A line each: join, update, leave, first (the topic has its first entry), empty (it has lost its last one), lagged (this program did not read
/// fast enough, and so many changes are not shown). If the process ends, that is said at once; if it stands still, within two seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help("0 until Ctrl-C; 1 it could not be written", "; 3 and 4 as well if it has ended, or was killed, meanwhile"))]
pub(crate) struct Args {
    /// The topic
    #[arg(value_parser = NameParser)]
    topic: Name,

    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // Relaxed: the flag carries nothing but itself.
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Error::Inspect(format!("cannot handle Ctrl-C: {error}")))?;
    let topic = Text::from(&args.topic.0[..]);
    link.ask(&Request::Watch { topic: topic.clone() }).map_err(|lost| lost.at(link.path()))?;
    let started = Instant::now();
    let (mut heard, mut begun, mut silent) = (Instant::now(), false, false);
    while !interrupted.load(Ordering::Relaxed) {
        let row = match link.row(LOOK_EVERY) {
            Ok(row) => row,
            Err(Lost::Silent) => {
                if !silent && heard.elapsed() >= SILENCE {
                    silent = true;
                    ui::note(&format!(
                        "nothing was heard of {} for {SILENCE:?}: it may be stopped",
                        process(&link)
                    ));
                }
                continue;
            }
            Err(Lost::Closed) => return Err(ended(&link)),
            Err(lost) => return Err(lost.at(link.path())),
        };
        heard = Instant::now();
        if std::mem::take(&mut silent) {
            ui::note(&format!("{} is heard again", process(&link)));
        }
        if !std::mem::replace(&mut begun, true) {
            ui::note(&format!("watching {} in {}; Ctrl-C ends it", shown(&topic), process(&link)));
        }
        match &row {
            Row::Alive => {}
            Row::End { .. } => {
                let problem = format!("the tracker of {} was shut down", process(&link));
                return Err(Error::Unseen { problem, status: status::NOTHING });
            }
            row if args.options.json => print_json(row)?,
            row => print(&format!("{:9.3} s  {}\n", started.elapsed().as_secs_f64(), line(row)))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn process(link: &Link) -> String {
    match link.hello.node.as_str() {
        "" => format!("process {}", link.hello.pid),
        node => format!("{node} (process {})", link.hello.pid),
    }
}

/// Why a watch has ended that nobody wanted to end.
fn ended(link: &Link) -> Error {
    let process = process(link);
    let (problem, status) = match Link::open(link.path()) {
        Ok(again) if again.hello.pid == link.hello.pid => (
            format!(
                "{process} has ended this watch: nothing was read from it for too long, or it has closed its socket"
            ),
            status::SILENT,
        ),
        // Who ends in order takes its socket along.
        Err(Lost::Missing) => (format!("{process} has ended"), status::NOTHING),
        _ => (format!("{process} is gone"), status::DEAD),
    };
    Error::Unseen { problem, status }
}

fn line(row: &Row) -> String {
    match row {
        Row::Event { event, topic, entry, old_meta } => {
            let what = match event {
                Change::Join => "join",
                Change::Update => "update",
                Change::Leave => "leave",
                Change::First => return format!("first   {}", shown(topic)),
                Change::Empty => return format!("empty   {}", shown(topic)),
                _ => "change",
            };
            let Some(entry) = entry else { return format!("{what:<7} {}", shown(topic)) };
            let old = old_meta.as_ref().map_or_else(String::new, |old| format!("{} -> ", shown(old)));
            format!(
                "{what:<7} {} of {} {old}{}  ({})",
                shown(&entry.key),
                entry.node,
                shown(&entry.meta),
                entry.entry
            )
        }
        Row::Lagged { missed } => {
            format!("lagged  {} not shown", counted(*missed, "change is", "changes are"))
        }
        _ => String::new(),
    }
}
