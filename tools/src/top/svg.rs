//! The screen as a picture in a file: SVG, text and all.

use super::draw::draw as draw_on;
use super::picture::Picture;
use super::view::View;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write;

/// Of a character, in pixels.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 17.0;
const BACKGROUND: &str = "#15181d";
const FOREGROUND: &str = "#d8dee6";

/// For clap.
pub(super) fn size(text: &str) -> Result<(u16, u16), String> {
    let size = text.split_once('x').and_then(|(cols, rows)| Some((cols.parse().ok()?, rows.parse().ok()?)));
    let size = size.filter(|(cols, rows)| (20..=400).contains(cols) && (5..=200).contains(rows));
    size.ok_or_else(|| "write columns from 20 to 400 and rows from 5 to 200, such as 120x36".into())
}

/// The picture as SVG.
pub(super) fn draw(picture: &Picture, view: &View, (cols, rows): (u16, u16)) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(cols, rows));
    let Ok(_) = terminal.draw(|frame| draw_on(frame, picture, view));
    of_buffer(terminal.backend().buffer())
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#e5646e",
        Color::Green => "#7fc77a",
        Color::Yellow => "#e0b860",
        Color::Cyan => "#62b6cb",
        Color::Magenta => "#b48ead",
        Color::DarkGray => "#7b8594",
        _ => FOREGROUND,
    }
}

/// What cells must have in common to be one text.
fn style(cell: &Cell) -> (&'static str, bool, bool) {
    (colour(cell.fg), cell.modifier.contains(Modifier::BOLD), cell.modifier.contains(Modifier::REVERSED))
}

fn of_buffer(buffer: &Buffer) -> String {
    let (cols, rows) = (buffer.area.width, buffer.area.height);
    let (width, height) = (f64::from(cols) * WIDTH + 16.0, f64::from(rows) * HEIGHT + 16.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\" xml:space=\"preserve\">\n"
    );
    for row in 0..rows {
        let cells: Vec<&Cell> = (0..cols).map(|col| &buffer[(col, row)]).collect();
        let mut col = 0;
        for run in cells.chunk_by(|a, b| style(a) == style(b)) {
            text(&mut svg, run, col, row);
            col += run.len();
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn text(svg: &mut String, run: &[&Cell], col: usize, row: u16) {
    let (fill, bold, reversed) = style(run[0]);
    let text: String = run.iter().map(|cell| cell.symbol()).collect();
    let (x, top) = (8.0 + col as f64 * WIDTH, 8.0 + f64::from(row) * HEIGHT);
    if reversed {
        let width = run.len() as f64 * WIDTH;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{fill}\"/>"
        );
    }
    let fill = if reversed { BACKGROUND } else { fill };
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    for (at, shown) in pieces(&text) {
        // Pulled to its cells, whatever font there is.
        let (x, long) = (x + at as f64 * WIDTH, shown.chars().count() as f64 * WIDTH);
        let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" textLength=\"{long}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{fill}\"{weight}>{escaped}</text>",
            top + 13.0
        );
    }
}

/// What is between gaps of two spaces and more, with the characters before it: columns keep their places in any font.
fn pieces(text: &str) -> Vec<(usize, String)> {
    let mut pieces: Vec<(usize, String)> = Vec::new();
    let mut gap = 2;
    for (at, character) in text.chars().enumerate() {
        match (character, pieces.last_mut()) {
            (' ', _) => gap += 1,
            (_, Some((_, piece))) if gap < 2 => {
                piece.push_str(&" ".repeat(gap));
                piece.push(character);
                gap = 0;
            }
            _ => {
                pieces.push((at, character.to_string()));
                gap = 0;
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_columns_begin() {
        let expected = [(1, "a b".to_owned()), (6, "é".to_owned())];
        assert_eq!((pieces(" a b  é   "), pieces("   ")), (expected.to_vec(), vec![]));
    }

    #[test]
    fn a_picture_is_text_within_its_size() {
        let picture =
            Picture { title: "a <b> & c".into(), condition: "running".into(), ..Picture::default() };
        let svg = draw(&picture, &View::default(), (80, 24));
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains(">a &lt;b&gt; &amp; c:</text>"), "{svg}");
        assert_eq!((size("120x36"), size("120").is_err(), size("1x1").is_err()), (Ok((120, 36)), true, true));
    }
}
