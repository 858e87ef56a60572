"Several processes train what one does: batches, gradients, files, resuming"
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.train.distributed import AllBatchNorm

pytest.importorskip('accelerate')
pytestmark = pytest.mark.skipif(os.name=='nt', reason='starts processes as on Linux')
START = '''
import sys, torch, numpy as np, pandas as pd
from fastai.text.all import *
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.train.distributed import *
torch.set_num_threads(1)
off = dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=0.)
R = get_recipe('default').replace(name='t', lm=dict(epochs=2, bs=8, seq_len=12, **off), clas=dict(epochs=3, bs=10, head_p=[0.], **off))
KW = dict(config=dict(emb_sz=16, n_hid=24, n_layers=3))
corpus = TextCorpus.from_df(notes(121), label_col='label', valid_pct=.2)
'''


def launch(n, code, *args, cwd=None, wait=True, seconds=300):
    "Run `code` in `n` processes"
    start = [sys.executable, '-W', 'ignore'] + (['-m', 'torch.distributed.run', '--nproc_per_node', str(n), '--master_port', '0', '--rdzv_backend', 'c10d',
                                                 '--rdzv_endpoint', 'localhost:0'] if n>1 else [])
    if not code.startswith('-m'):
        file = Path(cwd)/'script.py'
        file.write_text(START+code)
        code = str(file)
    p = subprocess.Popen([*start, *code.split(), *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                         env={**os.environ, 'OMP_NUM_THREADS':'1'})
    if not wait: return p
    try: out, err = p.communicate(timeout=seconds)
    except subprocess.TimeoutExpired: out, err = end(p)
    return p.returncode, out, err


def end(p):
    "End all processes of a launcher"
    os.killpg(p.pid, signal.SIGKILL)
    return p.communicate()


GRADIENTS = '''
class Watch(Callback):
    order = 200
    def __init__(self): self.grads,self.losses,self.seen = None,[],[]
    def before_step(self):
        if self.grads is None: self.grads = {n:p.grad.clone() for n,p in unwrapped(self.learn.model).named_parameters() if p.grad is not None}
    def after_loss(self):
        if not self.training: return
        self.seen.append(self.x.numpy().copy())
        sums = torch.stack([self.loss.detach()*len(self.x), tensor(float(len(self.x)))])
        if n_ranks()>1: torch.distributed.all_reduce(sums)
        self.losses.append(float(sums[0]/sums[1]))
n_acc, out = int(sys.argv[1]), {}
for name in ('lm','clas'):
    set_seed(3)
    w = Watch()
    cbs = [w, AutoPrecision('fp32'), *([GradientAccumulation(n_acc//n_ranks())] if n_acc and name=='lm' else [])] # which counts the rows of a process
    if name=='lm': lm = finetune_lm(corpus.lm_dls(8, 12, epoch_tokens=300), None, R, cbs=cbs, progress=False, **KW)
    else: finetune_classifier(corpus.clas_dls(10), lm, R, cbs=cbs, progress=False)
    out[name] = dict(grads=w.grads, losses=w.losses, seen=w.seen)
torch.save(out, f'{n_ranks()}-{n_acc}-{rank_distrib()}.pt')
'''


@pytest.fixture(scope='module', params=[0, 16], ids=['plain', 'accumulated'])
def runs(request, tmp_path_factory):
    "What one process saw, and what two did"
    d = tmp_path_factory.mktemp('ranks')
    for n in (1, 2):
        rc, out, err = launch(n, GRADIENTS, request.param, cwd=d)
        assert rc==0, err[-3000:]
    return [torch.load(d/f'{n}-{request.param}-{r}.pt', weights_only=False) for n, r in ((1, 0), (2, 0), (2, 1))]


@pytest.mark.parametrize('phase', ['lm', 'clas'])
def test_gradients_and_losses_agree(runs, phase):
    one, a, b = (r[phase] for r in runs)
    assert one['grads'].keys()==a['grads'].keys() and max(float(g.abs().max()) for g in one['grads'].values())>1e-3
    for k, g in one['grads'].items():
        torch.testing.assert_close(a['grads'][k], g, atol=1e-5, rtol=0)
        assert torch.equal(a['grads'][k], b['grads'][k]) # all processes take the same step
    assert len(a['losses'])==len(one['losses']) and a['losses']==b['losses']
    np.testing.assert_allclose(a['losses'][:10], one['losses'][:10], atol=1e-4)


def test_each_token_once_in_streams_that_go_on(runs):
    one, a, b = (r['lm']['seen'] for r in runs)
    for whole, x, y in zip(one, a, b): np.testing.assert_array_equal(np.concatenate([x, y]), whole)


def test_each_document_once(runs):
    one, a, b = (r['clas']['seen'] for r in runs)
    def documents(batch): return sorted(tuple(row[row!=1]) for row in batch)
    for whole, x, y in zip(one, a, b):
        assert abs(len(x)-len(y))<=1 and sorted(documents(x)+documents(y))==documents(whole)


def test_batch_norm_of_one_process_is_torchs():
    x, a, b = torch.randn(7, 5), AllBatchNorm(5), torch.nn.BatchNorm1d(5)
    torch.testing.assert_close(a(x), b(x))
    assert a.num_batches_tracked==1


TRAIN = '-m ulmfit_ext.cli train train.csv --pretrained none --sizes 16,24,3 --recipe short.json --direction fwd --precision fp32'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('shell')
    notes(300).to_csv(d/'train.csv', index=False)
    off = dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=0.)
    r = get_recipe('paper').replace(name='short', lm=dict(epochs=4, bs=8, seq_len=12, lr=1e-3, **off), clas=dict(epochs=6, bs=10, lr=2e-2, head_p=[0.], **off))
    (d/'short.json').write_text(r.to_json())
    return d


def test_a_run_goes_on_with_another_number_of_processes(folder):
    p = launch(2, TRAIN, '--out', 'run', cwd=folder, wait=False)
    late = time.monotonic()+240
    while not (folder/'run'/'lm'/'fwd'/'checkpoint.safetensors').exists(): # written before the first step, and after each epoch
        assert time.monotonic()<late and p.poll() is None, end(p)[1][-3000:]
        time.sleep(.05)
    time.sleep(.5)
    p.send_signal(signal.SIGTERM) # on which the launcher ends them all
    p.communicate(timeout=60)
    for n in (1, 2): # finish by one; then two take the finished run as it is
        rc, out, err = launch(n, TRAIN, '--out', 'run', '--resume', cwd=folder)
        assert rc==0, err[-3000:]
        assert out.count('Written to run')==1
    rc, out, err = launch(1, TRAIN, '--out', 'whole', cwd=folder)
    assert rc==0 and not [p for p in (folder/'run').rglob('*') if '.part' in p.name]
    a, b = (pd.DataFrame(get_rows(folder/k/'lm'/'fwd'/'done.safetensors')) for k in ('run', 'whole'))
    assert len(a)==len(b)==4
    np.testing.assert_allclose(a.perplexity, b.perplexity, rtol=.01)


def get_rows(file):
    from ulmfit_ext.train.run import read_checkpoint
    return read_checkpoint(file)[0]['rows']


def test_processes_that_disagree(folder):
    code = '''
if rank_distrib(): corpus = TextCorpus.from_df(notes(121, 5), label_col='label', valid_pct=.2)
finetune_lm(corpus.lm_dls(8, 12), None, R, progress=False, **KW)
'''
    rc, out, err = launch(2, code, cwd=folder)
    assert rc and 'ValueError: process 1 has data' in err and 'give all the same data, options and versions' in err


def test_steps_are_timed_alone(folder):
    code = '''
import ulmfit_ext.one_call as e
join_ranks()
e._Clock.__init__.__defaults__ = (1+5*rank_distrib(),) # the processes stop after other steps
learn = lm_learner(corpus.lm_dls(1, 2), None, R.lm, **KW)
assert e.token_seconds(learn)>0 and len(learn.dls.train)>60
'''
    rc, out, err = launch(2, code, cwd=folder, seconds=100)
    assert rc==0, err[-3000:]


def test_more_processes_than_rows(folder):
    rc, out, err = launch(2, "finetune_lm(corpus.lm_dls(1, 12), None, R, progress=False, **KW)", cwd=folder)
    assert rc and 'the smallest batch has 1 rows, for 2 processes' in err


def test_loaders_of_fastai_are_named(folder):
    code = "finetune_lm(TextDataLoaders.from_df(notes(60), text_col='text', is_lm=True, seq_len=10, bs=8, valid_pct=.2, seed=3), None, R, progress=False, **KW)"
    rc, out, err = launch(2, code, cwd=folder)
    assert rc and "a LMDataLoader can't be shared between processes: make the data with a TextCorpus" in err


def test_without_accelerate(monkeypatch):
    from ulmfit_ext.train.distributed import join_ranks
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(ImportError, match='2 processes were started to train together, which needs accelerate'): join_ranks()
