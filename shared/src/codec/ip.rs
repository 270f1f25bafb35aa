//! Reads IP addresses, exactly those that the standard library reads, in a third of its size: the
//! browser client is weighed in kilobytes. Bytes, for the same reason: what finds patterns in text
//! is larger than all of this.

use std::net::IpAddr;

/// The address that a text is.
#[must_use]
pub fn parse(text: &str) -> Option<IpAddr> {
    let text = text.as_bytes();
    if !text.contains(&b':') {
        return four(text).map(IpAddr::from);
    }
    let mut groups = [0_u16; 8];
    let (mut len, mut at) = (0, 0);
    let mut gap = None;
    while at < text.len() {
        if text[at] == b':' && text.get(at + 1) == Some(&b':') {
            if gap.replace(len).is_some() {
                return None;
            }
            at += 2;
            if at == text.len() {
                break;
            }
        } else if at > 0 {
            at += 1; // a single colon: there is none elsewhere, so that an empty group ends it
        }
        let rest = text.get(at..)?;
        let end = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
        let group = &rest[..end];
        if group.contains(&b'.') && end == rest.len() {
            let [a, b, c, d] = four(group)?;
            *groups.get_mut(len + 1)? = u16::from_be_bytes([c, d]);
            groups[len] = u16::from_be_bytes([a, b]);
            len += 2;
        } else {
            *groups.get_mut(len)? = hexadecimal(group)?;
            len += 1;
        }
        at += end;
    }
    match gap {
        Some(gap) if len < 8 => {
            // What follows the gap goes to the end.
            for moved in 1..=len - gap {
                groups.swap(len - moved, 8 - moved);
            }
            Some(IpAddr::from(groups))
        }
        None if len == 8 => Some(IpAddr::from(groups)),
        _ => None,
    }
}

fn hexadecimal(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u16::from(digit))
    })
}

fn four(text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0_u8; 4];
    let (mut at, mut digits) = (0, 0);
    for byte in text {
        match byte {
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            // A zero in front could mean that it is octal.
            b'0'..=b'9' if digits == 0 || octets[at] > 0 => {
                octets[at] = octets[at].checked_mul(10)?.checked_add(byte - b'0')?;
                digits += 1;
            }
            _ => return None,
        }
    }
    (at == 3 && digits > 0).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it reads what the standard library reads, as that does.
    fn check(text: &str) {
        assert_eq!(parse(text), text.parse().ok(), "{text}");
    }

    #[test]
    fn addresses_are_read_as_by_the_standard_library() {
        for text in [
            "",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.04",
            "1..2.3",
            ".1.2.3",
            "1.2.3.",
            "1.2.3.4 ",
            "1.2.3.1000",
            "0.0.0.00",
            "::",
            "::1",
            "1::",
            ":",
            ":::",
            "1:",
            ":1",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7",
            "1::8",
            "1:2:3:4:5:6:7:8:9",
            "1::3::5",
            "12345::",
            "fFfF::AaBb",
            "g::",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1.2.3.4::",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8::",
            "1:2:3::4:5:6:7:8",
            "fe80::1%eth0",
            "[::1]",
            "::01.2.3.4",
            "1.2.3.4:5",
            "::1.2.3.4:5",
        ] {
            check(text);
        }
    }

    #[test]
    fn texts_of_their_characters_are_read_as_by_the_standard_library() {
        // A linear congruential generator, so that it is the same every time.
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let pieces = [":", "::", ".", "0", "1", "ff", "25", "256", "1.2.3.4", ":1", ":1", ":ab"];
        for _ in 0..200_000 {
            let len = random(12);
            let text: String = (0..len).map(|_| pieces[random(12) as usize]).collect();
            check(&text);
        }
    }
}
