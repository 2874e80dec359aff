//! Control messages and what two versions agree on (SPEC.md 1 and 8).

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::generated::{limits, wire as fb};
use crate::segment::Geometry;
use crate::violation::Violation;
use crate::wire;

/// The versions one side speaks: one major and a range of its minors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// ABI major.
    pub major: u16,
    /// Lowest minor.
    pub min: u16,
    /// Highest minor.
    pub max: u16,
}

impl VersionRange {
    /// What this tree speaks.
    pub const OURS: Self =
        Self { major: wire::ABI_MAJOR, min: wire::ABI_MINOR_MIN, max: wire::ABI_MINOR };
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{0}.{1}–{0}.{2}", self.major, self.min, self.max)
    }
}

/// Two ranges without a common version; names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host speaks ABI {host}, the worker {worker}")]
pub struct Mismatch {
    /// The host's range.
    pub host: VersionRange,
    /// The worker's range.
    pub worker: VersionRange,
}

/// The minor both speak: the highest one in both ranges (SPEC.md 1.1).
///
/// # Errors
/// [`Mismatch`] when the majors differ or the ranges do not meet.
pub fn negotiate(host: VersionRange, worker: VersionRange) -> Result<u16, Mismatch> {
    let minor = host.max.min(worker.max);
    if host.major == worker.major && minor >= host.min.max(worker.min) {
        Ok(minor)
    } else {
        Err(Mismatch { host, worker })
    }
}

/// Why a handshake ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseReason {
    /// No common version (1.1).
    #[error(transparent)]
    Version(#[from] Mismatch),
    /// The frozen layouts differ (1.4).
    #[error("layout hash {theirs:#018x}, not {ours:#018x}: built from another wire table")]
    Layout {
        /// The hash of the side that looks.
        ours: u64,
        /// The hash its peer sent.
        theirs: u64,
    },
    /// Not the epoch of this worker (8.3).
    #[error("epoch {theirs:#x}, not {ours:#x}: the answer to another Hello")]
    Epoch {
        /// The epoch of Hello.
        ours: u64,
        /// The epoch of HelloOk.
        theirs: u64,
    },
    /// Feature bits that were not offered (8.3).
    #[error("features {0:#x} were not offered")]
    Features(u64),
    /// A geometry out of bounds, or a length that does not follow from it (2.5).
    #[error("segment: {0}")]
    Segment(&'static str),
}

impl RefuseReason {
    /// The `wire::REFUSE_*` code a Refuse carries for it.
    pub fn code(&self) -> u16 {
        match self {
            Self::Version(_) | Self::Features(_) => wire::REFUSE_VERSION,
            Self::Layout { .. } => wire::REFUSE_LAYOUT,
            Self::Epoch { .. } | Self::Segment(_) => wire::REFUSE_SEGMENT,
        }
    }
}

/// Whether a Refuse of this code will be the same next time (SPEC.md 8.4).
pub fn is_permanent(code: u16) -> bool {
    matches!(code, wire::REFUSE_VERSION | wire::REFUSE_LAYOUT | wire::REFUSE_CONFIG)
}

/// Host → worker, the first message, with the descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the host speaks.
    pub versions: VersionRange,
    /// `wire::LAYOUT_HASH` of the host.
    pub layout_hash: u64,
    /// Random and not zero, one per process incarnation.
    pub epoch: u64,
    /// Length of each segment in bytes.
    pub seg_len: u64,
    /// Geometry of both segments.
    pub geometry: Geometry,
    /// `wire::FEATURE_*` bits offered.
    pub features: u64,
    /// DATA in flight per invocation and direction, bytes.
    pub window: u32,
    /// Largest staged body, bytes.
    pub staged_max: u64,
    /// Not zero where the policy is to spin, ns: which doorbell suits (SPEC.md 9.4). H's `spin_ns_peer` says when and how long.
    pub spin_ns: u32,
    /// Which incarnation of the plugin this is, from 1.
    pub generation: u32,
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The plugin's `config` as JSON text; empty when absent.
    pub config: Vec<u8>,
    /// Constant payloads, JSON text each; named by index in step records.
    pub payloads: Vec<Vec<u8>>,
}

impl Hello {
    /// What a worker checks before it maps anything: the minor agreed, or why it refuses (SPEC.md 8.3).
    ///
    /// # Errors
    /// The [`RefuseReason`] to send back.
    pub fn check(&self, worker: VersionRange) -> Result<u16, RefuseReason> {
        let minor = negotiate(self.versions, worker)?;
        if self.layout_hash != wire::LAYOUT_HASH {
            let (ours, theirs) = (wire::LAYOUT_HASH, self.layout_hash);
            return Err(RefuseReason::Layout { ours, theirs });
        }
        if self.geometry.check().is_err() {
            return Err(RefuseReason::Segment("geometry out of bounds"));
        }
        if self.geometry.segment_len() != self.seg_len {
            return Err(RefuseReason::Segment("the length does not follow from the geometry"));
        }
        if self.epoch == 0 {
            return Err(RefuseReason::Segment("epoch 0"));
        }
        Ok(minor)
    }
}

/// Worker → host: attached and initialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloOk {
    /// What the worker speaks.
    pub versions: VersionRange,
    /// `wire::LAYOUT_HASH` of the worker.
    pub layout_hash: u64,
    /// The epoch of Hello.
    pub epoch: u64,
    /// `wire::FEATURE_*` bits taken, a subset of those offered.
    pub features: u64,
    /// GOMAXPROCS or the like.
    pub cpus: u32,
    /// One of `wire::DOORBELL_*`.
    pub doorbell: u8,
    /// Name and version of the SDK, for people.
    pub sdk: String,
    /// Entries the plugin registered; named by index in step records.
    pub entries: Vec<String>,
}

impl HelloOk {
    /// What the host checks: the minor agreed, or why it lets the worker go (SPEC.md 8.3).
    ///
    /// # Errors
    /// The [`RefuseReason`] for the log.
    pub fn check(&self, hello: &Hello) -> Result<u16, RefuseReason> {
        let minor = negotiate(hello.versions, self.versions)?;
        if self.layout_hash != hello.layout_hash {
            let (ours, theirs) = (hello.layout_hash, self.layout_hash);
            return Err(RefuseReason::Layout { ours, theirs });
        }
        if self.epoch != hello.epoch {
            return Err(RefuseReason::Epoch { ours: hello.epoch, theirs: self.epoch });
        }
        match self.features & !hello.features {
            0 => Ok(minor),
            extra => Err(RefuseReason::Features(extra)),
        }
    }
}

/// Worker → host: will not serve; the worker exits after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// One of `wire::REFUSE_*`.
    pub code: u16,
    /// What the worker speaks.
    pub versions: VersionRange,
    /// Why, for people.
    pub message: String,
}

/// A message on the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Host → worker, first.
    Hello(Hello),
    /// Worker → host: ready.
    HelloOk(HelloOk),
    /// Worker → host: will not serve.
    Refuse(Refuse),
    /// Host → worker: run the shutdown hooks, say Bye, exit 0.
    Shutdown {
        /// Time for it, in ms.
        grace_ms: u32,
    },
    /// Worker → host: the shutdown hooks have run.
    Bye,
}

impl Control {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut fbb = FlatBufferBuilder::new();
        let (body_type, body) = match self {
            Self::Hello(hello) => (fb::Body::Hello, put_hello(&mut fbb, hello)),
            Self::HelloOk(ok) => (fb::Body::HelloOk, put_hello_ok(&mut fbb, ok)),
            Self::Refuse(refuse) => (fb::Body::Refuse, put_refuse(&mut fbb, refuse)),
            Self::Shutdown { grace_ms } => {
                let args = fb::ShutdownArgs { grace_ms: *grace_ms };
                (fb::Body::Shutdown, fb::Shutdown::create(&mut fbb, &args).as_union_value())
            }
            Self::Bye => {
                let bye = fb::Bye::create(&mut fbb, &fb::ByeArgs {});
                (fb::Body::Bye, bye.as_union_value())
            }
        };
        let args = fb::ControlArgs { body_type, body: Some(body) };
        let root = fb::Control::create(&mut fbb, &args);
        fbb.finish(root, None);
        fbb.finished_data().to_vec()
    }

    /// Reads a private copy of a message; everything in it is copied out.
    ///
    /// # Errors
    /// `Violation::Control` when it is not a valid `Control` (SPEC.md 8.6).
    pub fn decode(message: &[u8]) -> Result<Self, Violation> {
        let control =
            flatbuffers::root_with_opts::<fb::Control<'_>>(&limits(message.len()), message)
                .map_err(|_| Violation::Control("not a Control message"))?;
        if let Some(hello) = control.body_as_hello() {
            Ok(Self::Hello(take_hello(hello)))
        } else if let Some(ok) = control.body_as_hello_ok() {
            Ok(Self::HelloOk(take_hello_ok(ok)))
        } else if let Some(refuse) = control.body_as_refuse() {
            Ok(Self::Refuse(take_refuse(refuse)))
        } else if let Some(shutdown) = control.body_as_shutdown() {
            Ok(Self::Shutdown { grace_ms: shutdown.grace_ms() })
        } else if control.body_as_bye().is_some() {
            Ok(Self::Bye)
        } else {
            Err(Violation::Control("an unknown body"))
        }
    }
}

type Builder<'a> = FlatBufferBuilder<'a>;
type Body = WIPOffset<UnionWIPOffset>;

fn put_hello(fbb: &mut Builder<'_>, hello: &Hello) -> Body {
    let blobs: Vec<_> = hello
        .payloads
        .iter()
        .map(|payload| {
            let bytes = Some(fbb.create_vector(payload));
            fb::Blob::create(fbb, &fb::BlobArgs { bytes })
        })
        .collect();
    let payloads = (!blobs.is_empty()).then(|| fbb.create_vector(&blobs));
    let config = (!hello.config.is_empty()).then(|| fbb.create_vector(&hello.config));
    let plugin = Some(fbb.create_string(&hello.plugin));
    let args = fb::HelloArgs {
        abi_major: hello.versions.major,
        abi_minor_min: hello.versions.min,
        abi_minor: hello.versions.max,
        layout_hash: hello.layout_hash,
        epoch: hello.epoch,
        seg_len: hello.seg_len,
        lanes: hello.geometry.lanes,
        slots: hello.geometry.slots,
        arena_len: hello.geometry.arena,
        features: hello.features,
        window: hello.window,
        staged_max: hello.staged_max,
        spin_ns: hello.spin_ns,
        generation: hello.generation,
        plugin,
        config,
        payloads,
    };
    fb::Hello::create(fbb, &args).as_union_value()
}

fn put_hello_ok(fbb: &mut Builder<'_>, ok: &HelloOk) -> Body {
    let names: Vec<_> = ok.entries.iter().map(|name| fbb.create_string(name)).collect();
    let entries = Some(fbb.create_vector(&names));
    let sdk = Some(fbb.create_string(&ok.sdk));
    let args = fb::HelloOkArgs {
        abi_major: ok.versions.major,
        abi_minor_min: ok.versions.min,
        abi_minor: ok.versions.max,
        layout_hash: ok.layout_hash,
        epoch: ok.epoch,
        features: ok.features,
        cpus: ok.cpus,
        doorbell: ok.doorbell,
        sdk,
        entries,
    };
    fb::HelloOk::create(fbb, &args).as_union_value()
}

fn put_refuse(fbb: &mut Builder<'_>, refuse: &Refuse) -> Body {
    let message = Some(fbb.create_string(&refuse.message));
    let args = fb::RefuseArgs {
        code: refuse.code,
        abi_major: refuse.versions.major,
        abi_minor_min: refuse.versions.min,
        abi_minor: refuse.versions.max,
        message,
    };
    fb::Refuse::create(fbb, &args).as_union_value()
}

fn take_hello(hello: fb::Hello<'_>) -> Hello {
    Hello {
        versions: VersionRange {
            major: hello.abi_major(),
            min: hello.abi_minor_min(),
            max: hello.abi_minor(),
        },
        layout_hash: hello.layout_hash(),
        epoch: hello.epoch(),
        seg_len: hello.seg_len(),
        geometry: Geometry { lanes: hello.lanes(), slots: hello.slots(), arena: hello.arena_len() },
        features: hello.features(),
        window: hello.window(),
        staged_max: hello.staged_max(),
        spin_ns: hello.spin_ns(),
        generation: hello.generation(),
        plugin: hello.plugin().to_owned(),
        config: hello.config().map(|c| c.bytes().to_vec()).unwrap_or_default(),
        payloads: hello
            .payloads()
            .map(|blobs| blobs.iter().map(|b| b.bytes().bytes().to_vec()).collect())
            .unwrap_or_default(),
    }
}

fn take_hello_ok(ok: fb::HelloOk<'_>) -> HelloOk {
    HelloOk {
        versions: VersionRange {
            major: ok.abi_major(),
            min: ok.abi_minor_min(),
            max: ok.abi_minor(),
        },
        layout_hash: ok.layout_hash(),
        epoch: ok.epoch(),
        features: ok.features(),
        cpus: ok.cpus(),
        doorbell: ok.doorbell(),
        sdk: ok.sdk().to_owned(),
        entries: ok.entries().iter().map(str::to_owned).collect(),
    }
}

fn take_refuse(refuse: fb::Refuse<'_>) -> Refuse {
    Refuse {
        code: refuse.code(),
        versions: VersionRange {
            major: refuse.abi_major(),
            min: refuse.abi_minor_min(),
            max: refuse.abi_minor(),
        },
        message: refuse.message().to_owned(),
    }
}
