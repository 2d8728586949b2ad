//! Scripted histories: what discovery and the servers say over time, and what must follow.

mod galera;
mod group_replication;
mod random;
mod reads;
mod world;
mod writes;

use super::*;
use crate::config::RoleSetting;
use crate::discovery::Standing;
use crate::discovery::servers::Source as Listed;
use crate::monitor::observation::Failure;
use crate::routing::semi_sync::tests::WORKING;
use crate::routing::semi_sync::{SemiSync, Source as SemiSyncSource};
use crate::routing::topology::{State, Thread};
