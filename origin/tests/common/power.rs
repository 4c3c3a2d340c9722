//! Power cuts, as far as one can have them without cutting the power: what a process wrote and did
//! not sync is taken away. `durable.c` notes what it synced.

use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempDir;

/// The library that a process has preloaded, and its notes.
pub(crate) struct Power {
    library: PathBuf,
    durable: TempDir,
}

impl Power {
    /// Compiles the library.
    pub(crate) fn new() -> Self {
        let durable = tempfile::tempdir().unwrap();
        let library = durable.path().join("durable.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/durable.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compiler.status().unwrap().success(), "durable.c does not compile");
        Self { library, durable }
    }

    /// Notes what this program syncs.
    pub(crate) fn watch(&self, program: &mut Command) {
        program.env("LD_PRELOAD", &self.library).env("SIGHTSCREEN_DURABLE", self.durable.path());
    }

    /// Takes from the folder, whose writers are dead, what was not synced.
    pub(crate) fn cut(&self, folder: &Path) {
        let lost = folder.with_extension("lost");
        let root = name_of(&folder.metadata().unwrap());
        fs::rename(folder, &lost).unwrap();
        fs::create_dir(folder).unwrap();
        self.restore(&root, folder);
        fs::remove_dir_all(lost).unwrap();
        forget_boots(folder);
        for note in fs::read_dir(self.durable.path()).unwrap() {
            let note = note.unwrap().path();
            if note != self.library {
                fs::remove_file(note).unwrap();
            }
        }
        self.note(folder);
    }

    /// What was noted of a folder. One that was never synced is empty.
    fn restore(&self, folder: &str, to: &Path) {
        let names = fs::read_to_string(self.durable.path().join(folder)).unwrap_or_default();
        for line in names.lines() {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap();
            let (kind, what, name) = (word(), word(), word());
            let (note, to) = (self.durable.path().join(what), to.join(name));
            match kind {
                "d" => {
                    fs::create_dir(&to).unwrap();
                    self.restore(what, &to);
                }
                _ if note.exists() => drop(fs::copy(note, to).unwrap()),
                // Its name is on disk and none of its bytes.
                _ => fs::write(to, "").unwrap(),
            }
        }
    }

    /// All that the folder has is on disk.
    fn note(&self, folder: &Path) {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (metadata, path) = (entry.metadata().unwrap(), entry.path());
            let (kind, what) = (if metadata.is_dir() { 'd' } else { 'f' }, name_of(&metadata));
            writeln!(names, "{kind} {what} {}", entry.file_name().to_str().unwrap()).unwrap();
            match metadata.is_dir() {
                true => self.note(&path),
                false => drop(fs::copy(path, self.durable.path().join(what)).unwrap()),
            }
        }
        fs::write(self.durable.path().join(name_of(&folder.metadata().unwrap())), names).unwrap();
    }
}

/// The system was booted since.
fn forget_boots(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => forget_boots(&path),
            false if path.ends_with("boot") => fs::write(path, "before the power cut").unwrap(),
            false => {}
        }
    }
}

/// As `durable.c` names it.
fn name_of(metadata: &Metadata) -> String {
    let born = metadata.created().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("{}-{}.{:09}", metadata.ino(), born.as_secs(), born.subsec_nanos())
}
