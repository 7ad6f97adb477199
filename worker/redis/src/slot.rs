//! Slots of a cluster (Redis cluster specification, "Key distribution model" and "Hash tags").

/// Number of slots.
const SLOTS: u16 = 16384;

/// The slot a key lies in: only the part between the first `{` and the next `}` counts, if it is not empty.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

fn tag(key: &[u8]) -> &[u8] {
    let inner = || {
        let opened = key.iter().position(|byte| *byte == b'{')?;
        let rest = key.get(opened + 1..)?;
        let closed = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..closed).filter(|tag| !tag.is_empty())
    };
    inner().unwrap_or(key)
}

/// CRC16 as XMODEM computes it: polynomial 0x1021, nothing reflected, starting with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }
}
