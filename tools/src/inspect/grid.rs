//! Text in columns.

/// Which side the cells of a column keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows of cells, aligned when they are written.
#[derive(Debug)]
pub(crate) struct Grid {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// Columns with their heads.
    pub(crate) fn new<const N: usize>(columns: [(&str, Side); N]) -> Self {
        let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        Self { sides: columns.iter().map(|(_, side)| *side).collect(), rows: vec![heads] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is nothing but the heads.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines, each behind `indent` spaces.
    pub(crate) fn write(&self, indent: usize, out: &mut String) {
        let width = |cell: &String| cell.chars().count();
        let wide =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.sides.len()).map(wide).collect();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (at, cell) in row.iter().enumerate() {
                if at > 0 {
                    line.push_str("  ");
                }
                let pad = " ".repeat(widths[at].saturating_sub(width(cell)));
                match self.sides[at] {
                    Side::Left => line.extend([cell.as_str(), &pad]),
                    Side::Right => line.extend([pad.as_str(), cell]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_to_their_side() {
        let mut grid = Grid::new([("name", Side::Left), ("n", Side::Right), ("what", Side::Left)]);
        assert!(grid.is_empty());
        grid.row(["é".into(), "12".into(), "x".into()]);
        let mut text = String::new();
        grid.write(1, &mut text);
        assert_eq!(text, " name   n  what\n é     12  x\n");
    }
}
