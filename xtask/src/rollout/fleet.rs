//! What a simulated fleet is like, and the stages of its rollout.

use std::{fmt, str::FromStr};
use towline_descriptor::{Rollout, Share, Version};

/// A span of time in seconds, written as `90m`, `24h` or `3d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u64);

/// The text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a span of time is a number with its unit, such as 90m, 24h or 3d")]
pub struct InvalidDuration;

impl Duration {
    /// Takes seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Takes days.
    pub const fn from_days(days: u32) -> Self {
        Self(days as u64 * 86_400)
    }

    /// Returns seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let unit = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            _ => return Err(InvalidDuration),
        };
        let number = &text[..text.len() - 1];
        // Ten digits are more than a lifetime in seconds.
        let sound = (1..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let number = if sound { number.parse::<u64>().ok() } else { None };
        number.map(|number| Self(number * unit)).ok_or(InvalidDuration)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes) = (self.0 / 86_400, self.0 / 3600 % 24, self.0 / 60 % 60);
        let parts = [(days, "d"), (hours, "h"), (minutes, "min")];
        let parts: Vec<_> = parts.iter().filter(|(number, _)| *number > 0).take(2).collect();
        if parts.is_empty() {
            return write!(f, "{} s", self.0);
        }
        let texts: Vec<_> = parts.iter().map(|(number, unit)| format!("{number} {unit}")).collect();
        f.pad(&texts.join(" "))
    }
}

/// A change of the rollout while it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// When, from the start.
    pub at: Duration,
    /// What is done.
    pub change: Change,
}

/// What is done to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes, to this part of all devices.
    To(Share),
    /// It is paused.
    Pause,
    /// It goes on.
    Resume,
}

impl Change {
    /// Returns the rollout after the change.
    pub(super) fn after(self, rollout: Rollout) -> Rollout {
        match self {
            Self::To(percent) => Rollout { percent, paused: false },
            Self::Pause => Rollout { paused: true, ..rollout },
            Self::Resume => Rollout { paused: false, ..rollout },
        }
    }
}

/// The text is no stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stage is a time with a percentage, such as 24h=25%, or with `pause` or `resume`")]
pub struct InvalidStage;

impl FromStr for Stage {
    type Err = InvalidStage;

    fn from_str(text: &str) -> Result<Self, InvalidStage> {
        let (at, change) = text.split_once('=').ok_or(InvalidStage)?;
        let change = match change {
            "pause" => Change::Pause,
            "resume" => Change::Resume,
            percent => Change::To(share(percent).ok_or(InvalidStage)?),
        };
        Ok(Self { at: at.parse().map_err(|_| InvalidStage)?, change })
    }
}

/// Reads a percentage, whose sign may be left out.
fn share(text: &str) -> Option<Share> {
    text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok()
}

/// A part of the fleet that runs a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The version.
    pub version: Version,
    /// The part of the fleet.
    pub share: Share,
}

/// The text names no version with its share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a version and the part of the fleet that runs it, such as 1.2.0=60%")]
pub struct InvalidRun;

impl FromStr for Run {
    type Err = InvalidRun;

    fn from_str(text: &str) -> Result<Self, InvalidRun> {
        let (version, percent) = text.split_once('=').ok_or(InvalidRun)?;
        let version = version.parse().map_err(|_| InvalidRun)?;
        Ok(Self { version, share: share(percent).ok_or(InvalidRun)? })
    }
}

/// A fleet of devices.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How many devices there are.
    pub devices: u32,
    /// Time between two polls of a device.
    pub period: Duration,
    /// How long to look on.
    pub span: Duration,
    /// When that starts, in seconds since 1970.
    pub start: u64,
    /// What runs at the start; shares of all, which add up to 100 %.
    pub runs: Vec<Run>,
    /// The part of the fleet that is switched off all the time.
    pub offline: Share,
    /// How long users take on average until they agree.
    pub agree_after: Duration,
    /// What decides all that is left to chance.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_and_written() {
        for (text, seconds, written) in [
            ("0h", 0, "0 s"),
            ("45s", 45, "45 s"),
            ("90m", 5400, "1 h 30 min"),
            ("24h", 86_400, "1 d"),
            ("3d", 259_200, "3 d"),
            ("4321m", 259_260, "3 d 1 min"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.seconds(), duration.to_string().as_str()), (seconds, written));
        }
        for text in ["", "h", "24", "-1h", "1.5h", "1h30m", "99999999999d", "24 h"] {
            assert_eq!(text.parse::<Duration>(), Err(InvalidDuration), "{text}");
        }
    }

    #[test]
    fn stages_and_shares_are_read() {
        let stage: Stage = "24h=12.5%".parse().unwrap();
        assert_eq!(stage.at.seconds(), 86_400);
        let rollout = stage.change.after(Rollout { paused: true, ..Rollout::default() });
        assert_eq!((rollout.percent.hundredths(), rollout.paused), (1250, false));
        let paused = "1d=pause".parse::<Stage>().unwrap().change.after(rollout);
        assert_eq!((paused.percent.hundredths(), paused.paused), (1250, true));
        let resumed = "2d=resume".parse::<Stage>().unwrap().change.after(paused);
        assert_eq!(resumed, rollout);
        for text in ["24h", "24h=", "=5%", "24h=101%", "24h=stop", "1=5%"] {
            assert_eq!(text.parse::<Stage>(), Err(InvalidStage), "{text}");
        }
        let run: Run = "1.2.0-rc.1=60".parse().unwrap();
        assert_eq!((run.version.as_str(), run.share.hundredths()), ("1.2.0-rc.1", 6000));
        assert!("1.2=60%".parse::<Run>().is_err());
    }
}
