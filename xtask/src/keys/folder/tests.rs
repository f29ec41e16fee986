use super::*;

fn folder() -> (tempfile::TempDir, KeyFolder) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("project/.git")).unwrap();
    let keys = dir.path().join("keys");
    let folder = KeyFolder::at(keys, &dir.path().join("project"), "lamp").unwrap();
    (dir, folder)
}

#[test]
fn a_folder_inside_the_repository_is_refused_however_it_is_named() {
    let (dir, _) = folder();
    let root = dir.path().join("project");
    let inside = ["project", "project/keys", "keys/../project/k", "project/a/../../project"];
    for path in inside {
        let result = KeyFolder::at(dir.path().join(path), &root, "lamp");
        assert!(matches!(result, Err(KeyError::InRepository { .. })), "{path}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&root, dir.path().join("link")).unwrap();
        let result = KeyFolder::at(dir.path().join("link/keys"), &root, "lamp");
        assert!(matches!(result, Err(KeyError::InRepository { .. })));
    }
    // The whole repository counts, not only the folder of the project.
    let result = KeyFolder::at(root.join("keys"), &root.join("firmware"), "lamp");
    assert!(matches!(result, Err(KeyError::InRepository { .. })));
    KeyFolder::at(dir.path().join("project-keys"), &root, "lamp").unwrap();
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, folder) = folder();
    let key = SecretKey::generate().unwrap();
    let file = folder.keep(&key, Kind::Channel, None, &Disk::default()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file.path), mode(folder.path())), (0o600, 0o700));
    assert_eq!(folder.channel_keys(|_| true).unwrap()[0].public(), key.public());
    for readable in [0o644, 0o640, 0o604] {
        let permissions = fs::Permissions::from_mode(readable);
        fs::set_permissions(&file.path, permissions).unwrap();
        let error = folder.channel_keys(|_| true).unwrap_err();
        assert!(matches!(error, KeyError::Readable { .. }), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod 600"));
        // One that nobody asks for is not in the way.
        assert_eq!(folder.channel_keys(|_| false).unwrap().len(), 0);
    }
}

#[test]
fn a_killed_run_leaves_a_whole_key_or_none() {
    for steps in 0.. {
        let (_dir, folder) = folder();
        let key = SecretKey::from_seed([3; 32]);
        let result = folder.keep(&key, Kind::Channel, None, &Disk::killed_after(steps));
        for file in folder.files().unwrap() {
            assert_eq!(folder.channel_keys(|id| id == file.id).unwrap().len(), 1);
        }
        if result.is_ok() {
            assert!(steps > 5, "{steps}");
            break;
        }
        let again = folder.keep_new(&key, Kind::Channel, None, &Disk::default()).unwrap();
        folder.settle(&again, &Disk::default()).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 2, "after {steps} steps");
    }
}

#[test]
fn a_new_key_is_that_of_the_very_project_it_was_made_for() {
    let (dir, folder) = folder();
    let key = SecretKey::from_seed([3; 32]);
    let disk = Disk::default();
    let made = folder.keep_new(&key, Kind::Channel, None, &disk).unwrap();
    let is_new = |root: &str, project: &str| {
        let folder = KeyFolder::at(folder.path().into(), &dir.path().join(root), project);
        folder.unwrap().files().unwrap()[0].is_new
    };
    assert!(is_new("project", "lamp"));
    assert!(!is_new("project", "fan") && !is_new("clone", "lamp"));
    assert_eq!(folder.channel_keys(|_| true).unwrap().len(), 1);
    folder.settle(&made, &disk).unwrap();
    assert!(!is_new("project", "lamp"));
}

#[test]
fn the_content_of_a_file_says_which_key_it_is() {
    let (_dir, folder) = folder();
    let [key, other] = [3, 4].map(|seed| SecretKey::from_seed([seed; 32]));
    let kept = folder.keep(&key, Kind::Channel, None, &Disk::default()).unwrap();
    let renamed = folder.path().join("ci.pem");
    fs::rename(&kept.path, &renamed).unwrap();
    assert_eq!(folder.channel_keys(|id| id == kept.id).unwrap().len(), 1);
    let misnamed = folder.path().join(format!("channel-{}.pem", other.public().id()));
    fs::rename(&renamed, &misnamed).unwrap();
    let files = folder.files().unwrap();
    assert_eq!((files[0].id, files[0].named), (kept.id, Some(other.public().id())));
    assert!(folder.channel_keys(|id| id == other.public().id()).unwrap().is_empty());
    // What is no key is in nobody's way.
    fs::write(folder.path().join("note.pem"), "nonsense").unwrap();
    fs::create_dir(folder.path().join("old.pem")).unwrap();
    assert_eq!(folder.files().unwrap().len(), 1);
}

#[test]
fn what_is_no_key_in_the_variable_is_told_for_what_it_is() {
    let (_dir, folder) = folder();
    let key = SecretKey::from_seed([3; 32]);
    let file = folder.keep(&key, Kind::Channel, None, &Disk::default()).unwrap();
    let pem = key.to_pem();
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let encrypted = key.to_encrypted_pem(&passphrase).unwrap();
    for (text, expected) in [
        (file.path.to_str().unwrap(), "it is the path of a file"),
        (&pem.trim().replace('\n', " "), "it is one line"),
        (&pem.replace('\n', "\\n"), "it is one line"),
        (&encrypted, "it is encrypted, as root keys are"),
    ] {
        let error = keys_of_variable(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(keys_of_variable(&pem).unwrap().len(), 1);
}
