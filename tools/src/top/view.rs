//! How the user looks at the picture: which pane has the keys, how each is sorted, what is scrolled away.

use super::picture::Picture;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::cmp::Ordering;

/// A part of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pane {
    Nodes,
    Rates,
    Times,
    Hot,
    Shards,
    Large,
    Diary,
}

/// All of them, in the order of their numbers.
pub(crate) const PANES: [Pane; 7] =
    [Pane::Nodes, Pane::Rates, Pane::Times, Pane::Hot, Pane::Shards, Pane::Large, Pane::Diary];

impl Pane {
    pub(crate) fn number(self) -> usize {
        PANES.iter().position(|pane| *pane == self).unwrap_or(0)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Rates => "rates, a second",
            Self::Times => "times since the start",
            Self::Hot => "hottest topics",
            Self::Shards => "shards",
            Self::Large => "largest topics",
            Self::Diary => "errors and events",
        }
    }

    /// What it can be sorted by; the first is what it is sorted by at the start.
    pub(crate) fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Nodes => &["name", "state", "heard", "entries"],
            Self::Rates | Self::Times => &[],
            Self::Hot => &["changes", "members", "name"],
            Self::Shards => &["changes", "entries", "number"],
            Self::Large => &["members", "name"],
            Self::Diary => &["latest", "errors"],
        }
    }
}

/// What a key asks for beyond a different look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    None,
    Quit,
    NextProcess,
    LastProcess,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) focus: Pane,
    /// The pane with the keys has the whole screen.
    pub(crate) alone: bool,
    pub(crate) help: bool,
    pub(super) sort: [usize; PANES.len()],
    pub(super) reversed: [bool; PANES.len()],
    pub(crate) scroll: [usize; PANES.len()],
}

impl Default for View {
    fn default() -> Self {
        let (sort, reversed, scroll) = ([0; PANES.len()], [false; PANES.len()], [0; PANES.len()]);
        Self { focus: Pane::Nodes, alone: false, help: false, sort, reversed, scroll }
    }
}

impl View {
    /// Does what a key asks for, or says what is left to do.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Wish {
        let at = self.focus.number();
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Wish::Quit;
        }
        if self.help {
            // Any key but those that end the program only closes the help.
            self.help = false;
            return if key.code == KeyCode::Char('q') { Wish::Quit } else { Wish::None };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Tab => self.focus = PANES[(at + 1) % PANES.len()],
            KeyCode::BackTab => self.focus = PANES[(at + PANES.len() - 1) % PANES.len()],
            KeyCode::Char(digit @ '1'..='7') => {
                self.focus = PANES[digit.to_digit(10).map_or(0, |digit| digit as usize - 1)];
            }
            KeyCode::Enter | KeyCode::Char('z') => self.alone = !self.alone,
            KeyCode::Char('s') => {
                self.sort[at] = (self.sort[at] + 1) % self.focus.orders().len().max(1);
                self.scroll[at] = 0;
            }
            KeyCode::Char('r') => self.reversed[at] = !self.reversed[at],
            KeyCode::Down | KeyCode::Char('j') => self.scroll[at] = self.scroll[at].saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll[at] = self.scroll[at].saturating_sub(1),
            KeyCode::PageDown => self.scroll[at] = self.scroll[at].saturating_add(10),
            KeyCode::PageUp => self.scroll[at] = self.scroll[at].saturating_sub(10),
            KeyCode::Home => self.scroll[at] = 0,
            KeyCode::Right | KeyCode::Char('n') => return Wish::NextProcess,
            KeyCode::Left | KeyCode::Char('p') => return Wish::LastProcess,
            _ => {}
        }
        Wish::None
    }

    /// What a pane is sorted by.
    pub(crate) fn order(&self, pane: Pane) -> Option<&'static str> {
        pane.orders().get(self.sort[pane.number()]).copied()
    }

    /// Sorts the picture as the user wants it.
    pub(crate) fn sort(&self, picture: &mut Picture) {
        let by = |pane: Pane| self.order(pane).unwrap_or("");
        // Most first, names and numbers upwards; equal ones by name, so that nothing moves about.
        picture.nodes.sort_by(|a, b| {
            let order = match by(Pane::Nodes) {
                "state" => (b.level as u8).cmp(&(a.level as u8)).then_with(|| a.state.cmp(&b.state)),
                "heard" => b.heard.cmp(&a.heard),
                "entries" => b.entries.cmp(&a.entries),
                _ => Ordering::Equal,
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        picture.hot.sort_by(|a, b| {
            let order = match by(Pane::Hot) {
                "changes" => b.rate.total_cmp(&a.rate),
                "members" => b.members.cmp(&a.members),
                _ => Ordering::Equal,
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        picture.large.sort_by(|a, b| {
            let order =
                if by(Pane::Large) == "members" { b.members.cmp(&a.members) } else { Ordering::Equal };
            order.then_with(|| a.name.cmp(&b.name))
        });
        picture.shards.sort_by(|a, b| {
            let order = match by(Pane::Shards) {
                "changes" => b.rate.total_cmp(&a.rate),
                "entries" => b.entries.cmp(&a.entries),
                _ => Ordering::Equal,
            };
            order.then_with(|| a.number.cmp(&b.number))
        });
        if by(Pane::Diary) == "errors" {
            picture.diary.sort_by_key(|entry| std::cmp::Reverse(entry.errors));
        }
        let reversed = |pane: Pane| self.reversed[pane.number()];
        reverse(reversed(Pane::Nodes), &mut picture.nodes);
        reverse(reversed(Pane::Rates), &mut picture.rates);
        reverse(reversed(Pane::Times), &mut picture.times);
        reverse(reversed(Pane::Hot), &mut picture.hot);
        reverse(reversed(Pane::Shards), &mut picture.shards);
        reverse(reversed(Pane::Large), &mut picture.large);
        reverse(reversed(Pane::Diary), &mut picture.diary);
    }
}

fn reverse<T>(yes: bool, rows: &mut [T]) {
    if yes {
        rows.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Shard;
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Wish {
        view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_move_between_panes_sort_and_quit() {
        let mut view = View::default();
        assert_eq!(press(&mut view, KeyCode::BackTab), Wish::None);
        assert_eq!(view.focus, Pane::Diary);
        press(&mut view, KeyCode::Tab);
        press(&mut view, KeyCode::Char('5'));
        assert_eq!((view.focus, view.order(Pane::Shards)), (Pane::Shards, Some("changes")));
        let mut picture = Picture::default();
        for (number, rate, entries) in [(0, 1.0, 9), (1, 3.0, 5), (2, 2.0, 7)] {
            picture.shards.push(Shard { number, rate, entries });
        }
        let mut numbers = |view: &View| {
            view.sort(&mut picture);
            picture.shards.iter().map(|shard| shard.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&view), [1, 2, 0], "most changes first");
        press(&mut view, KeyCode::Char('s'));
        assert_eq!(numbers(&view), [0, 2, 1], "most entries first");
        press(&mut view, KeyCode::Char('r'));
        assert_eq!(numbers(&view), [1, 2, 0]);
        press(&mut view, KeyCode::Char('s'));
        assert_eq!((view.order(Pane::Shards), numbers(&view)), (Some("number"), vec![2, 1, 0]));
        press(&mut view, KeyCode::Char('s'));
        assert_eq!(view.order(Pane::Shards), Some("changes"));

        press(&mut view, KeyCode::Char('?'));
        assert!(view.help);
        assert_eq!((press(&mut view, KeyCode::Esc), view.help), (Wish::None, false), "the help first");
        assert_eq!(press(&mut view, KeyCode::Esc), Wish::Quit);
        assert_eq!(press(&mut view, KeyCode::Char('q')), Wish::Quit);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::Quit);
        assert_eq!(press(&mut view, KeyCode::Char('c')), Wish::None);
        assert_eq!(
            (press(&mut view, KeyCode::Right), press(&mut view, KeyCode::Left)),
            (Wish::NextProcess, Wish::LastProcess)
        );
    }

    #[test]
    fn scrolling_stays_within_numbers() {
        let mut view = View::default();
        press(&mut view, KeyCode::Up);
        assert_eq!(view.scroll[0], 0);
        view.scroll[0] = usize::MAX;
        press(&mut view, KeyCode::Down);
        press(&mut view, KeyCode::PageDown);
        assert_eq!(view.scroll[0], usize::MAX);
        press(&mut view, KeyCode::Home);
        assert_eq!(view.scroll[0], 0);
    }
}
