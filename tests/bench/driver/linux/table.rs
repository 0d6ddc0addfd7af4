//! Tables that read well in a terminal and are Markdown when pasted, and how figures are written in
//! them.

/// A pipe table: a title and a row for each subject, its figures to the right.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// As text. Columns without any figure are left out, and a table without rows is nothing.
    pub(crate) fn text(&self) -> String {
        let filled = |column: usize| {
            self.rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty()))
        };
        let columns: Vec<usize> =
            (0..self.head.len()).filter(|&column| column == 0 || filled(column)).collect();
        if self.rows.is_empty() || columns.len() < 2 {
            return String::new();
        }
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column: usize| {
            let lengths =
                self.rows.iter().chain([&self.head]).map(|row| cell(row, column).chars().count());
            lengths.max().unwrap_or(0).max(3)
        };
        let line = |row: &[String]| -> String {
            let cells = columns.iter().map(|&column| {
                let (text, width) = (cell(row, column), width(column));
                if column == 0 {
                    format!(" {text:<width$} |")
                } else {
                    format!(" {text:>width$} |")
                }
            });
            format!("|{}\n", cells.collect::<String>())
        };
        let rule: String = columns
            .iter()
            .map(|&column| {
                let dashes = "-".repeat(width(column));
                if column == 0 { format!(" {dashes} |") } else { format!(" {}: |", &dashes[1..]) }
            })
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{rule}\n{rows}", line(&self.head))
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
        let mut table = Table::new(["subject", "W1", "W5L", "W6"]);
        table.row(["ours", "1.50", "", "22"]);
        table.row(["another-one", "10.00", "", ""]);
        assert_eq!(
            table.text(),
            "| subject     |    W1 |  W6 |\n| ----------- | ----: | --: |\n\
             | ours        |  1.50 |  22 |\n| another-one | 10.00 |     |\n"
        );
        assert_eq!(Table::new(["subject", "W1"]).text(), "");
    }

    #[test]
    fn wide_letters_count_once() {
        let mut table = Table::new(["a", "µs"]);
        table.row(["x", "1 (2×)"]);
        let widths: Vec<_> = table.text().lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{widths:?}");
    }

    #[test]
    fn numbers_have_as_many_digits_as_matter() {
        let shown = [0.0, 0.12345, 1.0, 9.999, 12.34, 99.96, 1234.5, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.00", "0.123", "1.00", "10.0", "12.3", "100", "1,234", "1,234,567"]);
        assert_eq!(
            [0.0, 2.0, 2.5, 23.004, 23.02, 1500.0].map(count),
            ["0", "2", "2.50", "23", "23.02", "1,500"]
        );
        assert_eq!([-0.2, -1234.0].map(thousands), ["0", "-1,234"]);
    }
}
