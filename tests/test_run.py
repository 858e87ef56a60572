"Killed and resumed: the same weights, to the bit"
import errno
import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import *
from fastai.callback.tracker import SaveModelCallback
from fastai.test_utils import synth_learner
from fastai.text.data import TextDataLoaders
from fastai.torch_core import set_seed
from safetensors.torch import load_file
from conftest import TINY
from ulmfit_ext.classifier import finetune_classifier
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.lm import finetune_lm, pretrain_lm
from ulmfit_ext.models.loss import BlockLoss
from ulmfit_ext.train.precision import AutoPrecision, fast_bf16
from ulmfit_ext.train.recipe import Phase, get_recipe
from ulmfit_ext.train.progress import PhaseProgress
from ulmfit_ext.train.run import Checkpoint, fit_phase, read_checkpoint, write_checkpoint

SHORT = get_recipe('default').replace(name='short', pre=dict(lr=1e-2, seq_len=10, bs=8), lm=dict(epochs=2, seq_len=10, bs=8), clas=dict(epochs=6, lr=2e-2, bs=10))


class PowerCut(Callback):
    "Fail at the `n`th event, some of them just after a checkpoint was written"
    order, run_valid = Checkpoint.order+1, False
    def __init__(self, n): self.n = n
    def _count(self):
        self.n -= 1
        if not self.n: raise RuntimeError('power cut')
    before_fit = after_batch = after_train = after_epoch = after_fit = before_epoch = _count


def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def lm_corpus(backwards): return TextCorpus.from_df(notes(120), valid_pct=.2, min_freq=1).lm_dls(8, 10, backwards, vary_len=True, epoch_tokens=300)
def lm_stock(backwards): return TextDataLoaders.from_df(notes(120), text_col='text', is_lm=True, seq_len=10, bs=8, backwards=backwards, valid_pct=.2, seed=3)
def clas_corpus(backwards): return TextCorpus.from_df(notes(60), label_col='label', valid_pct=.2, min_freq=1).clas_dls(10, backwards)
def clas_stock(backwards): return TextDataLoaders.from_df(notes(60).assign(valid=[i%5==0 for i in range(60)]), text_col='text', label_col='label', valid_col='valid', bs=10, backwards=backwards)


@pytest.mark.parametrize('data,backwards', [(lm_corpus, True), (lm_stock, False), (clas_corpus, False), (clas_stock, True)])
def test_every_phase_goes_on_where_it_stopped(data, backwards, tmp_path):
    def train(seed, *cbs, **kw):
        set_seed(seed) # another one for the second try: nothing may depend on it
        dls = data(backwards)
        f = finetune_lm if data in (lm_corpus, lm_stock) else finetune_classifier
        return f(dls, None, SHORT, config=TINY, cbs=list(cbs), progress=False, **kw)
    whole, count = train(1), PowerCut(10**9)
    assert torch.equal(weights(train(1, count)), weights(whole))
    events = 10**9-count.n
    for i, n in enumerate([1, 2, *random.Random(str(data)).sample(range(3, events), 3), events]):
        run = dict(run_dir=tmp_path/str(i))
        with pytest.raises(RuntimeError, match='power cut'): train(1, PowerCut(n), **run)
        with pytest.raises(FileExistsError): train(1, **run)
        learn = train(2, **run, resume=True)
        assert torch.equal(weights(learn), weights(whole)), f'after {n} of {events}'
        pd.testing.assert_frame_equal(learn.history, whole.history)
        assert learn.meta['metrics']==whole.meta['metrics']
    again = train(3, run_dir=tmp_path/'0', resume=True) # a run that is finished
    assert torch.equal(weights(again), weights(whole)) and len(again.history)==len(whole.history)
    assert sorted(p.name for p in (tmp_path/'0').iterdir() if p.name[0]!='.')==['done.safetensors', 'model', 'recipe.json', 'run.json']


def test_a_sampled_softmax_goes_on_where_it_stopped(tmp_path, monkeypatch):
    from ulmfit_ext.models import loss
    real, calls = loss.sampled_cross_entropy, []
    def sampled(h, w, b, y):
        calls.append(len(w))
        return real(h, w, b, y, common=10, sample=4)
    monkeypatch.setattr(loss, 'sampled_cross_entropy', sampled)
    def train(seed, *cbs, **kw):
        set_seed(seed)
        dls = TextCorpus.from_df(notes(300), valid_pct=.2, min_freq=1).lm_dls(8, 10, epoch_tokens=800)
        return pretrain_lm(dls, SHORT, config=TINY, cbs=[BlockLoss('sampled'), *cbs], progress=False, **kw)
    whole = train(1)
    steps = len(whole.history)
    assert whole.recipe.pre.softmax=='sampled' and len(calls)==sum(i/steps<.9-1e-9 for i in range(steps)) and steps-len(calls)>=2
    for n in (3, steps//2, steps-1):
        with pytest.raises(RuntimeError, match='power cut'): train(1, PowerCut(n), run_dir=tmp_path/str(n))
        assert torch.equal(weights(train(2, run_dir=tmp_path/str(n), resume=True)), weights(whole))


def test_the_whole_pipeline_goes_on_where_it_stopped(tmp_path):
    df = notes(60)
    def train(*cbs, **kw): return ulmfit(df, recipe=SHORT, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, cbs=list(cbs), progress=False, **kw)
    whole = train().predict_proba(df.text)
    count = PowerCut(10**9)
    train(count)
    events = 10**9-count.n
    for n in [3, *random.Random(0).sample(range(20, events), 2)]:
        with pytest.raises(RuntimeError, match='power cut'): train(PowerCut(n), run_dir=tmp_path/str(n))
        assert np.array_equal(train(run_dir=tmp_path/str(n), resume=True).predict_proba(df.text), whole), n
    found = sorted(p.relative_to(tmp_path/'3').as_posix() for p in (tmp_path/'3').rglob('model.safetensors'))
    assert found==['lm/bwd/model/model.safetensors', 'lm/fwd/model/model.safetensors', 'model/bwd/model.safetensors', 'model/fwd/model.safetensors'] # each once
    assert not list((tmp_path/'3').rglob('checkpoint*'))


def test_the_best_epoch_is_kept_and_survives_a_restart(tmp_path):
    def train(keep, *cbs, **kw):
        set_seed(0)
        learn = synth_learner(n_trn=10)
        phase = Phase(lr=.5, epochs=6, keep=keep, clip=None)
        learn.opt_func = phase.opt_func()
        return learn, fit_phase(learn, phase, cbs=list(cbs), progress=False, **kw)
    learn, log = train('best')
    losses = [r['valid_loss'] for r in log.rows]
    assert log.metrics['valid_loss']==min(losses)<losses[-1]
    with learn.no_bar(): assert learn.validate()[0]==pytest.approx(min(losses))
    with pytest.raises(RuntimeError): train('best', PowerCut(60), folder=tmp_path)
    again, _ = train('best', folder=tmp_path)
    assert torch.equal(weights(again), weights(learn)) and not torch.equal(weights(learn), weights(train('last')[0]))


def train_in_shell(folder, *args):
    return subprocess.Popen([sys.executable, '-W', 'ignore', '-c', 'from ulmfit_ext.cli import app; app()', 'train', 'text.csv', '--recipe', 'short.json', '--pretrained', 'none',
                             '--sizes', '16,24,3', '--direction', 'fwd', '--out', *map(str, args)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) # which background jobs of a shell ignore


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('shell')
    notes(600).to_csv(d/'text.csv', index=False)
    (d/'short.json').write_text(SHORT.replace(pre=dict(epochs=2), lm=dict(epochs=3), clas=dict(epochs=8)).to_json())
    p = train_in_shell(d, 'whole')
    out, err = p.communicate(timeout=300)
    assert p.returncode==0, err
    (d/'out.txt').write_text(out, newline='')
    return d


def wait_for(process, done):
    "Wait until `done`, or the process has ended"
    end = time.monotonic()+120
    while time.monotonic()<end and process.poll() is None and not done(): os.sched_yield()


def test_killed_at_random_moments(folder):
    rng, begun = random.Random(1), 0
    for i in range(3):
        p = train_in_shell(folder, 'run', '--resume')
        files = lambda: {f:f.stat().st_mtime_ns for f in (folder/'run').rglob('*.safetensors')}
        before, changes, wanted = files(), set(), rng.randint(1, 4)
        def enough():
            changes.update((f, t) for f, t in files().items() if before.get(f)!=t)
            return len(changes)>=wanted
        try: wait_for(p, enough)
        except FileNotFoundError: pass # a file that was replaced just then
        p.send_signal(signal.SIGKILL)
        begun += p.wait()==-signal.SIGKILL
    assert begun>=2
    p = train_in_shell(folder, 'run', '--resume')
    assert p.wait(300)==0, p.stderr.read()
    one, other = (load_file(folder/d/'model'/'fwd'/'model.safetensors') for d in ('whole', 'run'))
    assert one.keys()==other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_ctrl_c_says_how_to_go_on(folder):
    recipe = SHORT.replace(pre=dict(epochs=1), lm=dict(epochs=1), clas=dict(epochs=500)) # long enough to be stopped, however busy the machine is
    (folder/'long.json').write_text(recipe.to_json())
    p = train_in_shell(folder, 'stopped', '--recipe', 'long.json')
    wait_for(p, lambda: (folder/'stopped'/'classifier'/'fwd'/'checkpoint.safetensors').exists())
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode==130 and 'Traceback' not in err, err
    assert 'Stopped. Saved after epoch' in err and 'of 500' in err and err.rstrip().endswith('--resume')
    again = train_in_shell(folder, 'stopped')
    assert again.wait(60)==1 and '--resume' in again.stderr.read()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    write_checkpoint(tmp_path/'a', dict(x=[1, 2]), dict(model=dict(w=torch.arange(5.))))
    whole, rng = (tmp_path/'a').read_bytes(), random.Random(0)
    for _ in range(200):
        data = bytearray(whole[:rng.randrange(len(whole))]) if rng.random()<.5 else bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            if data: data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path/'b').write_bytes(data)
        try: read_checkpoint(tmp_path/'b')
        except ValueError as e: assert 'not a checkpoint' in str(e)
    (tmp_path/'link').symlink_to(tmp_path/'a')
    with pytest.raises(ValueError, match='remove it to start anew'): read_checkpoint(tmp_path/'link')


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(tmp_path, monkeypatch):
    from ulmfit_ext.train import run
    real, calls = run.write_checkpoint, []
    def full(*args):
        calls.append(args)
        if len(calls)>1: raise OSError(errno.ENOSPC, 'No space left on device')
        real(*args)
    monkeypatch.setattr(run, 'write_checkpoint', full)
    learn, phase = synth_learner(n_trn=4), Phase(lr=.1, epochs=3, clip=None)
    learn.opt_func = phase.opt_func()
    with pytest.warns(UserWarning, match='No space left.*training goes on'): log = fit_phase(learn, phase, tmp_path, progress=False)
    assert len(log.rows)==3
    calls.append(1)
    with pytest.raises(OSError, match='make room, or name another folder'): fit_phase(learn, phase, tmp_path/'new', progress=False)


def test_another_run_is_refused(tmp_path):
    df = notes(60)
    df['v'] = df.index%4==0
    def train(df=df, recipe=SHORT, config=TINY, backwards=False, **kw):
        return ulmfit(df, recipe=recipe, pretrained=None, lm_kwargs=dict(config=config), valid_col='v', backwards=backwards, run_dir=tmp_path/'run', progress=False, **kw)
    train()
    other = AutoPrecision('fp32' if fast_bf16() else 'bf16')
    for says, kw in dict(labels=dict(df=df.assign(label=df.label.map(dict(sea='land', land='sea')))), backwards=dict(backwards='both'), precision=dict(cbs=other),
                         corpus=dict(df=df.assign(text=df.text+' !')), lr=dict(recipe=SHORT.replace(clas=dict(lr=.1))), emb_sz=dict(config=dict(TINY, emb_sz=8))).items():
        with pytest.raises(ValueError, match=says): train(**kw, resume=True)


def test_callbacks_with_a_state_get_one_warning(tmp_path):
    def train(*cbs, **kw):
        set_seed(1)
        return finetune_classifier(clas_corpus(False), None, SHORT, config=TINY, run_dir=tmp_path/'run', progress=False, cbs=[SaveModelCallback(fname=tmp_path/'best'), *cbs], **kw)
    with pytest.raises(RuntimeError): train(PowerCut(40))
    with pytest.warns(UserWarning, match='callbacks begin anew'): train(resume=True)


def test_a_log_has_lines_and_no_carriage_returns(folder):
    out = (folder/'out.txt').read_bytes().decode()
    assert '\r' not in out and '█' not in out
    for says in ('540 training and 60 validation documents', '[1/2] Language model, forward', '[2/2] Classifier, forward', 'in all', 'trains', 'top 1', 'TF-IDF', 'Written to whole'): assert says in out, says


@pytest.mark.parametrize('losses,keep,says', [([.5, .4, .9], 'last', 'lowest in epoch 2 (0.400), and rose to 0.900: the last weights'), ([.5, .4, .9], 'best', 'its weights'), ([.9, .4], 'best', '')])
def test_rising_validation_loss_is_pointed_out(losses, keep, says, capsys):
    bar = PhaseProgress()
    bar.log = SimpleNamespace(rows=[dict(valid_loss=l) for l in losses], keep=keep)
    bar.end()
    out = capsys.readouterr().out
    assert says in out and bool(out)==bool(says)


def test_a_phase_begins_with_a_whole_pass():
    dls = lm_corpus(False)
    steps, chunks = len(dls.train), dls.train.n_chunks
    dls.train.n_pass = 1 # after lr_find, for example
    finetune_lm(dls, None, SHORT, epochs=1, config=TINY, progress=False)
    assert chunks>1 and dls.train.n_pass==2*chunks


def test_nothing_is_printed_when_asked(capsys):
    finetune_lm(lm_corpus(False), None, SHORT, config=TINY, progress=False)
    assert capsys.readouterr().out==''
