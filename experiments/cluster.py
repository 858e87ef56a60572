"""A million short documents scored by Ray, with one worker killed on the way: rows, checksum and rate beside one process

    python experiments/cluster.py [DOCUMENTS]

Prints lines of JSON. Needs ray."""
import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
os.environ['OMP_NUM_THREADS'] = '1'
warnings.simplefilter('ignore')
import pandas as pd
from ulmfit_ext.all import ulmfit
from ulmfit_ext.data.samples import notes
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.scale import connect, score


def checksum(df): return int(pd.util.hash_pandas_object(df[['text', 'prediction', 'p_land']].astype({'p_land':float}).round(5), index=False).sum())


def workers():
    "Process ids of Ray's workers that hold a model"
    def name(p):
        try: return Path(f'/proc/{p}/cmdline').read_text()
        except OSError: return ''
    return [int(p) for p in os.listdir('/proc') if p.isdigit() and name(p).startswith('ray::MapWorker')]


def kill_one(killed, after):
    time.sleep(after)
    if found := workers():
        os.kill(found[0], signal.SIGKILL)
        killed.append(found[0])


def main(n=1_000_000):
    work = Path(tempfile.mkdtemp())
    os.environ['ULMFIT_CACHE'] = str(work/'cache')
    ulmfit(notes(400), pretrained=None, lm_kwargs=dict(epochs=1, config=dict(emb_sz=24, n_hid=32, n_layers=3)), clas_kwargs=dict(epochs=12), valid_pct=.3,
           run_dir=work/'model', progress=False)
    short = notes(1000).text
    (work/'in').mkdir()
    for i in range(0, n, 50_000): pd.DataFrame(dict(text=[f'{short[j%1000]} {j}' for j in range(i, min(i+50_000, n))])).to_parquet(work/'in'/f'{i:09}.parquet')
    files = sorted((work/'in').glob('*.parquet'))
    pred, start, parts = load_predictor(work/'model'), time.perf_counter(), []
    for f in files:
        df = pd.read_parquet(f)
        for i in range(0, len(df), 1000):
            part = df[i:i+1000].reset_index(drop=True)
            parts.append(pd.concat([part, pred.to_frame(part.text.tolist())], axis=1))
    took, want = time.perf_counter()-start, pd.concat(parts)
    print(json.dumps({'what':'one process', 'rows':len(want), 'checksum':checksum(want), 'docs/s':round(n/took)}), flush=True)
    connect()
    for k, kill in ((1, False), (2, False), (2, True)): # rates on a fifth, all with a worker killed
        some = files if kill else files[:max(len(files)//5, 1)]
        killed, start = [], time.perf_counter()
        if kill: threading.Thread(target=kill_one, args=(killed, 25), daemon=True).start()
        got = score(some, work/'model', workers=k).to_pandas()
        took, part = time.perf_counter()-start, want[:len(got)]
        print(json.dumps({'what':f'Ray, {k} workers', 'killed':len(killed), 'rows':len(got), 'checksum':checksum(got), 'equal':checksum(got)==checksum(part), 'docs/s':round(len(got)/took)}), flush=True)


if __name__=='__main__': main(*map(int, sys.argv[1:]))
