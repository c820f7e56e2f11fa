//! The section `windows` of the policy file.

use super::tree::Node;
use super::values::{Reader, quote};
use crate::domain::windows::{Freeze, Hours, Windows};

impl Reader {
    /// Reads the section. A mistake in it is told, and then nothing of it counts, because the policy is refused.
    pub(super) fn windows(&mut self, node: &Node) -> Option<Windows> {
        let section = self.section(node, "windows", &["zone", "open", "freeze"])?;
        let zone = match section.get("zone") {
            Some(node) => {
                let text = self.text(node, "windows.zone")?;
                let zone = text.parse::<chrono_tz::Tz>().ok();
                if zone.is_none() {
                    let message =
                        format!("windows.zone is {}, which is no time zone such as Europe/Berlin", quote(text));
                    self.tell(node.at, message, nearest_zone(text));
                }
                zone?
            }
            None => {
                self.tell(
                    section.at,
                    "windows has no zone, so nobody could tell whose clock is meant",
                    Some("zone: UTC"),
                );
                return None;
            }
        };
        let open = section.get("open").map_or_else(Vec::new, |node| {
            self.not_empty(node, "windows.open", "it would never be open");
            self.each(node, "windows.open", Hours::parse)
        });
        let freeze =
            section.get("freeze").map_or_else(Vec::new, |node| self.each(node, "windows.freeze", Freeze::parse));
        if section.get("open").is_none() && section.get("freeze").is_none() {
            self.tell(section.at, "windows has neither open nor freeze, so it says nothing", None);
        }
        Some(Windows { zone, open, freeze })
    }

    fn each<T>(&mut self, node: &Node, name: &str, read: fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut found = Vec::new();
        for (at, text) in self.texts(node, name).unwrap_or_default() {
            match read(text) {
                Ok(one) => found.push(one),
                Err(why) => self.tell(at, format!("{} in {name} {why}", quote(text)), None),
            }
        }
        found
    }
}

/// The zone whose name is nearest, also when only the city is right.
fn nearest_zone(text: &str) -> Option<&'static str> {
    let text: String = text.chars().take(40).flat_map(char::to_lowercase).collect();
    let text = text.replace(' ', "_");
    let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let far = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or_default();
        if city == text.rsplit('/').next().unwrap_or_default() { 1 } else { strsim::osa_distance(&text, &name) }
    };
    names.map(|name| (far(name), name)).filter(|(distance, _)| *distance <= 2).min().map(|(_, name)| name)
}
