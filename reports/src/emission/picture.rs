//! The picture: how the supply grows and to whom it goes, and what an update mints.

use alloy::primitives::U256;
use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::{
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{PathElement, Rectangle},
    prelude::SVGBackend,
    series::{AreaSeries, LineSeries},
    style::{BLACK, Color, RGBColor, ShapeStyle, WHITE},
};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{self, Options, Tree},
};
use thiserror::Error;

use super::{UPDATES_PER_YEAR, UpdateRecord};

/// Size of the picture, in points.
const SIZE: (u32, u32) = (1_000, 760);
/// Height of the upper panel, in points.
const SUPPLY_HEIGHT: u32 = 400;
/// Pixels for each point in the PNG.
const PNG_SCALE: f32 = 2.0;
const GENESIS: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const TREASURY: RGBColor = RGBColor(0xf5, 0x9e, 0x0b);
const VALIDATORS: RGBColor = RGBColor(0x34, 0xb2, 0x8a);
const WORKERS: RGBColor = RGBColor(0x8a, 0xb4, 0xf8);
const MINTED: RGBColor = RGBColor(0x5b, 0x93, 0xf0);
const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The plot could not be drawn.
    #[error("cannot draw: {0}")]
    Draw(String),
    /// The SVG could not be read back.
    #[error("cannot read the SVG: {0}")]
    Svg(#[from] usvg::Error),
    /// The pixels could not be made or encoded.
    #[error("cannot make the PNG: {0}")]
    Png(String),
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PictureError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw(error.to_string())
    }
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the picture of these updates as SVG.
pub(super) fn svg(records: &[UpdateRecord]) -> Result<String, PictureError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let years = records.last().map_or(0, UpdateRecord::year);
        let unit = if years == 1 { "year" } else { "years" };
        let title = format!("Emission of SNO over {years} {unit}");
        let what = format!(
            "{} state updates, each executed on the bytecode of the contracts",
            grouped(records.len())
        );
        let root = root
            .margin(10, 10, 10, 20)
            .titled(&title, ("sans-serif", 30))?
            .titled(&what, ("sans-serif", 18))?;
        let (upper, lower) = root.split_vertically(SUPPLY_HEIGHT);
        supply(&upper, records)?;
        emission(&lower, records)?;
        root.present()?;
    }
    Ok(svg)
}

/// Turns the SVG into a PNG of twice as many pixels each way.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, PictureError> {
    let mut options = Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(UBUNTU_LIGHT.to_vec());
    let family = fonts
        .faces()
        .find_map(|face| face.families.first().map(|(name, _)| name.clone()));
    fonts.set_sans_serif_family(
        family.ok_or_else(|| PictureError::Png("the font has no family".to_owned()))?,
    );
    let tree = Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE);
    let mut pixels = size
        .and_then(|size| Pixmap::new(size.width(), size.height()))
        .ok_or_else(|| PictureError::Png("the picture has no size".to_owned()))?;
    resvg::render(
        &tree,
        Transform::from_scale(PNG_SCALE, PNG_SCALE),
        &mut pixels.as_mut(),
    );
    pixels
        .encode_png()
        .map_err(|error| PictureError::Png(error.to_string()))
}

/// The upper panel: supply, in bands of those who received it.
fn supply(panel: &Panel<'_>, records: &[UpdateRecord]) -> Result<(), PictureError> {
    let genesis = records
        .first()
        .map_or(0.0, |first| millions(first.supply) - millions(first.minted));
    // Tops of the bands, from the bottom up: genesis, treasury, validators, workers.
    let mut tops = [genesis; 4];
    let mut points = vec![(0.0, tops)];
    for record in records {
        for (band, share) in [record.treasury, record.validators, record.workers]
            .into_iter()
            .enumerate()
        {
            for top in &mut tops[band + 1..] {
                *top += millions(share);
            }
        }
        // The rate changes from year to year; within one the supply grows in a straight line.
        if record.update.is_multiple_of(UPDATES_PER_YEAR) {
            points.push((years(record.update), tops));
        }
    }
    let mut chart = chart(panel, records, tops[3], "supply (million SNO)")?;
    let bands = [
        (3, WORKERS, "workers, 85 % of the emission"),
        (2, VALIDATORS, "validators, 10 %"),
        (1, TREASURY, "treasury, 5 %"),
        (0, GENESIS, "genesis collateral"),
    ];
    for (band, color, label) in bands {
        chart
            .draw_series(AreaSeries::new(
                points.iter().map(|(x, tops)| (*x, tops[band])),
                0.0,
                color,
            ))?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 22, y + 6)], color.filled()));
    }
    let line = ShapeStyle::from(&BLACK).stroke_width(1);
    chart.draw_series(LineSeries::new(
        points.iter().map(|(x, tops)| (*x, tops[3])),
        line,
    ))?;
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// The lower panel: emission of an update, as minted and in closed form.
fn emission(panel: &Panel<'_>, records: &[UpdateRecord]) -> Result<(), PictureError> {
    let minted = steps(records, |record| record.minted);
    let closed_form = steps(records, |record| record.closed_form);
    let highest = minted
        .iter()
        .chain(&closed_form)
        .map(|(_, y)| *y)
        .fold(0.0, f64::max);
    let mut chart = chart(panel, records, highest, "emission of an update (SNO)")?;
    let series = [
        (
            minted,
            ShapeStyle::from(&MINTED).stroke_width(7),
            "minted by the contracts",
        ),
        (
            closed_form,
            ShapeStyle::from(&BLACK).stroke_width(1),
            "closed form",
        ),
    ];
    for (points, style, label) in series {
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    // The curve starts high on the left and is low on the right, except in a single year.
    let free = match records.last().map(UpdateRecord::year) {
        Some(1) => SeriesLabelPosition::LowerLeft,
        _ => SeriesLabelPosition::UpperRight,
    };
    legend(&mut chart, free)
}

/// A chart of years and amounts up to `highest`, with its grid.
fn chart<'a, 'b>(
    panel: &'a Panel<'b>,
    records: &[UpdateRecord],
    highest: f64,
    amounts: &str,
) -> Result<Chart<'a, 'b>, PictureError> {
    let last = records.last().map_or(1.0, |record| years(record.update));
    let mut chart = ChartBuilder::on(panel)
        .margin_top(10)
        .margin_right(20)
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..last, 0.0..round_up(highest))?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .bold_line_style(GRID)
        .x_labels(21)
        .y_labels(10)
        .x_label_formatter(&|x| format!("{}", (x * 100.0).round() / 100.0))
        .y_label_formatter(&|y| grouped(y.round() as usize))
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18))
        .x_desc("years since deployment")
        .y_desc(amounts)
        .draw()?;
    Ok(chart)
}

fn legend<'a, 'b: 'a>(
    chart: &mut Chart<'a, 'b>,
    position: SeriesLabelPosition,
) -> Result<(), PictureError> {
    chart
        .configure_series_labels()
        .position(position)
        .margin(14)
        .legend_area_size(30)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(("sans-serif", 16))
        .draw()?;
    Ok(())
}

/// The corners of a curve that is level over each update's period.
fn steps(records: &[UpdateRecord], amount: impl Fn(&UpdateRecord) -> U256) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for record in records {
        let (start, y) = (
            years(record.update.saturating_sub(1)),
            millions(amount(record)) * 1e6,
        );
        match corners.last() {
            Some((_, before)) if *before == y => {}
            Some((_, before)) => {
                let before = *before;
                corners.extend([(start, before), (start, y)]);
            }
            None => corners.push((start, y)),
        }
    }
    if let (Some(record), Some((_, y))) = (records.last(), corners.last().copied()) {
        corners.push((years(record.update), y));
    }
    corners
}

/// Years from deployment to the end of an update's period.
fn years(update: u64) -> f64 {
    update as f64 / UPDATES_PER_YEAR as f64
}

/// An amount in million SNO, as exact as a picture needs.
fn millions(wei: U256) -> f64 {
    f64::from(wei) / 1e24
}

/// The next round number, for the top of an axis.
fn round_up(highest: f64) -> f64 {
    let mut step = 1.0;
    while highest / step > 10.0 {
        step *= 10.0;
    }
    // Half steps leave less empty space; a curve along the very top would be hard to see.
    ((highest / step * 2.0).floor() + 1.0) * step / 2.0
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (21_900, "21,900"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_highest_amount() {
        for (highest, top) in [
            (171.9, 200.0),
            (45_000.0, 50_000.0),
            (52.2, 55.0),
            (0.2, 0.5),
        ] {
            assert_eq!(round_up(highest), top, "{highest}");
        }
    }
}
