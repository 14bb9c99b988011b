# Completes commands, options, values and ids of DAGs: `orch completion bash` prints this script.
_orch() {
    local program=$1 words=() word IFS=$'\n'
    # A path is used as typed. An alias or a name is found in the PATH.
    [[ $program == */orch ]] || program=orch
    # Readline splits `--output=json` into three words.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        [[ $word == = ]] || words+=("$word")
    done
    [[ ${COMP_WORDS[COMP_CWORD]} == = ]] && words+=("")
    COMPREPLY=($("$program" completion bash -- "${words[@]}" 2> /dev/null))
}
# File names are offered where orch has nothing to offer.
complete -o bashdefault -o default -F _orch orch
