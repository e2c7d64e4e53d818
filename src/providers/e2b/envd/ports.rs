//! What listens in a sandbox.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use computesdk_agent::sockets;

use super::Envd;
use super::script::As;
use crate::error::Result;

/// The lists of sockets of both families.
const LISTS: &str = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null";

impl Envd {
    /// Whether something listens on a port, where E2B leads to it: at any address but those of the loopback that only
    /// programs inside use. Nothing connects to it.
    pub(crate) async fn listens(&self, port: u16) -> Result<bool> {
        let ran = self.run(As::User, LISTS, &[]).await?;
        Ok(String::from_utf8_lossy(&ran.stdout).lines().any(|line| listener(line) == Some(port)))
    }
}

/// The port of a socket that listens where it is led to. The machines of E2B have the lower byte of a word first.
fn listener(line: &str) -> Option<u16> {
    sockets::listener(line, u32::to_le_bytes).filter(|(ip, _)| is_led_to(*ip)).map(|(_, port)| port)
}

fn is_led_to(ip: IpAddr) -> bool {
    !ip.is_loopback() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_counts() {
        let v4 =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1";
        let v6 =
            "   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0";
        assert_eq!(listener(v4), Some(8080));
        assert_eq!(listener(v6), Some(80));
        assert_eq!(listener(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener(&v4.replace("0100007F", "0200007F")), None, "127.0.0.2 is for those inside");
        assert_eq!(listener(&v4.replace("0100007F", "1500FEA9")), Some(8080));
        let mapped = |v4: &str| v6.replace(&"0".repeat(32), &format!("0000000000000000FFFF0000{v4}"));
        assert_eq!(listener(&mapped("0100007F")), Some(80));
        assert_eq!(listener(&mapped("0200007F")), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }
}
