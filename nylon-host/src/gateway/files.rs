//! A `static` service: files below a directory.

use std::path::{Path, PathBuf};

use ::http::header::{self, HeaderValue};
use ::http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::body::{Body, BodyError};
use crate::config::StaticFiles;
use crate::dispatch::ServiceError;
use crate::dispatch::route::Matched;

/// One `static` service.
#[derive(Debug)]
pub(super) struct Files {
    config: StaticFiles,
}

const CHUNK: usize = 64 * 1024;

impl Files {
    pub(super) fn new(config: StaticFiles) -> Self {
        Self { config }
    }

    /// Answers with the file the path names.
    pub(super) async fn send(
        &self,
        method: &Method,
        path: &str,
        rewrite: Option<&str>,
        matched: &Matched,
    ) -> Result<Response<Body>, ServiceError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let message = format!("{method} of a file");
            return Err(error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message));
        }
        let path = rewritten(path, rewrite, matched);
        let decoded = percent_decode(&path);
        let file = self.locate(&decoded)?;
        let (file, name, len) = match open(&file, &self.config.index).await {
            Some(found) => found,
            None if self.config.spa => {
                let index = self.config.root.join(&self.config.index);
                open(&index, &self.config.index).await.ok_or_else(|| not_found(&path))?
            }
            None => return Err(not_found(&path)),
        };
        let body = if *method == Method::HEAD || len == 0 { Body::empty() } else { stream(file) };
        let mut response = Response::new(body);
        let mime = mime_guess::from_path(&name).first_or_octet_stream();
        if let Ok(value) = HeaderValue::from_str(mime.as_ref()) {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
        Ok(response)
    }

    /// The file below the root; a path that would leave it is refused.
    fn locate(&self, path: &str) -> Result<PathBuf, ServiceError> {
        let mut file = self.config.root.clone();
        for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." || part.contains(['\0', '\\']) {
                let message = format!("{path} leaves the directory");
                return Err(error(StatusCode::FORBIDDEN, "FORBIDDEN", message));
            }
            file.push(part);
        }
        Ok(file)
    }
}

/// `rewrite` of a static service names a prefix to strip; one the path does not start with replaces the matched one.
fn rewritten(path: &str, rewrite: Option<&str>, matched: &Matched) -> String {
    let Some(prefix) = rewrite else { return path.to_owned() };
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some(rest) if prefix != "/" && (rest.is_empty() || rest.starts_with('/')) => {
            rest.to_owned()
        }
        _ => matched.rewrite(prefix, path),
    }
}

async fn open(path: &Path, index: &str) -> Option<(File, PathBuf, u64)> {
    let file = File::open(path).await.ok()?;
    let meta = file.metadata().await.ok()?;
    if meta.is_file() {
        return Some((file, path.to_owned(), meta.len()));
    }
    let path = path.join(index);
    let file = File::open(&path).await.ok()?;
    let meta = file.metadata().await.ok()?;
    meta.is_file().then_some((file, path, meta.len()))
}

fn stream(file: File) -> Body {
    let pieces = futures_util::stream::try_unfold(file, async |mut file| {
        let mut piece = bytes::BytesMut::with_capacity(CHUNK);
        let read = file.read_buf(&mut piece).await?;
        Ok::<_, BodyError>((read > 0).then(|| (Frame::data(piece.freeze()), file)))
    });
    Body::new(StreamBody::new(Box::pin(pieces)))
}

fn percent_decode(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

fn not_found(path: &str) -> ServiceError {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", format!("no file for {path}"))
}

fn error(status: StatusCode, code: &'static str, message: String) -> ServiceError {
    ServiceError { status, code, message }
}
