//! The pictures of a model report, as SVG texts. Plotters draws; nothing here reads or writes files.

use plotters::prelude::{
    ChartBuilder, Circle, IntoLogRange, LineSeries, PathElement, RGBColor, Rectangle, SeriesLabelPosition,
    ShapeStyle, WHITE,
};
use plotters::style::Color;

use crate::evaluation::metrics::CurvePoint;
use crate::offline::calibration::{Calibration, HistogramBin};
use crate::offline::drawing::{
    Area, Drawn, FONT, GUIDE, MARGIN_RIGHT_PIXELS, Picture, PictureError, TEXT_PIXELS, TITLE_PIXELS, draw,
};
use crate::offline::model_report::ModelReport;
use crate::offline::operating_point::OperatingPoint;

const SIZE_PIXELS: (u32, u32) = (720, 520);
const LEGITIMATE: RGBColor = RGBColor(70, 110, 170);
const FRAUD: RGBColor = RGBColor(200, 70, 50);

/// Every picture that the report has the numbers for.
pub fn pictures(report: &ModelReport) -> Result<Vec<Picture>, PictureError> {
    let mut pictures = Vec::new();
    if let Some(calibration) = &report.calibration {
        pictures.push(draw("reliability.svg", SIZE_PIXELS, |area| reliability(area, calibration))?);
    }
    if !report.precision_recall.is_empty() {
        pictures.push(draw("precision_recall.svg", SIZE_PIXELS, |area| {
            precision_recall(area, &report.precision_recall, &report.chosen)
        })?);
    }
    if report.rows > 0 {
        pictures.push(draw("scores.svg", SIZE_PIXELS, |area| scores(area, &report.histogram))?);
    }
    Ok(pictures)
}

/// What the scores announce against what happened, both logarithmic, with the intervals. On the line they agree.
fn reliability(area: &Area<'_>, calibration: &Calibration) -> Drawn {
    let bins = &calibration.bins;
    let positive = bins.iter().flat_map(|bin| [bin.mean_score, bin.observed.value]).filter(|it| *it > 0.0);
    let floor = positive.fold(0.1_f64, f64::min).log10().floor();
    let floor = 10_f64.powf(floor.max(-9.0));
    let mut chart = ChartBuilder::on(area)
        .caption("Reliability: on the line, the score means what it says", (FONT, TITLE_PIXELS))
        .margin(14)
        .margin_right(MARGIN_RIGHT_PIXELS)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d((floor..1.0).log_scale(), (floor..1.0).log_scale())?;
    let percent = |share: &f64| format!("{} %", share * 100.0);
    chart
        .configure_mesh()
        .x_desc("announced: mean score of the bin")
        .y_desc("happened: share of fraud, 95 % interval")
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
        .label_style((FONT, TEXT_PIXELS))
        .draw()?;
    chart.draw_series(LineSeries::new([(floor, floor), (1.0, 1.0)], GUIDE))?;
    chart.draw_series(bins.iter().map(|bin| {
        let at = bin.mean_score.max(floor);
        PathElement::new(
            vec![(at, bin.observed.low.max(floor)), (at, bin.observed.high.max(floor))],
            LEGITIMATE,
        )
    }))?;
    chart.draw_series(bins.iter().map(|bin| {
        Circle::new((bin.mean_score.max(floor), bin.observed.value.max(floor)), 4, LEGITIMATE.filled())
    }))?;
    Ok(())
}

/// Precision over recall; the thresholds that were chosen are marked.
fn precision_recall(area: &Area<'_>, curve: &[CurvePoint], chosen: &[OperatingPoint]) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .caption("Precision and recall", (FONT, TITLE_PIXELS))
        .margin(14)
        .margin_right(MARGIN_RIGHT_PIXELS)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .max_light_lines(2)
        .x_desc("recall: share of the frauds stopped")
        .y_desc("precision: share of fraud among the stopped")
        .x_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .label_style((FONT, TEXT_PIXELS))
        .draw()?;
    // A step: between two thresholds the lower one's recall is not reached, so the precision there is not either.
    let steps = curve.windows(2).flat_map(|pair| match pair {
        [from, to] => vec![(from.recall, to.precision), (to.recall, to.precision)],
        _ => Vec::new(),
    });
    let first =
        curve.iter().take(1).flat_map(|point| [(0.0, point.precision), (point.recall, point.precision)]);
    chart.draw_series(LineSeries::new(first.chain(steps), ShapeStyle::from(LEGITIMATE).stroke_width(2)))?;
    for point in chosen {
        let (Some(recall), Some(precision)) = (point.recall, point.precision) else { continue };
        let name = format!(
            "at most {} % false positives: recall {:.1} %, precision {:.1} %",
            (point.asked_false_positive_rate * 1e8).round() / 1e6,
            recall.value * 100.0,
            precision.value * 100.0
        );
        chart
            .draw_series([Circle::new((recall.value, precision.value), 5, FRAUD.filled())])?
            .label(name)
            .legend(|(x, y)| Circle::new((x + 10, y), 5, FRAUD.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font((FONT, TEXT_PIXELS))
        .border_style(GUIDE)
        .background_style(WHITE.mix(0.9))
        .draw()?;
    Ok(())
}

/// Which of a bin's counts.
type Count = fn(&HistogramBin) -> u64;

/// How many rows have which score: scores by log-odds, counts logarithmic, legitimate and fraud side by side.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn scores(area: &Area<'_>, histogram: &[HistogramBin]) -> Drawn {
    let highest = histogram.iter().map(|bin| bin.legitimate.max(bin.fraud)).max().unwrap_or(1).max(1);
    let top = 10_f64.powf((highest as f64).log10().floor() + 1.0);
    let (first, last) = (0.0, histogram.len() as f64);
    let mut chart = ChartBuilder::on(area)
        .caption("Scores of legitimate transactions and of frauds", (FONT, TITLE_PIXELS))
        .margin(14)
        .margin_right(MARGIN_RIGHT_PIXELS)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d(first..last, (0.5..top).log_scale())?;
    // A label stands at a bin's edge, which is the score from which the bin counts.
    let edge = |at: &f64| {
        let edges =
            histogram.iter().map(|bin| bin.from_score).chain(histogram.last().map(|bin| bin.to_score));
        let nearest = edges.enumerate().find(|(bin, _)| (*bin as f64 - at).abs() < 0.5);
        nearest.map_or_else(String::new, |(_, score)| short_percent(score))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(9)
        .x_desc("score (in steps of its log-odds)")
        .y_desc("transactions")
        .x_label_formatter(&edge)
        .y_label_formatter(&|count| format!("{count:.0}"))
        .label_style((FONT, TEXT_PIXELS))
        .draw()?;
    let sides: [(&str, RGBColor, f64, Count); 2] =
        [("legitimate", LEGITIMATE, 0.08, |bin| bin.legitimate), ("fraud", FRAUD, 0.5, |bin| bin.fraud)];
    for (name, color, left, count) in sides {
        let bars = histogram.iter().enumerate().filter(|(_, bin)| count(bin) > 0).map(|(at, bin)| {
            let from = at as f64 + left;
            Rectangle::new([(from, 0.5), (from + 0.42, count(bin) as f64)], color.filled())
        });
        chart
            .draw_series(bars)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x + 4, y - 5), (x + 16, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, TEXT_PIXELS))
        .border_style(GUIDE)
        .background_style(WHITE.mix(0.9))
        .draw()?;
    Ok(())
}

/// A score in percent, with two digits that count, also where it is nearly 0 or nearly 100 %.
fn short_percent(score: f64) -> String {
    let percent = score * 100.0;
    match score {
        _ if score < 0.001 => format!("{percent:.3} %"),
        _ if score < 0.01 => format!("{percent:.2} %"),
        _ if score > 0.999 => format!("{percent:.3} %"),
        _ if score > 0.99 => format!("{percent:.2} %"),
        _ => format!("{percent:.0} %"),
    }
}
