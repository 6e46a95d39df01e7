//! The harness: a real gateway process, real backends and real clients, all on loopback.
//!
//! ```text
//!  Manifests ──► directory ──► Gateway (a process of its own) ──► Backend, GrpcBackend (127.x.y.z)
//!                                 ▲                                   │ reports what it saw
//!  Call, RawConnection, client_hello, ChatClient, WebSocket ──────────┘
//! ```
//!
//! Everything ends with the value that stands for it: the process, the directory and the listening sockets go when
//! [`gateway::Gateway`], [`manifests::Manifests`] and [`backend::Backend`] are dropped. Nothing here depends on time
//! except through [`patience::eventually`]. **Not here**: load that asks for more than
//! one machine.

pub mod address;
pub mod backend;
pub mod ca;
pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod conversation;
pub mod deployed;
pub mod gateway;
pub mod grpc;
pub mod manifests;
pub mod patience;

/// What goes wrong in a test is read by a person, so any error will do.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything that the harness does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with this text unless the condition holds: for closures that are tried until they succeed.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
