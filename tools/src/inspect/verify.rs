//! `headcount verify`: whether several processes have one view.

use super::link::{Link, Lost};
use super::lookup;
use super::print;
use super::verdict::{Item, Judge, Report};
use crate::error::Error;
use crate::number::counted;
use crate::number::within;
use crate::ui;
use headcount_net::admin::{Hello, Request, Row};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Differ.
const DIFFER: u8 = 1;
/// It could not be told.
const UNTOLD: u8 = 2;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
const ROW_WITHIN: Duration = Duration::from_secs(2);

/// Compare what several processes of a cluster hold, and say where their views differ
///
/// Each process is asked which nodes it knows, and for clock, count and digest of every lane that it holds of each. These are compared at
/// equal clocks; while a cluster is busy that takes some rounds. A difference counts if it has stood still for two seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A process to compare, by its node's name or its number; may be given again. By default all on this machine that
    /// this user may ask
    #[arg(long, short, value_name = "NAME|PID")]
    process: Vec<String>,

    /// An admin socket to compare, by its path; may be given again
    #[arg(long, value_name = "PATH")]
    socket: Vec<PathBuf>,

    /// Where to look for the sockets of processes that were given no path; by default /dev/shm
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// For how many seconds to try
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = within::<1, 600>)]
    wait: usize,

    /// Write JSON, one object
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
A process is asked through its admin socket, which only its own user and root may use and which is off by default: headcount node --admin.
Processes of another machine are asked through their sockets, forwarded (ssh -L) and named with --socket.

Exit status: 0 all agree; 1 they differ; 2 it could not be told: a process does not answer or cannot be asked, fewer than two nodes were
found, lanes never stood still together, or the command line is wrong.";

/// How it ended.
struct Verdict {
    code: u8,
    name: &'static str,
    lines: Vec<(Option<Item>, String)>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Error> {
    let (mut links, unasked) = match links(args) {
        Ok(found) => found,
        Err(error) => {
            ui::note(&format!("error: {error}"));
            return Ok(ExitCode::from(UNTOLD));
        }
    };
    let names: Vec<String> = links.iter().map(Link::name).collect();
    let (judge, mut verdict) = if unasked.is_empty() {
        compare(&mut links, Duration::from_secs(args.wait as u64))
    } else {
        (Judge::default(), untold(Vec::new()))
    };
    verdict.lines.extend(unasked.into_iter().map(|error| (None, error.to_string())));
    if args.json {
        let lines: Vec<Value> = verdict
            .lines
            .iter()
            .map(|(item, text)| match item {
                Some(Item { observer, node, lane }) => {
                    json!({"observer": observer, "node": node, "lane": lane, "text": text})
                }
                None => json!({ "text": text }),
            })
            .collect();
        let all = json!({
            "verdict": verdict.name, "processes": names, "lanes_agreed": judge.lanes_agreed(), "differences": lines,
        });
        print(&format!("{all}\n"))?;
    } else {
        for (_, line) in &verdict.lines {
            print(&format!("{line}\n"))?;
        }
        let who = names.join(", ");
        let lanes = counted(judge.lanes_agreed(), "lane", "lanes");
        print(&match verdict.code {
            0 => format!("agree: {who}; {lanes} compared\n"),
            DIFFER => format!(
                "differ: {who}; {lanes} agree, {} above\n",
                counted(verdict.lines.len() as u64, "difference", "differences")
            ),
            _ => format!("could not be told: {who}; {lanes} agree\n"),
        })?;
    }
    Ok(ExitCode::from(verdict.code))
}

/// Whom to ask, and why some cannot be.
fn links(args: &Args) -> Result<(Vec<Link>, Vec<Error>), Error> {
    let (mut links, mut lost): (Vec<Link>, Vec<Error>) = (Vec::new(), Vec::new());
    let mut take = |opened: Result<Link, Error>| match opened {
        Ok(link) => links.push(link),
        Err(error) => lost.push(error),
    };
    for path in &args.socket {
        take(Link::open(path).map_err(|lost| lost.at(path)));
    }
    if !args.process.is_empty() || args.socket.is_empty() {
        let (dir, paths) = lookup::sockets(args.dir.as_deref())?;
        // Who is named twice is asked once.
        for wanted in args.process.iter().collect::<BTreeSet<_>>() {
            take(lookup::one_of(wanted, &dir, &paths));
        }
        if args.process.is_empty() {
            let (found, failed) = lookup::open_all(&paths);
            found.into_iter().for_each(|link| take(Ok(link)));
            for (path, lost) in failed {
                match lost {
                    // What a dead process has left behind is nobody to ask.
                    Lost::Gone | Lost::Missing => {}
                    // Another user's are not among those that this one means by all.
                    Lost::Denied => ui::note(&format!("passed over: {}", lost.at(&path))),
                    lost => take(Err(lost.at(&path))),
                }
            }
        }
    }
    let mut known = BTreeSet::new();
    let asked = links.len();
    // One process may be meant by its name, its number and its socket.
    links.retain(|link| {
        let Hello { pid, node_id, incarnation, cluster, .. } = &link.hello;
        known.insert((*pid, node_id.clone(), incarnation.clone(), cluster.clone()))
    });
    let clusters: BTreeSet<&str> =
        links.iter().map(|link| link.hello.cluster.as_deref().unwrap_or("(none)")).collect();
    if clusters.len() > 1 {
        let named: Vec<&str> = clusters.into_iter().collect();
        return Err(Error::Inspect(format!(
            "these processes are of several clusters; choose those of one with --process: {}",
            named.join(", ")
        )));
    }
    if let [only] = &links[..]
        && asked > 1
        && lost.is_empty()
    {
        return Err(Error::Inspect(format!(
            "it takes two nodes to compare, and all that were named are one: {} (process {})",
            only.name(),
            only.hello.pid
        )));
    }
    if links.len() + lost.len() < 2 {
        return Err(Error::Inspect(format!(
            "it takes two processes to compare, and {} can be asked; {}",
            links.len(),
            super::link::HOW_TO_ENABLE
        )));
    }
    Ok((links, lost))
}

fn untold(lines: Vec<(Option<Item>, String)>) -> Verdict {
    Verdict { code: UNTOLD, name: "could_not_tell", lines }
}

fn compare(links: &mut [Link], wait: Duration) -> (Judge, Verdict) {
    let mut judge = Judge::default();
    let deadline = Instant::now() + wait;
    loop {
        let mut reports = Vec::with_capacity(links.len());
        for link in &mut *links {
            match report(link) {
                Ok(report) => reports.push(report),
                Err(lost) => {
                    let line = lost.at(link.path()).to_string();
                    return (judge, untold(vec![(None, line)]));
                }
            }
        }
        let now = Instant::now();
        judge.hear(&reports, now);
        if judge.agrees() {
            return (judge, Verdict { code: 0, name: "agree", lines: Vec::new() });
        }
        if judge.is_settled(now) || now >= deadline {
            let owned = |list: Vec<(&Item, &str)>| -> Vec<(Option<Item>, String)> {
                list.into_iter().map(|(item, text)| (Some(item.clone()), text.to_owned())).collect()
            };
            let (differ, moving) = judge.open(now);
            let verdict = match differ.is_empty() {
                true => untold(owned(moving)),
                false => Verdict { code: DIFFER, name: "differ", lines: owned(differ) },
            };
            return (judge, verdict);
        }
        // Not a wait for anything that could say when it has come.
        thread::sleep(PAUSE);
    }
}

fn report(link: &mut Link) -> Result<Report, Lost> {
    link.ask(&Request::Lanes)?;
    let name = link.name();
    let mut report = Report { name, own: Default::default(), nodes: Vec::new(), lanes: Vec::new() };
    loop {
        match link.row(ROW_WITHIN)? {
            Row::Node(node) => {
                if node.state == "local" {
                    report.own = (node.node.clone(), node.incarnation.clone());
                }
                report.nodes.push(node);
            }
            Row::Lane(lane) => report.lanes.push(lane),
            Row::End { .. } => return Ok(report),
            _ => {}
        }
    }
}
