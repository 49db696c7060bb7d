//! The physical limit: hyper with nothing behind it, and hyper with one round trip to Redis.
//!
//! Both are laid out as Tollgate is: a runtime of its own for each processor, and one acceptor that deals connections out in turn.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

/// What the skeleton asks Redis for: as many profiles as Tollgate asks for.
const KEYS: [&str; 4] = ["customer", "card", "device", "merchant"];

/// What stands behind hyper.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    /// The body is sent back.
    Nothing,
    /// One `HGETALL` for each of four profiles, in one pipeline, and the body sent back.
    Redis(String),
}

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr, behind: &Behind) -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::thread::available_parallelism()?.get();
    let mut handles = Vec::new();
    for _ in 0..threads {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        handles.push(runtime.handle().clone());
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    }
    Builder::new_current_thread().enable_all().build()?.block_on(accept(address, &handles, behind))
}

async fn accept(
    address: SocketAddr,
    handles: &[Handle],
    behind: &Behind,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut stores = Vec::new();
    for handle in handles {
        stores.push(match behind {
            Behind::Nothing => None,
            Behind::Redis(url) => {
                let client = redis::Client::open(url.as_str())?;
                Some(handle.spawn(async move { client.get_multiplexed_async_connection().await }).await??)
            }
        });
    }
    let listener = TcpListener::bind(address).await?;
    for turn in (0..handles.len()).cycle() {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (stream, store) = (stream.into_std()?, stores[turn].clone());
        handles[turn].spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                let answer = service_fn(|request| answer(request, store.clone()));
                // A client that hangs up ends its connection, and nothing else.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            }
        });
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    store: Option<MultiplexedConnection>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    if let Some(mut store) = store {
        let mut pipe = redis::pipe();
        for entity in KEYS {
            pipe.hgetall(format!("tollgate:profile:{entity}:{}", body.len() % 100));
        }
        let found: redis::RedisResult<Vec<Vec<(String, String)>>> = pipe.query_async(&mut store).await;
        std::hint::black_box(found).ok();
    }
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
