//! The picture of a backtest: what each rule catches and what it costs, where the decisions stand, and the line to beat: thresholds
//! on the score alone.
//!
//! Both axes are logarithmic: most rules are for few frauds, and where fraud is rare, a good rule is one in ten. A rule that caught no
//! fraud has no place there: such rules are counted below.

use plotters::prelude::{
    ChartBuilder, Circle, IntoLogRange, LineSeries, PathElement, RGBColor, Rectangle, ShapeStyle, Text,
    TextStyle, TriangleMarker,
};
use plotters::style::{Color, IntoFont};

use crate::domain::decision::Outcome;
use crate::evaluation::metrics::CurvePoint;
use crate::evaluation::report::{BacktestReport, Point, RuleRow, RuleState};
use crate::evaluation::text_table::thousands;
use crate::offline::drawing::{
    Area as Canvas, Drawn, FONT, GUIDE, PictureError, TEXT_PIXELS, TITLE_PIXELS, draw,
};
use crate::offline::label_places::{Area, Named, places};

const SIZE_PIXELS: (u32, u32) = (1_100, 760);
const NAME_PIXELS: u32 = 12;
/// A letter of a name, in pixels: wide enough for what a viewer's font may be.
const LETTER_PIXELS: f64 = 6.4;
/// How much is left above the plot for title and legend.
const HEAD_PIXELS: i32 = 72;
/// Where these begin.
const LEFT_PIXELS: i32 = 82;
/// A letter of the legend.
const LEGEND_LETTER_PIXELS: i32 = 7;
/// The lowest recall and precision that are drawn.
const SHARE_MIN: f64 = 1e-5;
/// The smallest and the largest radius of a rule.
const RADIUS_PIXELS: (f64, f64) = (3.0, 11.0);
/// The side of an operating point's square, halved.
const POINT_PIXELS: i32 = 7;
const TEXT: RGBColor = RGBColor(40, 40, 40);
const SCORE: RGBColor = RGBColor(120, 120, 120);
const BEFORE: RGBColor = RGBColor(20, 20, 20);
const AFTER: RGBColor = RGBColor(120, 30, 140);

const fn color(outcome: Outcome) -> RGBColor {
    match outcome {
        Outcome::Approve => RGBColor(60, 140, 70),
        Outcome::Review => RGBColor(60, 110, 190),
        Outcome::Challenge => RGBColor(225, 140, 30),
        Outcome::Block => RGBColor(200, 50, 45),
    }
}

/// A rule that has a place.
struct Dot<'a> {
    row: &'a RuleRow,
    at: (f64, f64),
    radius: f64,
}

/// The picture as SVG.
pub fn picture(report: &BacktestReport) -> Result<String, PictureError> {
    let (_, svg) = draw("the trade-off", SIZE_PIXELS, |area| tradeoff(area, report))?;
    Ok(svg)
}

fn tradeoff(area: &Canvas<'_>, report: &BacktestReport) -> Drawn {
    let dots = dots(report);
    let points = operating_points(report);
    let recalls = dots.iter().map(|dot| dot.at.0).chain(points.iter().map(|point| point.at.0));
    let precisions = dots.iter().map(|dot| dot.at.1).chain(points.iter().map(|point| point.at.1));
    // Some room below the smallest share, and never less than a decade in all.
    let floor = (recalls.fold(0.1_f64, f64::min) / 1.6).max(SHARE_MIN);
    let bottom = (precisions.fold(0.1_f64, f64::min) / 1.6).max(SHARE_MIN);
    let percent = |share: &f64| format!("{} %", (share * 1e7).round() / 1e5);
    let (_, body) = area.split_vertically(HEAD_PIXELS);
    let mut chart = ChartBuilder::on(&body)
        .margin(16)
        .margin_top(4)
        .margin_right(40)
        .margin_bottom(40)
        .x_label_area_size(48)
        .y_label_area_size(66)
        .build_cartesian_2d((floor..1.0).log_scale(), (bottom..1.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(GUIDE.mix(0.12))
        .bold_line_style(GUIDE.mix(0.35))
        .x_desc("recall: share of all frauds (logarithmic)")
        .y_desc("precision: share of fraud among what is matched or stopped (logarithmic)")
        .x_labels(6)
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
        .label_style((FONT, TEXT_PIXELS))
        .draw()?;
    let curve = steps(&report.score_curve, (floor, bottom));
    let has_curve = !curve.is_empty();
    if has_curve {
        chart.draw_series(LineSeries::new(curve, ShapeStyle::from(SCORE).stroke_width(2)))?;
    }
    for outcome in Outcome::ALL.into_iter().rev() {
        let style = |dot: &Dot<'_>| match dot.row.state {
            RuleState::Live => color(outcome).mix(0.75).filled(),
            RuleState::Shadow => ShapeStyle::from(color(outcome)).stroke_width(2),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a few pixels")]
        let circle = |dot: &Dot<'_>| Circle::new(dot.at, dot.radius.round() as i32, style(dot));
        chart.draw_series(dots.iter().filter(|dot| dot.row.outcome == outcome).map(circle))?;
    }

    // From here on in pixels: names have no size in shares.
    let pixel = |at: &(f64, f64)| {
        let (x, y) = chart.backend_coord(at);
        (f64::from(x), f64::from(y))
    };
    let (plot_x, plot_y) = chart.plotting_area().get_pixel_range();
    let bounds = Area {
        left: f64::from(plot_x.start),
        top: f64::from(plot_y.start),
        right: f64::from(plot_x.end),
        bottom: f64::from(plot_y.end),
    };
    for (from, to) in points.iter().filter_map(|point| Some((point.from?, point.at))) {
        let line = [whole(pixel(&from)), whole(pixel(&to))];
        area.draw(&PathElement::new(line, ShapeStyle::from(AFTER.mix(0.5)).stroke_width(1)))?;
    }
    let mut named: Vec<(String, RGBColor, Named)> = Vec::new();
    for point in &points {
        let (at, color) = (pixel(&point.at), if point.is_candidate { AFTER } else { BEFORE });
        let (x, y) = whole(at);
        if point.is_candidate {
            area.draw(&TriangleMarker::new((x, y), POINT_PIXELS + 2, color.filled()))?;
        } else {
            let corners = [(x - POINT_PIXELS, y - POINT_PIXELS), (x + POINT_PIXELS, y + POINT_PIXELS)];
            area.draw(&Rectangle::new(corners, ShapeStyle::from(color).stroke_width(2)))?;
        }
        named.push((point.name.clone(), color, name_of(&point.name, at, f64::from(POINT_PIXELS) + 1.0)));
    }
    for dot in &dots {
        named.push((dot.row.rule.clone(), TEXT, name_of(&dot.row.rule, pixel(&dot.at), dot.radius)));
    }
    let wanted: Vec<Named> = named.iter().map(|(.., named)| *named).collect();
    let found = places(&wanted, &bounds, Vec::new());
    let mut unnamed = 0;
    for ((name, color, named), place) in named.iter().zip(found) {
        let Some(place) = place else {
            unnamed += 1;
            continue;
        };
        // A name that stands far from its point is tied to it.
        let near = (named.at.0.clamp(place.left, place.right), named.at.1.clamp(place.top, place.bottom));
        if (near.0 - named.at.0).hypot(near.1 - named.at.1) > named.radius + named.height {
            area.draw(&PathElement::new([whole(named.at), whole(near)], GUIDE.mix(0.8)))?;
        }
        let style = TextStyle::from((FONT, NAME_PIXELS).into_font()).color(color);
        area.draw(&Text::new(name.as_str(), whole((place.left, place.top)), style))?;
    }
    head(area, &dots, has_curve)?;
    let below = (f64::from(plot_x.start), f64::from(SIZE_PIXELS.1) - 34.0);
    let style = TextStyle::from((FONT, TEXT_PIXELS).into_font()).color(&TEXT);
    area.draw(&Text::new(note(report, &dots, unnamed), whole(below), style))?;
    area.present()?;
    Ok(())
}

/// Title and legend, above the plot: inside, it would lie where the best rules are.
fn head(area: &Canvas<'_>, dots: &[Dot<'_>], has_curve: bool) -> Drawn {
    let style = |pixels: u32| TextStyle::from((FONT, pixels).into_font()).color(&TEXT);
    area.draw(&Text::new("What rules catch and what they cost", (LEFT_PIXELS, 14), style(TITLE_PIXELS)))?;
    let (y, mut x) = (HEAD_PIXELS - 18, LEFT_PIXELS);
    let mut said = |area: &Canvas<'_>, text: &str| -> Result<i32, Box<dyn std::error::Error>> {
        let at = x;
        area.draw(&Text::new(text.to_owned(), (at + 26, y - 8), style(TEXT_PIXELS)))?;
        let letters = i32::try_from(text.chars().count()).unwrap_or(0);
        x += 26 + letters * LEGEND_LETTER_PIXELS + 20;
        Ok(at)
    };
    if has_curve {
        let at = said(area, "the score alone, at every threshold")?;
        area.draw(&PathElement::new([(at, y), (at + 20, y)], ShapeStyle::from(SCORE).stroke_width(2)))?;
    }
    for outcome in Outcome::ALL.into_iter().rev() {
        if dots.iter().any(|dot| dot.row.outcome == outcome) {
            let at = said(area, &format!("says {outcome}"))?;
            area.draw(&Circle::new((at + 12, y), 6, color(outcome).mix(0.75).filled()))?;
        }
    }
    if dots.iter().any(|dot| dot.row.state == RuleState::Shadow) {
        let at = said(area, "hollow: in shadow")?;
        area.draw(&Circle::new((at + 12, y), 6, ShapeStyle::from(GUIDE).stroke_width(2)))?;
    }
    Ok(())
}

fn name_of(name: &str, at: (f64, f64), radius: f64) -> Named {
    #[expect(clippy::cast_precision_loss, reason = "a name has few letters")]
    let width = name.chars().count() as f64 * LETTER_PIXELS;
    Named { at, radius, width, height: f64::from(NAME_PIXELS) + 1.0 }
}

#[expect(clippy::cast_possible_truncation, reason = "a pixel of a picture")]
fn whole((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

/// The rules that caught a fraud, those with most hits first; their area grows with the logarithm of the hits.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn dots(report: &BacktestReport) -> Vec<Dot<'_>> {
    let hits_max = report.rules.iter().map(|row| row.hits).max().unwrap_or(1).max(2) as f64;
    let mut dots: Vec<Dot<'_>> = report
        .rules
        .iter()
        .filter(|row| row.truth.fraud > 0)
        .filter_map(|row| {
            let at = (row.recall?.value.max(SHARE_MIN), row.precision?.value.max(SHARE_MIN));
            let share = (1.0 + row.hits as f64).ln() / (1.0 + hits_max).ln();
            let (least, most) = RADIUS_PIXELS;
            Some(Dot { row, at, radius: least + (most - least) * share * share })
        })
        .collect();
    dots.sort_by(|a, b| b.row.hits.cmp(&a.row.hits).then_with(|| a.row.rule.cmp(&b.row.rule)));
    dots
}

/// Where decisions stand: what is not approved, or what is blocked.
struct OperatingPoint {
    name: String,
    is_candidate: bool,
    at: (f64, f64),
    /// Of the candidate: where it was before.
    from: Option<(f64, f64)>,
}

/// Before, where it is known, and after.
fn operating_points(report: &BacktestReport) -> Vec<OperatingPoint> {
    let place = |point: &Point| {
        let (recall, precision) = (point.recall?.value, point.precision?.value);
        (recall > 0.0).then_some((recall.max(SHARE_MIN), precision.max(SHARE_MIN)))
    };
    let before = report.comparison.as_ref().map(|comparison| &comparison.operation_before);
    let after = &report.operation;
    let mut points = Vec::new();
    for (what, before, after) in [
        ("not APPROVE", before.map(|it| &it.stopped), &after.stopped),
        ("BLOCK", before.map(|it| &it.blocked), &after.blocked),
    ] {
        let from = before.and_then(place);
        if let Some(at) = from {
            points.push(OperatingPoint {
                name: format!("{what}, before"),
                is_candidate: false,
                at,
                from: None,
            });
        }
        if let Some(at) = place(after) {
            let name = if from.is_some() { format!("{what}, candidate") } else { what.to_owned() };
            points.push(OperatingPoint { name, is_candidate: true, at, from });
        }
    }
    points
}

/// The score's precision over its recall, as a step: between two thresholds the lower one's recall is not reached.
fn steps(curve: &[CurvePoint], (floor, bottom): (f64, f64)) -> Vec<(f64, f64)> {
    let first =
        curve.iter().take(1).flat_map(|point| [(floor, point.precision), (point.recall, point.precision)]);
    let steps = curve.windows(2).flat_map(|pair| match pair {
        [from, to] => vec![(from.recall, to.precision), (to.recall, to.precision)],
        _ => Vec::new(),
    });
    first.chain(steps).filter(|(recall, precision)| *recall >= floor && *precision >= bottom).collect()
}

fn note(report: &BacktestReport, dots: &[Dot<'_>], unnamed: usize) -> String {
    let fruitless = report.rules.iter().filter(|row| row.hits > 0 && row.truth.fraud == 0).count();
    let silent = report.rules.iter().filter(|row| row.hits == 0).count();
    let mut note = format!(
        "{} transactions, {} of them fraud. {} rules drawn, the larger the more hits",
        thousands(report.truth.total()),
        thousands(report.truth.fraud),
        dots.len()
    );
    for (count, what) in [
        (fruitless, "matched no fraud"),
        (silent, "never matched"),
        (unnamed, "points have no room for a name"),
    ] {
        if count > 0 {
            note = format!("{note}; {count} {what}");
        }
    }
    note
}
