//! The two runtimes: one for traffic, one for watching over it.

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

pub struct Runtimes {
    /// Client sessions and their connections.
    pub data: Runtime,
    /// Monitor, discovery and admin: one thread, so that they answer when the others are busy.
    pub control: Control,
}

/// A current-thread runtime on a thread of its own; ends, with its tasks, when dropped.
pub struct Control {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Control {
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// `threads`: for traffic; 0: one for each processor that the process may use.
pub fn build(threads: u32) -> io::Result<Runtimes> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads as usize,
    };
    let mut builder = match threads {
        // Nobody to share with.
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let data = builder.worker_threads(threads).enable_all().thread_name("data").build()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
        // Either the sender says so or it is gone.
        let _ = runtime.block_on(stopped);
    })?;
    Ok(Runtimes { data, control: Control { handle, stop: Some(stop), thread: Some(thread) } })
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to return; a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_tasks_run_without_anyone_blocking_on_them() {
        let runtimes = build(2).unwrap();
        let (sender, receiver) = oneshot::channel();
        runtimes.control.handle().spawn(async move {
            let name = thread::current().name().map(str::to_owned);
            let _ = sender.send(name);
        });
        let name = runtimes.data.block_on(receiver).unwrap();
        assert_eq!(name.as_deref(), Some("control"));
    }
}
