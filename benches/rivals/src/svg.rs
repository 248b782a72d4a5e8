//! Pictures: bars of throughput, curves of latency. They are wide as the text of a README, on
//! white, so that they can be read on any background.

use std::path::Path;

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DrawingArea, FontStyle, HSLColor, IntoDrawingArea, IntoFont,
    IntoLogRange, LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, TextStyle, WHITE,
};
use rivals_harness::Failure;

use crate::figures::{Everything, Figures, Key};
use crate::machine::Machine;
use crate::names::{FLOOR, RINGS, THREADS_ONLY, TRANSPORTS};
use crate::placement::Placement;
use rivals_harness::statistics::percentile;

const SIZE: (u32, u32) = (800, 540);
const FONT: &str = "sans-serif";
const TEXT: (&str, i32) = (FONT, 14);
/// Pixels from the top of one line of text to the next.
const LINE: i32 = 22;
/// Where the plots begin.
const TOP: u32 = 58;
/// The message sizes of the bars.
const BARS: [usize; 2] = [64, 1024];
/// What bars and names of our own are drawn in.
const OURS: RGBColor = RGBColor(196, 54, 22);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws everything into a directory.
pub(crate) fn draw(
    directory: &Path,
    everything: &Everything,
    machine: &Machine,
) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    let figures = &everything.reported;
    bars(&directory.join("throughput.svg"), figures, machine)?;
    let names = TRANSPORTS.into_iter().chain([FLOOR]);
    let of = |name: &'static str| {
        let bytes = if name == FLOOR { 8 } else { 64 };
        Some((name, &figures.places.get(&Key::rtt(name, bytes))?.all))
    };
    let of: Vec<_> = names.filter_map(of).collect();
    let title = "Round trip of 64 bytes, percentiles";
    let place = figures.placement;
    curves(&directory.join("latency.svg"), title, place, &of, machine)?;
    let curves_of = everything.full.iter().flat_map(|full| &full.open);
    for rate in [1e5, 1e6] {
        let near = |rate: f64, to: f64| (rate / to - 1.0).abs() < 0.1;
        let of: Vec<_> = curves_of
            .clone()
            .filter(|curve| near(curve.messages_per_s, rate) && curve.placement == place)
            .map(|curve| (curve.transport.as_str(), &curve.samples))
            .collect();
        let title = format!("One way, 64 bytes, {rate:.0} a second due, percentiles");
        let path = directory.join(format!("open-loop-{rate:.0}.svg"));
        curves(&path, &title, place, &of, machine)?;
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    name.starts_with("ringduct")
}

/// Our own dark and strong, rivals in other hues, what the kernel has in grey.
fn colour(index: usize, name: &str) -> RGBColor {
    const KERNEL: [&str; 5] = ["pipe", "unix-seqpacket", "posix-mq", "sysv-mq", "tcp"];
    if name == FLOOR {
        return BLACK;
    }
    if let Some(which) = KERNEL.iter().position(|kernel| *kernel == name) {
        let grey = u8::try_from(100 + which * 28).unwrap_or(200);
        return RGBColor(grey, grey, grey);
    }
    let index = index as f64;
    let (hue, saturation, lightness) = if is_ours(name) {
        (0.01 + index * 0.028, 0.95, 0.32 + index * 0.06)
    } else {
        ((0.25 + index * 0.09) % 0.72 + 0.22, 0.65, 0.42)
    };
    let (red, green, blue) = HSLColor(hue, saturation, lightness).rgb();
    RGBColor(red, green, blue)
}

/// The style of a name: our own stand out.
fn style(name: &str) -> TextStyle<'static> {
    if is_ours(name) {
        let font = (FONT, 14, FontStyle::Bold).into_font();
        TextStyle::from(font).color(&OURS)
    } else {
        TextStyle::from(TEXT).color(&BLACK)
    }
}

/// A white sheet with a title, and below it where all this was measured.
fn sheet<'a>(
    path: &'a Path,
    title: &str,
    placement: Placement,
    machine: &Machine,
) -> Result<Area<'a>, Failure> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let large = TextStyle::from((FONT, 18, FontStyle::Bold).into_font()).color(&BLACK);
    area.draw_text(title, &large, (16, 12))?;
    let under = format!("{placement}, {}, Linux {}", machine.cpu, machine.kernel);
    area.draw_text(&under, &TextStyle::from(TEXT).color(&BLACK), (16, 36))?;
    Ok(area)
}

/// The name with a star for those that were measured between threads.
fn starred(name: &str) -> String {
    let star = THREADS_ONLY.contains(&name);
    format!("{name}{}", if star { " *" } else { "" })
}

/// Rates of two message sizes, beside each other, the fastest on top.
fn bars(path: &Path, figures: &Figures, machine: &Machine) -> Result<(), Failure> {
    const NAMES: i32 = 204;
    const WIDE: i32 = 296;
    let rate = |name: &str, bytes| figures.stream(name, bytes, RINGS[0]);
    let mut rows: Vec<_> = TRANSPORTS
        .into_iter()
        .filter(|name| BARS.iter().any(|bytes| rate(name, *bytes).is_some()))
        .collect();
    rows.sort_by(|a, b| {
        let of = |name: &str| rate(name, BARS[0]).unwrap_or(0.0);
        of(b).total_cmp(&of(a))
    });
    let title = "Streaming, one message at a time, 64 KiB of buffer";
    let area = sheet(path, title, figures.placement, machine)?;
    let first = i32::try_from(TOP)? + 26;
    for (row, name) in (0..).zip(&rows) {
        area.draw_text(&starred(name), &style(name), (16, first + LINE * row + 2))?;
    }
    let bold = TextStyle::from((FONT, 14, FontStyle::Bold).into_font()).color(&BLACK);
    for (column, bytes) in (0..).zip(BARS) {
        let left = NAMES + WIDE * column;
        let rates = rows.iter().filter_map(|name| rate(name, bytes));
        let most = rates.reduce(f64::max).unwrap_or(1.0);
        let head = format!("{bytes} bytes, M messages a second");
        area.draw_text(&head, &bold, (left, i32::try_from(TOP)?))?;
        for (row, name) in (0..).zip(&rows) {
            let Some(rate) = rate(name, bytes) else {
                continue;
            };
            let top = first + LINE * row;
            #[expect(clippy::cast_possible_truncation, reason = "less than a picture")]
            let right = left + (rate / most * f64::from(WIDE - 60)).round().max(1.0) as i32;
            let fill = if is_ours(name) {
                OURS
            } else {
                RGBColor(120, 140, 170)
            };
            let bar = Rectangle::new([(left, top), (right, top + LINE - 6)], fill.filled());
            area.draw(&bar)?;
            let digits = match rate {
                100.0.. => 0,
                10.0.. => 1,
                _ => 2,
            };
            area.draw_text(
                &format!("{rate:.digits$}"),
                &style(name),
                (right + 5, top + 2),
            )?;
        }
    }
    let note = "* between two threads; all others between two processes";
    let bottom = i32::try_from(SIZE.1)? - 26;
    area.draw_text(note, &TextStyle::from(TEXT).color(&BLACK), (16, bottom))?;
    area.present()?;
    Ok(())
}

/// Percentiles on an axis that gives each further nine as much room.
fn curves(
    path: &Path,
    title: &str,
    placement: Placement,
    of: &[(&str, &Histogram<u64>)],
    machine: &Machine,
) -> Result<(), Failure> {
    const LEGEND: u32 = 222;
    if of.is_empty() {
        return Ok(());
    }
    let steps: Vec<f64> = (1..=80).map(|step| f64::from(step) / 20.0).collect();
    let ns = |samples: &Histogram<u64>, nines: f64| {
        let part = 1.0 - 10_f64.powf(-nines);
        machine
            .ns(percentile(samples, part, machine.step_ticks))
            .max(1.0)
    };
    let ends = |nines: f64| of.iter().map(move |(_, samples)| ns(samples, nines));
    let most = ends(4.0).fold(100.0, f64::max);
    let least = ends(0.05).fold(1e6, f64::min);
    let area = sheet(path, title, placement, machine)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_top(TOP)
        .margin_right(LEGEND)
        .x_label_area_size(36)
        .y_label_area_size(64)
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
        .bold_line_style(RGBColor(215, 215, 215))
        .label_style(TEXT)
        .draw()?;
    let mut rows = Vec::new();
    for (index, (name, samples)) in of.iter().enumerate() {
        let colour = colour(index, name);
        let width = if is_ours(name) || *name == FLOOR {
            3
        } else {
            2
        };
        let points = steps.iter().map(|nines| (*nines, ns(samples, *nines)));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
        rows.push((ns(samples, 0.301), *name, colour, width));
    }
    legend(&area, rows)?;
    area.present()?;
    Ok(())
}

/// A line for each curve, at the right of the plot, the slowest median on top.
fn legend(area: &Area<'_>, mut rows: Vec<(f64, &str, RGBColor, u32)>) -> Result<(), Failure> {
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let left = i32::try_from(SIZE.0)? - 214;
    let top = i32::try_from(TOP)?;
    for (row, (_, name, colour, width)) in (0..).zip(rows) {
        let y = top + LINE * row;
        let line = [(left, y + 7), (left + 20, y + 7)];
        area.draw(&PathElement::new(line, colour.stroke_width(width)))?;
        let name_at = (left + 26, y);
        area.draw_text(&starred(name), &style(name), name_at)?;
    }
    Ok(())
}
