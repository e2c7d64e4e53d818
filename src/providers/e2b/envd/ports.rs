//! What listens in a sandbox.

use super::Envd;
use super::script::As;
use crate::error::Result;

/// The lists of sockets of both families.
const LISTS: &str = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null";
/// The state of a socket that listens.
const LISTENS: &str = "0A";

impl Envd {
    /// Whether something listens on a port. Nothing connects to it.
    pub(crate) async fn listens(&self, port: u16) -> Result<bool> {
        let ran = self.run(As::User, LISTS, &[]).await?;
        Ok(String::from_utf8_lossy(&ran.stdout).lines().any(|line| listener(line) == Some(port)))
    }
}

/// The port of a socket that listens, by its line in `/proc/net/tcp`: number, address, peer, state and more.
fn listener(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, port) = address.rsplit_once(':')?;
    (state == LISTENS).then(|| u16::from_str_radix(port, 16).ok())?
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
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }
}
