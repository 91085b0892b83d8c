//! Where a JPEG image ends: other files hang behind many of them.

/// Returns how many bytes of `bytes` are the image: to its first end behind a scan. What phones and cameras put
/// behind it (a film, a second image, their notes) is none of it. `None` if its pixels are cut short.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    walk(bytes).or_else(|| last_end(bytes))
}

/// Goes from marker to marker; bytes between segments, which some programs leave there, are passed over.
fn walk(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut scanned) = (2, false);
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        let marker = *bytes.get(at + 1)?;
        match marker {
            // The first of two may fill up, and the second begin a marker.
            0xff => at += 1,
            0xd9 if scanned => return Some(at + 2),
            0xc0..=0xcf | 0xda..=0xfe => {
                scanned |= marker == 0xda;
                let size = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([size[0], size[1]]));
            }
            // A byte 255 of the pixels, a restart, or no marker of a JPEG.
            _ => at += 2,
        }
    }
}

/// Returns the length of all, if an end stands after the last start of a scan, inside which no such bytes can
/// stand: of a file with damage that looks like markers.
fn last_end(bytes: &[u8]) -> Option<usize> {
    let position = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| *pair == marker);
    let scan = position([0xff, 0xda])?;
    position([0xff, 0xd9]).filter(|end| *end > scan).map(|_| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("test.jpg");

    #[test]
    fn what_hangs_behind_is_no_part_of_the_image() {
        assert_eq!(end(JPEG), Some(JPEG.len()));
        // In a film anything may stand, the start of a scan too.
        let film = [&b"\0\0\0\x18ftypmp42"[..], &[0xff, 0xda, 0, 4, 1, 2, 3]].concat();
        assert_eq!(end(&[JPEG, &film].concat()), Some(JPEG.len()));
        assert_eq!(end(&[JPEG, JPEG].concat()), Some(JPEG.len()));
        for cut in 0..JPEG.len() {
            assert_eq!(end(&JPEG[..cut]), None, "{cut}");
        }
        // A thumbnail is an image of its own in a segment, with an end.
        let thumbnail = [&[0xff, 0xe1, 0, 6, 0xff, 0xda, 0xff, 0xd9][..]].concat();
        let with = [&JPEG[..2], &thumbnail, &JPEG[2..]].concat();
        assert_eq!(end(&with), Some(with.len()));
        assert_eq!(end(&with[..with.len() - 2]), None);
    }
}
