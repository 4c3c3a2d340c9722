//! The measure for the host: nginx, whose njs checks an HMAC-SHA256 before it sends a static file.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::{pin, pinned, work};
use crate::children::{AtSignal, Group};
use crate::live;

const KEY: &str = "00112233445566778899aabbccddeeff";
/// As long as what a pass's MAC covers.
const SIGNED: &str =
    "demo.18-34.f.metro.mobile.hi.free.0123456789abcdef.1790000000.1790003600.1790020000.k1";
const START_WITHIN: Duration = Duration::from_secs(5);

/// A running nginx, and the signed URL of its file.
pub(super) struct Nginx {
    pub(super) url: String,
    /// It ends with this.
    server: Group,
}

impl Nginx {
    pub(super) fn pid(&self) -> u32 {
        self.server.id()
    }
}

/// Starts nginx with `body` as its file, and tries that it checks the signature.
pub(super) fn start(body: &str) -> Result<Nginx> {
    let folder = work()?.join("nginx");
    fs::create_dir_all(folder.join("files"))?;
    fs::write(folder.join("files/index.m3u8"), body)?;
    fs::write(folder.join("check.js"), script())?;
    let port = free_port()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration(port))?;
    let mut nginx = pinned("nginx");
    nginx.arg("-p").arg(&folder).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Group::spawn(&mut nginx, AtSignal::Stops)?;
    let url = format!("http://127.0.0.1:{port}/{}/{SIGNED}/index.m3u8", signature()?);
    let deadline = Instant::now() + START_WITHIN;
    while live::status(&url).is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    pin(server.id())?;
    if live::get(&url)? != body || live::status(&url.replace("demo", "demO")) != Some(403) {
        bail!("nginx does not check the signature as the host does");
    }
    Ok(Nginx { url, server })
}

fn configuration(port: u16) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
daemon off; master_process off; pid nginx.pid; error_log error.log crit; worker_rlimit_nofile 8192;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; tcp_nopush on; sendfile on; open_file_cache max=100;
  types {{ application/vnd.apple.mpegurl m3u8; }}
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  js_path .; js_import check.js; js_set $valid check.valid;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location ~ \"^/(?<sig>[^/]+)/(?<signed>[^/]+)/(?<file>[a-z0-9.]+)$\" {{
      if ($valid = \"\") {{ return 403; }}
      root files; try_files /$file =404;
    }}
  }}
}}
"
    )
}

fn script() -> String {
    format!(
        "import crypto from 'crypto';
function valid(r) {{
  const mac = crypto.createHmac('sha256', '{KEY}').update(r.variables.signed).digest('base64url');
  return mac === r.variables.sig ? '1' : '';
}}
export default {{ valid }};
"
    )
}

/// By the same rule as the script, in another program.
fn signature() -> Result<String> {
    let script = format!(
        "process.stdout.write(require('crypto').createHmac('sha256','{KEY}').update('{SIGNED}').digest('base64url'))"
    );
    crate::run::output(std::process::Command::new("node").args(["-e", &script]))
        .context("node does not run")
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
