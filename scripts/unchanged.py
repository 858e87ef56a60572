"""Run a command and fail if it changed a file: `unchanged.py PATH... -- COMMAND...`"""
import hashlib
import subprocess
import sys
from pathlib import Path

def state(paths):
    files = (f for p in map(Path, paths) for f in ([p] if p.is_file() else p.rglob('*')) if f.is_file() and '__pycache__' not in f.parts and '.ipynb_checkpoints' not in f.parts)
    return {str(f):hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

cut = sys.argv.index('--')
paths,command = sys.argv[1:cut],sys.argv[cut+1:]
before = state(paths)
subprocess.run(command, check=True)
after = state(paths)
changed = sorted(f for f in before.keys()|after.keys() if before.get(f)!=after.get(f))
if changed: sys.exit(f"{Path(command[-1]).name} changed {', '.join(changed)}: run `make export` and commit the result")
