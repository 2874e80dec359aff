//! The text of a scrape: OpenMetrics as the registry writes it, or the older format of Prometheus made of it.

use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// A text format a scraper can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain; version=0.0.4`.
    Plain,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Format {
    /// What `Accept` prefers; where it leaves the choice, the older one, which everything reads.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let (mut plain, mut open) = (0.0, 0.0);
        let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in ranges.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let q = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
            let q: f32 = q.unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" => open = q.max(open),
                "text/plain" | "text/*" | "*/*" => plain = q.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Plain }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

/// Everything in `registry`, as it is now.
///
/// # Errors
/// A collector gave up.
pub(crate) fn text(registry: &Registry, format: Format) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(match format {
        Format::OpenMetrics => text,
        Format::Plain => plain(&text),
    })
}

/// In the older format a counter is called as its samples are, with `_total`, and there are neither units nor an end mark.
fn plain(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = line;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let (head, text) = help.split_at("# HELP ".len() + name.len());
            for part in [head, suffix, text, "\n# TYPE ", name, suffix, " ", kind, "\n"] {
                out.push_str(part);
            }
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Format {
        let value = HeaderValue::from_str(accept).expect("a value");
        Format::accepted(&HeaderMap::from_iter([(ACCEPT, value)]))
    }

    #[test]
    fn the_format_is_what_the_scraper_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        assert_eq!(accepted("application/openmetrics-text"), Format::OpenMetrics);
        let older = "text/plain;version=0.0.4, application/openmetrics-text; q=0.1";
        for plain in ["*/*", "text/html", older, "application/openmetrics-text;q=0"] {
            assert_eq!(accepted(plain), Format::Plain, "{plain}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Plain);
    }

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let open = "# HELP a_seconds time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
             a_seconds_total{x=\"#\"} 1\n# HELP b level.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_seconds_total time.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{x=\"#\"} 1\n# HELP b level.\n# TYPE b gauge\nb 2\n";
        assert_eq!(plain(open), expected);
    }
}
