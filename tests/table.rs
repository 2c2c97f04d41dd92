//! Commands as data: what is typed, and what a person then reads.

use crate::harness::{Cluster, PATIENCE, ROOT, text};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at what may take a while: each look is a process.
const PAUSE: Duration = Duration::from_millis(150);

/// What has to be true of the whole: commands in their order, of which none may go wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Upstream's conformance specs whose behaviour this shows, by name.
    #[serde(default)]
    pub(crate) covers: Vec<String>,
    steps: Vec<Step>,
}

/// One command. `{ns}`, `{root}` and the names that the person knows stand for the namespace, the project's directory and
/// what is known by these names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    run: String,
    /// Standard input.
    #[serde(rename = "in")]
    input: Option<String>,
    /// The editor: what `sed` does to the file; nothing when it is empty.
    editor: Option<String>,
    #[serde(default)]
    terminal: bool,
    /// It ends with some error; without this or `exit` it must succeed.
    #[serde(default)]
    fails: bool,
    exit: Option<i32>,
    /// Parts of the output and of the errors.
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    /// The whole output, without white space around it.
    is: Option<String>,
    /// The name by which later steps know the output.
    keep: Option<String>,
    /// It may take a while to become true.
    #[serde(default)]
    until: bool,
    /// The first minor version that knows it.
    #[serde(default)]
    from: u32,
    /// Done over SPDY and over WebSocket, where the version has a choice.
    #[serde(default)]
    both: bool,
}

/// Somebody with a kubectl of one version, in a namespace of their own.
pub(crate) struct Person<'a> {
    pub(crate) cluster: &'a Cluster,
    version: String,
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    known: RefCell<BTreeMap<String, String>>,
}

impl<'a> Person<'a> {
    /// `known` are names and what they stand for.
    pub(crate) fn new(
        cluster: &'a Cluster,
        (version, program): (&str, &Path),
        namespace: &str,
        known: &[(&str, &str)],
    ) -> Person<'a> {
        let kubeconfig = cluster.dir.path().join(format!("{namespace}.kubeconfig"));
        std::fs::copy(cluster.kubeconfig(), &kubeconfig).expect("copied");
        let (version, program) = (version.to_owned(), program.to_owned());
        let known = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let namespace = namespace.to_owned();
        let person = Person { cluster, version, program, kubeconfig, namespace, known: RefCell::new(known) };
        person.ok("create namespace {ns}");
        person.ok("config set-context --current --namespace={ns}");
        person
    }

    /// kubectl with these words, which a shell would split.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = self.cluster.host.command(self.program.to_str().expect("a path"));
        // What kubectl remembers of an API it keeps by address, and clusters of tests share theirs.
        command.env("KUBECACHEDIR", self.cluster.dir.path().join(format!("kubectl-{}", self.version)));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(words(&self.filled(line)));
        command
    }

    pub(crate) fn ok(&self, line: &str) -> String {
        let out = self.command(line).stdin(Stdio::null()).output().expect("kubectl runs");
        assert!(out.status.success(), "kubectl {} {line}: {}{}", self.version, text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }

    fn filled(&self, text: &str) -> String {
        let text = text.replace("{ns}", &self.namespace).replace("{root}", ROOT);
        self.known.borrow().iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// Runs all of a table and returns what went otherwise than it says.
    pub(crate) fn runs(&self, file: &Path) -> Vec<String> {
        let steps: Vec<Step> = read(file);
        let minor: u32 = self.version.split('.').nth(1).and_then(|m| m.parse().ok()).expect("a minor version");
        let steps = steps.iter().filter(|s| s.from <= minor);
        let wrong = steps.filter_map(|s| self.does(s).err());
        let (version, file) = (&self.version, file.display());
        wrong.map(|e| format!("{version} {file}: {e}")).inspect(|e| eprintln!("{e}\n")).collect()
    }

    /// Runs a scenario up to the first step that goes otherwise than it says.
    pub(crate) fn plays(&self, scenario: &Scenario) -> Result<(), String> {
        scenario.steps.iter().try_for_each(|step| self.does(step))
    }

    /// What there is in the namespace, for who reads of a failure.
    pub(crate) fn tells(&self) -> String {
        let all = ["get all,pdb -o wide", "get events --sort-by=.metadata.resourceVersion"];
        let out = all.map(|line| self.command(line).stdin(Stdio::null()).output().expect("kubectl runs"));
        out.map(|out| text(&out.stdout)).concat()
    }

    fn does(&self, step: &Step) -> Result<(), String> {
        let transports: &[Option<bool>] = if step.both { &[Some(false), Some(true)] } else { &[None] };
        transports.iter().try_for_each(|transport| self.does_over(step, *transport))
    }

    fn does_over(&self, step: &Step, websockets: Option<bool>) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.output(step, websockets);
            let result = step.check(&output, |part| self.filled(part));
            if result.is_err() && step.until && Instant::now() < deadline {
                std::thread::sleep(PAUSE);
                continue;
            }
            if let Some(name) = &step.keep {
                self.known.borrow_mut().insert(name.clone(), text(&output.stdout).trim().to_owned());
            }
            return result;
        }
    }

    fn output(&self, step: &Step, websockets: Option<bool>) -> Output {
        let mut command = self.command(&step.run);
        if let Some(websockets) = websockets {
            over(&mut command, websockets);
        }
        if let Some(expression) = &step.editor {
            let editor =
                if expression.is_empty() { "true".into() } else { format!("sed -i -e '{}'", self.filled(expression)) };
            command.env("KUBE_EDITOR", editor);
        }
        if step.terminal {
            return in_terminal(&command);
        }
        let stdin = if step.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl runs");
        if let Some(input) = &step.input {
            // It may end without having read it: what it then says is what counts.
            let _ = child.stdin.take().expect("piped").write_all(self.filled(input).as_bytes());
        }
        child.wait_with_output().expect("kubectl ends")
    }
}

/// Streams over WebSocket or over SPDY. Versions before 1.29 know the latter alone, and ignore this.
pub(crate) fn over(command: &mut Command, websockets: bool) {
    for variable in ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"] {
        command.env(variable, websockets.to_string());
    }
}

impl Step {
    fn check(&self, out: &Output, filled: impl Fn(&str) -> String) -> Result<(), String> {
        let (said, errors) = (text(&out.stdout), text(&out.stderr));
        let wrong = |what: String| Err(format!("kubectl {}: {what}, but\n{said}{errors}({})", self.run, out.status));
        let ends = match self.exit {
            Some(code) => out.status.code() == Some(code),
            None => out.status.code().is_some_and(|c| (c != 0) == self.fails),
        };
        if !ends {
            return wrong(format!("it should {}", if self.fails { "fail" } else { "end well" }));
        }
        if let Some(whole) = &self.is
            && said.trim() != filled(whole).trim()
        {
            return wrong(format!("its output should be {whole:?}"));
        }
        let all = format!("{said}{errors}");
        if let Some(part) = self.says.iter().find(|p| !all.contains(&filled(p))) {
            return wrong(format!("it should say {part:?}"));
        }
        match self.never.iter().find(|p| all.contains(&filled(p))) {
            Some(part) => wrong(format!("it should not say {part:?}")),
            None => Ok(()),
        }
    }
}

/// A table or a scenario.
pub(crate) fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The command in a terminal of its own, by util-linux's `script`.
fn in_terminal(command: &Command) -> Output {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<_> = words.map(|w| w.to_str().expect("text")).collect();
    let script = Command::new("script").args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null()).output();
    script.expect("script runs")
}

/// Splits at spaces outside of quotes, which it removes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => (quote, open) = (Some(c), true),
            (_, Some(q)) if c == q => quote = None,
            (' ', None) => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            _ => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}
