//! The board's light.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

const LIGHTS: &str = "/sys/class/leds";
/// What boards call the light that a person sees.
const USUAL: [&str; 4] = ["ACT", "led0", "default-on", "beaglebone:green:usr0"];
/// Half of one blink.
const BLINK: Duration = Duration::from_millis(200);

/// A light that the kernel shows.
#[derive(Debug, Clone)]
pub(crate) struct Light(PathBuf);

impl Light {
    /// The light of this name, or the usual one.
    pub(crate) fn find(name: Option<&str>) -> Option<Self> {
        Self::under(Path::new(LIGHTS), name)
    }

    fn under(lights: &Path, name: Option<&str>) -> Option<Self> {
        let there = |name: &str| Some(lights.join(name)).filter(|path| path.join("brightness").exists());
        match name {
            Some(name) if name.contains('/') => None,
            Some(name) => there(name).map(Self),
            None => USUAL.iter().find_map(|name| there(name)).map(Self),
        }
    }

    /// Blinks for so long, then does again what it did before, also when this is dropped half-way.
    pub(crate) async fn blink(self, lasting: Duration) {
        let before = Before::of(&self.0);
        let end = Instant::now() + lasting;
        for on in [true, false].into_iter().cycle() {
            let _ = fs::write(self.0.join("brightness"), if on { before.full.as_str() } else { "0" });
            tokio::time::sleep(BLINK).await;
            if Instant::now() >= end {
                return;
            }
        }
    }
}

/// What a light did before it was made to blink.
struct Before {
    light: PathBuf,
    trigger: Option<String>,
    brightness: Option<String>,
    full: String,
}

impl Before {
    fn of(light: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(light.join(name)).ok().map(|text| text.trim().to_owned());
        // All triggers on one line, the chosen one in brackets.
        let trigger = read("trigger").and_then(|all| {
            all.split_whitespace().find_map(|one| one.strip_prefix('[')?.strip_suffix(']').map(str::to_owned))
        });
        let before = Self {
            light: light.to_owned(),
            trigger,
            brightness: read("brightness"),
            full: read("max_brightness").unwrap_or_else(|| "1".into()),
        };
        let _ = fs::write(light.join("trigger"), "none");
        before
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if let Some(brightness) = &self.brightness {
            let _ = fs::write(self.light.join("brightness"), brightness);
        }
        if let Some(trigger) = &self.trigger {
            let _ = fs::write(self.light.join("trigger"), trigger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_light_does_afterwards_what_it_did_before() {
        let place = tempfile::tempdir().unwrap();
        let act = place.path().join("ACT");
        fs::create_dir(&act).unwrap();
        for (name, text) in [("trigger", "none [mmc0] timer\n"), ("brightness", "0\n"), ("max_brightness", "255\n")] {
            fs::write(act.join(name), text).unwrap();
        }
        assert!(Light::under(place.path(), Some("../ACT")).is_none());
        assert!(Light::under(place.path(), Some("none")).is_none());
        let light = Light::under(place.path(), None).unwrap();
        light.blink(Duration::ZERO).await;
        let now = |name: &str| fs::read_to_string(act.join(name)).unwrap();
        assert_eq!((now("trigger"), now("brightness")), ("mmc0".into(), "0".into()));
    }
}
