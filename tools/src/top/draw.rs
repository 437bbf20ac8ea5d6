//! Drawing the picture. What does not fit is left out, down to a screen of one cell.

use super::picture::{Level, Picture};
use super::view::{PANES, Pane, View};
use crate::inspect::words;
use crate::number::grouped;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

/// With less than this, the pane that has the keys has the whole screen.
const WIDTH_MIN: u16 = 64;
const HEIGHT_MIN: u16 = 20;
/// What the panes above and below the times keep.
const OTHERS_MIN: u16 = 11;
/// Heights of a bar, from nothing to full.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const HELP: &[(&str, &str)] = &[
    ("q, Esc, Ctrl-C", "quit"),
    ("?", "this help; any key closes it"),
    ("Tab, Shift-Tab, 1-7", "give the keys to another pane"),
    ("Enter, z", "that pane alone, and back"),
    ("s, r", "sort it by the next column; the other way round"),
    ("Up, Down, PgUp, PgDn", "scroll it"),
    ("Left, Right, p, n", "another process"),
    ("", ""),
    ("hottest topics", "estimated from samples of the changes"),
    ("indirect", "a node that only others hear"),
    ("a shard in red", "has over three times its share"),
    ("the curve of a time", "p99 between two looks, the latest last"),
    ("+3, »", "rows, columns that do not fit: scroll, or see the pane alone"),
];

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, picture: &Picture, view: &View) {
    let area = frame.area();
    let head = head(picture, usize::from(area.width));
    let head_height = u16::try_from(head.len()).unwrap_or(3).min(area.height);
    let foot_height = u16::from(area.height > head_height + 2);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(head_height),
        Constraint::Fill(1),
        Constraint::Length(foot_height),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    if view.alone || area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        pane(frame, middle, picture, view, view.focus);
    } else {
        all_panes(frame, middle, picture, view);
    }
    frame.render_widget(Paragraph::new(foot(picture)), bottom);
    if view.help {
        help(frame, area);
    }
}

fn all_panes(frame: &mut Frame<'_>, area: Rect, picture: &Picture, view: &View) {
    // The sixth part of the height for the last row: what happened takes the whole width. The times get what they need to be all there,
    // where that leaves something of the others.
    let times = u16::try_from(picture.times.len()).unwrap_or(u16::MAX).saturating_add(2);
    let middle = if area.height / 11 * 3 < times && times.saturating_add(OTHERS_MIN) <= area.height {
        Constraint::Length(times)
    } else {
        Constraint::Fill(3)
    };
    let rows =
        Layout::vertical([Constraint::Fill(3), middle, Constraint::Fill(3), Constraint::Fill(2)]).split(area);
    for (row, panes) in PANES.chunks(2).enumerate() {
        let columns = Layout::horizontal(vec![Constraint::Fill(1); panes.len()]).spacing(1).split(rows[row]);
        for (column, of) in panes.iter().enumerate() {
            pane(frame, columns[column], picture, view, *of);
        }
    }
}

fn colour(level: Level) -> Color {
    match level {
        Level::Good => Color::Green,
        Level::Doubtful => Color::Yellow,
        Level::Bad => Color::Red,
    }
}

fn dim() -> Style {
    Style::new().fg(Color::DarkGray)
}

fn head(picture: &Picture, width: usize) -> Vec<Line<'static>> {
    let style = Style::new().fg(colour(picture.level)).add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    let title = Span::styled(format!("{}: ", picture.title), Style::new().add_modifier(Modifier::BOLD));
    if picture.level == Level::Good {
        lines.push(Line::from(vec![title, Span::styled(picture.condition.clone(), style)]));
    } else {
        // What is wrong comes first, and over the whole width.
        let text = format!("{} is {}", picture.title, picture.condition);
        let pad = " ".repeat(width.saturating_sub(text.chars().count()));
        lines.push(Line::styled(format!("{text}{pad}"), style.add_modifier(Modifier::REVERSED)));
    }
    lines.push(figures(picture, width));
    if picture.processes.len() > 1 {
        let tabs = picture.processes.iter().enumerate().flat_map(|(at, (name, level))| {
            let style = Style::new().fg(colour(*level));
            let style = if at == picture.shown { style.add_modifier(Modifier::REVERSED) } else { style };
            [Span::styled(format!(" {name} "), style), Span::raw(" ")]
        });
        lines.push(Line::from_iter(tabs));
    }
    lines
}

/// As many figures as fit whole, and whether that is all of them.
fn figures(picture: &Picture, width: usize) -> Line<'static> {
    let mut line = Line::default();
    for (name, value) in &picture.figures {
        let (value, name) = (format!("{value} "), format!("{name}   "));
        // The mark has room as well; the gap behind the last one may be out of sight.
        if line.width() + value.chars().count() + name.trim_end().chars().count() + 2 > width {
            line.push_span(Span::styled("»", dim()));
            break;
        }
        line.push_span(Span::raw(value));
        line.push_span(Span::styled(name, dim()));
    }
    line
}

fn foot(picture: &Picture) -> Line<'static> {
    let switch = if picture.processes.len() > 1 { "  ←/→ process" } else { "" };
    Line::styled(format!("q quit  ? help  Tab pane  Enter alone  s sort  r reverse{switch}"), dim())
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let wide = 76.min(area.width);
    let high = (HELP.len() as u16 + 2).min(area.height);
    let [_, row, _] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(high), Constraint::Fill(1)]).areas(area);
    let [_, middle, _] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(wide), Constraint::Fill(1)]).areas(row);
    let lines: Vec<Line<'_>> =
        HELP.iter().map(|(key, what)| Line::raw(format!(" {key:<22}{what}"))).collect();
    frame.render_widget(Clear, middle);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), middle);
}

fn pane(frame: &mut Frame<'_>, area: Rect, picture: &Picture, view: &View, of: Pane) {
    let focused = view.focus == of;
    let order = view.order(of).map_or(String::new(), |order| format!(", by {order}"));
    let title = format!(" {} {}{order} ", of.number() + 1, of.title());
    let style = if focused { Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD) } else { dim() };
    let block = Block::new().borders(Borders::TOP).border_style(style).title(Span::styled(title, style));
    let inner = block.inner(area);
    let width = usize::from(inner.width);
    let rows = match of {
        Pane::Nodes => nodes(picture),
        Pane::Rates => rates(picture, width),
        Pane::Times => times(picture, width),
        Pane::Hot => topics(picture, true, width),
        Pane::Shards => shards(picture, width),
        Pane::Large => topics(picture, false, width),
        Pane::Diary => diary(picture),
    };
    let height = usize::from(inner.height);
    // Lines of text may be longer than the screen; what stands in columns may not without a word.
    let in_columns = matches!(of, Pane::Nodes | Pane::Times | Pane::Shards);
    let is_cut = in_columns && rows.iter().any(|row| row.width() > width);
    let block = match (rows.len().saturating_sub(height), is_cut) {
        (0, false) => block,
        (0, true) => block.title(Line::styled(" » ", style).right_aligned()),
        (more, false) => block.title(Line::styled(format!(" +{more} "), style).right_aligned()),
        (more, true) => block.title(Line::styled(format!(" +{more} » "), style).right_aligned()),
    };
    // The last row stays in sight.
    let from = view.scroll[of.number()].min(rows.len().saturating_sub(height.max(1)));
    let rows: Vec<Line<'_>> = rows.into_iter().skip(from).take(height).collect();
    frame.render_widget(Paragraph::new(rows).block(block), area);
}

fn none(words: &'static str) -> Vec<Line<'static>> {
    vec![Line::styled(words, dim())]
}

/// Cut or filled to a width.
fn fit(text: &str, width: usize) -> String {
    let cut = words::plain(text, width);
    format!("{cut:<width$}")
}

fn nodes(picture: &Picture) -> Vec<Line<'static>> {
    if picture.nodes.is_empty() {
        return none("it tells of no cluster");
    }
    let heads =
        format!("{:<11} {:<8} {:>7} {:>8} {:>7} {:>7}", "", "state", "heard", "entries", "behind", "for");
    let row = |node: &super::picture::Node| {
        let brief = |age: Option<std::time::Duration>| age.map_or_else(|| "-".into(), words::brief);
        Line::from(vec![
            Span::raw(fit(&node.name, 11)),
            Span::styled(format!(" {} ", fit(&node.state, 8)), Style::new().fg(colour(node.level))),
            Span::raw(format!("{:>7} {:>8} ", brief(node.heard), grouped(node.entries))),
            Span::raw(format!("{:>7} {:>7}", grouped(node.behind), brief(node.since))),
        ])
    };
    let mut rows = vec![Line::styled(heads, dim())];
    rows.extend(picture.nodes.iter().map(row));
    rows
}

/// The latest values as a row of bars, the greatest as high as the line.
fn curve(history: &[u64], width: usize) -> String {
    let latest = &history[history.len().saturating_sub(width)..];
    let max = latest.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bar = |&value: &u64| {
        let height = (value as f64 / max * 8.0).ceil() as usize;
        EIGHTHS[height.min(8)]
    };
    let bars: String = latest.iter().map(bar).collect();
    format!("{bars:>width$}")
}

fn rates(picture: &Picture, width: usize) -> Vec<Line<'static>> {
    if picture.rates.is_empty() {
        return none("after the next look");
    }
    let row = |rate: &super::picture::Rate| {
        Line::from(vec![
            Span::raw(fit(&rate.name, 19)),
            Span::raw(format!("{:>10}  ", rate.now.map_or_else(|| "-".into(), words::rate))),
            Span::styled(curve(&rate.history, width.saturating_sub(31)), Style::new().fg(Color::Cyan)),
        ])
    };
    picture.rates.iter().map(row).collect()
}

fn times(picture: &Picture, width: usize) -> Vec<Line<'static>> {
    if picture.times.is_empty() {
        return none("it measures none");
    }
    let heads = format!("{:<12}{:>8}{:>8}{:>8}  ", "", "p50", "p99", "longest");
    // Over the curve, which takes what is left.
    let curve_head: String = "p99 of each look".chars().take(width.saturating_sub(38)).collect();
    let mut rows = vec![Line::styled(format!("{heads}{curve_head}"), dim())];
    rows.extend(picture.times.iter().map(|time| {
        let of = |value: Option<u64>| value.map_or_else(|| "-".into(), words::nanos);
        Line::from(vec![
            Span::raw(fit(&time.name, 12)),
            Span::raw(format!("{:>8}{:>8}{:>8}  ", of(time.p50), of(time.p99), of(time.max))),
            Span::styled(curve(&time.history, width.saturating_sub(38)), Style::new().fg(Color::Magenta)),
        ])
    }));
    rows
}

fn topics(picture: &Picture, hot: bool, width: usize) -> Vec<Line<'static>> {
    let topics = if hot { &picture.hot } else { &picture.large };
    if topics.is_empty() {
        return none(if picture.level == Level::Bad {
            "it does not run"
        } else {
            "none was seen to change yet"
        });
    }
    let row = |topic: &super::picture::Topic| {
        let rate = if hot { format!("{:>9}/s ", words::rate(topic.rate)) } else { String::new() };
        let members = format!("{:>10} members  ", grouped(topic.members));
        let left = width.saturating_sub(rate.len() + members.len());
        Line::from(vec![
            Span::styled(rate, Style::new().fg(Color::Cyan)),
            Span::raw(members),
            Span::raw(words::plain(&topic.name, left)),
        ])
    };
    topics.iter().map(row).collect()
}

fn shards(picture: &Picture, width: usize) -> Vec<Line<'static>> {
    let all = &picture.shards;
    if all.is_empty() {
        return none("no tracker counts here");
    }
    let max = all.iter().map(|shard| shard.rate).fold(0.0, f64::max);
    let hot = |shard: &super::picture::Shard| {
        Style::new().fg(if shard.is_hot(all) { Color::Red } else { Color::Green })
    };
    let part = |shard: &super::picture::Shard| if max > 0.0 { shard.rate / max } else { 0.0 };
    // All of them at a glance, one cell each, in the order of their numbers however the rest is sorted.
    let mut in_order: Vec<&super::picture::Shard> = all.iter().collect();
    in_order.sort_by_key(|shard| shard.number);
    let glance = in_order.into_iter().map(|shard| {
        let height = (part(shard) * 7.0).ceil() as usize + 1;
        Span::styled(EIGHTHS[height.min(8)].to_string(), hot(shard))
    });
    let mut rows = vec![Line::from_iter(glance)];
    rows.extend(all.iter().map(|shard| {
        let room = width.saturating_sub(38).min(40);
        let filled = ((part(shard) * room as f64).round() as usize).min(room);
        let note = if shard.is_hot(all) { " hot" } else { "" };
        Line::from(vec![
            Span::raw(format!("{:>3} ", shard.number)),
            Span::styled(format!("{}{}", "█".repeat(filled), "·".repeat(room - filled)), hot(shard)),
            Span::raw(format!("{:>9}/s{:>10} entries", words::rate(shard.rate), grouped(shard.entries))),
            Span::styled(note, hot(shard)),
        ])
    }));
    rows
}

fn diary(picture: &Picture) -> Vec<Line<'static>> {
    if picture.diary.is_empty() {
        return none("nothing happened, and nothing went wrong");
    }
    let row = |entry: &super::picture::Entry| {
        let age = Span::styled(format!("{:>12} ago  ", words::age(entry.age)), dim());
        match entry.errors {
            Some(count) => Line::from(vec![
                age,
                Span::styled(
                    format!("error, {} times: {}", grouped(count), entry.text),
                    Style::new().fg(Color::Red),
                ),
            ]),
            None => Line::from(vec![age, Span::raw(entry.text.clone())]),
        }
    };
    picture.diary.iter().map(row).collect()
}
