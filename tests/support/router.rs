//! A router in front of several instances that sends every single request to one of them by chance, as the plainest load balancer
//! would: it knows nothing of sessions, holds nothing back in either direction, and never sends a request twice.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::Instant,
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::crowd::Random;

/// The body of an answer: an instance's, or the router's own.
type Answer = UnsyncBoxBody<Bytes, hyper::Error>;

/// A running router. Its thread and its connections end with it.
pub struct Router {
    address: SocketAddr,
    routes: Arc<Routes>,
    /// Dropped to end the thread.
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where requests go, and what became of them.
struct Routes {
    upstreams: OnceLock<Vec<SocketAddr>>,
    random: Mutex<Random>,
    /// Requests that each instance was given.
    given: Mutex<Vec<u64>>,
    losses: Mutex<Vec<Loss>>,
}

/// A request whose answer an instance did not give, or not to its end.
#[derive(Debug, Clone)]
pub struct Loss {
    /// When the router had the request's head.
    pub began: Instant,
    /// When it was seen to be lost.
    pub at: Instant,
    /// What was seen.
    pub how: Lost,
}

/// How a request was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// The instance took no connection. Answered 502.
    Refused,
    /// The connection ended before the head of an answer. Answered 502.
    Unanswered,
    /// The connection ended inside the answer, and so did the client's.
    Cut,
}

impl Router {
    /// A router that has an address and knows no instance yet: an instance is told the address under which clients know it.
    pub fn start(seed: u64) -> Self {
        let routes = Arc::new(Routes {
            upstreams: OnceLock::new(),
            random: Mutex::new(Random::new(seed)),
            given: Mutex::default(),
            losses: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        let (over, ends) = oneshot::channel();
        let shared = Arc::clone(&routes);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, shared) => {}
                    // Also when the sender is gone.
                    _ = ends => {}
                }
            });
        });
        Self { address, routes, over: Some(over), thread: Some(thread) }
    }

    /// The instances; once.
    pub fn route_to(&self, upstreams: &[SocketAddr]) {
        *self.routes.given.lock().expect("no test panicked here") = vec![0; upstreams.len()];
        self.routes.upstreams.set(upstreams.to_vec()).expect("a router is told its instances once");
    }

    /// Host and port that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint that clients are given.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// How many requests each instance was given.
    pub fn given(&self) -> Vec<u64> {
        self.routes.given.lock().expect("no test panicked here").clone()
    }

    /// The requests that were lost so far.
    pub fn losses(&self) -> Vec<Loss> {
        self.routes.losses.lock().expect("no test panicked here").clone()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let routes = Arc::clone(&routes);
                async move { Ok::<_, Infallible>(routes.pass(request).await) }
            });
            // A client that leaves ends its connection, and with it what it asked for.
            let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Routes {
    /// Passes a request to an instance, over a connection of its own.
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        let began = Instant::now();
        let upstream = self.pick();
        let Ok(stream) = TcpStream::connect(upstream).await else { return self.bad_gateway(began, Lost::Refused) };
        let _ = stream.set_nodelay(true);
        let Ok((mut sender, connection)) = client::conn::http1::handshake(TokioIo::new(stream)).await else {
            return self.bad_gateway(began, Lost::Unanswered);
        };
        tokio::spawn(connection);
        let Ok(response) = sender.send_request(request).await else {
            return self.bad_gateway(began, Lost::Unanswered);
        };
        response.map(|body| Watched { body, began, routes: self }.boxed_unsync())
    }

    fn pick(&self) -> SocketAddr {
        let upstreams = self.upstreams.get().expect("a router is told its instances before it is used");
        let chosen = self.random.lock().expect("no test panicked here").below(upstreams.len());
        self.given.lock().expect("no test panicked here")[chosen] += 1;
        upstreams[chosen]
    }

    fn lost(&self, began: Instant, how: Lost) {
        let loss = Loss { began, at: Instant::now(), how };
        self.losses.lock().expect("no test panicked here").push(loss);
    }

    fn bad_gateway(&self, began: Instant, how: Lost) -> Response<Answer> {
        self.lost(began, how);
        let text = Full::new(Bytes::from_static(b"the instance is gone")).map_err(|never| match never {});
        let mut response = Response::new(text.boxed_unsync());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}

/// The body of an instance's answer; says if it ends too early.
struct Watched {
    body: Incoming,
    began: Instant,
    routes: Arc<Routes>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.routes.lost(self.began, Lost::Cut);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
