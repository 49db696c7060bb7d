//! A socket that says when the kernel received what is read from it.
//!
//! When a service is late, its queue stands in its sockets, where no timer of its own sees it: a request that was read just now may
//! have used up its deadline long ago. So the kernel is asked to stamp what it receives (`SO_TIMESTAMPNS`, `tcp(7)` streams since
//! Linux 4.15), and each read takes the stamp along. Where there are no stamps, a request counts as received when it is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::http::transport::Activity;

/// Asks for stamps on all connections that `listener` will take: they inherit it, so that even what came before a connection was
/// taken is stamped. Without them, requests count as received when they are read.
pub fn ask_for_stamps(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
        if let Err(error) = setsockopt(listener, ReceiveTimestampns, &true) {
            tracing::warn!(%error, "the kernel stamps nothing: time that requests wait in their sockets is not seen");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// A connection whose reads tell `activity` when the kernel received their bytes.
#[derive(Debug)]
pub struct Stamped {
    inner: TcpStream,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux stamps streams"))]
    activity: Activity,
    #[cfg(target_os = "linux")]
    control: Vec<u8>,
    /// Most bytes of the next read: what is read into is cleared first, and most requests are short.
    #[cfg(target_os = "linux")]
    next_bytes: usize,
}

impl Stamped {
    /// Takes stamps along, if `inner` came from a listener that asked for them.
    pub fn new(inner: TcpStream, activity: Activity) -> Self {
        Self {
            inner,
            activity,
            #[cfg(target_os = "linux")]
            control: nix::cmsg_space!(nix::sys::time::TimeSpec),
            #[cfg(target_os = "linux")]
            next_bytes: linux::READ_BYTES_MIN,
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use tokio::io::Interest;

    use super::*;
    use crate::domain::time::{Clock, SystemClock};

    /// Most bytes of a first read: head and body of a usual request.
    pub(super) const READ_BYTES_MIN: usize = 2 * 1024;
    /// Most bytes of any: a body of the longest kind takes a few reads.
    const READ_BYTES_MAX: usize = 16 * 1024;
    /// An older stamp means that somebody has set the clock, not that a request has waited.
    const AGE_MAX: Duration = Duration::from_secs(60);

    impl Stamped {
        pub(super) fn read(
            &mut self,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let wanted = buffer.remaining().min(self.next_bytes);
            if wanted == 0 {
                return Poll::Ready(Ok(()));
            }
            loop {
                ready!(self.inner.poll_read_ready(cx))?;
                let Self { inner, control, .. } = self;
                let (fd, space) = (inner.as_raw_fd(), buffer.initialize_unfilled_to(wanted));
                let mut received = None;
                let result = inner.try_io(Interest::READABLE, || {
                    let (bytes, stamp) = receive(fd, space, control)?;
                    received = Some((bytes, stamp));
                    // A short read has emptied the socket. Saying so spares the read that would find out.
                    if 0 < bytes && bytes < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                });
                if let Some((bytes, stamp)) = received {
                    buffer.advance(bytes);
                    let more = if bytes == wanted { self.next_bytes * 2 } else { self.next_bytes / 2 };
                    self.next_bytes = more.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                    let age = stamp.and_then(age_of);
                    self.activity.note_received(age.and_then(|age| SystemClock.instant().checked_sub(age)));
                    return Poll::Ready(Ok(()));
                }
                match result {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(()) => return Poll::Ready(Ok(())),
                }
            }
        }
    }

    /// Reads, and says when the last of the bytes came, since 1970.
    fn receive(fd: i32, space: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
        let mut parts = [IoSliceMut::new(space)];
        let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::empty())?;
        let stamp = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
            _ => None,
        });
        let stamp = stamp.and_then(|stamp| {
            let (seconds, nanos) =
                (u64::try_from(stamp.tv_sec()).ok()?, u32::try_from(stamp.tv_nsec()).ok()?);
            (seconds > 0).then(|| Duration::new(seconds, nanos))
        });
        Ok((message.bytes, stamp))
    }

    fn age_of(stamp: Duration) -> Option<Duration> {
        let age = SystemClock.since_epoch().saturating_sub(stamp);
        (age <= AGE_MAX).then_some(age)
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(target_os = "linux")]
        return self.read(cx, buffer);
        #[cfg(not(target_os = "linux"))]
        return Pin::new(&mut self.inner).poll_read(cx, buffer);
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::domain::time::{Clock, SystemClock};

    #[tokio::test]
    async fn what_waits_in_the_socket_grows_old() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ask_for_stamps(&listener);
        let age = |activity: &Activity| {
            let now = SystemClock.instant();
            now.duration_since(activity.received(now))
        };
        let mut bytes = [0; 5];
        // The kernel begins to stamp a moment after it is asked for it; what came before that is as old as its read.
        let mut attempts = 0;
        let (mut client, mut server, activity) = loop {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            client.write_all(b"first").await.unwrap();
            // Before the connection is even taken.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let activity = Activity::default();
            let mut server = Stamped::new(listener.accept().await.unwrap().0, activity.clone());
            server.read_exact(&mut bytes).await.unwrap();
            if age(&activity) >= Duration::from_millis(50) {
                break (client, server, activity);
            }
            attempts += 1;
            assert!(attempts < 100, "{:?}", age(&activity));
        };
        assert!(age(&activity) < Duration::from_secs(30), "{:?}", age(&activity));

        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = SystemClock.instant();
        client.write_all(b"again").await.unwrap();
        server.read_exact(&mut bytes).await.unwrap();
        assert!(age(&activity) <= sent.elapsed() + Duration::from_millis(2));
        client.write_all(b"part").await.unwrap();
        drop(client);
        assert!(server.read_exact(&mut bytes).await.is_err(), "the end is seen after a short read");
    }
}
