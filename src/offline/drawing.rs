//! What all pictures share: SVG texts that Plotters draws. Nothing here reads or writes files.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, RGBColor, SVGBackend, WHITE};
use thiserror::Error;

/// The font of all texts.
pub const FONT: &str = "sans-serif";
/// The height of a title.
pub const TITLE_PIXELS: u32 = 20;
/// The height of other texts.
pub const TEXT_PIXELS: u32 = 14;
/// Room for the half of the last label that stands beyond the axis.
pub const MARGIN_RIGHT_PIXELS: u32 = 40;
/// Lines that only guide the eye.
pub const GUIDE: RGBColor = RGBColor(150, 150, 150);

/// A picture that could not be drawn.
#[derive(Debug, Error)]
#[error("{picture}: {reason}")]
pub struct PictureError {
    /// Which.
    pub picture: &'static str,
    /// What the library says.
    pub reason: String,
}

/// A file name and its SVG.
pub type Picture = (&'static str, String);
/// Where is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Whether something could be drawn.
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of that size.
pub fn draw(
    picture: &'static str,
    size_pixels: (u32, u32),
    fill: impl Fn(&Area<'_>) -> Drawn,
) -> Result<Picture, PictureError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size_pixels).into_drawing_area();
        let drawn = || -> Drawn {
            area.fill(&WHITE)?;
            fill(&area)?;
            area.present()?;
            Ok(())
        };
        drawn().map_err(|error| PictureError { picture, reason: error.to_string() })?;
    }
    Ok((picture, svg))
}
