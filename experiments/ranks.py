"""Training by one process, by two together, and by two apart, one core each: tokens a second, and perplexity after an epoch

    python experiments/ranks.py rate {small|medium|paper}    # batches of 64 and 128 streams
    python experiments/ranks.py perplexity

Reads IMDb's reviews in $ULMFIT_DATA, prints a line of JSON for each run. Needs accelerate."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SIZES = dict(small=(256, 640, 3), medium=(320, 900, 3), paper=(400, 1152, 3))


def texts(n):
    import pandas as pd
    return pd.read_json(Path(os.environ['ULMFIT_DATA'])/'imdb-train.jsonl.xz', lines=True).sample(n, random_state=0)[['text']]


def child(what, size, n_docs, rows='64'):
    import warnings
    warnings.filterwarnings('ignore')
    import torch
    from fastai.text.all import Callback, CancelFitException, set_seed
    from ulmfit_ext.all import TextCorpus, finetune_lm, get_recipe, lm_learner
    from ulmfit_ext.train.distributed import distributed_cbs, is_first, n_ranks
    torch.set_num_threads(1)
    config = dict(zip(('emb_sz', 'n_hid', 'n_layers'), SIZES[size]))
    c = TextCorpus.from_df(texts(int(n_docs)), valid_pct=.1, max_vocab=16000)
    set_seed(1)
    if what=='perplexity':
        r = get_recipe('default').replace(name='ranks', lm=dict(epochs=1, bs=32), pre=dict(lr=1e-3)) # at .004, from scratch, the result depends on the seed
        start = time.perf_counter()
        learn = finetune_lm(c.lm_dls(32, 70), None, r, config=config, progress=False)
        res = dict(perplexity=round(learn.epochs.perplexity.iloc[-1], 2), seconds=round(time.perf_counter()-start), losses=[round(v, 3) for v in learn.history.loss[9::20]])
    else:
        class Clock(Callback):
            order = 99
            def before_train(self): self.n = 0
            def after_batch(self):
                if not self.training: return
                self.n += 1
                if self.n==2: self.start = time.perf_counter()
                if self.n==8: raise CancelFitException()
        learn, clock, rows = lm_learner(c.lm_dls(int(rows), 70), config=config), Clock(), int(rows)
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=[clock, *distributed_cbs(learn)])
        res = {'tokens/s':round(6*rows*70/(time.perf_counter()-clock.start)), 'rows':rows, 'params':sum(p.numel() for p in learn.model.parameters())}
    if is_first(): print(json.dumps(dict(what=what, size=size, processes=n_ranks(), **res)))


def main(what, size='small', n_docs=1000):
    if what=='rate': # two that have nothing to do with each other: what the machine can do
        alone = [sys.executable, '-W', 'ignore', __file__, 'child', what, size, str(n_docs)]
        both = [subprocess.Popen(alone, stdout=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS':'1'}) for _ in range(2)]
        rates = [json.loads(p.communicate()[0]) for p in both]
        print(json.dumps({**rates[0], 'processes':'2 apart', 'tokens/s':sum(r['tokens/s'] for r in rates)}), flush=True)
    runs = [(1, 64), (2, 64), (2, 128)]*2 if what=='rate' else [(1, 32), (2, 32)]
    for n, rows in runs:
        launcher = ['-m', 'torch.distributed.run', '--nproc_per_node', str(n), '--rdzv_backend', 'c10d', '--rdzv_endpoint', 'localhost:0'] if n>1 else []
        res = subprocess.run([sys.executable, '-W', 'ignore', *launcher, __file__, 'child', what, size, str(n_docs), str(rows)], capture_output=True, text=True,
                             env={**os.environ, 'OMP_NUM_THREADS':'1'})
        print(res.stdout.strip() or res.stderr[-2000:], flush=True)


if __name__=='__main__':
    if sys.argv[1]=='child': child(*sys.argv[2:])
    else: main(*sys.argv[1:])
