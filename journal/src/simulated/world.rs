//! Files and names, each as programs see it, as it is on disk, and what is between the two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One change. Files are known by number, since they outlive their names.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create {
        directory: PathBuf,
        name: String,
        file: usize,
    },
    Write {
        file: usize,
        position: u64,
        bytes: Arc<[u8]>,
    },
    SetLength {
        file: usize,
        bytes: u64,
    },
    Sync(usize),
    SyncFailed(usize),
    Rename {
        directory: PathBuf,
        from: String,
        to: String,
        file: usize,
    },
    Remove {
        directory: PathBuf,
        name: String,
    },
    SyncDirectory(PathBuf),
    CreateDirectory(PathBuf),
    RemoveDirectory(PathBuf),
    /// From outside, durable at once; without bytes the file is gone.
    Damage {
        path: PathBuf,
        bytes: Option<Arc<[u8]>>,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) files: Vec<Contents>,
    pub(super) directories: BTreeMap<PathBuf, Names>,
    /// Those that were removed, where that is not durable yet, and what is durable in them.
    pub(super) removed: BTreeMap<PathBuf, Names>,
}

/// What is in a file. Shared until it differs.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) durable: Arc<Vec<u8>>,
    live: Arc<Vec<u8>>,
    pub(super) pending: Vec<Write>,
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Bytes { position: u64, bytes: Arc<[u8]> },
    Length(u64),
}

impl Write {
    pub(super) fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Length(bytes) => contents.resize(*bytes as usize, 0),
            Self::Bytes { position, bytes } => {
                let from = *position as usize;
                let end = from + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[from..end].copy_from_slice(bytes);
            }
        }
    }
}

/// What is in a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) durable: BTreeMap<String, usize>,
    live: BTreeMap<String, usize>,
    pub(super) pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Put(String, usize),
    Remove(String),
    Rename { from: String, to: String, file: usize },
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl World {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { directory, name, file } => {
                self.files.resize_with(self.files.len().max(file + 1), Contents::default);
                self.name(directory, NameChange::Put(name.clone(), *file));
            }
            Change::Write { file, position, bytes } => {
                self.write(*file, Write::Bytes { position: *position, bytes: bytes.clone() });
            }
            Change::SetLength { file, bytes } => self.write(*file, Write::Length(*bytes)),
            Change::Sync(file) => {
                let contents = &mut self.files[*file];
                let durable = Arc::make_mut(&mut contents.durable);
                contents.pending.drain(..).for_each(|write| write.apply(durable));
                if *contents.durable == *contents.live {
                    contents.live = contents.durable.clone();
                }
            }
            // Programs still see it.
            Change::SyncFailed(file) => self.files[*file].pending.clear(),
            Change::Rename { directory, from, to, file } => {
                let (from, to, file) = (from.clone(), to.clone(), *file);
                self.name(directory, NameChange::Rename { from, to, file });
            }
            Change::Remove { directory, name } => self.name(directory, NameChange::Remove(name.clone())),
            Change::SyncDirectory(directory) => {
                if let Some(names) = self.directories.get_mut(directory) {
                    names.pending.clear();
                    names.durable = names.live.clone();
                }
                self.removed.retain(|removed, _| removed.parent() != Some(directory));
            }
            // Its maker syncs the directory above, and with that what was removed there.
            Change::CreateDirectory(directory) => {
                self.directories.entry(directory.clone()).or_default();
                self.removed.retain(|removed, _| removed.parent() != directory.parent());
            }
            Change::RemoveDirectory(directory) => {
                let names = self.directories.remove(directory).expect("a directory that is there");
                self.removed.insert(directory.clone(), names);
            }
            Change::Damage { path, bytes } => self.damage(path, bytes.as_deref()),
        }
    }

    fn write(&mut self, file: usize, write: Write) {
        let contents = &mut self.files[file];
        write.apply(Arc::make_mut(&mut contents.live));
        contents.pending.push(write);
    }

    fn name(&mut self, directory: &Path, change: NameChange) {
        let names = self.directories.entry(directory.into()).or_default();
        change.apply(&mut names.live);
        names.pending.push(change);
    }

    fn damage(&mut self, path: &Path, bytes: Option<&[u8]>) {
        let file = self.find(path).expect("damage to a file that is there");
        if let Some(bytes) = bytes {
            let bytes = Arc::new(bytes.to_vec());
            self.files[file] = Contents { durable: bytes.clone(), live: bytes, pending: Vec::new() };
            return;
        }
        let (directory, name) = super::split(path);
        let names = self.directories.get_mut(&directory).expect("the file's directory");
        names.live.remove(&name);
        names.durable.remove(&name);
    }

    pub(super) fn new_file(&self) -> usize {
        self.files.len()
    }

    pub(super) fn live(&self, file: usize) -> &[u8] {
        &self.files[file].live
    }

    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        let (directory, name) = super::split(path);
        self.directories.get(&directory)?.live.get(&name).copied()
    }

    pub(super) fn has_directory(&self, directory: &Path) -> bool {
        self.directories.contains_key(directory)
    }

    pub(super) fn names(&self, directory: &Path) -> Option<Vec<String>> {
        let files = self.directories.get(directory)?.live.keys().cloned();
        let below = self.directories.keys().filter(|path| path.parent() == Some(directory));
        let names = below.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Some(files.chain(names).collect())
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let names = |(directory, names): (&PathBuf, &Names)| {
            names.live.keys().map(|name| directory.join(name)).collect::<Vec<_>>()
        };
        self.directories.iter().flat_map(names).collect()
    }

    /// One with all of this durable: names and the contents that they lead to.
    pub(super) fn settled(directories: BTreeMap<PathBuf, BTreeMap<String, usize>>, files: Vec<Arc<Vec<u8>>>) -> Self {
        let contents = |bytes: Arc<Vec<u8>>| Contents { durable: bytes.clone(), live: bytes, pending: Vec::new() };
        let names = |names: BTreeMap<String, usize>| Names { durable: names.clone(), live: names, pending: Vec::new() };
        Self {
            files: files.into_iter().map(contents).collect(),
            directories: directories.into_iter().map(|(path, of)| (path, names(of))).collect(),
            removed: BTreeMap::new(),
        }
    }
}
