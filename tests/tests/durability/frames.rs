//! Just enough of the format of the files to damage them on purpose: where frames begin, and what a
//! newer version would say. The format is described in `storage/src/frame.rs`.

use std::{fs, path::Path};

/// The files of a server that has ended, to be laid out anew as often as it takes.
#[derive(Clone)]
pub(crate) struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    /// Reads the journal and the snapshots of a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let read = |name: String| {
            let bytes = fs::read(folder.join(&name)).expect("it was there a moment ago");
            (name, bytes)
        };
        Self(crate::files_of(folder).into_iter().map(read).collect())
    }

    /// Puts them into a folder in place of whatever is there.
    pub(crate) fn lay_out(&self, folder: &Path) {
        if folder.exists() {
            fs::remove_dir_all(folder).expect("it is ours");
        }
        fs::create_dir(folder).expect("its parent is there");
        for (name, bytes) in &self.0 {
            // What was never written is a hole again, which takes no time.
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let path = folder.join(name);
            fs::write(&path, &bytes[..used]).expect("the folder is ours");
            let file = fs::File::options().write(true).open(&path).expect("it was just written");
            file.set_len(bytes.len() as u64).expect("a file may have holes");
        }
    }

    /// The name of the newest file that begins like this.
    pub(crate) fn newest(&self, prefix: &str) -> String {
        let names = self.0.iter().map(|(name, _)| name).filter(|name| name.starts_with(prefix));
        names.max().unwrap_or_else(|| panic!("there is no {prefix}")).clone()
    }

    /// The content of one of them.
    pub(crate) fn bytes(&self, name: &str) -> &Vec<u8> {
        &self.0.iter().find(|(other, _)| other == name).expect("it is one of them").1
    }

    /// The same, to be changed.
    pub(crate) fn bytes_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(other, _)| other == name).expect("it is one of them").1
    }
}

/// Where the frames of a file begin, and where the last one ends.
pub(crate) fn boundaries(file: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![PREAMBLE];
    let mut at = PREAMBLE;
    while let Some(head) = file.get(at..at + FRAME) {
        if head[..4] == [0; 4] {
            break;
        }
        let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
        at += FRAME + length.next_multiple_of(ALIGN);
        boundaries.push(at);
    }
    boundaries
}

/// Makes a file say that a version of the format wrote it that does not exist yet.
pub(crate) fn make_newer(file: &mut [u8]) {
    file[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let sum = crc32(&file[..24]);
    file[24..28].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32 as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 }
        })
    };
    !bytes.iter().fold(!0, step)
}

/// What each file begins with, bytes.
const PREAMBLE: usize = 32;
/// What a frame has before its content, bytes.
const FRAME: usize = 24;
const ALIGN: usize = 8;

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
