//! What is on a disk: only those pages that hold something, and each of them once for all images that agree on it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What is shared or copied at once.
const PAGE_BYTES: usize = 4_096;

/// A row of bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    len: usize,
    /// By number. A page that is not here is all zeros, and so is what a page has beyond `len`.
    pages: BTreeMap<usize, Arc<[u8; PAGE_BYTES]>>,
}

impl Image {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What is new is zero.
    pub(super) fn resize(&mut self, len: usize) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(last) = self.pages.get_mut(&(len / PAGE_BYTES)) {
                Arc::make_mut(last)[len % PAGE_BYTES..].fill(0);
            }
        }
        self.len = len;
    }

    /// Fills `out` with what begins at `at`. `None` beyond the end.
    pub(super) fn read(&self, at: usize, out: &mut [u8]) -> Option<()> {
        for (number, within, part) in self.parts(at, out.len())? {
            match self.pages.get(&number) {
                Some(page) => out[part].copy_from_slice(&page[within]),
                None => out[part].fill(0),
            }
        }
        Some(())
    }

    /// Puts `data` where `at` is. `None`, and nothing is written, beyond the end.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) -> Option<()> {
        for (number, within, part) in self.parts(at, data.len())? {
            let data = &data[part];
            if !self.pages.contains_key(&number) && data.iter().all(|byte| *byte == 0) {
                continue;
            }
            let page = self.pages.entry(number);
            let page = page.or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within].copy_from_slice(data);
        }
        Some(())
    }

    /// Becomes the same as another image of the same length on all pages that `range` touches.
    pub(super) fn share(&mut self, range: &Range<usize>, other: &Image) {
        let end = range.end.min(self.len);
        for number in range.start / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            match other.pages.get(&number) {
                Some(page) => drop(self.pages.insert(number, page.clone())),
                None => drop(self.pages.remove(&number)),
            }
        }
    }

    /// Where the sectors of so many bytes begin that are not all zeros.
    pub(super) fn written(&self, sector_bytes: usize) -> Vec<usize> {
        let pages = self.pages.iter();
        pages
            .flat_map(|(number, page)| {
                let sectors = page.chunks(sector_bytes).enumerate();
                sectors
                    .filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
                    .map(move |(sector, _)| number * PAGE_BYTES + sector * sector_bytes)
            })
            .collect()
    }

    /// The pages that bytes from `at` on lie on: each one's number, where in it they lie, and which of the bytes these are.
    /// `None` beyond the end.
    fn parts(
        &self,
        at: usize,
        count: usize,
    ) -> Option<impl Iterator<Item = (usize, Range<usize>, Range<usize>)> + use<>> {
        let end = at.checked_add(count).filter(|end| *end <= self.len)?;
        let pages = at / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        Some(pages.map(move |number| {
            let first = number * PAGE_BYTES;
            let (from, to) = (at.max(first), end.min(first + PAGE_BYTES));
            (number, from - first..to - first, from - at..to - at)
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Resize(usize),
        Write(usize, Vec<u8>),
        Share(Range<usize>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || 0..4 * PAGE_BYTES;
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2 * PAGE_BYTES),
            (0..2 * PAGE_BYTES).prop_map(|count| vec![0; count]),
        ];
        prop_oneof![
            place().prop_map(Step::Resize),
            (place(), bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (place(), place()).prop_map(|(a, b)| Step::Share(a.min(b)..a.max(b))),
        ]
    }

    fn bytes(image: &Image) -> Vec<u8> {
        let mut bytes = vec![1; image.len()];
        image.read(0, &mut bytes).expect("it is as long");
        bytes
    }

    proptest! {
        #[test]
        fn an_image_is_a_row_of_bytes(steps in prop::collection::vec(step(), 0..30)) {
            let (mut image, mut row) = (Image::default(), Vec::new());
            // Another one, from which pages are taken, and which must not change with them.
            let mut other = Image::default();
            other.resize(4 * PAGE_BYTES);
            other.write(PAGE_BYTES / 2, &[7; 2 * PAGE_BYTES]).expect("within");
            let others = bytes(&other);
            for step in steps {
                match step {
                    Step::Resize(len) => {
                        image.resize(len);
                        row.resize(len, 0);
                    }
                    Step::Write(at, data) => {
                        let written = image.write(at, &data);
                        let place = row.get_mut(at..at + data.len());
                        prop_assert_eq!(written.is_some(), place.is_some());
                        if let Some(place) = place {
                            place.copy_from_slice(&data);
                        }
                    }
                    Step::Share(range) => {
                        image.resize(4 * PAGE_BYTES);
                        row.resize(4 * PAGE_BYTES, 0);
                        image.share(&range, &other);
                        let start = range.start / PAGE_BYTES * PAGE_BYTES;
                        let end = range.end.div_ceil(PAGE_BYTES) * PAGE_BYTES;
                        if start < end {
                            row[start..end].copy_from_slice(&others[start..end]);
                        }
                    }
                }
                prop_assert_eq!(&bytes(&image), &row);
                let written = row.chunks(512).enumerate();
                let written = written.filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
                let written: Vec<usize> = written.map(|(sector, _)| sector * 512).collect();
                prop_assert_eq!(image.written(512), written);
            }
            prop_assert_eq!(bytes(&other), others);
            prop_assert!(image.read(row.len(), &mut [0]).is_none());
            prop_assert!(image.read(usize::MAX, &mut [0; 2]).is_none());
        }
    }
}
