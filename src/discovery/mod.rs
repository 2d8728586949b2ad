//! Which servers there are, by Docker's labels and events and by `[[backends]]`; and the topology as
//! it is published.
//!
//! | part | what it holds |
//! |---|---|
//! | [`servers`] | what is known of a server before it is asked, and the catalog of all |
//! | [`labels`] | a container's labels, read strictly (pure) |
//! | [`address`] | which address of a container to dial, or why none is certain (pure) |
//! | [`container`] | an inspected container becomes a server (pure) |
//! | [`containers`] | the containers of one daemon by list, events and inspections (pure) |
//! | [`own`] | the container that the proxy itself runs in |
//! | [`docker`] | the daemons, asked and followed |
//! | [`store`] | the topology that everybody reads |

pub mod address;
pub mod container;
pub mod containers;
pub mod docker;
pub mod labels;
pub mod own;
pub mod servers;
pub mod store;

pub use servers::{Catalog, Ended, Run, Server, Spec, Standing};
pub use store::TopologyStore;
