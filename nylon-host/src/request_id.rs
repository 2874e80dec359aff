//! What a request is called: in logs, in traces and in what is shown of workers.

use http::header::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// The id of a request in logs and traces. A clone allocates nothing.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    /// What the client, or a proxy before us, put into `x-request-id`.
    Given(HeaderValue),
    Made(Uuid),
}

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get("x-request-id") {
            Some(id) if id.to_str().is_ok() => Self::Given(id.clone()),
            _ => Self::Made(Uuid::now_v7()),
        }
    }

    /// Its text, for people.
    pub(crate) fn to_text(&self) -> String {
        String::from_utf8_lossy(self.text(&mut Uuid::encode_buffer())).into_owned()
    }

    /// Its text, which may be written into `buffer`.
    pub(crate) fn text<'a>(&'a self, buffer: &'a mut [u8]) -> &'a [u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::Made(id) => id.hyphenated().encode_lower(buffer).as_bytes(),
        }
    }

    /// As logs show it: at most 128 bytes.
    pub(crate) fn shown<'a>(&'a self, buffer: &'a mut [u8]) -> &'a str {
        let text = str::from_utf8(self.text(buffer)).unwrap_or_default();
        &text[..text.floor_char_boundary(128)]
    }
}
