//! Byte streams and packets over them.

mod chunk;
pub mod compressed;
pub mod listener;
pub mod packets;
pub mod proxy_header;
pub mod rsa;
pub mod stream;
pub mod tls;

pub use listener::Listener;
pub use packets::{PacketError, PacketStream};
pub use stream::Stream;
