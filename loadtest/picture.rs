//! Latency by percentile, as a picture: the axis goes to ever more nines, so that the slowest requests have as much room as the usual.

use std::path::Path;

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use plotters::prelude::{
    ChartBuilder, IntoLogRange, LineSeries, RGBColor, SeriesLabelPosition, ShapeStyle, WHITE,
};
use plotters::style::Color;

use tollgate::offline::drawing::{
    Area, Drawn, FONT, GUIDE, MARGIN_RIGHT_PIXELS, TEXT_PIXELS, TITLE_PIXELS, draw,
};

use crate::load::run::Ran;

const SIZE_PIXELS: (u32, u32) = (900, 520);
const DUE: RGBColor = RGBColor(200, 70, 50);
const SENT: RGBColor = RGBColor(70, 110, 170);
/// Points of a line for each time that what is left of the requests is halved.
const TICKS_PER_HALF: u32 = 10;
/// The axis ends where a single request is left, but not beyond this many nines.
const NINES_MAX: i32 = 7;

/// Writes it, alone or in a page with the report, as the file's name says.
pub(crate) fn write(path: &Path, ran: &Ran) -> anyhow::Result<()> {
    let (_, svg) =
        draw("latency.svg", SIZE_PIXELS, |area| latencies(area, ran)).map_err(|error| anyhow!(error))?;
    let is_page = path.extension().is_some_and(|extension| extension == "html");
    let text = if is_page { page(&svg, ran)? } else { svg };
    std::fs::write(path, text).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Points of the line: how many requests there are to one that is slower, and the latency in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn line(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let end = (histogram.len() as f64).max(10.0);
    histogram
        .iter_quantiles(TICKS_PER_HALF)
        .map(|it| {
            let slower = 1.0 / (1.0 - it.quantile_iterated_to()).max(1e-12);
            (slower.min(end), it.value_iterated_to() as f64 / 1_000.0)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn latencies(area: &Area<'_>, ran: &Ran) -> Drawn {
    let measured = &ran.measured;
    let count = (measured.latency_us.len() as f64).max(10.0);
    let right = 10_f64.powf(count.log10().ceil().min(f64::from(NINES_MAX)));
    let lines = [
        ("from when it was due", DUE, line(&measured.latency_us)),
        ("from when it was sent, as a closed loop has it", SENT, line(&measured.exchange_us)),
    ];
    let values = || lines.iter().flat_map(|(_, _, points)| points.iter().map(|point| point.1));
    let top = 10_f64.powf(values().fold(1.0, f64::max).log10().ceil());
    let bottom = 10_f64.powf(values().fold(top, f64::min).max(0.001).log10().floor());
    let mut chart = ChartBuilder::on(area)
        .caption("Latency by percentile", (FONT, TITLE_PIXELS))
        .margin(14)
        .margin_right(MARGIN_RIGHT_PIXELS)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d((1.0..right).log_scale(), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of requests that were faster")
        .y_desc("latency")
        .x_label_formatter(&|slower| percentile(*slower))
        .y_label_formatter(&|ms| {
            if *ms < 1.0 { format!("{:.0} us", ms * 1_000.0) } else { format!("{ms:.0} ms") }
        })
        .label_style((FONT, TEXT_PIXELS))
        .draw()?;
    for (name, color, points) in lines {
        chart
            .draw_series(LineSeries::new(points, ShapeStyle::from(color).stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| plotters::prelude::PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, TEXT_PIXELS))
        .border_style(GUIDE)
        .background_style(WHITE.mix(0.9))
        .draw()?;
    Ok(())
}

/// `1` is 0 %, `10` 90 %, `100` 99 % and so on.
fn percentile(slower: f64) -> String {
    let nines = slower.log10().round().max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few nines")]
    let digits = (nines as usize).saturating_sub(2);
    format!("{:.digits$} %", (1.0 - 10_f64.powf(-nines)) * 100.0)
}

fn page(svg: &str, ran: &Ran) -> anyhow::Result<String> {
    let text = ran.report.to_string();
    let json = ran.report.to_json()?;
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Load test</title>\n<style>\n\
         body {{ font: 15px sans-serif; margin: 2em auto; max-width: 60em; color: #222; }}\n\
         pre {{ background: #f4f4f4; padding: 1em; overflow-x: auto; }}\n</style>\n</head>\n<body>\n<h1>Load test</h1>\n\
         <pre>{}</pre>\n{svg}\n<h2>As data</h2>\n<pre>{}</pre>\n</body>\n</html>\n",
        escaped(&text),
        escaped(&json)
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_named_by_their_nines() {
        for (slower, expected) in
            [(1.0, "0 %"), (10.0, "90 %"), (100.0, "99 %"), (1_000.0, "99.9 %"), (100_000.0, "99.999 %")]
        {
            assert_eq!(percentile(slower), expected);
        }
    }
}
