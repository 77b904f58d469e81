//! Pictures: charts as SVG, and the same in pixels.
//!
//! Every picture has a title and axes with units. It is drawn small enough, with letters large enough, to be read on a
//! phone.

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::{
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Rectangle, Text},
    prelude::SVGBackend,
    series::LineSeries,
    style::{
        BLACK, Color, RGBColor, ShapeStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{self, Options, Tree},
};
use thiserror::Error;

use crate::units::real;

/// Width of a picture, in points.
const WIDTH: u32 = 600;
/// Height of a chart, in points.
const HEIGHT: u32 = 460;
/// Height of a bar with its gap, in points.
const BAR_HEIGHT: u32 = 34;
/// Pixels for each point in the PNG.
const PNG_SCALE: f32 = 2.0;
const TITLE: (&str, i32) = ("sans-serif", 20);
const WORDS: (&str, i32) = ("sans-serif", 17);
const NUMBERS: (&str, i32) = ("sans-serif", 16);
const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);

/// Blue: workers, and what is measured.
pub const BLUE: RGBColor = RGBColor(0x3b, 0x76, 0xd6);
/// Green: validators, and what is safe.
pub const GREEN: RGBColor = RGBColor(0x2a, 0x9d, 0x78);
/// Amber: the treasury, and what is doubtful.
pub const AMBER: RGBColor = RGBColor(0xe0, 0x8e, 0x0b);
/// Red: what is lost or attacked.
pub const RED: RGBColor = RGBColor(0xc2, 0x41, 0x3b);
/// Grey: what is locked, and what others say.
pub const GREY: RGBColor = RGBColor(0x6b, 0x72, 0x80);
/// Ink: one more.
pub const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
/// Violet: one more.
pub const VIOLET: RGBColor = RGBColor(0x7c, 0x4d, 0xc4);

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

/// Where there is room for the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legend {
    /// Above on the left.
    UpperLeft,
    /// Above on the right.
    UpperRight,
    /// Below on the right.
    LowerRight,
    /// Below on the left.
    LowerLeft,
}

/// The frame of a chart.
#[derive(Clone, Debug)]
pub struct Axes<'a> {
    /// What is shown.
    pub title: &'a str,
    /// The horizontal axis with its unit.
    pub x: &'a str,
    /// The vertical axis with its unit.
    pub y: &'a str,
    /// What the horizontal axis shows.
    pub x_range: (f64, f64),
    /// What the vertical axis shows; from zero to a round number above all that is drawn if not given.
    pub y_range: Option<(f64, f64)>,
    /// Places of the numbers on the vertical axis.
    pub y_decimals: usize,
    /// Where the legend is.
    pub legend: Legend,
}

/// Something drawn in a chart, from back to front.
#[derive(Clone, Debug)]
pub enum Layer<'a> {
    /// The space between two curves: (x, lower, upper).
    Band {
        /// Its name in the legend; none if empty.
        label: &'a str,
        /// Its colour.
        color: RGBColor,
        /// How much it covers what is behind, 0 to 1.
        opacity: f64,
        /// Its points.
        points: Vec<(f64, f64, f64)>,
    },
    /// A curve: (x, y).
    Line {
        /// Its name in the legend; none if empty.
        label: &'a str,
        /// Its colour.
        color: RGBColor,
        /// Its width, in points.
        width: u32,
        /// Its points.
        points: Vec<(f64, f64)>,
    },
    /// Points with intervals: (x, y, lower, upper).
    Points {
        /// Their name in the legend; none if empty.
        label: &'a str,
        /// Their colour.
        color: RGBColor,
        /// Where they are.
        points: Vec<(f64, f64, f64, f64)>,
    },
}

/// Draws a chart.
pub fn chart(axes: &Axes<'_>, layers: &[Layer<'_>]) -> Result<String, PictureError> {
    drawn(HEIGHT, |root| {
        let root = root.titled(axes.title, TITLE)?;
        panel(&root, axes, layers)
    })
}

/// Draws several charts, one below another, under one title.
pub fn charts(title: &str, panels: &[(Axes<'_>, Vec<Layer<'_>>)]) -> Result<String, PictureError> {
    let each = HEIGHT * 4 / 5;
    let count = u32::try_from(panels.len()).unwrap_or(1).max(1);
    drawn(each * count + 50, |root| {
        let mut rest = root.titled(title, TITLE)?;
        for (axes, layers) in panels {
            let (area, below) = rest.split_vertically(each);
            panel(&area.titled(axes.title, WORDS)?, axes, layers)?;
            rest = below;
        }
        Ok(())
    })
}

/// A bar from `low` to `high` of a [`tornado`].
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// One end, and what is said of it.
    pub low: (f64, String),
    /// The other end, and what is said of it.
    pub high: (f64, String),
}

/// Draws bars on both sides of `middle`, in the order given from above.
pub fn tornado(title: &str, x: &str, middle: f64, bars: &[Bar]) -> Result<String, PictureError> {
    let count = u32::try_from(bars.len()).unwrap_or(1).max(1);
    let values = || bars.iter().flat_map(|bar| [bar.low.0, bar.high.0]);
    let widest = values()
        .map(|value| (value - middle).abs())
        .fold(0.0, f64::max);
    // Room for the words at the ends of the bars.
    let reach = if widest > 0.0 {
        widest * 1.45
    } else {
        middle.abs().max(1.0)
    };
    drawn(BAR_HEIGHT * count + 130, |root| {
        let root = root.titled(title, TITLE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(52)
            .y_label_area_size(190)
            .build_cartesian_2d(middle - reach..middle + reach, f64::from(count)..0.0)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .bold_line_style(GRID)
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(5)
            .x_label_formatter(&|value| real(*value, decimals_of(reach)))
            .x_desc(x)
            .axis_desc_style(WORDS)
            .label_style(NUMBERS)
            .draw()?;
        let area = chart.plotting_area();
        let words =
            |hpos| plotters::style::TextStyle::from(NUMBERS).pos(Pos::new(hpos, VPos::Center));
        for (row, bar) in bars.iter().enumerate() {
            let (top, bottom) = (row as f64 + 0.18, row as f64 + 0.82);
            for ((value, said), color) in [(&bar.low, AMBER), (&bar.high, BLUE)] {
                area.draw(&Rectangle::new(
                    [(middle, top), (*value, bottom)],
                    color.filled(),
                ))?;
                let hpos = if *value < middle {
                    HPos::Right
                } else {
                    HPos::Left
                };
                let gap = reach * if *value < middle { -0.015 } else { 0.015 };
                let at = (value + gap, row as f64 + 0.5);
                area.draw(&Text::new(said.clone(), at, words(hpos)))?;
            }
            let (x, y) = area.map_coordinate(&(middle - reach, row as f64 + 0.5));
            root.draw(&Text::new(
                bar.label.clone(),
                (x - root.get_base_pixel().0 - 8, y - root.get_base_pixel().1),
                words(HPos::Right),
            ))?;
        }
        let line = [(middle, 0.0), (middle, f64::from(count))];
        area.draw(&PathElement::new(
            line,
            ShapeStyle::from(&BLACK).stroke_width(1),
        ))?;
        Ok(())
    })
}

/// A cell of a [`map`]: its lower left corner and its upper right one, and its colour.
pub type Tile = ((f64, f64), (f64, f64), RGBColor);

/// Draws coloured tiles with lines above them.
pub fn map(
    axes: &Axes<'_>,
    tiles: &[Tile],
    names: &[(&str, RGBColor)],
    layers: &[Layer<'_>],
) -> Result<String, PictureError> {
    drawn(HEIGHT, |root| {
        let root = root.titled(axes.title, TITLE)?;
        let mut chart = frame(&root, axes, layers)?;
        let drawn = tiles
            .iter()
            .map(|(low, high, color)| Rectangle::new([*low, *high], color.filled()));
        chart.draw_series(drawn)?;
        for (name, color) in names {
            let color = *color;
            chart
                .draw_series(std::iter::empty::<Rectangle<(f64, f64)>>())?
                .label(*name)
                .legend(move |(x, y)| {
                    Rectangle::new([(x, y - 6), (x + 22, y + 6)], color.filled())
                });
        }
        draw_layers(&mut chart, layers)?;
        legend(&mut chart, axes.legend, true)
    })
}

/// Turns an SVG into a PNG of twice as many pixels each way.
pub fn png(svg: &str) -> Result<Vec<u8>, PictureError> {
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

/// What `draw` draws on white paper of this height (points).
fn drawn(
    height: u32,
    draw: impl FnOnce(Panel<'_>) -> Result<(), PictureError>,
) -> Result<String, PictureError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        draw(root.margin(8, 4, 4, 8))?;
        root.present()?;
    }
    Ok(svg)
}

fn panel(area: &Panel<'_>, axes: &Axes<'_>, layers: &[Layer<'_>]) -> Result<(), PictureError> {
    let mut chart = frame(area, axes, layers)?;
    let labelled = draw_layers(&mut chart, layers)?;
    legend(&mut chart, axes.legend, labelled)
}

/// An empty chart with its grid.
fn frame<'a, 'b>(
    area: &'a Panel<'b>,
    axes: &Axes<'_>,
    layers: &[Layer<'_>],
) -> Result<Chart<'a, 'b>, PictureError> {
    let (low, high) = axes.y_range.unwrap_or((0.0, round_up(highest(layers))));
    // There are no halves of a few validators or years.
    let whole = (axes.x_range.1 - axes.x_range.0).floor() as usize + 1;
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_right(22)
        .x_label_area_size(50)
        .y_label_area_size(92)
        .build_cartesian_2d(axes.x_range.0..axes.x_range.1, low..high)?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .bold_line_style(GRID)
        .x_labels(whole.clamp(2, 11))
        .y_labels(8)
        .x_label_formatter(&|x| format!("{}", (x * 100.0).round() / 100.0))
        .y_label_formatter(&|y| real(*y, axes.y_decimals))
        .label_style(NUMBERS)
        .axis_desc_style(WORDS)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .draw()?;
    Ok(chart)
}

/// Whether anything drawn belongs into a legend.
fn draw_layers(chart: &mut Chart<'_, '_>, layers: &[Layer<'_>]) -> Result<bool, PictureError> {
    let mut labelled = false;
    for layer in layers {
        let named = match layer {
            Layer::Band {
                label,
                color,
                opacity,
                points,
            } => {
                let there = points.iter().map(|(x, low, _)| (*x, *low));
                let back = points.iter().rev().map(|(x, _, high)| (*x, *high));
                let outline: Vec<_> = there.chain(back).collect();
                let style = color.mix(*opacity).filled();
                let series = chart.draw_series([Polygon::new(outline, style)])?;
                if !label.is_empty() {
                    series
                        .label(*label)
                        .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 22, y + 6)], style));
                }
                label
            }
            Layer::Line {
                label,
                color,
                width,
                points,
            } => {
                let style = ShapeStyle::from(color).stroke_width(*width);
                let series = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                if !label.is_empty() {
                    series
                        .label(*label)
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
                }
                label
            }
            Layer::Points {
                label,
                color,
                points,
            } => {
                let style = ShapeStyle::from(color).stroke_width(2);
                let bars = points.iter();
                chart.draw_series(
                    bars.map(|(x, _, low, high)| {
                        PathElement::new([(*x, *low), (*x, *high)], style)
                    }),
                )?;
                let dots = points.iter();
                let series = chart
                    .draw_series(dots.map(|(x, y, ..)| Circle::new((*x, *y), 4, color.filled())))?;
                if !label.is_empty() {
                    let color = *color;
                    series
                        .label(*label)
                        .legend(move |(x, y)| Circle::new((x + 11, y), 4, color.filled()));
                }
                label
            }
        };
        labelled |= !named.is_empty();
    }
    Ok(labelled)
}

fn legend<'a, 'b: 'a>(
    chart: &mut Chart<'a, 'b>,
    place: Legend,
    labelled: bool,
) -> Result<(), PictureError> {
    if !labelled {
        return Ok(());
    }
    let position = match place {
        Legend::UpperLeft => SeriesLabelPosition::UpperLeft,
        Legend::UpperRight => SeriesLabelPosition::UpperRight,
        Legend::LowerRight => SeriesLabelPosition::LowerRight,
        Legend::LowerLeft => SeriesLabelPosition::LowerLeft,
    };
    chart
        .configure_series_labels()
        .position(position)
        .margin(12)
        .legend_area_size(30)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(NUMBERS)
        .draw()?;
    Ok(())
}

/// The highest value of all that is drawn.
fn highest(layers: &[Layer<'_>]) -> f64 {
    let values = layers.iter().flat_map(|layer| match layer {
        Layer::Band { points, .. } => points.iter().map(|(_, _, high)| *high).collect::<Vec<_>>(),
        Layer::Line { points, .. } => points.iter().map(|(_, y)| *y).collect(),
        Layer::Points { points, .. } => points.iter().map(|(.., high)| *high).collect(),
    });
    values.fold(0.0, f64::max)
}

/// The next round number, for the top of an axis.
#[must_use]
pub fn round_up(highest: f64) -> f64 {
    if !highest.is_finite() || highest <= 0.0 {
        return 1.0;
    }
    let mut step = 1.0;
    while highest / step > 10.0 {
        step *= 10.0;
    }
    while highest / step <= 1.0 {
        step /= 10.0;
    }
    // Half steps leave less empty space; a curve along the very top would be hard to see.
    ((highest / step * 2.0).floor() + 1.0) * step / 2.0
}

/// How many places numbers need that spread as far as this.
fn decimals_of(spread: f64) -> usize {
    match spread {
        spread if spread >= 20.0 => 0,
        spread if spread >= 2.0 => 1,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_highest_amount() {
        for (highest, top) in [
            (171.9, 200.0),
            (45_000.0, 50_000.0),
            (52.2, 55.0),
            (0.2, 0.25),
            (0.0, 1.0),
            (f64::NAN, 1.0),
        ] {
            assert_eq!(round_up(highest), top, "{highest}");
        }
    }

    #[test]
    fn charts_name_their_axes_and_become_pixels() {
        let axes = Axes {
            title: "Growth",
            x: "time (years)",
            y: "height (m)",
            x_range: (0.0, 2.0),
            y_range: None,
            y_decimals: 0,
            legend: Legend::UpperLeft,
        };
        let layers = [
            Layer::Band {
                label: "range",
                color: BLUE,
                opacity: 0.3,
                points: vec![(0.0, 1.0, 2.0), (2.0, 3.0, 5.0)],
            },
            Layer::Line {
                label: "middle",
                color: RED,
                width: 2,
                points: vec![(0.0, 1.5), (2.0, 4.0)],
            },
            Layer::Points {
                label: "",
                color: GREEN,
                points: vec![(1.0, 3.0, 2.5, 3.5)],
            },
        ];
        let drawn = [
            chart(&axes, &layers).expect("a chart"),
            charts(
                "Both",
                &[
                    (axes.clone(), layers.to_vec()),
                    (axes.clone(), layers.to_vec()),
                ],
            )
            .expect("charts"),
            map(
                &axes,
                &[((0.0, 0.0), (1.0, 1.0), GREEN)],
                &[("safe", GREEN)],
                &layers,
            )
            .expect("a map"),
        ];
        for svg in drawn {
            for text in ["time (years)", "height (m)", "middle"] {
                assert!(svg.contains(text), "{text}");
            }
            assert!(png(&svg).expect("pixels").starts_with(b"\x89PNG\r\n\x1a\n"));
        }
        let bar = Bar {
            label: "rain".to_owned(),
            low: (1.0, "none".to_owned()),
            high: (3.0, "much".to_owned()),
        };
        let svg = tornado("Growth", "height (m)", 2.0, &[bar]).expect("bars");
        for text in ["rain", "none", "much", "height (m)"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
