//! What was found, for people and for programs.

use super::checks::{examine, neighbours};
use super::finding::{Finding, Status};
use super::hearing::{Hearing, Matrix};
use super::lookup::{Closed, Found};
use super::patient::Patient;
use super::system::System;
use super::words::{count, plain};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Columns of the text.
const WIDTH: usize = 120;
/// Columns before what was found.
const MARGIN: usize = 27;

/// The exit statuses.
pub(super) const WARNINGS: u8 = 1;
pub(super) const PROBLEMS: u8 = 2;
pub(super) const UNTOLD: u8 = 3;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The exit status.
    pub(crate) status: u8,
    processes: Vec<Process>,
    /// What concerns several processes of this machine.
    machine: Vec<Finding>,
    /// Processes that cannot be examined.
    closed: Vec<Closed>,
}

#[derive(Debug, Serialize)]
struct Process {
    name: String,
    pid: u32,
    cluster: String,
    file: PathBuf,
    /// The worst of its findings.
    worst: Status,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hearing: Option<HearingTold>,
    system: System,
}

/// Who hears whom, as that process knows it.
#[derive(Debug, Serialize)]
struct HearingTold {
    nodes: Vec<String>,
    /// A row for each listener, a cell for each speaker.
    rows: Vec<Vec<Hearing>>,
    #[serde(skip)]
    drawn: Vec<String>,
}

impl Report {
    /// Examines those that were asked for by name or process id, or all.
    ///
    /// # Errors
    /// That there is none, in words.
    pub(crate) fn of(found: Found, wanted: Option<&str>) -> Result<Self, String> {
        let Found { patients, mut closed } = found;
        let is_wanted =
            |name: &str, pid: u32| wanted.is_none_or(|wanted| name == wanted || pid.to_string() == wanted);
        let all = patients.iter().map(|patient| patient.name.clone());
        let known =
            super::words::list(all.chain(closed.iter().map(|closed| format!("process {}", closed.pid))));
        let chosen: Vec<&Patient> =
            patients.iter().filter(|patient| is_wanted(&patient.name, patient.pid)).collect();
        closed.retain(|closed| is_wanted("", closed.pid));
        if let Some(wanted) = wanted
            && chosen.is_empty()
            && closed.is_empty()
        {
            let there = if known.is_empty() { "nothing does".into() } else { format!("these do: {known}") };
            return Err(format!(
                "--process {wanted}: no process of this name or id keeps counters there; {there}"
            ));
        }
        let machine = if wanted.is_some() {
            let is_near = |other: &&Patient| chosen.iter().any(|patient| patient.cluster == other.cluster);
            neighbours(&patients.iter().filter(is_near).cloned().collect::<Vec<_>>())
        } else {
            neighbours(&patients)
        };
        let processes: Vec<_> = chosen.iter().map(|patient| Process::of(patient, &patients)).collect();
        let mut report = Self { status: 0, processes, machine, closed };
        report.status = report.exit_status();
        Ok(report)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.processes.iter().flat_map(|process| &process.findings).chain(&self.machine)
    }

    fn exit_status(&self) -> u8 {
        let worst = self.findings().map(|finding| finding.status).max();
        match worst {
            Some(Status::Problem) => PROBLEMS,
            _ if !self.closed.is_empty() => UNTOLD,
            None => UNTOLD,
            Some(Status::Warning) => WARNINGS,
            Some(Status::Ok | Status::Note | Status::Unknown) => 0,
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for process in &self.processes {
            let of = if process.cluster.is_empty() {
                String::new()
            } else {
                format!(" of cluster {}", plain(&process.cluster))
            };
            let _ = writeln!(text, "{}{of}, process {}", plain(&process.name), process.pid);
            process.findings.iter().for_each(|finding| write_finding(&mut text, finding));
            if let Some(hearing) = &process.hearing {
                let _ = writeln!(text, "\n  Who hears whom, as {} knows it:", plain(&process.name));
                for line in &hearing.drawn {
                    let _ = writeln!(text, "    {line}");
                }
            }
            text.push('\n');
        }
        for closed in &self.closed {
            let _ = writeln!(text, "process {}", closed.pid);
            write_finding(&mut text, &Finding::unknown("file", plain(&closed.problem)));
            text.push('\n');
        }
        if !self.machine.is_empty() {
            text.push_str("this machine\n");
            self.machine.iter().for_each(|finding| write_finding(&mut text, finding));
            text.push('\n');
        }
        text.push_str(&self.verdict());
        text.push('\n');
        text
    }

    fn verdict(&self) -> String {
        let of = |status| self.findings().filter(|finding| finding.status == status).count() as u64;
        let mut parts = Vec::new();
        for (number, one) in [(of(Status::Problem), "problem"), (of(Status::Warning), "warning")] {
            if number > 0 {
                parts.push(count(number, one));
            }
        }
        if !self.closed.is_empty() {
            let processes = if self.closed.len() == 1 { "process" } else { "processes" };
            parts.push(format!("{} {processes} that cannot be examined", self.closed.len()));
        }
        if parts.is_empty() { "All well.".into() } else { format!("{}.", parts.join(", ")) }
    }
}

impl Process {
    fn of(patient: &Patient, all: &[Patient]) -> Self {
        let findings = examine(patient, all);
        let is_running = patient.life == headcount::counters::Life::Running;
        let node = patient.member().filter(|_| is_running && !patient.now.peers.is_empty());
        let hearing = node.map(|node| {
            let matrix = Matrix::of(&patient.name, node, &patient.now);
            let drawn = matrix.draw();
            HearingTold { nodes: matrix.names, rows: matrix.cells, drawn }
        });
        Self {
            name: patient.name.clone(),
            pid: patient.pid,
            cluster: patient.cluster.clone(),
            file: patient.file.clone(),
            worst: findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Unknown),
            findings,
            hearing,
            system: patient.system.clone(),
        }
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let mark = match finding.status {
        Status::Ok => "ok",
        Status::Note => "note",
        Status::Unknown => "?",
        Status::Warning => "WARNING",
        Status::Problem => "PROBLEM",
    };
    let margin = " ".repeat(MARGIN);
    let mut lines = wrapped(&finding.what, WIDTH - MARGIN).into_iter();
    let _ = writeln!(text, "  {mark:<8} {:<15} {}", finding.check, lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "{margin}{line}");
    }
    let remedy = finding.remedy.iter().flat_map(|remedy| wrapped(remedy, WIDTH - MARGIN - 3));
    for (at, line) in remedy.enumerate() {
        let arrow = if at == 0 { "->" } else { "  " };
        let _ = writeln!(text, "{margin}{arrow} {line}");
    }
}

/// Breaks a text between words; what is between backquotes stays on one line, to be copied.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut word = String::new();
    let mut put = |word: &mut String, line: &mut String| {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        word.clear();
    };
    let mut is_quoted = false;
    for c in text.chars() {
        is_quoted ^= c == '`';
        if c == ' ' && !is_quoted {
            put(&mut word, &mut line);
        } else {
            word.push(c);
        }
    }
    put(&mut word, &mut line);
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::checks::made;
    use super::*;
    use headcount::counters::Life;
    use std::time::Duration;

    fn closed() -> Closed {
        Closed { pid: 77, file: "/dev/shm/headcount.77.0".into(), problem: "no permission to read it".into() }
    }

    fn report(patients: Vec<Patient>, closed: Vec<Closed>) -> Report {
        Report::of(Found { patients, closed }, None).unwrap()
    }

    #[test]
    fn the_worst_decides_the_exit_status() {
        assert_eq!(report(vec![made::healthy()], Vec::new()).status, 0);
        let mut warned = made::healthy();
        warned.engine().subscriptions_lagging = 1;
        assert_eq!(report(vec![warned.clone()], Vec::new()).status, WARNINGS);
        assert_eq!(report(vec![warned.clone()], vec![closed()]).status, UNTOLD);
        let mut noted = made::healthy();
        noted.now.node = None;
        assert_eq!(report(vec![noted], Vec::new()).status, 0);
        let dead =
            Patient { life: Life::Dead(Duration::from_secs(3)), name: "web-9".into(), ..made::healthy() };
        assert_eq!(report(vec![warned, dead], vec![closed()]).status, PROBLEMS);
        assert_eq!(report(Vec::new(), Vec::new()).status, UNTOLD);
    }

    #[test]
    fn a_process_is_chosen_by_name_or_id_or_refused_with_those_that_are_there() {
        let found = || Found {
            patients: vec![made::healthy(), Patient { name: "web-2".into(), pid: 4243, ..made::healthy() }],
            closed: vec![closed()],
        };
        for (wanted, expected) in [("web-2", vec![4243]), ("4242", vec![4242]), ("77", vec![])] {
            let report = Report::of(found(), Some(wanted)).unwrap();
            assert_eq!(report.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), expected);
            assert_eq!(report.closed.len(), usize::from(wanted == "77"));
        }
        let expected = "--process web-3: no process of this name or id keeps counters there; these do: web-1, web-2, process 77";
        assert_eq!(Report::of(found(), Some("web-3")).unwrap_err(), expected);
    }

    #[test]
    fn the_text_has_marks_remedies_a_map_and_a_verdict() {
        let mut patient = made::healthy();
        patient.set_node(|node| node.receive_buffer = 212_992);
        patient.system.receive_buffer_max = Some(212_992);
        let text = report(vec![patient], vec![closed()]).text();
        for part in [
            "web-1 of cluster chat, process 4242\n  ok       life            runs, for 5 min\n",
            "  WARNING  receive-buffer  212,992 bytes granted, 8 MiB asked for\n                           -> `sysctl -w ",
            "\n  Who hears whom, as web-1 knows it:\n       hears:  1 2 3\n     1 web-1   \\ · ·\n",
            "\nprocess 77\n  ?        file            no permission to read it\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(text.ends_with("\n1 warning, 1 process that cannot be examined.\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(report(vec![made::healthy()], Vec::new()).text().ends_with("\n\nAll well.\n"));
    }

    #[test]
    fn json_has_everything() {
        let json = serde_json::to_value(report(vec![made::healthy()], vec![closed()])).unwrap();
        assert_eq!(json["status"], 3);
        let process = &json["processes"][0];
        assert_eq!((&process["name"], &process["worst"]), (&"web-1".into(), &"ok".into()));
        assert_eq!(process["findings"][0]["check"], "life");
        assert_eq!(process["hearing"]["nodes"][2], "web-3");
        assert_eq!(process["hearing"]["rows"][1][1], "itself");
        assert_eq!(process["hearing"]["rows"][1][0]["silence_ns"], 32_000_000);
        assert_eq!(process["system"]["huge_pages"], "madvise");
        assert_eq!(json["closed"][0]["pid"], 77);
    }

    #[test]
    fn commands_are_not_broken() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("do `a b c d` now", 5), ["do", "`a b c d`", "now"]);
    }
}
