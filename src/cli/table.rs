//! Tables for people: every column is as wide as its widest cell.

/// The lines of a table, its header first. Columns of numbers stand to the right, all others to the left.
pub(super) fn lines<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> Vec<String> {
    let header = header.map(str::to_owned);
    let columns: Vec<Column> = (0..COLUMNS).map(|index| Column::of(&header, rows, index)).collect();
    std::iter::once(&header).chain(rows).map(|cells| line(&columns, cells)).collect()
}

struct Column {
    width: usize,
    numeric: bool,
}

impl Column {
    fn of<const COLUMNS: usize>(
        header: &[String; COLUMNS],
        rows: &[[String; COLUMNS]],
        index: usize,
    ) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(index));
        let widths = cells().chain(header.get(index)).map(|cell| cell.chars().count());
        let is_number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            width: widths.max().unwrap_or(0),
            numeric: !rows.is_empty() && cells().all(is_number),
        }
    }
}

fn line(columns: &[Column], cells: &[String]) -> String {
    let padded = columns.iter().zip(cells).map(|(column, cell)| {
        let width = column.width;
        if column.numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_cells() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let check = |rows: &[[String; 3]], expected: &[&str]| {
            assert_eq!(lines(["name", "count", "note"], rows), expected);
        };
        check(&[], &["name  count  note"]);
        check(&[row(["a", "7", ""])], &["name  count  note", "a         7"]);
        check(
            &[row(["a", "7", "x"]), row(["ömer-long", "1234567", ""])],
            &["name         count  note", "a                7  x", "ömer-long  1234567"],
        );
        check(&[row(["", "-", "x"])], &["name  count  note", "      -      x"]);
    }
}
