//! What a device is told: its network, its channel, its token. Kept in the NVS
//! partition in ESP-IDF's own format, so that ESP-IDF's
//! `nvs_partition_gen.py` can write them before the first start:
//!
//! ```text
//! key,file,...    namespace  key       type    value
//!                 wifi       ssid      string  1 to 32 bytes
//!                 wifi       password  string  8 to 64 bytes; none: open network
//!                 wifi       hostname  string  letters, digits and `-`, at most 32
//!                 ota        channel   string  a channel of the project
//!                 ota        groups    string  names, separated by commas
//!                 ota        utc_offset string minutes, -720 to 840
//!                 api        token     string  what the REST API asks for
//! ```
//!
//! A device whose partition is damaged runs on with defaults and says so.

use crate::config;
use alloc::string::{String, ToString};
use core::fmt;
use embedded_storage::nor_flash::NorFlash;
use esp_nvs::error::Error;
use esp_nvs::platform::Crc;
use esp_nvs::{Key, Nvs};
use log::warn;
use towline::Region;
use towline_app::improv;
use towline_app::rest::{Groups, is_groups};

const WIFI: Key = Key::from_str("wifi");
const SSID: Key = Key::from_str("ssid");
const PASSWORD: Key = Key::from_str("password");
const HOSTNAME: Key = Key::from_str("hostname");
const OTA: Key = Key::from_str("ota");
const CHANNEL: Key = Key::from_str("channel");
const GROUPS: Key = Key::from_str("groups");
const UTC_OFFSET: Key = Key::from_str("utc_offset");
const API: Key = Key::from_str("api");
const TOKEN: Key = Key::from_str("token");

/// Most bytes of a host name.
const MAX_HOSTNAME: usize = 32;

/// A Wi-Fi network and how to join it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its name.
    pub(crate) ssid: String,
    /// Its password; empty for an open network.
    pub(crate) password: String,
}

impl Network {
    /// Returns the network, if both texts can be those of one.
    pub(crate) fn new(ssid: &str, password: &str) -> Option<Self> {
        let fits = matches!(ssid.len(), 1..=32) && matches!(password.len(), 0 | 8..=64);
        fits.then(|| Self { ssid: ssid.into(), password: password.into() })
    }
}

/// Why a setting was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingsError {
    /// The project has no such channel.
    UnknownChannel,
    /// Not a name that a host can have.
    Hostname,
    /// The partition table has no `nvs`, or what is in it cannot be written.
    Storage,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownChannel => "the project has no such channel",
            Self::Hostname => "a host name has letters, digits and `-`, at most 32",
            Self::Storage => "the nvs partition cannot be written; erase it",
        })
    }
}

fn is_hostname(name: &str) -> bool {
    name.len() <= MAX_HOSTNAME && improv::is_hostname(name)
}

/// The settings, in the NVS partition of `F`.
pub(crate) struct Settings<F: NorFlash + Crc> {
    nvs: Option<Nvs<F>>,
}

impl<F: NorFlash + Crc> Settings<F> {
    /// Opens the settings in `region`.
    pub(crate) fn open(flash: F, region: Option<Region>) -> Self {
        let Some(Region { offset, size }) = region else {
            warn!("settings: no nvs partition; nothing is kept");
            return Self { nvs: None };
        };
        let nvs = Nvs::new(offset as usize, size as usize, flash)
            .inspect_err(|error| warn!("settings: {error}; erase the nvs partition"))
            .ok();
        Self { nvs }
    }

    /// Returns the network to join, if one is set.
    pub(crate) fn network(&mut self) -> Option<Network> {
        let ssid = self.get(&WIFI, &SSID)?;
        let password = self.get(&WIFI, &PASSWORD).unwrap_or_default();
        let network = Network::new(&ssid, &password);
        if network.is_none() {
            warn!("settings: wifi ssid has 1 to 32 bytes, password 8 to 64 or none; not used");
        }
        network
    }

    /// Keeps the network to join.
    ///
    /// # Errors
    /// [`SettingsError::Storage`].
    pub(crate) fn set_network(&mut self, network: &Network) -> Result<(), SettingsError> {
        // The password first: a cut between the two leaves the old network
        // with a wrong password, which can be told again, never a new name
        // that is joined without one.
        self.set(&WIFI, &PASSWORD, &network.password)?;
        self.set(&WIFI, &SSID, &network.ssid)
    }

    /// Returns the name of the device in its network; `fallback` if none is
    /// set.
    pub(crate) fn hostname(&mut self, fallback: &str) -> String {
        match self.get(&WIFI, &HOSTNAME) {
            Some(name) if is_hostname(&name) => name,
            Some(_) => {
                warn!("settings: wifi hostname has letters, digits and `-`, at most 32; not used");
                fallback.to_string()
            }
            None => fallback.to_string(),
        }
    }

    /// Names the device, from the next start on.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub(crate) fn set_hostname(&mut self, name: &str) -> Result<(), SettingsError> {
        if !is_hostname(name) {
            return Err(SettingsError::Hostname);
        }
        self.set(&WIFI, &HOSTNAME, name)
    }

    /// Returns the channel to follow: the chosen one, else the first of the
    /// project.
    pub(crate) fn channel(&mut self) -> &'static str {
        match self.get(&OTA, &CHANNEL) {
            None => config::default_channel(),
            Some(chosen) => config::channel(&chosen).unwrap_or_else(|| {
                warn!("settings: the project has no channel `{chosen}`; following the first");
                config::default_channel()
            }),
        }
    }

    /// Chooses the channel to follow.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub(crate) fn set_channel(&mut self, name: &str) -> Result<(), SettingsError> {
        let channel = config::channel(name).ok_or(SettingsError::UnknownChannel)?;
        self.set(&OTA, &CHANNEL, channel)
    }

    /// Returns the groups that the device is in, separated by commas.
    pub(crate) fn groups(&mut self) -> Groups {
        self.get(&OTA, &GROUPS)
            .and_then(|groups| {
                let sound = Groups::try_from(groups.as_str()).ok().filter(|text| is_groups(text));
                if sound.is_none() {
                    warn!("settings: ota groups are names of letters and digits; in none");
                }
                sound
            })
            .unwrap_or_default()
    }

    /// Puts the device into groups, which [`is_groups`].
    ///
    /// # Errors
    /// [`SettingsError::Storage`].
    pub(crate) fn set_groups(&mut self, groups: &str) -> Result<(), SettingsError> {
        self.set(&OTA, &GROUPS, groups)
    }

    /// Returns how many minutes local time is ahead of UTC.
    pub(crate) fn utc_offset(&mut self) -> i16 {
        let Some(text) = self.get(&OTA, &UTC_OFFSET) else { return config::UTC_OFFSET };
        text.parse().ok().filter(|minutes| config::is_utc_offset(*minutes)).unwrap_or_else(|| {
            warn!("settings: ota utc_offset is in minutes, -720 to 840; not used");
            config::UTC_OFFSET
        })
    }

    /// Returns the token that the REST API asks for, if one is set.
    pub(crate) fn token(&mut self) -> Option<String> {
        self.get(&API, &TOKEN).filter(|token| !token.is_empty())
    }

    fn get(&mut self, namespace: &Key, key: &Key) -> Option<String> {
        match self.nvs.as_mut()?.get::<String>(namespace, key) {
            Ok(value) => Some(value),
            Err(Error::NamespaceNotFound | Error::KeyNotFound) => None,
            Err(error) => {
                warn!("settings: {}/{}: {error}", namespace.as_str(), key.as_str());
                None
            }
        }
    }

    fn set(&mut self, namespace: &Key, key: &Key, value: &str) -> Result<(), SettingsError> {
        let nvs = self.nvs.as_mut().ok_or(SettingsError::Storage)?;
        nvs.set(namespace, key, value).map_err(|error| {
            warn!("settings: {}/{}: {error}", namespace.as_str(), key.as_str());
            SettingsError::Storage
        })
    }
}
