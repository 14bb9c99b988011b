//! Ports for servers of tests.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST_PORT: u16 = 20_000;
const PORTS: u32 = 12_000;

/// Returns ports that are currently free. A server will use them soon, and again after it was killed. They are below
/// the ephemeral range of the system: otherwise an outgoing connection could occupy the port of a killed server before
/// it restarts.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut free = std::iter::repeat_with(|| {
        // Each process starts at a different port.
        let place = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        FIRST_PORT + u16::try_from(place % PORTS).expect("there are fewer ports")
    })
    .take(PORTS as usize)
    .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    std::array::from_fn(|_| free.next().expect("a port is free"))
}
