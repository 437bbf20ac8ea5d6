//! The recipe for pipelines, `benches/ci`: the script is run, and the example calls what there is.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};
use yaml_rust2::{Yaml, YamlLoader};

const BENCHES: &str = env!("CARGO_MANIFEST_DIR");

/// Runs the script with the binaries of this build, where `valgrind` counts so many instructions for every step.
fn run(folder: &Path, instructions_per_step: u64, more: &[&str]) -> Output {
    let stand_in = Path::new(BENCHES).join("tests/stand_in").display().to_string();
    let path = env::var("PATH").unwrap_or_default();
    let bin = Path::new(env!("CARGO_BIN_EXE_diff")).parent().expect("it is in a folder");
    let mut command = Command::new(Path::new(BENCHES).join("ci/run"));
    command
        .current_dir(folder)
        .env("PATH", format!("{stand_in}:{path}"))
        .env("INSTRUCTIONS_PER_STEP", instructions_per_step.to_string())
        .env("HEADCOUNT_CI_BIN", bin)
        .args(["--results", "results", "--baseline", "baseline"])
        // Whether the script compares is looked at here, not how fast anything is.
        .args(["--compare", "--quick --no-huge --entries 1000 --only get_hit"])
        .args(["--diff", "--max-regression ratio=9900"])
        .args(more);
    command.output().expect("the script starts")
}

fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ci-{test}"));
    if path.exists() {
        fs::remove_dir_all(&path).expect("what an earlier run left can be removed");
    }
    fs::create_dir_all(&path).expect("the folder can be made");
    path
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The one kind of machine that was met.
fn baseline(folder: &Path) -> PathBuf {
    let mut kinds = fs::read_dir(folder.join("baseline")).expect("something was saved");
    let kind = kinds.next().expect("a kind of machine").expect("the folder can be read").path();
    assert!(kinds.next().is_none());
    kind
}

#[test]
fn the_first_run_saves_the_next_compares_and_a_regression_fails_and_is_not_saved() {
    let folder = folder("runs");
    let first = run(&folder, 100, &["--save"]);
    assert_eq!(first.status.code(), Some(0), "{}", text_of(&first));
    for name in ["compare", "count"] {
        let said = format!("{name}: nothing to compare with yet for ");
        assert!(text_of(&first).contains(&said), "{}", text_of(&first));
    }
    let saved = || fs::read(baseline(&folder).join("count.json")).expect("it was saved");
    let before = saved();

    let second = run(&folder, 101, &[]);
    assert_eq!(second.status.code(), Some(0), "{}", text_of(&second));
    assert!(text_of(&second).contains("compare: before and now\n"), "{}", text_of(&second));
    assert!(text_of(&second).contains("0 of 16 that are judged got worse\n"), "{}", text_of(&second));
    assert_eq!(saved(), before, "nobody asked for it");

    let worse = run(&folder, 110, &["--save"]);
    assert_eq!(worse.status.code(), Some(1), "{}", text_of(&worse));
    assert!(text_of(&worse).contains("instructions of get_hit grew by 10.0 %"), "{}", text_of(&worse));
    assert_eq!(saved(), before, "what is worse is nothing to compare with");

    let allowed = run(
        &folder,
        110,
        &["--save", "--diff", "--max-regression instructions=11 --max-regression ratio=9900"],
    );
    assert_eq!(allowed.status.code(), Some(0), "{}", text_of(&allowed));
    assert_ne!(saved(), before);
}

#[test]
fn a_ratio_that_got_worse_is_measured_once_more_before_it_counts() {
    let folder = folder("again");
    assert!(run(&folder, 100, &["--save"]).status.success());
    // As if everything had been a million times faster.
    let path = baseline(&folder).join("compare.json");
    let text = fs::read_to_string(&path).expect("it was saved");
    let mut saved: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let get = &mut saved["operations"]["get_hit"];
    get["ratio_to_best_peer"] = (get["ratio_to_best_peer"].as_f64().expect("a ratio") / 1e6).into();
    for time in ["wall_ns", "wall_ns_min"] {
        let ours = &mut get["contestants"]["headcount"][time];
        *ours = (ours.as_f64().expect("a time") / 1e6).into();
    }
    fs::write(&path, saved.to_string()).expect("the file can be written");
    let worse = run(&folder, 100, &["--save"]);
    assert_eq!(worse.status.code(), Some(1), "{}", text_of(&worse));
    assert!(folder.join("results/compare.first.json").exists());
    assert_eq!(text_of(&worse).matches("compare: something got worse; measured once more\n").count(), 1);
}

#[test]
fn counts_over_their_bounds_fail_without_anything_to_compare_with() {
    if env::consts::ARCH != "x86_64" {
        return; // There are no bounds for it.
    }
    let over = run(&folder("bounds"), 1_000_000, &["--save"]);
    assert_eq!(over.status.code(), Some(1), "{}", text_of(&over));
    assert!(
        text_of(&over).contains("get_hit takes 1000000.0 instructions, its bound is "),
        "{}",
        text_of(&over)
    );
}

#[test]
fn what_cannot_be_measured_or_compared_has_a_status_of_its_own() {
    let folder = folder("trouble");
    let refused = run(&folder, 100, &["--compare", "--entries 3"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text_of(&refused));
    assert!(
        text_of(&refused).contains("compare: could not be measured, status 1\n"),
        "{}",
        text_of(&refused)
    );
    assert!(!folder.join("results/compare.json").exists());
    assert!(run(&folder, 100, &["--save"]).status.success());
    fs::write(baseline(&folder).join("count.json"), "{").expect("the file can be written");
    let broken = run(&folder, 100, &[]);
    assert_eq!(broken.status.code(), Some(2), "{}", text_of(&broken));
    let unknown = run(&folder, 100, &["--fast"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text_of(&unknown).contains("--fast is no option"), "{}", text_of(&unknown));
}

#[test]
fn the_example_workflow_parses_and_calls_what_there_is() {
    let example = fs::read_to_string(Path::new(BENCHES).join("ci/github-actions.yml")).expect("it is there");
    let documents = YamlLoader::load_from_str(&example).expect("it is YAML");
    let [workflow] = documents.as_slice() else { panic!("it is one document") };
    assert!(!workflow["on"].is_badvalue() && workflow["name"].as_str().is_some());
    let job = &workflow["jobs"]["speed"];
    assert!(job["runs-on"].as_str().is_some() && job["timeout-minutes"].as_i64().is_some());
    let steps = job["steps"].as_vec().expect("there are steps");
    let is_step = |step: &Yaml| step["uses"].as_str().is_some() != step["run"].as_str().is_some();
    assert!(steps.iter().all(is_step), "a step uses an action or runs a command");

    let usage = Command::new(Path::new(BENCHES).join("ci/run")).arg("--help").output().expect("it starts");
    let usage = String::from_utf8(usage.stdout).expect("text");
    let commands: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("benches/ci/run"), "{command}");
        let options: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
        assert!(!options.is_empty());
        for option in options {
            assert!(usage.contains(&format!("\n  {option} ")), "{option} is not in the usage:\n{usage}");
        }
    }
}
