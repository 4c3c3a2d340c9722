//! How two readings of the configuration differ, for a reload.

use super::Config;

impl Config {
    /// The origin's settings that differ. A token that was made here is kept and does not.
    #[must_use]
    pub fn origin_differences(&self, other: &Self) -> Vec<&'static str> {
        let made = self.operator_token_made && other.operator_token_made;
        [
            ("listen", self.listen != other.listen),
            ("control", self.control != other.control),
            ("data", self.data != other.data),
            ("rtmp", self.rtmp != other.rtmp),
            ("a setting of rtmp", self.rtmp_limits != other.rtmp_limits),
            ("srt", self.srt != other.srt),
            ("srt-latency-ms", self.srt_latency != other.srt_latency),
            ("encoder", self.encoder != other.encoder),
            ("encoder-nice", self.encoder_nice != other.encoder_nice),
            ("cpu-percent", self.cpu_share.to_bits() != other.cpu_share.to_bits()),
            ("keyring", self.keyring != other.keyring),
            ("page", self.page != other.page),
            ("operator-token", !made && self.operator_token != other.operator_token),
            ("edge-secret", self.edge_secrets != other.edge_secrets),
            ("edges", self.edges != other.edges),
            ("open-playback", self.open_playback != other.open_playback),
            ("snapshot-every", self.snapshot_every_s != other.snapshot_every_s),
            ("log", self.log != other.log),
            ("log-level", self.log_level != other.log_level),
            ("database, or a setting of streams", self.streams != other.streams),
        ]
        .into_iter()
        .filter_map(|(setting, differs)| differs.then_some(setting))
        .collect()
    }

    /// The event's settings that differ and that the API does not show.
    #[must_use]
    pub fn hidden_differences(&self, other: &Self) -> Vec<&'static str> {
        let made = self.stream_key_made && other.stream_key_made;
        [
            ("input", self.input.place() != other.input.place()),
            ("stream-key", !made && self.stream_key != other.stream_key),
            ("rungs", self.rungs != other.rungs),
            ("x264-preset", self.preset != other.preset),
            ("audio-bitrate", self.audio_bitrate != other.audio_bitrate),
            ("deinterlace", self.deinterlace != other.deinterlace),
            ("a setting of lateness", self.patience != other.patience),
            ("picture-wait-ms", self.picture_wait != other.picture_wait),
            ("a setting of transport streams", self.ts_limits != other.ts_limits),
            ("a setting of the disk", self.disk != other.disk),
            ("a setting of creatives", self.creatives != other.creatives),
            ("break-longest", self.schedule.longest_s != other.schedule.longest_s),
            ("slate", self.slate != other.slate),
            ("snapshots", self.snapshots != other.snapshots),
        ]
        .into_iter()
        .filter_map(|(setting, differs)| differs.then_some(setting))
        .collect()
    }
}
