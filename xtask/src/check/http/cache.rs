//! Answers of earlier checks, in a folder.
//!
//! ```text
//! <SHA-256 of the URL>.json   what the host answered, with the SHA-256 of the body
//! <SHA-256 of the body>       the body
//! ```
//!
//! A body lies under its own hash and is there before anything refers to it: two checks
//! at once, or one that is killed, leave nothing that would be believed. What was not used
//! for a month goes.

use super::Reply;
use crate::{disk::Disk, store::sha256};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use towline_descriptor::Sha256;

/// How long an answer is kept that nobody asks for.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The answers of earlier checks.
pub(in crate::check) struct Cache {
    folder: PathBuf,
}

/// What a host answered.
#[derive(Serialize, Deserialize)]
struct Entry {
    url: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Sha256,
}

impl Cache {
    /// Opens the cache in `folder`, and removes what is old of its own in it.
    pub(in crate::check) fn open(folder: &Path) -> Self {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(is_own) {
                continue;
            }
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > KEPT));
            if is_old {
                // Another check may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
        Self { folder: folder.to_owned() }
    }

    /// Returns the last answer to `url`, if it is there and whole.
    pub(in crate::check) fn get(&self, url: &str) -> Option<Reply> {
        let path = self.entry(url);
        let entry: Entry = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let place = self.folder.join(entry.body.to_string());
        let body = fs::read(&place).ok()?;
        if entry.url != url || sha256(&body) != entry.body {
            return None;
        }
        for used in [path, place] {
            let file = fs::File::options().append(true).open(used);
            // It goes earlier than it need.
            let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        }
        let header = |(name, value): (String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in entry.headers.into_iter().filter_map(header) {
            headers.append(name, value);
        }
        Some(Reply { status: entry.status, headers, body })
    }

    /// Keeps an answer. What cannot be kept is fetched again.
    pub(in crate::check) fn put(&self, url: &str, reply: &Reply) {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.to_string(), value.to_str().ok()?.to_owned()))
        };
        let body = sha256(&reply.body);
        let entry = Entry {
            url: url.to_owned(),
            status: reply.status,
            headers: reply.headers.iter().filter_map(header).collect(),
            body,
        };
        let disk = Disk::default();
        let kept = || {
            disk.create_dir(&self.folder)?;
            disk.write(&self.folder.join(body.to_string()), &reply.body)?;
            disk.write(&self.entry(url), &serde_json::to_vec(&entry)?)
        };
        let _: std::io::Result<()> = kept();
    }

    fn entry(&self, url: &str) -> PathBuf {
        self.folder.join(format!("{}.json", sha256(url.as_bytes())))
    }
}

/// Returns whether a file has a name as those that are kept here: users may name a folder
/// that has files of theirs.
fn is_own(name: &str) -> bool {
    name.strip_suffix(".json").unwrap_or(name).parse::<Sha256>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_and_not_believed_once_a_byte_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let url = "https://a.example/a.bin";
        let mut reply = Reply { status: 200, body: b"image".into(), ..Reply::default() };
        reply.headers.insert("etag", HeaderValue::from_static("\"1\""));
        assert!(cache.get(url).is_none());
        cache.put(url, &reply);
        let kept = cache.get(url).unwrap();
        assert_eq!((kept.status, kept.header("etag")), (200, Some("\"1\"")));
        assert_eq!(kept.body, b"image");
        assert!(cache.get("https://a.example/b.bin").is_none());
        fs::write(dir.path().join(sha256(b"image").to_string()), b"imagf").unwrap();
        assert!(cache.get(url).is_none());
        cache.put(url, &reply);
        assert!(cache.get(url).is_some());
        for foreign in ["notes.json", "image.bin"] {
            fs::write(dir.path().join(foreign), b"of the user").unwrap();
        }
        let old = SystemTime::now() - 2 * KEPT;
        for entry in dir.path().read_dir().unwrap() {
            let file = fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(old).unwrap();
        }
        Cache::open(dir.path());
        let left = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["image.bin", "notes.json"]);
    }
}
