#!/usr/bin/env bash
# Fill a folder with all that on_gpu.sh needs on a machine without network: code, wheels and text
#     scripts/pack_gpu.sh FOLDER TEXT...
# TEXT is general text to pretrain on, as `ulmfit pretrain` reads it. Reviews for the benchmarks come from $ULMFIT_DATA.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4p' "$0"; exit 1; }
here=$(cd "$(dirname "$0")/.." && pwd); python=${PYTHON:-$here/.venv/bin/python}; out=$1; shift
mkdir -p "$out/wheels" "$out/general" "$out/data"
git -C "$here" archive --format=tar.gz -o "$(realpath "$out")/code.tar.gz" HEAD
# what this environment has, without torch and what comes with it: the other machine has those
"$python" - > "$out/requirements.txt" <<'PY'
import re
from importlib.metadata import PackageNotFoundError, distribution
todo, seen = ['ulmfit_ext', 'pytest', 'hypothesis', 'nbdev'], {}
while todo:
    name = re.sub(r'[-_.]+', '-', todo.pop()).lower()
    if name in seen or re.match('torch|nvidia|triton', name): continue
    try: d = distribution(name)
    except PackageNotFoundError: continue # for another system
    seen[name] = d.version
    todo += [re.match(r'[\w.-]+', r).group() for r in d.requires or [] if 'extra ==' not in r]
for name, v in sorted(seen.items()):
    if name!='ulmfit-ext': print(f'{name}=={v}')
PY
"$python" -m pip download --quiet --no-deps --only-binary :all: ${PYTHON_VERSION:+--python-version "$PYTHON_VERSION"} --dest "$out/wheels" -r "$out/requirements.txt"
cp -r "$@" "$out/general/"
for f in imdb-train.jsonl.xz imdb-test.jsonl.xz; do [ -z "${ULMFIT_DATA:-}" ] || cp "$ULMFIT_DATA/$f" "$out/data/"; done
cp "$here/scripts/on_gpu.sh" "$out/"
du -sh "$out"/*
