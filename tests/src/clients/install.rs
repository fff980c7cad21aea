//! Puts a client's files, its program and its packages together below the target directory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::{Client, Installed};
use crate::servers::install::Wanted;
use crate::tokens::sha256;
use crate::{node, workspace};

const PHP: Wanted =
    Wanted { program: "php", variable: "PHP", debian: "php-cli", directories: &["/usr/bin"], wheel: None };

/// Too large to install it for one client's tests.
const JAVAC: Wanted =
    Wanted { program: "javac", variable: "JAVAC", debian: "", directories: &["/usr/bin"], wheel: None };

/// Once in each process: files that run must not be written again.
pub(super) fn install(client: Client) -> Result<Option<Arc<Installed>>> {
    static DONE: Mutex<Vec<(Client, Option<Arc<Installed>>)>> = Mutex::new(Vec::new());
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, installed)) = done.iter().find(|(known, _)| *known == client) {
        return Ok(installed.clone());
    }
    let installed = match client {
        Client::Browser => browser().map(Some),
        Client::Laravel => laravel(),
        Client::Django => django().map(Some),
        Client::Express => express().map(Some),
        Client::Spring => spring(),
    };
    let installed = installed.with_context(|| format!("{client:?}"))?.map(Arc::new);
    done.push((client, installed.clone()));
    Ok(installed)
}

fn browser() -> Result<Installed> {
    let directory = directory("browser", b"1")?;
    copy("docs/clients/browser", &directory)?;
    copy("tests/clients/browser", &directory)?;
    // Node.js takes a file `.js` for a module because of this.
    std::fs::write(directory.join("package.json"), r#"{"type": "module"}"#)?;
    let command = vec![text(node::program()?)?, "driver.mjs".into()];
    Ok(Installed { command, environment: vec![], directory, one_call_each: true })
}

fn laravel() -> Result<Option<Installed>> {
    let Some(php) = optional(&PHP, "docs/clients/laravel") else { return Ok(None) };
    let directory = directory("laravel", b"1")?;
    copy("docs/clients/laravel", &directory)?;
    copy("tests/clients/laravel", &directory)?;
    // It is played with stand-ins for Laravel. Here is what PHP says of its syntax.
    let output = Command::new(&php).current_dir(&directory).args(["-l", "AuthController.php"]).output()?;
    ensure!(output.status.success(), "php -l: {}", String::from_utf8_lossy(&output.stdout));
    // As error trackers want it: arguments are recorded with errors. All that PHP has to say is shown.
    let options = ["-d", "zend.exception_ignore_args=0", "-d", "display_errors=stderr", "-d", "error_reporting=-1"];
    let command = [text(php)?].into_iter().chain(options.map(str::to_owned)).chain(["driver.php".into()]).collect();
    Ok(Some(Installed { command, environment: vec![], directory, one_call_each: true }))
}

fn django() -> Result<Installed> {
    let source = workspace::root().join("tests/clients/django");
    let requirements = std::fs::read(source.join("requirements.txt"))?;
    let directory = directory("django", &requirements)?;
    copy("tests/clients/django", &directory)?;
    copy("tests/clients/django/project", &directory.join("project"))?;
    copy("docs/clients/django", &directory.join("accounts"))?;
    fetch_wheels(&directory)?;
    let environment = vec![
        ("PYTHONPATH", text(directory.join("packages"))?),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("JWT_SECRET", "only-for-calls-that-sign-nothing".into()),
        ("DATABASE", ":memory:".into()),
    ];
    Ok(Installed { command: vec!["python3".into(), "driver.py".into()], environment, directory, one_call_each: false })
}

/// Installs the wheels of `requirements.txt`, unless that was done before.
fn fetch_wheels(directory: &Path) -> Result<()> {
    let done = directory.join("packages/.complete");
    if done.exists() {
        return Ok(());
    }
    workspace::progress("fetching Django and Simple JWT (pip) ...");
    let mut pip = Command::new("python3");
    pip.current_dir(directory).args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--target", "packages", "--upgrade", "--requirement", "requirements.txt"]);
    let output = pip.output().context("no Python 3")?;
    ensure!(output.status.success(), "give Python 3 a pip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::write(done, "")?)
}

fn express() -> Result<Installed> {
    let lock = std::fs::read(workspace::root().join("tests/clients/express/package-lock.json"))?;
    let directory = directory("express", &lock)?;
    copy("docs/clients/express", &directory)?;
    copy("tests/clients/express", &directory)?;
    node::install(&directory, "Express")?;
    let command = vec![text(node::program()?)?, "driver.mjs".into()];
    Ok(Installed { command, environment: vec![], directory, one_call_each: false })
}

fn spring() -> Result<Option<Installed>> {
    let Some(javac) = optional(&JAVAC, "docs/clients/spring") else { return Ok(None) };
    let directory = directory("spring", b"1")?;
    copy("docs/clients/spring", &directory)?;
    copy("tests/clients/spring", &directory)?;
    let mut compiler = Command::new(&javac);
    compiler.current_dir(&directory).args(["--release", "17", "-Xlint:all", "-Werror"]);
    let output = compiler.args(["CurfewClient.java", "Driver.java"]).output()?;
    ensure!(output.status.success(), "javac: {}", String::from_utf8_lossy(&output.stderr));
    let java = text(javac.with_file_name("java"))?;
    let options = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", ".", "Driver"];
    let command = [java].into_iter().chain(options.map(str::to_owned)).collect();
    Ok(Some(Installed { command, environment: vec![], directory, one_call_each: false }))
}

/// The program, or a warning that these files were not run. Tests print it past the harness, which shows only what failed.
fn optional(program: &Wanted, files: &str) -> Option<PathBuf> {
    match program.find() {
        Ok(path) => Some(path),
        Err(missing) => {
            let _ = writeln!(std::io::stdout(), "WARNING: {files} was NOT RUN: {missing:#}");
            None
        }
    }
}

/// A directory below the target directory. Its name changes with what is installed in it.
fn directory(client: &str, installed: &[u8]) -> Result<PathBuf> {
    let digest: String = sha256(installed).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    workspace::generated(&format!("client-{client}-{digest}"))
}

/// Copies the files of a directory of the source tree, without those below it.
fn copy(from: &str, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(workspace::root().join(from)).with_context(|| from.to_owned())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().ok().context("a path is not UTF-8")
}
