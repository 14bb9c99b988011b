//! `orch completion`: what a shell needs to complete orch's commands.

use crate::cx::Cx;
use clap_complete::Shell;
use orch_binary::failure::Outcome;
use orch_binary::output::print;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orch completion bash > ~/.local/share/bash-completion/completions/orch\n  \
    orch completion zsh > ~/.zfunc/_orch\n  \
    orch completion fish > ~/.config/fish/completions/orch.fish")]
pub(crate) struct Completion {
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cx.command_line(), "orch", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
