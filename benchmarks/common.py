"""What the benchmarks share: data, pairs of runs in turn, results as JSON.

Each script measures ours and stock fastai alternately in one run, every time in a process of its own, and reports medians and their ratio."""
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent/'results'
SIZES = {k:dict(zip(('emb_sz', 'n_hid', 'n_layers'), v)) for k, v in dict(paper=(400, 1152, 3), small=(256, 640, 3)).items()}
# of experiments/transfer.py
TASK_NAMES = {'trec6':'TREC-6', 'imdb':'IMDb'}
SOURCE_NAMES = {'tf-idf':'TF-IDF, logistic regression', 'scratch':'no language model, forward', 'own':"language model of the task's text alone, forward",
                'pretrained, fwd':'`mini`, forward', 'pretrained, bwd':'`mini`, backward', 'pretrained, both':'`mini`, both',
                'again, fwd':'`mini`, the reviews read twice, forward', 'again, bwd':'`mini`, the reviews read twice, backward', 'again, both':'`mini`, the reviews read twice, both',
                'unsup, fwd':'`mini` and the unlabelled reviews, forward', 'unsup, bwd':'`mini` and the unlabelled reviews, backward', 'unsup, both':'`mini` and the unlabelled reviews, both'}


def data():
    folder = os.environ.get('ULMFIT_DATA')
    if not folder: sys.exit('the benchmarks need real text: set ULMFIT_DATA to its folder')
    return Path(folder)


def imdb(n, part='train'):
    "`n` reviews of each part, always the same, with text and label"
    import pandas as pd
    cache = Path(os.environ.get('TMPDIR', '/tmp'))/f'ulmfit-bench-{part}.pkl' # reading the archive takes longer than some runs
    if not cache.exists(): pd.read_json(data()/f'imdb-{part}.jsonl.xz', lines=True).sample(frac=1, random_state=0).reset_index(drop=True).to_pickle(cache)
    return pd.read_pickle(cache)[['text', 'label']].head(n).copy()


def machine():
    import fastai, torch
    from ulmfit_ext.train.precision import fast_bf16
    model = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.processor()) if os.path.exists('/proc/cpuinfo') else platform.processor()
    return dict(cpu=model, bf16=fast_bf16(), amx=getattr(torch.cpu, '_is_amx_tile_supported', lambda: False)(), threads=torch.get_num_threads(), gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                python=platform.python_version(), torch=torch.__version__, fastai=fastai.__version__, date=str(date.today()))


def peak_mb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def rss_mb():
    "Memory held now"
    with open('/proc/self/statm') as f: return int(f.read().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20


def child(script, *args):
    "What `script` reports when run with `args`"
    res = subprocess.run([sys.executable, '-W', 'ignore', script, 'one', *map(str, args)], capture_output=True, text=True)
    if res.returncode: sys.exit(f'{script} {args} failed:\n{res.stderr[-3000:]}')
    return json.loads(res.stdout.strip().splitlines()[-1])


def pair(script, *args, repeat=3):
    "Ours and stock in turn; medians of what they report, and of the ratios of neighbouring runs"
    runs = [[child(script, which, *args) for which in ('stock', 'ours')] for _ in range(repeat)]
    res = {}
    for k in runs[0][0]:
        ours, stock = (statistics.median(r[i][k] for r in runs) for i in (1, 0))
        res[k] = dict(ours=ours, stock=stock, ratio=statistics.median(r[1][k]/r[0][k] for r in runs))
    return res


def save(name, rows):
    "Write rows of dicts with `what`, and print them"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS/f'{name}.json').write_text(json.dumps(dict(machine=machine(), rows=rows), indent=1)+'\n')
    for r in rows: print(json.dumps(r))


def main(one, all_):
    "`one` for a child's single measurement, `all_` for the script as called"
    warnings.filterwarnings('ignore')
    os.environ.setdefault('OMP_NUM_THREADS', str(min(os.cpu_count(), 2) if 'ULMFIT_THREADS' not in os.environ else os.environ['ULMFIT_THREADS']))
    if len(sys.argv)>1 and sys.argv[1]=='one': print(json.dumps(one(*sys.argv[2:])))
    else: all_()


def timed(f, *args):
    start = time.perf_counter()
    res = f(*args)
    return time.perf_counter()-start, res
