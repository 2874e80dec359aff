//! `nylon top`: what the telemetry segment of a host says, as a screen, a table or JSON.
//!
//! In: the segment, read as any other process may.  Out: text.
//! Never: a word to the host. It may be stopped, hang or be gone, and is shown as it was.

mod columns;
mod find;
mod once;
#[cfg(feature = "top")]
mod screen;
mod units;
mod view;

use std::process::ExitCode;

use nylon_host::cli::{EXIT_CONFIG, EXIT_GONE, EXIT_RUNTIME, TopArgs};
use nylon_shm::telemetry::{HostState, Reader};

use find::NotFound;
use view::{View, Watch};

pub(crate) fn run(args: &TopArgs) -> ExitCode {
    let reader = match find::host(args.pid) {
        Ok(reader) => reader,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::from(match e {
                NotFound::Several(_) => EXIT_CONFIG,
                NotFound::Gone(_) => EXIT_GONE,
                NotFound::Nobody | NotFound::Unreadable(_) => EXIT_RUNTIME,
            });
        }
    };
    let mut watch = Watch::new(reader);
    let last =
        if args.once { once::run(&mut watch, args.json) } else { show(&mut watch).map(Some) };
    match last {
        Ok(Some(view)) => leave(&view, watch.reader()),
        Ok(None) => ExitCode::SUCCESS,
        Err(e) => crate::fail(&*e),
    }
}

#[cfg(feature = "top")]
fn show(watch: &mut Watch) -> Result<View, Box<dyn std::error::Error>> {
    screen::run(watch)
}

#[cfg(not(feature = "top"))]
fn show(_: &mut Watch) -> Result<View, Box<dyn std::error::Error>> {
    Err("this nylon was built without its screen (feature `top`): use --once".into())
}

/// A host that was killed left its segment behind: says so, and removes the name.
fn leave(view: &View, reader: &Reader) -> ExitCode {
    if view.state != HostState::Gone {
        return ExitCode::SUCCESS;
    }
    let removed = match reader.remove() {
        Ok(()) => "its telemetry segment is removed".to_owned(),
        Err(e) => format!("its telemetry segment cannot be removed: {e}"),
    };
    eprintln!("error: host {} is gone; {removed}", view.host.pid);
    ExitCode::from(EXIT_GONE)
}
