"""Kill `ulmfit train` at random moments, resume it each time, and compare the answers with those of an uninterrupted run.

    python tests/long/crash.py [KILLS, default 100]

Real text (500 TREC-6 questions), a tiny model, two runs at a time with a thread each. Every kill is SIGKILL."""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def train(folder, out, *args):
    env = {**os.environ, 'ULMFIT_CACHE':str(folder/'cache'), 'OMP_NUM_THREADS':'1'}
    return subprocess.Popen([sys.executable, '-W', 'ignore', '-c', 'from ulmfit_ext.cli import app; app()', 'train', 'train.csv', '--pretrained', 'none', '--sizes', '32,48,3', '--recipe', 'short.json', '--out', out, *args],
                            cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=open(folder/f'{out}.err', 'w'))


def where(out):
    "The last thing that a run left behind"
    stages = [p for k in ('lm', 'classifier') for d in ('fwd', 'bwd') if (p := out/k/d).is_dir()]
    if (out/'model').is_dir(): return 'after training'
    if not stages: return 'before training'
    p = max(stages, key=lambda p: p.stat().st_mtime)
    return f'{p.parent.name} {p.name}'


def finish(tmp, i, kills, want, texts):
    "Run number `i` to its end: places where it was killed, and whether its answers are `want`"
    import numpy as np
    from ulmfit_ext.infer.predict import load_predictor
    rng, places = random.Random(i), []
    while True:
        p = train(tmp, f'run{i}', *(['--resume'] if (tmp/f'run{i}'/'run.json').exists() else []))
        # the first seconds are Python's imports; after them any moment is as likely as another
        try: code = p.wait(4+rng.expovariate(1/8) if kills() else None)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            places.append(where(tmp/f'run{i}'))
            continue
        if code: raise RuntimeError(f"run {i} could not go on after {places}: {(tmp/f'run{i}.err').read_text()[-2000:]}")
        same = bool(np.array_equal(load_predictor(tmp/f'run{i}'/'model').predict_proba(texts, progress=False), want))
        print(json.dumps(dict(run=i, killed_at=places, same=same)), flush=True)
        return places, same


def main(kills):
    import pandas as pd
    from ulmfit_ext.infer.predict import load_predictor
    from ulmfit_ext.train.recipe import get_recipe
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        df = pd.read_csv(Path(os.environ['ULMFIT_DATA'])/'trec6-train.csv')
        df.sample(500, random_state=0).to_csv(tmp/'train.csv', index=False)
        r = get_recipe('paper').replace(name='short', pre=dict(lr=8e-3, bs=8), lm=dict(epochs=4), clas=dict(epochs=6, bs=32, max_len=140))
        (tmp/'short.json').write_text(r.to_json())
        start = time.time()
        whole = train(tmp, 'whole')
        if whole.wait(): sys.exit((tmp/'whole.err').read_text()[-2000:])
        length, texts = time.time()-start, df.text.tolist()[:200]
        want, done = load_predictor(tmp/'whole'/'model').predict_proba(texts, progress=False), []
        more = lambda: sum(len(places) for places, _ in done)<kills
        def worker(k): # so many kills are left when it asks; the last runs may bring some more
            for i in range(k, 10**6, 2):
                if not more(): return
                done.append(finish(tmp, i, more, want, texts))
        with ThreadPoolExecutor(2) as pool: list(pool.map(worker, range(2)))
    at = Counter(p for places, _ in done for p in places)
    same = sum(s for _, s in done)
    print(dict(kills=sum(at.values()), runs=len(done), seconds_of_a_run=round(length, 1), killed=dict(at), same_answers=same, other_answers=len(done)-same))


if __name__=='__main__': main(int(sys.argv[1]) if len(sys.argv)>1 else 100)
