//! Rows under titles.

/// A column: its title, and to which side its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
}

impl Column {
    pub(crate) const fn text(title: &'static str) -> Self {
        Self { title, right: false }
    }

    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, right: true }
    }
}

/// The titles and a line for each row; cells that a row lacks at its end stay empty.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    let lines = || std::iter::once(&titles).chain(rows);
    let width = |n: usize| {
        lines().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in lines() {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            line += &match column.right {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_their_titles() {
        let columns = [Column::text("A"), Column::number("COUNT"), Column::text("B")];
        let rows = [vec!["long".to_owned(), "7".to_owned(), "x".to_owned()], vec!["a".to_owned()]];
        assert_eq!(table(&columns, &rows), "A     COUNT  B\nlong      7  x\na\n");
    }
}
