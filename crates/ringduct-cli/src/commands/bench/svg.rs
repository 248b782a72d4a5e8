//! One picture: percentiles of round trips on the left, rates of streams on the right.

use std::fmt;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Color as _, DrawingArea, FontStyle, IntoDrawingArea as _, IntoFont as _,
    IntoLogRange as _, LineSeries, RGBColor, Rectangle, SVGBackend, TextStyle, WHITE,
};

use super::figures::{Figures, Key, Series};
use super::plan::Plan;
use crate::failure::{Code, Failure};

const SIZE: (u32, u32) = (1000, 520);
const TEXT: (&str, i32) = ("sans-serif", 13);
/// Pixels from the top of one line of text to the next.
const LINE: i32 = 20;
/// Our own first, then what the kernel has.
const COLOURS: [(&str, RGBColor); 4] = [
    ("ringduct", RGBColor(196, 54, 22)),
    ("pipe", RGBColor(70, 70, 70)),
    ("unix", RGBColor(66, 110, 180)),
    ("mq", RGBColor(60, 150, 90)),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the figures.
pub(super) fn draw(path: &Path, plan: &Plan, figures: &Figures) -> Result<(), Failure> {
    let failed = |error: &dyn fmt::Display| {
        Failure::new(
            Code::Other,
            format!("cannot draw {}: {error}", path.display()),
        )
    };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    fill(&area, plan, figures).map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}

fn fill(area: &Area<'_>, plan: &Plan, figures: &Figures) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let large = TextStyle::from(("sans-serif", 17, FontStyle::Bold).into_font()).color(&BLACK);
    area.draw_text("ringduct bench", &large, (16, 10))?;
    let (floor, _) = figures.floor_ns();
    let under = format!(
        "{}, Linux {}; rings in {}; floor {floor:.0} ns",
        plan.cpu,
        plan.kernel,
        plan.backing()
    );
    area.draw_text(&under, &TextStyle::from(TEXT).color(&BLACK), (16, 34))?;
    let (_, below) = area.split_vertically(56);
    let (left, right) = below.split_horizontally(560);
    curves(&left, figures)?;
    bars(&right, figures)
}

fn colour(transport: &str) -> RGBColor {
    let found = COLOURS.iter().find(|(name, _)| *name == transport);
    found.map_or(RGBColor(0, 0, 0), |(_, colour)| *colour)
}

fn of_kind(figures: &Figures, is_stream: bool) -> Vec<(Key, &Series)> {
    let wanted = figures
        .series
        .iter()
        .filter(|(key, _)| key.is_stream == is_stream);
    wanted.map(|(key, series)| (*key, series)).collect()
}

fn label(key: Key) -> String {
    format!("{}, {} B", key.transport, key.bytes)
}

/// Percentiles on an axis that gives each further nine as much room.
fn curves(area: &Area<'_>, figures: &Figures) -> Result<(), Box<dyn std::error::Error>> {
    let of = of_kind(figures, false);
    let steps: Vec<f64> = (1..=80).map(|step| f64::from(step) / 20.0).collect();
    let ns = |series: &Series, nines: f64| {
        let value = series.all.value_at_quantile(1.0 - 10_f64.powf(-nines));
        super::figures::float(value).max(1.0)
    };
    let most = of
        .iter()
        .map(|(_, series)| ns(series, 4.0))
        .fold(100.0, f64::max);
    let least = of
        .iter()
        .map(|(_, series)| ns(series, 0.05))
        .fold(1e9, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption("round trip, percentiles", TEXT)
        .margin(10)
        .margin_right(150)
        .x_label_area_size(30)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..4.0, (least * 0.8..most * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(5)
        .x_label_formatter(&|nines| format!("{}%", 100.0 - 100.0 * 10_f64.powf(-nines)))
        .y_label_formatter(&|ns| match *ns {
            1e6.. => format!("{:.0} ms", ns / 1e6),
            1e3.. => format!("{:.0} us", ns / 1e3),
            _ => format!("{ns:.0} ns"),
        })
        .light_line_style(WHITE)
        .label_style(TEXT)
        .draw()?;
    for (row, (key, series)) in (0..).zip(&of) {
        let line = colour(key.transport).stroke_width(2);
        let points = steps.iter().map(|nines| (*nines, ns(series, *nines)));
        chart.draw_series(LineSeries::new(points, line))?;
        let colour = colour(key.transport);
        let style = TextStyle::from(TEXT).color(&colour);
        area.draw_text(&label(*key), &style, (420, at(30, row)))?;
    }
    Ok(())
}

/// The pixel of a row.
fn at(top: i32, row: i32) -> i32 {
    top.saturating_add(LINE.saturating_mul(row))
}

/// One bar for each transport and size.
fn bars(area: &Area<'_>, figures: &Figures) -> Result<(), Box<dyn std::error::Error>> {
    const LEFT: i32 = 120;
    const WIDE: f64 = 220.0;
    let of = of_kind(figures, true);
    let plain = TextStyle::from(TEXT).color(&BLACK);
    area.draw_text("streams, million messages a second", &plain, (10, 10))?;
    let most = of
        .iter()
        .map(|(_, series)| series.median())
        .fold(1.0, f64::max);
    for (row, (key, series)) in (0..).zip(&of) {
        let rate = series.median();
        let top = at(36, row);
        #[expect(clippy::cast_possible_truncation, reason = "less than a picture")]
        let right = LEFT.saturating_add((rate / most * WIDE).round().max(1.0) as i32);
        area.draw_text(&label(*key), &plain, (10, top))?;
        let corners = [(LEFT, top), (right, top.saturating_add(LINE - 6))];
        area.draw(&Rectangle::new(corners, colour(key.transport).filled()))?;
        let figure = format!("{:.2}", rate / 1e6);
        area.draw_text(&figure, &plain, (right.saturating_add(5), top))?;
    }
    Ok(())
}
