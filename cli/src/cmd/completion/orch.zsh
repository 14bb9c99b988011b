#compdef orch
# Completes commands, options, values and ids of DAGs: `orch completion zsh` prints this script.
_orch() {
    local program=orch
    local -a found
    # A path is used as typed. An alias or a name is found in the PATH.
    [[ ${words[1]} == */orch ]] && program=${~words[1]}
    found=("${(@f)$("$program" completion zsh -- "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    # File names are offered where orch has nothing to offer.
    if [[ -n $found[1] ]]; then _describe orch found; else _files; fi
}
if [[ $funcstack[1] == _orch ]]; then _orch "$@"; else compdef _orch orch; fi
