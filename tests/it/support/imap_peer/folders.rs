//! Folders in memory.

/// A folder.
#[derive(Debug, Clone)]
pub struct Folder {
    pub uidvalidity: u32,
    pub uid_next: u32,
    /// Counts what was done to it.
    pub modseq: u64,
    pub messages: Vec<Kept>,
}

/// A message in a folder.
#[derive(Debug, Clone)]
pub struct Kept {
    pub uid: u32,
    pub raw: Vec<u8>,
    pub is_deleted: bool,
    pub flags: Vec<String>,
}

impl Folder {
    pub fn new(uidvalidity: u32) -> Self {
        Self { uidvalidity, uid_next: 1, modseq: 1, messages: Vec::new() }
    }

    pub fn append(&mut self, raw: Vec<u8>) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.modseq += 1;
        self.messages.push(Kept { uid, raw, is_deleted: false, flags: Vec::new() });
        uid
    }

    /// Give every message a new UID, as a server does that has lost its index.
    pub fn renumber(&mut self, uidvalidity: u32) {
        self.uidvalidity = uidvalidity;
        self.uid_next = 1;
        for kept in std::mem::take(&mut self.messages) {
            self.append(kept.raw);
        }
    }

    /// The places of the messages in a set such as `1:4,7` or `5:*`.
    pub fn places(&self, set: &str) -> Vec<usize> {
        let last = self.messages.last().map_or(0, |kept| kept.uid);
        let number = |text: &str| if text == "*" { last } else { text.parse().unwrap() };
        let ranges: Vec<(u32, u32)> = set
            .split(',')
            .map(|range| range.split_once(':').unwrap_or((range, range)))
            .map(|(a, b)| (number(a), number(b)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        let is_in = |uid: u32| ranges.iter().any(|(first, last)| (*first..=*last).contains(&uid));
        self.messages.iter().enumerate().filter(|(_, kept)| is_in(kept.uid)).map(|(place, _)| place).collect()
    }
}
