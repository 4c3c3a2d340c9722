//! The multivariant playlist: which renditions there are, and the codecs that it promises.

use std::collections::BTreeMap;

use super::attributes;
use super::fetch::Url;

/// One rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendition {
    /// The last folder of its URL, for people.
    pub(super) name: String,
    /// Its media playlist.
    pub(super) url: Url,
    /// All codecs of the variants that it is part of.
    pub(super) codecs: Vec<String>,
    /// The multivariant playlist that names it.
    pub(super) entry: Url,
}

impl Rendition {
    /// Whether an init is the content's: that one is beside the playlist, and a creative's never is
    /// (ARCHITECTURE.md, "Content playlist").
    pub(super) fn is_content(&self, init: &str) -> bool {
        let url = self.url.join(init);
        url.is_ok_and(|url| url.is_beside(&self.url))
    }

    /// Whether its variants promised this codec.
    pub(super) fn promises(&self, codec: &str) -> bool {
        self.codecs.iter().any(|promised| promised.to_ascii_lowercase().starts_with(codec))
    }

    /// The rendition as who enters now is told of it, if it is still there. Its pass is another.
    pub(super) fn as_of_now(&self) -> Option<Self> {
        let text = self.entry.body().ok()?;
        let all = renditions(&self.entry, &String::from_utf8_lossy(&text)).ok()?;
        all.into_iter().find(|rendition| rendition.name == self.name)
    }
}

/// The renditions of a multivariant playlist at `url`, each once.
pub(super) fn renditions(url: &Url, text: &str) -> Result<Vec<Rendition>, String> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut video: Vec<(String, Vec<String>)> = Vec::new();
    let mut audio: Vec<(String, String)> = Vec::new();
    let mut variant = None;
    for (at, line) in text.lines().enumerate() {
        let read = |list: &str| {
            attributes::parse(list).map_err(|fault| format!("line {}: {fault}", at + 1))
        };
        if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
            let list = read(list)?;
            if let (Some(group), Some(uri)) = (list.get("GROUP-ID"), list.get("URI")) {
                audio.push((group.clone(), uri.clone()));
            }
        } else if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            variant = Some(read(list)?);
        } else if !line.starts_with('#') && !line.is_empty() {
            let list = variant
                .take()
                .ok_or_else(|| format!("line {}: a URI without EXT-X-STREAM-INF", at + 1))?;
            let codecs: Vec<String> = list
                .get("CODECS")
                .map(|c| c.split(',').map(ToOwned::to_owned).collect())
                .unwrap_or_default();
            if let Some(group) = list.get("AUDIO") {
                groups.entry(group.clone()).or_default().extend(codecs.clone());
            }
            video.push((line.to_owned(), codecs));
        }
    }
    let audio = audio
        .into_iter()
        .map(|(group, uri)| (uri, groups.get(&group).cloned().unwrap_or_default()));
    let mut found: Vec<Rendition> = Vec::new();
    for (uri, codecs) in video.into_iter().chain(audio) {
        let target = url.join(&uri)?;
        match found.iter_mut().find(|rendition| rendition.url == target) {
            Some(rendition) => rendition.codecs.extend(codecs),
            None => {
                let (name, entry) = (folder(&target.target), url.clone());
                found.push(Rendition { name, url: target, codecs, entry });
            }
        }
    }
    if found.is_empty() { Err("it names no rendition".into()) } else { Ok(found) }
}

fn folder(target: &str) -> String {
    target.rsplit('/').nth(1).unwrap_or(target).to_owned()
}
