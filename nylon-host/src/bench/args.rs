//! The command line of `nylon bench`, and what is too much of it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Method;

use super::{Schedule, Target, TargetError};

/// Most requests that may wait for their answers, or for a connection: so many entries of a queue.
const OUTSTANDING_MAX: u128 = 4_000_000;
/// Most bytes of a body.
const BODY_MAX: u64 = 64 << 20;

/// Arguments of `nylon bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Where to, as in `http://127.0.0.1:8080/path`.
    pub url: String,

    /// Requests per second, whatever the answers do.
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,

    /// How long requests are sent: `10s`, `5m`.
    #[arg(short, long, default_value = "10s", value_parser = |s: &str| span(s, 86_400))]
    pub duration: Duration,

    /// Connections; a request waits for one if all are busy, and that counts.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,

    /// Method.
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: Method,

    /// A header, `NAME: VALUE`; any number of them.
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<String>,

    /// The body, as text.
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,

    /// The body, from a file of at most 64 MiB.
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    pub body_file: Option<PathBuf>,

    /// From the moment a request should be sent to the end of its answer.
    #[arg(short, long, default_value = "5s", value_parser = |s: &str| span(s, 300))]
    pub timeout: Duration,

    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A time of 1 ms to `max` seconds.
fn span(text: &str, max: u64) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(max));
    if (least..=most).contains(&span) {
        Ok(span)
    } else {
        Err(format!("not between 1ms and {}", humantime::format_duration(most)))
    }
}

impl BenchArgs {
    /// The schedule, unless there is none or too many would wait.
    pub(super) fn schedule(&self) -> Result<Schedule, String> {
        let schedule = Schedule { rate: self.rate, duration: self.duration };
        if schedule.count() == 0 {
            return Err("no request fits into this time at this rate".into());
        }
        let outstanding = u128::from(self.rate) * self.timeout.as_millis() / 1000;
        if outstanding > OUTSTANDING_MAX {
            return Err(format!(
                "{outstanding} requests could be waiting at once: lower --rate or --timeout"
            ));
        }
        Ok(schedule)
    }

    /// What is sent, and where.
    pub(super) async fn target(&self) -> Result<Target, TargetError> {
        let body = self.body().map_err(|e| {
            let name = self.body_file.as_ref().map(|f| f.display().to_string());
            TargetError::Name(name.unwrap_or_default(), e)
        })?;
        Target::new(&self.url, self.method.clone(), &self.header, body).await
    }

    fn body(&self) -> std::io::Result<Bytes> {
        let Some(file) = &self.body_file else {
            return Ok(self.body.clone().unwrap_or_default().into());
        };
        let found = std::fs::metadata(file)?;
        if !found.is_file() || found.len() > BODY_MAX {
            return Err(std::io::Error::other("not a file of at most 64 MiB"));
        }
        Ok(std::fs::read(file)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<BenchArgs, String> {
        let line = format!("bench http://localhost/ {line}");
        let parsed = Line::try_parse_from(line.split_whitespace());
        parsed.map(|l| l.bench).map_err(|e| e.to_string())
    }

    #[test]
    fn a_line_without_options_is_a_small_load() {
        let args = parse("").unwrap();
        assert_eq!(args.schedule().unwrap().count(), 1000);
        assert_eq!((args.connections, args.timeout), (64, Duration::from_secs(5)));
        assert_eq!(args.method, Method::GET);
    }

    #[test]
    fn absurd_values_are_refused() {
        for line in [
            "--rate 0",
            "--rate 100001",
            "--duration 0s",
            "--duration 2d",
            "--duration ten",
            "--connections 0",
            "--connections 10001",
            "--timeout 1h",
            "--method G\tT",
            "--body a --body-file b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let outstanding = parse("--rate 100000 --timeout 5m").unwrap().schedule();
        assert!(outstanding.unwrap_err().contains("lower --rate"));
        assert!(parse("--rate 1 --duration 500ms").unwrap().schedule().is_err());
    }
}
