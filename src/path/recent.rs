//! A map that forgets what was not used for long.

use std::collections::HashMap;
use std::hash::Hash;

/// At most so many entries. When half of the room is taken since the last time, what was not put since then is dropped.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    recent: HashMap<K, V>,
    older: HashMap<K, V>,
    entries_max: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty map with room for so many.
    #[must_use]
    pub(super) fn new(entries_max: usize) -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), entries_max }
    }

    /// What is kept under the key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.recent.get(key).or_else(|| self.older.get(key))
    }

    /// Keeps a value, and keeps it for longer than what was put before it.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.older.remove(&key);
        if self.recent.len() >= self.entries_max / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.older.remove(&key);
        }
        self.recent.insert(key, value);
    }

    /// Forgets at once.
    pub(super) fn forget(&mut self, key: &K) {
        self.recent.remove(key);
        self.older.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_the_room_is_never_exceeded() {
        let mut map = Recent::new(8);
        map.put("used", 0);
        let names: Vec<String> = (0..100).map(|name| format!("{name}")).collect();
        for name in &names {
            map.put(name, 1);
            map.put("used", 2);
            assert!(map.recent.len() + map.older.len() <= 8);
            assert_eq!(map.get(&"used"), Some(&2));
        }
        assert_eq!(map.get(&"0"), None);
        map.forget(&"used");
        assert_eq!(map.get(&"used"), None);
    }
}
