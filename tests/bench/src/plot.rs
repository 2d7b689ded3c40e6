//! A plot: lines over a logarithmic axis, as SVG.

use std::fmt::Write as _;

/// Size of the picture, and of the margin within it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 60.0;

/// Draws `points` with their values; both axes begin where the values do, the upright one at 0.
pub(crate) fn draw(title: &str, across: &str, points: &[(f64, f64)]) -> String {
    let logs = points.iter().map(|(x, _)| x.max(1.0).log10());
    let (least, most) = logs.fold((f64::MAX, f64::MIN), |(least, most), x| {
        (least.min(x), most.max(x))
    });
    let span = (most - least).max(f64::EPSILON);
    let top = points.iter().map(|(_, y)| *y).fold(f64::EPSILON, f64::max) * 1.1;
    let at = |(x, y): (f64, f64)| {
        let right = (x.max(1.0).log10() - least) / span;
        (
            MARGIN + right * (WIDTH - 2.0 * MARGIN),
            HEIGHT - MARGIN - y / top * (HEIGHT - 2.0 * MARGIN),
        )
    };
    let mut svg = String::new();
    let mut draw = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "{text}");
    };
    draw(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
    ));
    draw(format_args!(
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    ));
    draw(format_args!(
        "<text x=\"{}\" y=\"24\" text-anchor=\"middle\" font-size=\"15\">{title}</text>",
        WIDTH / 2.0
    ));
    draw(format_args!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{across}</text>",
        WIDTH / 2.0,
        HEIGHT - 12.0
    ));
    let (left, right, base) = (MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN);
    draw(format_args!(
        "<path d=\"M{left} {MARGIN} V{base} H{right}\" fill=\"none\" stroke=\"black\"/>"
    ));
    let mut path = String::new();
    for point in points {
        let (x, y) = at(*point);
        let _ = write!(path, "{}{x:.1} {y:.1} ", if path.is_empty() { "M" } else { "L" });
        draw(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"steelblue\"/>"
        ));
        draw(format_args!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.2}</text>",
            y - 10.0,
            point.1
        ));
        draw(format_args!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
            base + 18.0,
            point.0
        ));
    }
    draw(format_args!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"steelblue\" stroke-width=\"2\"/>"
    ));
    draw(format_args!("</svg>"));
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_in_the_picture() {
        let svg = draw("Title", "objects", &[(100.0, 3.0), (10_000.0, 1.5)]);
        assert!(svg.contains("cx=\"60.0\""), "{svg}");
        assert!(svg.contains("cx=\"580.0\""), "{svg}");
        assert!(svg.contains(">10000<") && svg.contains(">1.50<"), "{svg}");
    }
}
