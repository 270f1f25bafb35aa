//! An ordered map that compiles to little: sorted chunks in a list.
//!
//! The browser client is weighed in kilobytes, and each use of the standard library's B-tree with
//! another type costs nine of them. Keys here mostly come in ascending order and go from the front.

use std::borrow::Borrow;
use std::cmp::Ordering;

/// A map in order of its keys.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    /// Chunks in order, none empty; keys ascend within each and from each to the next.
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

/// Equal in content; how it lies in chunks is nobody's business.
impl<K: Ord, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Ord, V: Eq> Eq for Table<K, V> {}

impl<K: Ord, V> Table<K, V> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flatten()
    }

    /// The entries, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.chunks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// The entry with the least key.
    #[must_use]
    pub fn first(&self) -> Option<&(K, V)> {
        self.chunks.first()?.first()
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key).ok()?;
        Some(&self.chunks[chunk][at].1)
    }

    /// The value of a key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key).ok()?;
        Some(&mut self.chunks[chunk][at].1)
    }

    /// Puts a value in, and returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((chunk, at)) => Some(std::mem::replace(&mut self.chunks[chunk][at].1, value)),
            Err(place) => {
                self.put(place, (key, value));
                None
            }
        }
    }

    /// The value of a key, which is put in if there is none.
    pub fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (chunk, at) = match self.find(&key) {
            Ok(place) => place,
            Err(place) => self.put(place, (key, make())),
        };
        &mut self.chunks[chunk][at].1
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key).ok()?;
        Some(self.take(chunk, at).1)
    }

    /// Takes the entry with the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.is_empty()).then(|| self.take(0, 0))
    }

    fn take(&mut self, chunk: usize, at: usize) -> (K, V) {
        self.len -= 1;
        let entry = self.chunks[chunk].remove(at);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        entry
    }

    /// Where a key is, or where it would have to be put.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<(usize, usize), (usize, usize)>
    where
        K: Borrow<Q>,
    {
        locate(self.chunks.len(), &|chunk, at| match self.chunks[chunk].get(at) {
            Some((known, _)) => known.borrow().cmp(key),
            None => Ordering::Greater,
        })
    }

    /// Puts an entry where [`Table::find`] said. Returns where it is.
    fn put(&mut self, (mut chunk, mut at): (usize, usize), entry: (K, V)) -> (usize, usize) {
        self.len += 1;
        if self.chunks.get(chunk).is_none_or(|entries| entries.len() == CHUNK) {
            match self.chunks.get_mut(chunk) {
                // Ascending keys fill one chunk after the other.
                Some(_) if at == CHUNK => (chunk, at) = (chunk + 1, 0),
                Some(full) => {
                    let rest = full.split_off(CHUNK / 2);
                    self.chunks.insert(chunk + 1, rest);
                    if at > CHUNK / 2 {
                        (chunk, at) = (chunk + 1, at - CHUNK / 2);
                    }
                    self.chunks[chunk].insert(at, entry);
                    return (chunk, at);
                }
                None => {}
            }
            self.chunks.insert(chunk, Vec::new());
        }
        self.chunks[chunk].insert(at, entry);
        (chunk, at)
    }
}

/// Where in so many chunks the entry is that compares equal, or where one would have to be put. It
/// knows no type of key or value, so that it is there once and not once for every kind of table.
fn locate(
    chunks: usize,
    order: &dyn Fn(usize, usize) -> Ordering,
) -> Result<(usize, usize), (usize, usize)> {
    match search(chunks, &|chunk| order(chunk, 0)) {
        Ok(chunk) => Ok((chunk, 0)),
        Err(0) => Err((0, 0)),
        // The last chunk that begins before the key.
        Err(after) => {
            let chunk = after - 1;
            let place = search(CHUNK, &|at| order(chunk, at));
            place.map(|at| (chunk, at)).map_err(|at| (chunk, at))
        }
    }
}

/// Binary search among the numbers below `len`.
fn search(len: usize, order: &dyn Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from.midpoint(to);
        match order(middle) {
            Ordering::Less => from = middle + 1,
            Ordering::Equal => return Ok(middle),
            Ordering::Greater => to = middle,
        }
    }
    Err(from)
}

/// The most entries of a chunk: few enough to move them cheaply.
const CHUNK: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_the_standard_map(
            steps in prop::collection::vec((0..5_u8, 0..200_u32), 0..1500),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (at, (step, key)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => prop_assert_eq!(table.insert(key, at), model.insert(key, at)),
                    2 => prop_assert_eq!(table.remove(&key), model.remove(&key)),
                    3 => prop_assert_eq!(
                        *table.get_or_insert(key, || at), *model.entry(key).or_insert(at)),
                    _ => prop_assert_eq!(table.pop_first(), model.pop_first()),
                }
                prop_assert_eq!(table.get(&key), model.get(&key));
                prop_assert_eq!(table.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.is_empty(), model.is_empty());
                prop_assert_eq!(table.first().map(|entry| entry.0), model.keys().next().copied());
                prop_assert!(table.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
            let entries: Vec<_> = table.iter().copied().collect();
            prop_assert_eq!(entries, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ascending_keys_fill_chunks() {
        let mut table = Table::default();
        for key in 0..3200 {
            table.insert(key, ());
        }
        assert_eq!(table.chunks.len(), 100);
    }
}
