//! A loss of power at every moment of a run: what was not synced is there or not, in any combination.
//!
//! A process that is killed leaves all it wrote to the system. Only this shows that the syncs stand where they must.

use super::tests::{Folder, checkpoints, run};
use super::{BEST, Checkpoint};
use crate::file::write::{Disk, System};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

type Name = OsString;

/// What a run asked of the disk. Files are numbered as they were made.
#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Sync(usize),
    Entry(Entry),
    SyncDirectory,
}

/// A change of the folder.
#[derive(Clone, Debug)]
enum Entry {
    Create(Name, usize),
    Rename(Name, Name),
    Remove(Name),
}

/// The system, which writes down what it was asked, and syncs nothing.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<(usize, Vec<Op>)>>);

impl Recorder {
    fn push(&self, op: Op) {
        self.0.lock().unwrap().1.push(op);
    }
}

fn name(path: &Path) -> Name {
    path.file_name().unwrap().to_owned()
}

impl Disk for Recorder {
    type File = (usize, File);

    fn create(&mut self, path: &Path) -> io::Result<(usize, File)> {
        let file = System.create(path)?;
        let number = self.0.lock().unwrap().0;
        self.0.lock().unwrap().0 += 1;
        self.push(Op::Entry(Entry::Create(name(path), number)));
        Ok((number, file))
    }

    fn write(&mut self, file: &mut (usize, File), bytes: &[u8]) -> io::Result<usize> {
        let count = System.write(&mut file.1, bytes)?;
        self.push(Op::Write(file.0, bytes[..count].to_vec()));
        Ok(count)
    }

    fn sync(&mut self, file: &mut (usize, File)) -> io::Result<()> {
        self.push(Op::Sync(file.0));
        Ok(())
    }

    fn len(&mut self, file: &mut (usize, File)) -> io::Result<u64> {
        System.len(&mut file.1)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.push(Op::Entry(Entry::Rename(name(from), name(to))));
        System.rename(from, to)
    }

    fn sync_directory(&mut self, _: &Path) -> io::Result<()> {
        self.push(Op::SyncDirectory);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.push(Op::Entry(Entry::Remove(name(path))));
        System.remove(path)
    }
}

/// What is certainly on the disk, and what may be.
#[derive(Default)]
struct Disc {
    folder: BTreeMap<Name, usize>,
    pending: Vec<Entry>,
    /// Contents, and how many of the bytes are certain.
    files: Vec<(Vec<u8>, usize)>,
}

impl Disc {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(file, bytes) => self.files[*file].0.extend(bytes),
            Op::Sync(file) => self.files[*file].1 = self.files[*file].0.len(),
            Op::Entry(entry) => {
                if let Entry::Create(..) = entry {
                    self.files.push((Vec::new(), 0));
                }
                self.pending.push(entry.clone());
            }
            Op::SyncDirectory => {
                self.folder = self.folder_with(usize::MAX);
                self.pending.clear();
            }
        }
    }

    /// The folder if of what is pending only the chosen bits came to the disk.
    fn folder_with(&self, chosen: usize) -> BTreeMap<Name, usize> {
        let mut folder = self.folder.clone();
        // A file has its number whether or not its first name was ever written.
        let mut made: BTreeMap<&Name, usize> = BTreeMap::new();
        for (index, entry) in self.pending.iter().enumerate() {
            let is_chosen = chosen >> index & 1 == 1;
            match entry {
                Entry::Create(name, file) => {
                    made.insert(name, *file);
                    if is_chosen {
                        folder.insert(name.clone(), *file);
                    }
                }
                Entry::Rename(from, to) if is_chosen => {
                    let file = folder.remove(from).or_else(|| made.get(from).copied());
                    folder.insert(to.clone(), file.expect("a file that was made"));
                }
                Entry::Remove(name) if is_chosen => drop(folder.remove(name)),
                Entry::Rename(..) | Entry::Remove(_) => {}
            }
        }
        folder
    }
}

#[test]
fn power_is_lost_at_every_moment() {
    let (folder, after) = (Folder::new("power"), Folder::new("power-after"));
    let disk = Recorder::default();
    let mut recorded = checkpoints(&folder, None);
    recorded.store = Box::new(disk.clone());
    run(&mut recorded, None).0.unwrap();
    let ops = disk.0.lock().unwrap().1.clone();
    let reader = checkpoints(&after, None);
    let (mut disc, mut certain, mut states) = (Disc::default(), None, 0);
    for moment in 0..=ops.len() {
        assert!(disc.pending.len() < 8, "{:?}", disc.pending);
        for chosen in 0..1_usize << disc.pending.len() {
            // Of bytes that were not synced: none, half of them, zeros in their place, all.
            for kept in 0..4 {
                fs::remove_dir_all(&after.0).unwrap();
                fs::create_dir(&after.0).unwrap();
                for (name, file) in disc.folder_with(chosen) {
                    let (bytes, synced) = &disc.files[file];
                    let mut bytes = bytes.clone();
                    match kept {
                        0 => bytes.truncate(*synced),
                        1 => bytes.truncate(synced + (bytes.len() - synced) / 2),
                        2 => bytes[*synced..].fill(0),
                        _ => {}
                    }
                    fs::write(after.0.join(name), bytes).unwrap();
                }
                states += 1;
                let what = format!("after call {moment}, entries {chosen:b}, bytes {kept}");
                let last = reader.latest().unwrap_or_else(|error| panic!("{what}: {error}"));
                let path = last.as_ref().map(|last| name(last.path()));
                assert!(path >= certain, "{what}: {path:?}, but {certain:?} was synced");
                assert!(last.is_none_or(|last| last.skipped().is_empty()), "{what}");
                let best = after.0.join(BEST);
                assert!(!best.exists() || Checkpoint::read(&best).is_ok(), "{what}");
            }
        }
        let Some(op) = ops.get(moment) else { break };
        disc.apply(op);
        if let Op::SyncDirectory = op {
            let names = disc.folder.keys().filter(|name| name.to_string_lossy().starts_with("checkpoint-"));
            certain = names.max().cloned();
        }
    }
    assert!(states > 500, "{states}");
}
