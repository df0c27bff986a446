# bash completion for zoft
_zoft() {
  local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" = 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W "train tune eval predict score generate chat replay apply log tokenize inspect validate data plan merge init export quantize prune shrink compare bench env" -- "$cur")
    return
  fi
  case $cur in
  -*)
    local options="--json --quiet --verbose --no-color --cpumask --help"
    case $cmd in
    train) options="$options --dry-run --resume --fork" ;;
    tune) options="$options --budget --steps --grid --factor --out" ;;
    predict) options="$options --calibrate --adapter --output" ;;
    eval) options="$options --calibrate --adapter --text --generate --task --data --num-fewshot --fewshot-data --limit --max-length --log-samples --list-tasks --compute --fail-under" ;;
    score) options="$options --adapter --text --whole --compute" ;;
    chat) options="$options --adapter --system --chat-template --context --max-new-tokens --temperature --top-k --top-p --min-p --repetition-penalty --stop --seed --compute" ;;
    generate) options="$options --adapter --jsonl --output --batch-size --chat-template --prompt --max-new-tokens --temperature --top-k --top-p --min-p --repetition-penalty --stop --samples --seed --compute --no-special" ;;
    replay) options="$options --to-step --out --verify --average --ema --scale --drop --dtype --base" ;;
    apply) options="$options --out --to-step --start --dtype" ;;
    tokenize) options="$options --text --decode --no-special --skip-special" ;;
    inspect) options="$options --all --base" ;;
    bench) options="$options --repeat --output --methods --batch --seq --budget --lr" ;;
    plan) options="$options --fit --output" ;;
    init) options="$options --out --tokenizer --dtype --seed" ;;
    export) options="$options --to --type --dtype --format --adapter --base --shard --verify-with" ;;
    quantize) options="$options --type --bpw --size --method --imatrix --save-imatrix --text --windows --window --check --compute --damp --max-kld" ;;
    prune) options="$options --sparsity --pattern --method --repair --mlp --heads --layers --vocabulary --text --windows --window --check --compute --damp --dtype --max-kld" ;;
    shrink) options="$options --out --size --text --check --config --metric --windows --compute --keep" ;;
    compare) options="$options --text --window --windows --compute --max-kld --max-ratio" ;;
    merge) options="$options --adapter --dtype --verify --max-diff" ;;
    data) options="$options --tokenizer --sequence-len --label --number --rows --dev --test --by --seed --out --field" ;;
    validate) options="$options --examples --keys" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    ;;
  *)
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    [ "$cmd" = bench ] && [ "$COMP_CWORD" = 2 ] && mapfile -t COMPREPLY < <(compgen -W "step memory time energy learning" -- "$cur")
    [ "$cmd" = data ] && [ "$COMP_CWORD" = 2 ] && mapfile -t COMPREPLY < <(compgen -W "stats show split convert" -- "$cur")
    [ "$cmd" = log ] && [ "$COMP_CWORD" = 2 ] && mapfile -t COMPREPLY < <(compgen -W "show stats diff" -- "$cur")
    ;;
  esac
}
complete -o filenames -F _zoft zoft
