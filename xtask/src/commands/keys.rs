//! `keys`: who may sign what.

mod change;
mod init;
mod show;
mod sign;

use crate::{
    cli::Global,
    disk::Disk,
    keys::{
        KeyError, KeyFolder, Kind, Passphrase, SecretKey,
        chain::{self, Added, Chain, Signed},
        hinted,
        root::Root,
    },
    name::ChannelName,
    project::{Places, Project},
    signing,
    ui::{Hinted, Ui},
};
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use towline_descriptor::{
    KeyId,
    root::{ANY_CHANNEL, ROOT_ROLE},
};

/// Make, change and show the keys that sign what devices install.
///
/// A root key says which channel keys count. It is encrypted with a passphrase
/// and can be kept offline; it is needed only when keys change. Channel keys
/// sign what is rendered and go to CI. The public halves stand in root/<N>.json
/// beside towline.toml, one file for each change; commit them.
///
/// Secret keys are files of `$XDG_CONFIG_HOME/towline/<project>`, or of the
/// folder that the variable TOWLINE_KEYS names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = CEREMONY)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const CEREMONY: &str = "\
Keep the root key on a medium that is only plugged in when keys change:
  cargo xtask keys rotate --key /media/keys/root-0123456789abcdef.pem
The channel key was lost or stolen, the root key is safe:
  cargo xtask keys rotate
  cargo xtask site
Two of three people have to agree:
  cargo xtask keys init --root-keys 3 --threshold 2";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(init::Args),
    New(init::New),
    Add(change::Add),
    Rotate(change::Rotate),
    Revoke(change::Revoke),
    Threshold(change::Threshold),
    Sign(sign::Args),
    List(show::List),
    Export(show::Export),
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Init(args) => init::run(global, args)?,
        Command::New(args) => init::make(global, args)?,
        Command::Add(args) => change::add(global, args)?,
        Command::Rotate(args) => change::rotate(global, args)?,
        Command::Revoke(args) => change::revoke(global, args)?,
        Command::Threshold(args) => change::threshold(global, args)?,
        Command::Sign(args) => sign::run(global, args)?,
        Command::List(args) => show::list(global, args)?,
        Command::Export(args) => show::export(global, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Which role a command is about.
#[derive(Debug, clap::Args)]
struct Which {
    /// The keys of this channel alone [default: those of all channels that have
    /// none of their own].
    #[arg(long, value_name = "NAME", conflicts_with = "root")]
    channel: Option<ChannelName>,
    /// The root keys.
    #[arg(long)]
    root: bool,
}

impl Which {
    fn kind(&self) -> Kind {
        if self.root { Kind::Root } else { Kind::Channel }
    }

    /// Returns the name of a role that the root has: that of a channel that is
    /// gone too.
    fn known_role(&self, ring: &Ring) -> Result<String> {
        match &self.channel {
            Some(channel)
                if channel.as_str() != ROOT_ROLE
                    && ring.newest()?.root.roles.contains_key(channel.as_str()) =>
            {
                Ok(channel.to_string())
            }
            _ => self.role(&ring.project),
        }
    }

    /// Returns the name of the role, which may be one that is to be made.
    fn role(&self, project: &Project) -> Result<String> {
        match &self.channel {
            _ if self.root => Ok(ROOT_ROLE.into()),
            None => Ok(ANY_CHANNEL.into()),
            Some(channel) => role_of(project, channel),
        }
    }
}

/// Returns the name of the role that is a channel's own.
fn role_of(project: &Project, channel: &ChannelName) -> Result<String> {
    if channel.as_str() == ROOT_ROLE {
        let message = "a channel named `root` cannot have keys of its own";
        return Err(Hinted::new(message, "its keys are those of all channels").into());
    }
    if !project.config.channels.contains_key(channel) {
        let names: Vec<_> = project.config.channels.keys().map(ChannelName::as_str).collect();
        let message = format!("the project has no channel `{channel}`");
        return Err(Hinted::new(message, format!("it has {}", names.join(", "))).into());
    }
    Ok(channel.to_string())
}

/// A project, its roots and its secret keys.
struct Ring {
    project: Project,
    folder: KeyFolder,
    roots: PathBuf,
    chain: Option<Chain>,
    disk: Disk,
    ui: Ui,
    /// Whether stdout is for JSON alone.
    json: bool,
    /// Keeps other runs from changing the roots.
    _lock: Option<std::fs::File>,
}

impl Ring {
    /// Opens what is to be shown.
    fn open(global: &Global) -> Result<Self> {
        Self::with_lock(global, |_| Ok(None))
    }

    /// Opens what is to be changed by this run alone.
    fn open_to_change(global: &Global, json: bool) -> Result<Self> {
        let mut ring = Self::with_lock(global, |roots| Ok(chain::lock(roots)?))?;
        ring.json = json;
        let Some(chain) = &ring.chain else { return Ok(ring) };
        // A run that was killed after it wrote the root left these.
        let newest = chain.newest();
        if let Some(other) = chain::remove_partial(&ring.roots, newest, &ring.disk)? {
            ring.ui.say(format_args!(
                "warning: {} is another change than {}; make it anew if it is still wanted, and delete the file",
                ring.show(&other),
                chain::file_name(newest.root.version)
            ));
        }
        ring.settle(&newest.root)?;
        Ok(ring)
    }

    fn with_lock(
        global: &Global,
        lock: impl FnOnce(&Path) -> Result<Option<std::fs::File>>,
    ) -> Result<Self> {
        let places = Places { store: None, site_dir: None };
        let project = Project::open(global.manifest.as_deref(), &places)?;
        let folder = project.key_folder()?;
        let roots = project.root_dir();
        let lock = lock(&roots)?;
        let chain = project.chain()?;
        let (disk, ui) = (Disk::default(), global.ui());
        Ok(Self { folder, roots, chain, project, disk, ui, json: false, _lock: lock })
    }

    /// Tells what people read: on stdout, unless that is for JSON.
    fn tell(&self, line: impl std::fmt::Display) {
        if self.json { self.ui.say(line) } else { println!("{line}") }
    }

    /// Returns the roots of a project that has some.
    fn chain(&self) -> Result<&Chain> {
        self.chain.as_ref().ok_or_else(|| {
            let message = format!(
                "the project has no keys: there is no {}",
                self.show(&self.roots.join("1.json"))
            );
            Hinted::new(message, "make them with `cargo xtask keys init`").into()
        })
    }

    fn newest(&self) -> Result<&Signed> {
        Ok(self.chain()?.newest())
    }

    /// Refuses to go on while another change waits for signatures.
    fn refuse_waiting(&self) -> Result<()> {
        let newest = self.chain.as_ref().map_or(0, |chain| chain.newest().root.version);
        let Some(waiting) = chain::waiting(&self.roots, newest)? else { return Ok(()) };
        let path = chain::partial_path(&self.roots, waiting.root.version);
        Err(Hinted::new(
            format!("{} waits for signatures", self.show(&path)),
            "complete it with `cargo xtask keys sign`, or delete it to give that change up",
        )
        .into())
    }

    /// Makes a key, or takes the one that a run for this very project made which
    /// was killed before it wrote a root. Any other key that is at hand may be
    /// that of another project, and is left alone. The path is the one that the
    /// key has once a root names it.
    fn new_key(
        &self,
        kind: Kind,
        passphrase: Option<&Passphrase>,
        taken: &[KeyId],
    ) -> Result<(SecretKey, PathBuf)> {
        let is_free = |id: KeyId| {
            !taken.contains(&id) && !self.chain.as_ref().is_some_and(|chain| chain.knows(id))
        };
        let files = self.folder.files()?;
        let unused = files.into_iter().find(|f| f.is_new && f.kind == kind && is_free(f.id));
        if let Some(file) = unused {
            let shown = file.path.display().to_string();
            let key = self.folder.open(&file.path, || match passphrase {
                Some(passphrase) => Ok(passphrase.clone()),
                None => Passphrase::of(&shown),
            });
            let key = key.map_err(|error| match error {
                KeyError::WrongPassphrase(_) => Hinted::new(
                    format!(
                        "{shown}: is of a run that was interrupted, and has another passphrase"
                    ),
                    "give that one, or delete the file: no root names its key",
                )
                .into(),
                error => hinted(error),
            })?;
            self.ui.say(format_args!("using {shown}, which an interrupted run made"));
            return Ok((key, self.folder.settled(&file)));
        }
        let key = SecretKey::generate().map_err(hinted)?;
        let file = self.folder.keep_new(&key, kind, passphrase, &self.disk).map_err(hinted)?;
        Ok((key, self.folder.settled(&file)))
    }

    /// Gives the new keys that a root names the names of keys in use.
    fn settle(&self, root: &Root) -> Result<()> {
        let named = |id| root.roles.values().flat_map(|role| &role.keys).any(|key| key.id() == id);
        for file in self.folder.files()? {
            if file.is_new && named(file.id) {
                self.folder.settle(&file, &self.disk).map_err(hinted)?;
            }
        }
        Ok(())
    }

    /// Signs with the root keys that are at hand, until there are enough.
    /// `opened` are open already, `files` are key files elsewhere.
    fn sign(
        &self,
        next: &mut Signed,
        before: Option<&Root>,
        opened: &[SecretKey],
        files: &[PathBuf],
    ) -> Result<()> {
        let is_needed = |next: &Signed, id: KeyId| {
            next.lacking(before).iter().any(|lacking| lacking.keys.contains(&id))
        };
        for key in opened {
            if is_needed(next, key.public().id()) {
                next.sign(key);
            }
        }
        let mut passphrases = Vec::new();
        for path in files {
            let key = self.open_key(path, &mut passphrases)?;
            if !is_needed(next, key.public().id()) {
                let named = next.root.root_role().keys.contains(&key.public());
                anyhow::ensure!(
                    named
                        || before.is_some_and(|root| root.root_role().keys.contains(&key.public())),
                    "{}: not a root key of this project",
                    path.display()
                );
                // More signatures than are needed may be more than fit.
                let path = path.display();
                self.ui.say(format_args!("{path}: its signature is not needed any more"));
                continue;
            }
            next.sign(&key);
        }
        for file in self.folder.files()? {
            if file.kind == Kind::Root && is_needed(next, file.id) {
                next.sign(&self.open_key(&file.path, &mut passphrases)?);
            }
        }
        Ok(())
    }

    /// Opens a root key; several often have one passphrase.
    fn open_key(&self, path: &Path, passphrases: &mut Vec<Passphrase>) -> Result<SecretKey> {
        if self.folder.others_read(path) {
            self.ui.say(format_args!(
                "warning: {}: others on this machine can read this file; only its passphrase keeps it secret",
                path.display()
            ));
        }
        for passphrase in passphrases.iter() {
            match self.folder.open(path, || Ok(passphrase.clone())) {
                Err(KeyError::WrongPassphrase(_)) => {}
                result => return result.map_err(hinted),
            }
        }
        let ask = || {
            let passphrase = Passphrase::of(&path.display().to_string())?;
            passphrases.push(passphrase.clone());
            Ok(passphrase)
        };
        self.folder.open(path, ask).map_err(hinted)
    }

    /// Puts the next root in its place and tells what is missing.
    fn add(&self, next: &Signed, before: Option<&Root>) -> Result<Added> {
        let added = chain::add(&self.roots, next, before, &self.disk)?;
        if let Added::Partial(path, lacking) = &added {
            let shown = self.show(path);
            self.tell(format_args!("{shown} waits for signatures:"));
            for lacking in lacking {
                let keys: Vec<_> = lacking.keys.iter().map(ToString::to_string).collect();
                let (count, of) = (lacking.count, lacking.of);
                let keys = keys.join(", ");
                self.tell(format_args!("  {count} more of the root keys of root {of}: {keys}"));
            }
            self.ui.say(format_args!(
                "next: where those keys are, run `cargo xtask keys sign {shown}` on this file, and bring it back"
            ));
        } else {
            self.settle(&next.root)?;
        }
        Ok(added)
    }

    fn now(&self) -> Result<u64> {
        signing::now()
    }

    /// Shows a path as short as it is clear.
    fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.project.config.root).unwrap_or(path).display().to_string()
    }
}

/// Lists what a root changes, for those who sign it to read.
fn changes(before: Option<&Root>, next: &Root) -> Vec<String> {
    let none = Default::default();
    let old = before.map_or(&none, |root| &root.roles);
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<_> = old.keys().chain(next.roles.keys()).collect();
    for name in names {
        let keys = |roles: &std::collections::BTreeMap<String, crate::keys::root::Role>| {
            roles.get(name).map(|role| (role.threshold, role.keys.clone())).unwrap_or_default()
        };
        let ((old_threshold, old_keys), (threshold, keys)) = (keys(old), keys(&next.roles));
        let gone = old_keys.iter().filter(|key| !keys.contains(key));
        // In full: other keys with the same id can be made.
        lines.extend(gone.map(|key| format!("- {} of role {name}: {key}", key.id())));
        let new = keys.iter().filter(|key| !old_keys.contains(key));
        lines.extend(new.map(|key| format!("+ {} in role {name}: {key}", key.id())));
        if !next.roles.contains_key(name) {
            let any = if next.roles.contains_key(ANY_CHANNEL) { "those of role *" } else { "none" };
            lines.push(format!("  role {name} is gone: the keys of that channel are {any}"));
        } else if old_threshold != threshold {
            lines.push(format!("  {threshold} of {} keys sign for role {name}", keys.len()));
        }
    }
    lines
}
