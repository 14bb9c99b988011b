# Completes commands, options, values and ids of DAGs: `orch completion fish` prints this script.
function __orch_complete
    set -l words (commandline -opc)
    set -l program orch
    # A path is used as typed. A name is found in the PATH.
    string match -q '*/orch' -- $words[1]; and set program $words[1]
    set -l current (commandline -ct)
    set -l found ($program completion fish -- $words[2..-1] "$current" 2>/dev/null)
    # File names are offered where orch has nothing to offer.
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c orch -f -a '(__orch_complete)'
