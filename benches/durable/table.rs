//! Medians, quartiles, and how they are shown.

use core::fmt::Write;

/// What one side of a comparison took or reached, once for each time it was tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value that so many hundredths of all are below; zero if there are none.
    pub(crate) fn percentile(&self, hundredths: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let index = last.saturating_mul(hundredths).div_ceil(100);
        sorted.get(index).copied().unwrap_or(0.0)
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// Ours divided by theirs.
    RatioAtMost(f64),
    /// Ours divided by theirs.
    RatioAtLeast(f64),
    /// Ours, in the row's unit.
    Below(f64),
    /// For information.
    Nothing,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Samples,
    pub(crate) theirs: Option<Samples>,
    pub(crate) aim: Aim,
    /// What else was seen.
    pub(crate) note: String,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        let theirs = self.theirs.as_ref()?.median();
        (theirs > 0.0).then(|| self.ours.median() / theirs)
    }

    fn is_met(&self) -> Option<bool> {
        match self.aim {
            Aim::RatioAtMost(aim) => Some(self.ratio()? <= aim),
            Aim::RatioAtLeast(aim) => Some(self.ratio()? >= aim),
            Aim::Below(aim) => Some(self.ours.median() < aim),
            Aim::Nothing => None,
        }
    }

    fn aim(&self) -> String {
        let text = match self.aim {
            Aim::RatioAtMost(aim) => format!("ratio at most {aim}"),
            Aim::RatioAtLeast(aim) => format!("ratio at least {aim}"),
            Aim::Below(aim) => format!("below {aim} {}", self.unit),
            Aim::Nothing => return "–".to_owned(),
        };
        match self.is_met() {
            Some(false) => format!("{text}: **missed**"),
            _ => text,
        }
    }
}

fn shown(samples: &Samples, unit: &str) -> String {
    let [low, middle, high] = [25, 50, 75].map(|part| samples.percentile(part));
    format!("{middle:.2} {unit} [{low:.2}, {high:.2}]")
}

/// The table, for people.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut out = String::from(
        "| measure | ours | theirs | ratio | aimed at | seen besides |\n|---|--:|--:|--:|---|---|\n",
    );
    for row in rows {
        let theirs = row.theirs.as_ref();
        let theirs = theirs.map_or_else(|| "–".to_owned(), |theirs| shown(theirs, row.unit));
        let ratio = row
            .ratio()
            .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let (ours, aim) = (shown(&row.ours, row.unit), row.aim());
        let (measure, note) = (&row.measure, &row.note);
        // Writing to a string cannot fail.
        let _always = writeln!(
            out,
            "| {measure} | {ours} | {theirs} | {ratio} | {aim} | {note} |"
        );
    }
    out
}

/// The same, for programs. No text in it needs escaping.
pub(crate) fn json(rows: &[Row]) -> String {
    let side = |samples: &Samples| {
        let [low, middle, high] = [25, 50, 75].map(|part| samples.percentile(part));
        let count = samples.count();
        format!(
            "{{\"median\": {middle}, \"quartile1\": {low}, \"quartile3\": {high}, \"samples\": {count}}}"
        )
    };
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let null = || "null".to_owned();
            format!(
                "  {{\"measure\": \"{}\", \"unit\": \"{}\", \"ours\": {}, \"theirs\": {}, \
                 \"ratio\": {}, \"aim\": \"{}\", \"met\": {}, \"note\": \"{}\"}}",
                row.measure,
                row.unit,
                side(&row.ours),
                row.theirs.as_ref().map_or_else(null, side),
                row.ratio().map_or_else(null, |ratio| ratio.to_string()),
                row.aim().replace(": **missed**", ""),
                row.is_met().map_or_else(null, |met| met.to_string()),
                row.note,
            )
        })
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
