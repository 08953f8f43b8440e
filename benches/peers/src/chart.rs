//! Bars, drawn as SVG.

use std::fmt::Write as _;

pub(crate) struct Bar {
    pub(crate) backend: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) stack: &'static str,
    /// Of what the floor does.
    pub(crate) share: f64,
}

const ROW: usize = 16;
const LEFT: usize = 330;
/// What the floor does is so wide.
const WHOLE: f64 = 420.0;

fn colour(stack: &str) -> &'static str {
    match stack {
        "ruts" => "#b7410e",
        "ruts 0.13 upstream" => "#e0a080",
        "tower-sessions 0.14" => "#4878a8",
        _ => "#8fb08c",
    }
}

/// Throughput with many in flight, a group of bars for each backend and workload.
pub(crate) fn draw(bars: &[Bar]) -> String {
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
            let width = (bar.share * WHOLE).min(WHOLE * 1.3);
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{LEFT}" y="{}" width="{width:.0}" height="{}" fill="{}"/><text x="{:.0}" y="{}">{:.2}</text>"#,
                LEFT - 6,
                y + 12,
                bar.stack,
                y + 2,
                ROW - 4,
                colour(bar.stack),
                LEFT as f64 + width + 4.0,
                y + 12,
                bar.share,
            );
            y += ROW;
        }
        y += 8;
    }
    let line = LEFT as f64 + WHOLE;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height}" font-family="sans-serif" font-size="11">
<rect width="960" height="{height}" fill="white"/>
<text x="10" y="22" font-size="15">Requests a second with 64 in flight, as a share of the bare driver's</text>
<line x1="{line}" y1="34" x2="{line}" y2="{y}" stroke="#888" stroke-dasharray="3 3"/>
{body}</svg>
"##,
        height = y + 10,
    )
}
