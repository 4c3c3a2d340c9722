//! The measure for what serves playlists: nginx with a static file. For the host, its njs checks an
//! HMAC-SHA256 first.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
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

/// A running nginx, and the URL of its file.
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
    let path = format!("/{}/{SIGNED}/index.m3u8", signature()?);
    let nginx = launch(pinned("nginx"), &folder, &path, &CHECKED)?;
    pin(nginx.pid())?;
    let url = &nginx.url;
    if live::get(url)? != body || live::status(&url.replace("demo", "demO")) != Some(403) {
        bail!("nginx does not check the signature as the host does");
    }
    Ok(nginx)
}

/// Starts nginx with these bytes at a path, and their compressed form for who accepts gzip. It has
/// one process, of no certain core.
pub(super) fn plain(path: &str, body: &str, gzip: &[u8]) -> Result<Nginx> {
    let folder = work()?.join("nginx-plain");
    let file = folder.join("files").join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().context("a path without a folder")?)?;
    fs::write(&file, body)?;
    fs::write(file.with_extension("m3u8.gz"), gzip)?;
    let nginx = launch(Command::new("nginx"), &folder, path, &PLAIN)?;
    if live::get(&nginx.url)? != body {
        bail!("nginx does not serve its file");
    }
    Ok(nginx)
}

/// Starts it in a folder, and waits until it answers at that path.
fn launch(mut nginx: Command, folder: &Path, path: &str, site: &Site) -> Result<Nginx> {
    let port = free_port()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration(port, site))?;
    nginx.arg("-p").arg(folder).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Group::spawn(&mut nginx, AtSignal::Stops)?;
    let url = format!("http://127.0.0.1:{port}{path}");
    let deadline = Instant::now() + START_WITHIN;
    while live::status(&url).is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Nginx { url, server })
}

/// In what two configurations differ.
struct Site {
    modules: &'static str,
    http: &'static str,
    server: &'static str,
}

const PLAIN: Site = Site { modules: "", http: "", server: "root files; gzip_static on;" };

const CHECKED: Site = Site {
    modules: "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;",
    http: "js_path .; js_import check.js; js_set $valid check.valid;",
    server: "location ~ \"^/(?<sig>[^/]+)/(?<signed>[^/]+)/(?<file>[a-z0-9.]+)$\" {
      if ($valid = \"\") { return 403; }
      root files; try_files /$file =404;
    }",
};

fn configuration(port: u16, site: &Site) -> String {
    let Site { modules, http, server } = site;
    format!(
        "{modules}
daemon off; master_process off; pid nginx.pid; error_log error.log crit; worker_rlimit_nofile 8192;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; tcp_nopush on; sendfile on; open_file_cache max=100;
  types {{ application/vnd.apple.mpegurl m3u8; }}
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  {http}
  server {{
    listen 127.0.0.1:{port} reuseport;
    {server}
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
    crate::run::output(Command::new("node").args(["-e", &script])).context("node does not run")
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
