//! A chain in front of any [`tower`] service of HTTP: hyper's, axum's, tonic's.
//!
//! In: a request with whatever body the server has.  Out: the response of the service behind, as plugins left it.
//! Never: routing, listening, or an error of its own: what a plugin does wrong is a response.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use tower::{Layer, Service};

use crate::body::{Body, BodyError};
use crate::dispatch::{Chain, Client, ServiceError};
use crate::websocket::Offer;

/// Route parameters for plugins, as an extension of the request: names and values as they stand in the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, String)>);

/// Puts a [`Chain`] in front of a service. All phases run, and bodies flow both ways as they come, trailers included.
///
/// ```
/// use nylon_host::{Body, Client, Host, Item, NylonLayer, PluginSpec};
/// use tower::{ServiceBuilder, Service, service_fn};
///
/// # let program = nylon_tests::program::plugin("hello");
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let config = br#"{"greeting": "hello"}"#.to_vec();
/// let spec = PluginSpec { config, ..PluginSpec::new("hello", program) }; // the program of examples/hello
/// let host = Host::start(vec![spec]).await.expect("it starts");
/// let chain = host.chain().item(Item::new("hello", "timing")).expect("it is there").build();
///
/// let mut service = ServiceBuilder::new().layer(NylonLayer::new(chain)).service(service_fn(
///     async |_request: http::Request<Body>| Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())),
/// ));
///
/// let mut request = http::Request::new(Body::empty());
/// request.extensions_mut().insert(Client { ip: [127, 0, 0, 1].into(), tls: false });
/// let response = service.call(request).await.unwrap();
/// assert!(response.headers().contains_key("x-took-ms"));
/// # host.stop(std::time::Duration::from_secs(5)).await;
/// # });
/// ```
///
/// The [`crate::Host`] must outlive the service: without it there are no workers, and requests are answered by 503.
///
/// **What plugins are told.** The client is the request's [`Client`] extension; else what the function given to
/// [`NylonLayer::client_from`] makes of the extensions a server left; else `0.0.0.0` without TLS. Route parameters are
/// its [`Params`] extension; else there are none.
///
/// **Errors.** A plugin's failure is a response by its policy (502, 503, 504 …), never an error. An error of the service
/// behind passes on to the caller unchanged, so that timeouts, retries and load shedding around this layer work as
/// without it. Plugins have seen such a request fail by then: their response phases get a 502, and `Response.Error()` in
/// Logging is the error's text.
///
/// **Readiness** is that of the service behind, which is called on the value that was ready. A request that a plugin
/// answers gives the place it had been promised back.
#[derive(Clone)]
pub struct NylonLayer {
    chain: Arc<Chain>,
    client: ClientFrom,
}

/// Finds the client in what a server knows of a connection.
type ClientFrom = fn(&Extensions) -> Option<Client>;

impl NylonLayer {
    /// A layer of `chain`. A chain whose service is a plugin never calls the service behind.
    pub fn new(chain: Arc<Chain>) -> Self {
        Self { chain, client: |_| None }
    }

    /// The same, with `find` asked for the client of a request that has no [`Client`] extension. The type a server puts
    /// there is its own; for axum it is `ConnectInfo<SocketAddr>`.
    ///
    /// ```
    /// use nylon_host::{Client, NylonLayer};
    /// use std::net::SocketAddr;
    ///
    /// #[derive(Clone)]
    /// struct ConnectInfo(SocketAddr);
    ///
    /// fn with_client(layer: NylonLayer) -> NylonLayer {
    ///     layer.client_from(|x| Some(Client { ip: x.get::<ConnectInfo>()?.0.ip(), tls: false }))
    /// }
    /// ```
    #[must_use]
    pub fn client_from(self, find: fn(&Extensions) -> Option<Client>) -> Self {
        Self { client: find, ..self }
    }
}

impl fmt::Debug for NylonLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NylonLayer").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for NylonLayer {
    type Service = NylonService<S>;

    fn layer(&self, inner: S) -> NylonService<S> {
        NylonService { layer: self.clone(), inner }
    }
}

/// A service with plugins in front. See [`NylonLayer`].
#[derive(Clone, Debug)]
pub struct NylonService<S> {
    layer: NylonLayer,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for NylonService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: fmt::Display + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    /// The one box of a request that has no body: what awaits a plugin has no name a type could have.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone was not asked whether it is ready; the one that was takes the request.
        let next = self.inner.clone();
        let inner = mem::replace(&mut self.inner, next);
        let chain = self.layer.chain.clone();
        let client = client(request.extensions(), self.layer.client);
        let params = request.extensions().get::<Params>().map(|p| p.0.clone()).unwrap_or_default();
        let mut request = request.map(into_body);
        if let Some(offer) = Offer::of(&request) {
            request.extensions_mut().insert(offer);
        }
        Box::pin(async move {
            let mut behind = Behind { failed: None, extensions: Extensions::new() };
            let answer = &mut behind;
            let response = chain.call(request, client, params, |r| answer.ask(inner, r)).await;
            match behind.failed {
                Some(error) => {
                    // Read to its end, or Logging would hear of a client that left.
                    let mut unsent = response.into_body();
                    while let Some(Ok(_)) = unsent.next().await {}
                    Err(error)
                }
                None => Ok(with_extensions(response, behind.extensions)),
            }
        })
    }
}

/// What of the inner service's answer does not travel through the chain.
struct Behind<E> {
    failed: Option<E>,
    extensions: Extensions,
}

impl<E: fmt::Display> Behind<E> {
    async fn ask<S, R>(
        &mut self,
        mut inner: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, ServiceError>
    where
        S: Service<Request<Body>, Response = Response<R>, Error = E>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BodyError>,
    {
        match inner.call(request).await {
            Ok(mut response) => {
                self.extensions = mem::take(response.extensions_mut());
                Ok(response.map(into_body))
            }
            Err(error) => {
                let message = error.to_string();
                self.failed = Some(error);
                Err(ServiceError {
                    status: StatusCode::BAD_GATEWAY,
                    code: "SERVICE_ERROR",
                    message,
                })
            }
        }
    }
}

fn with_extensions(mut response: Response<Body>, extensions: Extensions) -> Response<Body> {
    response.extensions_mut().extend(extensions);
    response
}

fn client(extensions: &Extensions, find: ClientFrom) -> Client {
    let known = extensions.get::<Client>().copied().or_else(|| find(extensions));
    known.unwrap_or(Client { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), tls: false })
}

/// Boxes only what is neither empty nor already one of the bodies a host knows by name.
fn into_body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let mut body = Some(body);
    let known: &mut dyn Any = &mut body;
    if let Some(ours) = known.downcast_mut::<Option<Body>>() {
        return ours.take().unwrap_or_default();
    }
    if let Some(incoming) = known.downcast_mut::<Option<hyper::body::Incoming>>() {
        return incoming.take().map(Body::from).unwrap_or_default();
    }
    match body {
        Some(body) if !body.is_end_stream() => Body::new(body),
        _ => Body::empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use http_body_util::BodyExt as _;
    use tower::service_fn;

    use super::*;
    use crate::host::Host;

    /// Takes calls only on the value that was asked whether it is ready.
    #[derive(Default)]
    struct Strict(bool);

    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self(false)
        }
    }

    impl Service<Request<Body>> for Strict {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Response<Body>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let answer = mem::take(&mut self.0).then(|| Response::new(request.into_body()));
            ready(answer.ok_or("called before it was ready"))
        }
    }

    async fn layer() -> NylonLayer {
        let host = Host::start(vec![]).await.expect("nothing to start");
        NylonLayer::new(host.chain().build())
    }

    #[tokio::test]
    async fn calls_the_value_that_was_ready() {
        let mut service = layer().await.layer(Strict::default());
        for _ in 0..3 {
            std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut service, cx))
                .await
                .expect("always ready");
            let body = http_body_util::Full::new(Bytes::from("hello"));
            let response = service.call(Request::new(body)).await.expect("it was ready");
            assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "hello");
        }
        let second = service.call(Request::new(Body::empty())).await;
        assert_eq!(second.expect_err("nobody asked"), "called before it was ready");
    }

    #[tokio::test]
    async fn extensions_pass_both_ways() {
        #[derive(Clone, Debug, PartialEq)]
        struct Mark(u8);
        let mut service = layer().await.layer(service_fn(async |request: Request<Body>| {
            let mut response = Response::new(Body::empty());
            let Some(Mark(n)) = request.extensions().get() else { return Err("no mark") };
            response.extensions_mut().insert(Mark(n + 1));
            Ok(response)
        }));
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Mark(1));
        let response = service.call(request).await.expect("marked");
        assert_eq!(response.extensions().get(), Some(&Mark(2)));
    }

    #[test]
    fn a_client_is_known_by_its_extension_first() {
        let here = Client { ip: [10, 0, 0, 1].into(), tls: true };
        let found = Client { ip: [10, 0, 0, 2].into(), tls: false };
        let mut extensions = Extensions::new();
        assert!(client(&extensions, |_| None).ip.is_unspecified());
        extensions.insert(found.ip);
        let find: ClientFrom = |x| Some(Client { ip: *x.get()?, tls: false });
        assert_eq!(client(&extensions, find), found);
        extensions.insert(here);
        assert_eq!(client(&extensions, find), here);
    }
}
