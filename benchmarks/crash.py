"""Kill `ulmfit train` at random moments of its whole pipeline, go on each time, and compare the answers with those of a run that nothing stopped.

    python benchmarks/crash.py [KILLS, default 100]

Real text (500 TREC-6 questions), a small model, checkpoints after every batch. Every kill is SIGKILL."""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from common import data, save


def train(folder, out, *args):
    env = {**os.environ, 'ULMFIT_CHECKPOINT_MINUTES':'0', 'ULMFIT_CACHE':str(folder/'cache'), 'OMP_NUM_THREADS':'1'}
    return subprocess.Popen([sys.executable, '-W', 'ignore', '-c', 'from ulmfit_ext.cli import app; app()', 'train', 'train.csv', '--size', 'tiny', '--recipe', 'short.json', '--out', out, *args],
                            cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def where(out):
    "The last thing that a run left behind"
    stages = [p for k in ('lm', 'classifier') for d in ('fwd', 'bwd') if (p := out/k/d).is_dir()]
    if (out/'model').is_dir(): return 'after training'
    if not stages: return 'before training'
    p = max(stages, key=lambda p: p.stat().st_mtime)
    return f'{p.parent.name} {p.name}'


def main(kills):
    import numpy as np, pandas as pd
    from ulmfit_ext.infer.predict import load_predictor
    from ulmfit_ext.train.recipe import get_recipe
    rng, at = random.Random(0), Counter()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        df = pd.read_csv(data()/'trec6-train.csv')
        df.sample(500, random_state=0).to_csv(tmp/'train.csv', index=False)
        r = get_recipe('paper').replace(name='short', pre=dict(lr=8e-3, bs=8), lm=dict(epochs=4), clas=dict(epochs=6, bs=32, max_len=140))
        (tmp/'short.json').write_text(r.to_json())
        start = time.time()
        whole = train(tmp, 'whole')
        if whole.wait(): sys.exit(whole.stderr.read()[-2000:])
        length = time.time()-start
        texts = df.text.tolist()[:200]
        want, run, n_run = load_predictor(tmp/'whole'/'model').predict_proba(texts, progress=False), 0, 0
        same, places = [], []
        while sum(at.values())<kills or n_run:
            p, done = train(tmp, f'run{run}', *(['--resume'] if n_run else [])), False
            try: done = p.wait(rng.uniform(.3, 1)*min(length, 25) if sum(at.values())<kills else None)==0
            except subprocess.TimeoutExpired:
                p.send_signal(signal.SIGKILL)
                p.wait()
                at[where(tmp/f'run{run}')] += 1
                places.append(where(tmp/f'run{run}'))
                n_run += 1
                continue
            if not done: sys.exit(f'could not go on after {n_run} kills: {p.stderr.read()[-2000:]}')
            same.append(bool(np.array_equal(load_predictor(tmp/f'run{run}'/'model').predict_proba(texts, progress=False), want)))
            print(json.dumps(dict(run=run, killed_at=places, same=same[-1])), flush=True)
            run, n_run, places = run+1, 0, []
    save('crash', [dict(what=f'{sum(at.values())} kills in {len(same)} runs', seconds_of_a_run=length, killed=dict(at), same_answers=sum(same), other_answers=len(same)-sum(same))])


if __name__=='__main__': main(int(sys.argv[1]) if len(sys.argv)>1 else 100)
