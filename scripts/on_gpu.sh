#!/usr/bin/env bash
# Test, measure and pretrain on a bare machine with PyTorch, CUDA and no network
#     bash FOLDER/on_gpu.sh OUT [MINUTES]
# FOLDER was filled by pack_gpu.sh. Called again with the same OUT, pretraining goes on. The model, or what there is of it, lies
# in OUT/pieces in files of at most 15 MB: cat OUT/pieces/fwd.tar.* | tar x
# SIZES, MAX_VOCAB, DIRECTION (fwd or bwd) and BENCH (sizes of benchmarks) may be set.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,6p' "$0"; exit 1; }
pack=$(cd "$(dirname "$0")" && pwd); mkdir -p "$1/pieces"; out=$(cd "$1" && pwd); minutes=${2:-10}
sizes=${SIZES:-400,1152,3}; direction=${DIRECTION:-fwd}; bench=${BENCH:-paper small}
mkdir -p "$out/tmp"
export ULMFIT_CACHE=$out/cache ULMFIT_DATA=$pack/data TMPDIR=$out/tmp MPLBACKEND=Agg
bin=$out/venv/bin

echo "== environment"
if [ ! -e "$out/venv/.done" ]; then
    ${PYTHON:-python3} -m venv --system-site-packages "$out/venv"
    "$bin/python" -m pip install --quiet --no-index --no-deps "$pack"/wheels/*.whl
    mkdir -p "$out/code"; tar xzf "$pack/code.tar.gz" -C "$out/code"
    ls "$out/code/ulmfit_ext" > /dev/null && echo "$out/code" > "$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ulmfit_ext.pth"
    touch "$out/venv/.done"
fi
cd "$out/code"
"$bin/python" -W ignore -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'

echo "== tests"
"$bin/python" -W ignore -m pytest -q -p no:cacheprovider tests/test_device.py || echo "tests failed"

echo "== benchmarks: ours and stock fastai, fp32 and fp16"
"$bin/python" -W ignore benchmarks/device.py $bench | tee "$out/benchmarks.txt"

echo "== pretraining, $minutes minutes, $direction"
# as many tokens as these minutes allow, by the benchmark's rate of the first size
tokens=$("$bin/python" -c "import json; print(int(60*$minutes*.85*json.loads(open('$out/benchmarks.txt').readline())['tokens/s']))")
[ -e "$out/tokens-$direction" ] || echo "$tokens" > "$out/tokens-$direction" # a run that goes on keeps its corpus
back=''; [ "$direction" = fwd ] || back=--backwards
resume=''; [ ! -e "$out/$direction" ] || resume=--resume
timeout --signal INT $((60*minutes+120)) "$bin/python" -W ignore -m ulmfit_ext.cli pretrain "$pack"/general/* --out "$out/$direction" --sizes "$sizes" \
    --max-vocab "${MAX_VOCAB:-30000}" --max-tokens "$(cat "$out/tokens-$direction")" --epochs 1 $back $resume || echo "stopped: call this again to go on"
[ -e "$out/$direction" ] || exit 1
rm -f "$out/pieces/$direction".tar.*
tar cf - -C "$out" "$direction" | split -b 15000000 - "$out/pieces/$direction.tar."
ls -l "$out/pieces"
