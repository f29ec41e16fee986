//! Thousands of changes of a sound site, each alone: whatever a client could notice is
//! found.

use crate::support::{NOW, Project, app_image, tree};
use rayon::prelude::*;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};
use towline_descriptor::Chip;
use xtask::check::{Code, Fault, Files, Terms, inspect, secrets::Secrets};

const INDEX: &str = "releases.json";

/// How many bytes are changed, and how many pairs of files are swapped.
const BYTES: u64 = 10_000;
const SWAPS: u64 = 1_000;

/// Fields of the index that are said there alone, and that nothing is compared with:
/// words for people, and what a board has to have.
const SAID_ONCE: [&str; 7] =
    ["title", "description", "notes", "released", "commit", "dropped", "psram"];

/// A site in memory.
#[derive(Clone)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        self.0.get(path).cloned().ok_or_else(|| Code::FileMissing.fault("missing"))
    }

    fn all(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

impl Memory {
    /// Takes the site of a signed project with two releases for these chips.
    fn released(chips: &[Chip]) -> Self {
        let project = Project::new(chips);
        project.done(&["keys", "init"]);
        for version in ["1.0.0", "1.1.0-rc.1"] {
            for chip in chips {
                let image = app_image(*chip, "lamp", version, 8_000);
                project.write(&format!("images/{chip}.bin"), image);
            }
            project.done(&["release"]);
        }
        let files = tree(&project.path("dist/site"));
        Self(
            files.into_iter().map(|(path, bytes)| (path.to_str().unwrap().into(), bytes)).collect(),
        )
    }

    /// Returns the codes of what is found.
    fn codes(&self) -> BTreeSet<Code> {
        let (secrets, known) = (Secrets::default(), BTreeSet::new());
        let now = NOW.parse().unwrap();
        let terms = Terms {
            now,
            project: None,
            secrets: &secrets,
            known: &known,
            min_left: None,
            start: None,
        };
        inspect(self, &terms).all.into_iter().map(|finding| finding.code).collect()
    }

    /// Returns the path of a file, each as likely as the others.
    fn any(&self, dice: &mut Dice) -> String {
        self.0.keys().nth(dice.below(self.0.len())).unwrap().clone()
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    /// The next one of `SplitMix64`.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}

/// Tells whether two indexes say the same but for what is said there alone.
fn says_the_same(one: &[u8], other: &[u8]) -> bool {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(strip),
            Value::Object(object) => {
                // What is null may as well be left out.
                object
                    .retain(|name, value| !value.is_null() && !SAID_ONCE.contains(&name.as_str()));
                object.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let read = |bytes: &[u8]| {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        strip(&mut value);
        Some(value)
    };
    read(one).is_some_and(|one| Some(one) == read(other))
}

#[test]
fn a_change_of_any_byte_is_found_where_a_client_could_notice_it() {
    let sound = Memory::released(&[Chip::Esp32c3]);
    assert_eq!(sound.codes(), BTreeSet::new());
    let missed = (0..BYTES).into_par_iter().filter_map(|number| {
        let mut dice = Dice(number);
        let path = sound.any(&mut dice);
        let mut site = sound.clone();
        let bytes = site.0.get_mut(&path).unwrap();
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 + dice.below(255) as u8;
        site.codes().is_empty().then_some((path, at, site))
    });
    let missed: Vec<_> = missed.collect();
    let (mut comments, mut said_once) = (0, 0);
    for (path, at, site) in missed {
        let (before, after) = (&sound.0[&path], &site.0[&path]);
        let of_index = path == INDEX && says_the_same(before, after);
        // The first line of a signature is not signed, and says so.
        let is_comment = path.ends_with(".minisig") && !before[..at].contains(&b'\n');
        assert!(of_index || is_comment, "{path}, byte {at}: not found");
        if of_index { said_once += 1 } else { comments += 1 }
    }
    eprintln!(
        "of {BYTES} changed bytes all were found but for {comments} in comments that nobody trusts, and {said_once} in words or spaces of {INDEX}"
    );
}

#[test]
fn files_in_the_place_of_others_are_found() {
    let sound = Memory::released(&[Chip::Esp32c3, Chip::Esp32s3]);
    let missed = (0..SWAPS).into_par_iter().filter_map(|number| {
        let mut dice = Dice(number);
        let mut site = sound.clone();
        let one = site.any(&mut dice);
        let mut bytes = mem::take(site.0.get_mut(&one).unwrap());
        let other = loop {
            let other = site.any(&mut dice);
            if site.0[&other] != bytes && other != one {
                break other;
            }
        };
        mem::swap(site.0.get_mut(&other).unwrap(), &mut bytes);
        site.0.insert(one.clone(), bytes);
        site.codes().is_empty().then_some((one, other))
    });
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
