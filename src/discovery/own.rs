//! Which container the proxy itself runs in, if any.

/// Ids that the proxy's container may have, the likeliest first; a daemon is asked which it knows.
/// Empty outside containers, as far as can be told.
pub fn candidates() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut candidates: Vec<String> = by_mounts(&read("/proc/self/mountinfo"))
        .into_iter()
        .chain(by_control_group(&read("/proc/self/cgroup")))
        .map(str::to_owned)
        .collect();
    let hostname = read("/proc/sys/kernel/hostname");
    let hostname = hostname.trim();
    // By default a container's host name is the beginning of its id.
    if is_hexadecimal(hostname, 12) {
        candidates.push(hostname.to_owned());
    }
    candidates.dedup();
    candidates
}

/// Docker mounts `…/containers/ID/hostname` and its like into each container.
fn by_mounts(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        if !matches!(point, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf") {
            return None;
        }
        let (_, rest) = root.split_once("/containers/")?;
        let id = rest.split('/').next()?;
        is_hexadecimal(id, 64).then_some(id)
    })
}

/// With control groups of version 1 the path ends in the id: `…/docker/ID` or `…/docker-ID.scope`.
fn by_control_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| {
        let last = line.rsplit('/').next()?;
        let id = last.strip_prefix("docker-").unwrap_or(last);
        let id = id.strip_suffix(".scope").unwrap_or(id);
        is_hexadecimal(id, 64).then_some(id)
    })
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4c01db0b339c4d9c8c5f0a4e0f4f3ee1b6a9d6f3b1c2d3e4f5a6b7c8d9e0f1a2";

    #[test]
    fn by_the_mounted_files() {
        let mounts = format!(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             40 22 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 x rw\n"
        );
        assert_eq!(by_mounts(&mounts), Some(ID));
        // The daemon's own host sees its containers' mounts elsewhere.
        let host = format!(
            "90 22 0:50 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n\
             91 22 8:1 /etc/hosts.d /etc/hosts rw - ext4 x rw\n"
        );
        assert_eq!(by_mounts(&host), None);
        assert_eq!(by_mounts("garbage\n\n1 2 3\n"), None);
    }

    #[test]
    fn by_control_groups() {
        assert_eq!(by_control_group(&format!("12:pids:/docker/{ID}\n")), Some(ID));
        assert_eq!(by_control_group(&format!("0::/system.slice/docker-{ID}.scope")), Some(ID));
        assert_eq!(by_control_group("0::/\n12:pids:/user.slice/session-1.scope"), None);
    }
}
