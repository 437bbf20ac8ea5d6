//! `headcount stat`: what runs on this machine and how it does, read from outside.

mod detail;
mod json;
mod listing;
mod metrics;
mod watch;

use crate::error::Error;
use crate::inspect::choose::{Where, is_alive, status_of};
use crate::inspect::snapshot::Snapshot;
use crate::inspect::span::Span;
use crate::inspect::status;
use crate::ui;
use headcount::counters::{Life, ReadError, Reader};
use metrics::Format;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Between the two looks that rates are made of.
const LOOK_TWICE: Duration = Duration::from_millis(500);

/// Tell what runs on this machine and how it does
///
/// It reads the counters files that processes keep in memory, and costs them nothing. Rates are those of half a second, of which it takes two looks.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,

    /// Go on every so many seconds, a line each time, until the process is gone; all processes without --process
    #[arg(long, short, value_name = "SECS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    watch: Option<Duration>,

    /// Everything as a JSON object, with rates; one a line with --watch
    #[arg(long)]
    json: bool,

    /// Everything as text for Prometheus: in its text format, which every reader of it knows, or as OpenMetrics
    #[arg(
        long,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        conflicts_with_all = ["json", "watch"]
    )]
    prometheus: Option<Format>,
}

const AFTER_HELP: &str = "\
Exit status: 0 it runs; 1 it could not be done; 2 the command line is wrong; 3 nothing runs, or not that process; 4 it was killed or
crashed; 5 it is silent (stopped, or its machine is far too busy); 6 its file is of another version, damaged, or none of headcount's;
7 its file is another user's. Without --process: 0 if anything runs. With --watch: what became of the last of them.

With --prometheus 0 says that the text is whole, whoever lives: of a process that does not run it has headcount_up 0, and of one that has
ended nothing. For node_exporter, every minute:
  headcount stat --prometheus > /var/lib/node_exporter/headcount.prom.new &&
    mv /var/lib/node_exporter/headcount.prom.new /var/lib/node_exporter/headcount.prom";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    match args.watch {
        Some(every) if args.place.wanted().is_some() => watch::one(args.place.chosen()?, every, args.json),
        Some(every) => watch::all(&args.place, every, args.json),
        None => once(args),
    }
}

fn once(args: &Args) -> Result<ExitCode, Error> {
    let mut seen = look(&args.place)?;
    if let Some(format) = args.prometheus {
        say(&metrics::text(&seen, format))?;
        // Whoever puts the text in the place of the last one does so if it is whole: what has died since would live on there.
        return Ok(ExitCode::SUCCESS);
    }
    look_again(&mut seen);
    let text = match &seen[..] {
        _ if args.json => json::text(&seen),
        [one] if args.place.wanted().is_some() => detail::text(one),
        seen => listing::text(seen),
    };
    if !seen.is_empty() || args.json {
        say(&text)?;
    }
    if seen.is_empty() { Err(args.place.nothing()) } else { Ok(ExitCode::from(status_of_all(&seen))) }
}

/// A process, or why it cannot be seen.
#[derive(Debug)]
struct Seen {
    file: String,
    pid: u32,
    what: Result<Look, ReadError>,
}

/// A process that was looked at, once or twice.
#[derive(Debug)]
struct Look {
    reader: Reader,
    before: Option<Snapshot>,
    now: Snapshot,
}

impl Look {
    fn new(mut reader: Reader) -> Self {
        let now = Snapshot::take(&mut reader);
        Self { reader, before: None, now }
    }

    fn again(&mut self) {
        let now = Snapshot::take(&mut self.reader);
        self.before = Some(std::mem::replace(&mut self.now, now));
    }

    fn span(&self) -> Option<Span<'_>> {
        self.before.as_ref().map(|before| Span { before, now: &self.now })
    }
}

fn look(place: &Where) -> Result<Vec<Seen>, Error> {
    if place.wanted().is_some() {
        let reader = place.chosen()?;
        let (file, pid) = (reader.path().display().to_string(), reader.pid());
        return Ok(vec![Seen { file, pid, what: Ok(Look::new(reader)) }]);
    }
    let found = place.find()?.into_iter().map(|found| {
        let file = found.path.display().to_string();
        Seen { file, pid: found.pid, what: found.reader.map(Look::new) }
    });
    Ok(found.collect())
}

fn look_again(seen: &mut [Seen]) {
    let mut living: Vec<&mut Look> = seen.iter_mut().filter_map(|seen| seen.what.as_mut().ok()).collect();
    living.retain(|look| is_alive(look.now.life));
    if !living.is_empty() {
        thread::sleep(LOOK_TWICE);
        living.into_iter().for_each(Look::again);
    }
}

fn status_of_life(life: Life) -> u8 {
    match life {
        Life::Running => 0,
        Life::Silent(_) => status::SILENT,
        Life::Dead(_) => status::DEAD,
        _ => status::NOTHING,
    }
}

/// 0 if anything runs, otherwise what is wrong with the first.
fn status_of_all(seen: &[Seen]) -> u8 {
    let status = |seen: &Seen| match &seen.what {
        Ok(look) => status_of_life(look.now.life),
        Err(error) => status_of(error),
    };
    let statuses: Vec<u8> = seen.iter().map(status).collect();
    if statuses.contains(&0) { 0 } else { statuses.first().copied().unwrap_or(status::NOTHING) }
}

/// Writes to standard output. Whoever closed it has seen enough.
fn say(text: &str) -> Result<(), Error> {
    match ui::print(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::System { what: "cannot write to standard output", source: error })
        }
        Err(_) => std::process::exit(0),
        Ok(()) => Ok(()),
    }
}

/// For clap.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds from 0.1 to 3600".into())
}
