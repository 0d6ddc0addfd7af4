//! Tables that read well in a terminal and are Markdown when pasted, and how figures are written in
//! them.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, presets::ASCII_MARKDOWN};

/// A title and a row for each subject, its figures to the right.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(head);
        Self(table)
    }

    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        self.0.add_row(cells);
    }

    /// As text. Columns without any figure are left out, and a table without rows is nothing.
    pub(crate) fn text(mut self) -> String {
        let mut shown = 0;
        for column in self.0.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for index in 1..self.0.column_count() {
            let mut rows = self.0.row_iter();
            let cell = |row: &comfy_table::Row| row.cell_iter().nth(index).map(Cell::content);
            let filled = rows.any(|row| cell(row).is_some_and(|text| !text.is_empty()));
            shown += usize::from(filled);
            if let Some(column) = self.0.column_mut(index).filter(|_| !filled) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        if shown == 0 { String::new() } else { format!("{}\n", self.0) }
    }
}

/// Three figures that matter, or all of a large number: `0.123`, `4.56`, `78.9`, `1,234`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => thousands(value),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.9995 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count, with decimals only where it is not whole.
pub(crate) fn count(value: f64) -> String {
    if (value - value.round()).abs() < 0.005 { thousands(value) } else { format!("{value:.2}") }
}

/// A whole number in groups of three digits.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_right_aligned_and_empty_columns_left_out() {
        let mut table = Table::new(["subject", "W1 µs", "W5L", "W6"]);
        table.row(["ours", "1.50 (2×)", "", "22"]);
        table.row(["another-one", "10.00", "", ""]);
        assert_eq!(
            table.text(),
            "| subject     |     W1 µs | W6 |\n|-------------|-----------|----|\n\
             | ours        | 1.50 (2×) | 22 |\n| another-one |     10.00 |    |\n"
        );
        assert_eq!(Table::new(["subject", "W1"]).text(), "");
    }

    #[test]
    fn numbers_have_as_many_digits_as_matter() {
        let shown = [0.0, 0.12345, 1.0, 9.999, 12.34, 99.96, 1234.5, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.00", "0.123", "1.00", "10.0", "12.3", "100", "1,234", "1,234,567"]);
        let shown = [0.0, 2.0, 2.5, 23.004, 23.02, 1500.0].map(count);
        assert_eq!(shown, ["0", "2", "2.50", "23", "23.02", "1,500"]);
        assert_eq!([-0.2, -1234.0].map(thousands), ["0", "-1,234"]);
    }
}
