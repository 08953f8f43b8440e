//! A bar chart as SVG.
//!
//! Called by `main`. Knows the names of the stacks, to choose their colours.

use std::fmt::Write as _;

/// A bar of the chart.
pub(crate) struct Bar {
    pub(crate) backend: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) stack: &'static str,
    /// The figure as a share of the floor's.
    pub(crate) share: f64,
}

const ROW: usize = 16;
const LEFT: usize = 330;
/// Width of the floor's figure.
const FLOOR_WIDTH: f64 = 420.0;

fn colour(stack: &str) -> &'static str {
    match stack {
        "ruts" => "#b7410e",
        "ruts 0.13 upstream" => "#e0a080",
        "tower-sessions 0.14" => "#4878a8",
        _ => "#8fb08c",
    }
}

/// Draws a group of bars for each backend and workload.
pub(crate) fn draw(title: &str, bars: &[Bar]) -> String {
    let groups = bars.chunk_by(|a, b| (a.backend, a.workload) == (b.backend, b.workload));
    let mut body = String::new();
    let mut y = 44;
    for group in groups {
        let _ = writeln!(
            body,
            r#"<text x="10" y="{}" font-weight="bold">{}: {}</text>"#,
            y + 12,
            group[0].backend,
            group[0].workload
        );
        for bar in group {
            let width = (bar.share * FLOOR_WIDTH).min(FLOOR_WIDTH * 1.3);
            let (baseline, top, height) = (y + 12, y + 2, ROW - 4);
            let (label, end) = (LEFT - 6, LEFT as f64 + width + 4.0);
            let Bar { stack, share, .. } = bar;
            let _ = write!(
                body,
                r#"<text x="{label}" y="{baseline}" text-anchor="end">{stack}</text>"#
            );
            let _ = write!(
                body,
                r#"<rect x="{LEFT}" y="{top}" width="{width:.0}" height="{height}" fill="{}"/>"#,
                colour(stack)
            );
            let _ = writeln!(body, r#"<text x="{end:.0}" y="{baseline}">{share:.2}</text>"#);
            y += ROW;
        }
        y += 8;
    }
    let line = LEFT as f64 + FLOOR_WIDTH;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height}"
  font-family="sans-serif" font-size="11">
<rect width="960" height="{height}" fill="white"/>
<text x="10" y="22" font-size="15">
  {title}
</text>
<line x1="{line}" y1="34" x2="{line}" y2="{y}" stroke="#888" stroke-dasharray="3 3"/>
{body}</svg>
"##,
        height = y + 10,
    )
}
