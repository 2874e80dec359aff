//! Where an operator reaches the running gateway, and what may be asked for there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::Report;
use super::fields::Fields;
use super::yaml::Value;

/// The admin endpoint of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Its Unix socket.
    pub socket: AdminSocket,
    /// A TCP address as well, where one is asked for.
    pub tcp: Option<AdminTcp>,
    /// Directories that an upgrade may take programs from; none: that of the plugin's configured program.
    pub programs: Vec<PathBuf>,
}

/// The Unix socket of the admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdminSocket {
    /// Named by the process, in [`crate::admin::directories`]; without it the gateway serves all the same.
    #[default]
    Default,
    /// This one: without it the gateway does not start.
    At(PathBuf),
    /// There is none.
    Off,
}

/// The admin endpoint on TCP: on loopback only, and only with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTcp {
    /// Where to listen; a loopback address.
    pub listen: SocketAddr,
    /// The file whose first line is the token that requests carry.
    pub token_file: PathBuf,
}

impl Admin {
    /// Reads the section; paths are relative to `base`.
    pub(super) fn read(fields: &mut Fields<'_>, base: &Path, report: &mut Report) -> Self {
        let mut admin = Self::default();
        if fields.get("admin").is_some_and(|node| matches!(node.value, Value::Bool(false))) {
            admin.socket = AdminSocket::Off;
            return admin;
        }
        let Some(mut section) = fields.map("admin", "admin section", report) else { return admin };
        if section.get("socket").is_some_and(|node| matches!(node.value, Value::Bool(false))) {
            admin.socket = AdminSocket::Off;
        } else if let Some(path) = section.text("socket", report) {
            admin.socket = AdminSocket::At(base.join(path.value));
        }
        admin.tcp = tcp(&mut section, base, report);
        let dirs = section.texts("programs", report);
        for dir in dirs {
            let path = base.join(&dir.value);
            if !path.is_dir() {
                report.error(&dir.at, format!("`{}` is not a directory", path.display())).help =
                    Some("name directories that programs of upgrades may lie in".to_owned());
            }
            admin.programs.push(path);
        }
        section.finish(report);
        admin
    }
}

fn tcp(section: &mut Fields<'_>, base: &Path, report: &mut Report) -> Option<AdminTcp> {
    let listen = section.text("listen", report);
    let token = section.text("token_file", report);
    let listen = match (listen, &token) {
        (None, None) => return None,
        (None, Some(token)) => {
            report.no_effect(&token.at, "`token_file`", "it belongs to `listen`");
            return None;
        }
        (Some(listen), _) => listen,
    };
    let address = listen.value.parse::<SocketAddr>().ok().filter(|addr| addr.ip().is_loopback());
    if address.is_none() {
        report.error(&listen.at, format!("`{}` is not a loopback address", listen.value)).help =
            Some("the admin endpoint is not for the network: write, say, `127.0.0.1:9901`".into());
    }
    let Some(token) = token else {
        report.error(&listen.at, "`listen` needs a `token_file`".to_owned()).help =
            Some("its first line is the token that requests carry; mode 0600".to_owned());
        return None;
    };
    Some(AdminTcp { listen: address?, token_file: base.join(token.value) })
}
