"Killed and taken up again: the same weights, to the bit"
import os
import random
import signal
import subprocess
import sys
import time
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.text.data import TextDataLoaders
from fastai.torch_core import set_seed
from safetensors.torch import load_file
from conftest import TINY
from ulmfit_ext.classifier import finetune_classifier
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.lm import finetune_lm, pretrain_lm
from ulmfit_ext.pipeline import ulmfit
from ulmfit_ext.train.checkpoint import Checkpoint
from ulmfit_ext.train.precision import fast_bf16
from ulmfit_ext.train.state import read_state, write_state
from ulmfit_ext.train.recipe import get_recipe

SHORT = get_recipe('paper').replace(name='short', pre=dict(lr=1e-2, seq_len=10, bs=8), lm=dict(epochs=2, seq_len=10, bs=8), clas=dict(epochs=6, lr=2e-2, bs=10))


class PowerCut(Callback):
    "Fails after `n` batches, when a checkpoint has just been written"
    order, run_valid = Checkpoint.order+1, False
    def __init__(self, n): self.n = n
    def _count(self):
        self.n -= 1
        if not self.n: raise RuntimeError('power cut')
    after_batch = after_train = after_epoch = after_fit = before_epoch = _count # whatever has just been written


@pytest.fixture(autouse=True)
def every_batch(monkeypatch): monkeypatch.setenv('ULMFIT_CHECKPOINT_MINUTES', '0')


def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def lm_corpus(backwards): return TextCorpus.from_df(notes(120), valid_pct=.2, min_freq=1).lm_dls(8, 10, backwards, vary_len=True)
def lm_stock(backwards): return TextDataLoaders.from_df(notes(120), text_col='text', is_lm=True, seq_len=10, bs=8, backwards=backwards, valid_pct=.2, seed=3)
def clas_corpus(backwards): return TextCorpus.from_df(notes(60), label_col='label', valid_pct=.2, min_freq=1).clas_dls(10, backwards)
def clas_stock(backwards): return TextDataLoaders.from_df(notes(60).assign(valid=[i%5==0 for i in range(60)]), text_col='text', label_col='label', valid_col='valid', bs=10, backwards=backwards)


@pytest.mark.parametrize('backwards', [False, True])
@pytest.mark.parametrize('data', [lm_corpus, lm_stock, clas_corpus, clas_stock])
def test_every_stage_goes_on_where_it_stopped(data, backwards, tmp_path):
    def train(seed, *cbs, **kw):
        set_seed(seed) # another one for the second try: nothing may depend on it
        dls = data(backwards)
        if data in (lm_corpus, lm_stock): return finetune_lm(dls, recipe=SHORT, pretrained=None, config=TINY, cbs=list(cbs), **kw)
        return finetune_classifier(dls, None, SHORT, config=TINY, cbs=list(cbs), **kw)
    whole = train(1)
    count = PowerCut(10**9)
    assert torch.equal(weights(train(1, count)), weights(whole))
    events = 10**9-count.n
    for i, n in enumerate([1, 2, *random.Random(str(data)).sample(range(3, events), 5), events-1, events]):
        with pytest.raises(RuntimeError, match='power cut'): train(1, PowerCut(n), run_dir=tmp_path/str(i))
        with pytest.raises(FileExistsError): train(1, run_dir=tmp_path/str(i))
        learn = train(1 if n==1 else 2, run_dir=tmp_path/str(i), resume=True) # before the first batch, nothing was kept
        assert torch.equal(weights(learn), weights(whole)), f'after {n} of {events}'
        np.testing.assert_array_equal(learn.train_losses, whole.train_losses)
        np.testing.assert_array_equal(learn.group_lrs, whole.group_lrs)
        log = pd.read_json(tmp_path/str(i)/'metrics.jsonl', lines=True)
        assert log[['fit', 'epoch']].drop_duplicates().shape==log[['fit', 'epoch']].shape
    again = train(3, run_dir=tmp_path/'0', resume=True) # of a run that is done
    assert torch.equal(weights(again), weights(whole))


def test_a_sampled_softmax_goes_on_where_it_stopped(tmp_path, monkeypatch):
    from ulmfit_ext.models import loss
    real, calls = loss.sampled_cross_entropy, []
    def sampled(h, w, b, y): # of the few words that there are, fewer
        calls.append(len(w))
        return real(h, w, b, y, common=10, sample=4)
    monkeypatch.setattr(loss, 'sampled_cross_entropy', sampled)
    def train(seed, *cbs, **kw):
        set_seed(seed)
        return pretrain_lm(TextCorpus.from_df(notes(300), valid_pct=.2, min_freq=1), SHORT, config=TINY, softmax='sampled', cbs=list(cbs), **kw)
    whole = train(1)
    steps = len(whole.train_losses)
    assert calls[0]>20 and len(calls)==sum(i/steps<.9-1e-9 for i in range(steps)) and steps-len(calls)>=2 # the last tenth is trained on all words
    for i, n in enumerate((3, steps//2, steps-1)):
        with pytest.raises(RuntimeError, match='power cut'): train(1, PowerCut(n), run_dir=tmp_path/str(i))
        learn = train(2, run_dir=tmp_path/str(i), resume=True)
        assert torch.equal(weights(learn), weights(whole))
        np.testing.assert_array_equal(learn.train_losses, whole.train_losses)


def test_the_whole_pipeline_goes_on_where_it_stopped(tmp_path):
    df = notes(60)
    def train(*cbs, **kw): return ulmfit(df, recipe=SHORT, pretrained=None, config=TINY, valid_pct=.3, cbs=list(cbs), **kw)
    whole = train().predict_proba(df.text)
    for i, n in enumerate([3, 30, 45, 80]):
        with pytest.raises(RuntimeError, match='power cut'): train(PowerCut(n), run_dir=tmp_path/str(i))
        assert np.array_equal(train(run_dir=tmp_path/str(i), resume=True).predict_proba(df.text), whole), n
    with pytest.raises(ValueError, match='corpus'): ulmfit(df.head(50), recipe=SHORT, pretrained=None, config=TINY, valid_pct=.3, run_dir=tmp_path/'0', resume=True)
    with pytest.raises(ValueError, match='epochs'): ulmfit(df, recipe=SHORT.replace(lm=dict(epochs=5)), pretrained=None, config=TINY, valid_pct=.3, run_dir=tmp_path/'0', resume=True)


def pretrain(folder, *args):
    return subprocess.Popen([sys.executable, '-W', 'ignore', '-c', 'from ulmfit_ext.cli import app; app()', 'pretrain', 'text.csv', '--recipe', 'short.json', '--size', 'tiny',
                             '--max-vocab', '200', '--out', *map(str, args)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('pretrain')
    notes(1500).to_csv(d/'text.csv', index=False)
    (d/'short.json').write_text(SHORT.replace(pre=dict(epochs=2)).to_json())
    return d


def until_training(process, file, after=0.):
    "Wait until a batch was trained since `after`, or the process has ended"
    end = time.time()+120
    while time.time()<end and process.poll() is None and not (file.exists() and file.stat().st_mtime>after): time.sleep(.01)


def test_killed_at_random_moments(folder):
    whole = pretrain(folder, 'whole')
    assert whole.wait(300)==0, whole.stderr.read()
    rng, file, killed = random.Random(1), folder/'run'/'checkpoint.safetensors', []
    for i in range(10):
        start = time.time()
        p = pretrain(folder, 'run', '--resume')
        until_training(p, file, start)
        time.sleep(rng.random())
        p.send_signal(signal.SIGKILL)
        if p.wait()==-signal.SIGKILL: killed.append(read_state(file)['at'])
    assert len(set(killed))>=5, killed # at so many different batches
    p = pretrain(folder, 'run', '--resume')
    assert p.wait(300)==0, p.stderr.read()
    one, other = (load_file(folder/d/'model'/'model.safetensors') for d in ('whole', 'run'))
    assert one.keys()==other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    print('killed before (fit, epoch, batch)', killed)


@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(folder, sig, monkeypatch):
    monkeypatch.setenv('ULMFIT_CHECKPOINT_MINUTES', '60')
    file = folder/sig.name/'checkpoint.safetensors'
    p = pretrain(folder, sig.name)
    until_training(p, file)
    time.sleep(1)
    p.send_signal(sig)
    assert p.wait(60)!=0
    fit, epoch, batch = read_state(file)['at']
    assert epoch or batch # the hour was not over: it was written when told to stop
    p = pretrain(folder, sig.name, '--resume')
    assert p.wait(300)==0, p.stderr.read()
    if (folder/'whole').exists():
        one, other = (load_file(folder/d/'model'/'model.safetensors') for d in ('whole', sig.name))
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    write_state(tmp_path/'a', dict(x=torch.arange(5.), y=[1, (2., 'z')]))
    whole = (tmp_path/'a').read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        data = bytearray(whole[:rng.randrange(len(whole))]) if rng.random()<.5 else bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            if data: data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path/'b').write_bytes(data)
        try: read_state(tmp_path/'b')
        except ValueError as e: assert 'checkpoint' in str(e)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    write_state(tmp_path/'a', dict(x=1))
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError): write_state(tmp_path/'a', dict(x=2))
    assert read_state(tmp_path/'a')==dict(x=1) and [o.name for o in tmp_path.iterdir()]==['a']


def test_another_run_is_refused(tmp_path):
    df = notes(60)
    df['v'] = df.index%4==0
    def train(df=df, recipe=SHORT, pretrained=None, config=TINY, backwards=False, **kw): return ulmfit(df, recipe=recipe, pretrained=None, config=config, valid_col='v', backwards=backwards, run_dir=tmp_path/'run', **kw)
    train()
    for says, kw in dict(labels=dict(df=df.assign(label=df.label.map(dict(sea='land', land='sea')))), backwards=dict(backwards='both'), precision=dict(precision='fp32' if fast_bf16() else 'bf16'),
                         corpus=dict(df=df.assign(text=df.text+' !')), lr=dict(recipe=SHORT.replace(clas=dict(lr=.1))), emb_sz=dict(config=dict(TINY, emb_sz=8))).items():
        with pytest.raises(ValueError, match=says): train(**kw, resume=True)
    train(precision='bf16' if fast_bf16() else 'fp32', resume=True) # what 'auto' chose, by its name


def test_other_stock_data_is_refused(tmp_path):
    df = notes(60)
    def dls(df=df, **kw): return TextDataLoaders.from_df(df, text_col='text', bs=8, seed=1, **kw)
    lm = finetune_lm(dls(is_lm=True, seq_len=10), None, SHORT, config=TINY)
    def train(df=df, **kw): return finetune_classifier(dls(df, label_col='label', text_vocab=lm.dls.vocab), lm, SHORT, run_dir=tmp_path/'run', **kw)
    first = train().model.state_dict()
    again = train(resume=True).model.state_dict()
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    turned = dict(sea='land', land='sea')
    for says, other in dict(classes=df.replace(dict(label=dict(sea='wet', land='dry'))), labels=df.assign(label=df.label.map(turned)),
                            train=df.assign(text=df.text.str.replace('saw', 'left'))).items():
        with pytest.raises(ValueError, match=rf'has (data\.)?{says} '): train(other, resume=True)


def test_what_other_callbacks_do(tmp_path):
    "Gradients that accumulate, models saved after an epoch, rates set at its beginning, validation in the middle"
    from fastai.callback.tracker import SaveModelCallback
    from fastai.callback.training import GradientAccumulation
    from fastai.test_utils import synth_learner
    class Rate(Callback):
        def before_epoch(self): self.opt.set_hyper('lr', .02*.5**self.epoch)
    class InBetween(Callback):
        run_valid = False
        def after_epoch(self):
            if self.learn.create_mbar: # else it is that validation itself
                with self.learn.no_bar(): self.learn.validate()
    def train(make, *cbs, **kw):
        set_seed(1)
        learn = synth_learner(n_trn=10, lr=.01, path=tmp_path)
        with learn.no_bar(), learn.no_logging():
            for n in (3, 2): learn.fit(n, cbs=[*make(), *cbs])
        return learn
    class Collects(Callback):
        "Comes after Checkpoint, and what it does depends on a list of its own"
        order, run_valid = Checkpoint.order+1, False
        def before_fit(self): self.seen, self.last = [], {}
        def before_batch(self):
            self.seen.append(float(self.xb[0].mean()))
            self.last['x'] = self.xb[0].mean()
            self.opt.set_hyper('lr', .01/len(self.seen))
    for i, make in enumerate([lambda: [GradientAccumulation(64)], lambda: [SaveModelCallback()], lambda: [Rate()], lambda: [InBetween()], lambda: [Collects()]]):
        whole = weights(train(make))
        for n in (3, 14, 25, 37, 44, 51):
            file = tmp_path/f'{i} {n}'
            with pytest.raises(RuntimeError, match='power cut'): train(make, Checkpoint(file, 0), PowerCut(n))
            assert torch.equal(weights(train(make, Checkpoint(file, 0, resume=True))), whole), (i, n)


def test_a_finished_run_is_not_saved_over(tmp_path):
    "Gone on with, a finished run is skipped; a callback that saves the model at the end saves the trained one"
    from fastai.callback.tracker import SaveModelCallback
    from fastai.test_utils import synth_learner
    for resume in (False, True):
        learn = synth_learner(n_trn=10, path=tmp_path)
        with learn.no_bar(), learn.no_logging(): learn.fit(2, cbs=[SaveModelCallback(at_end=True, fname='best'), Checkpoint(tmp_path/'file', resume=resume)])
        learn.load('best')
        if resume: assert torch.equal(weights(learn), trained)
        trained = weights(learn)


def test_models_saved_at_the_best_epoch_of_each_stage(tmp_path):
    "The file that SaveModelCallback has written in the classifier's stage is not loaded into the language model; the best epoch's metrics go with its weights"
    from fastai.callback.tracker import SaveModelCallback
    def train(n, **kw): return ulmfit(notes(60), run_dir=tmp_path/'run', recipe=SHORT, pretrained=None, config=TINY, valid_pct=.2, min_freq=1, backwards=False,
                                      cbs=[SaveModelCallback(fname=tmp_path/'best'), *([] if n is None else [PowerCut(n)])], **kw)
    with pytest.raises(RuntimeError, match='power cut'): train(60)
    assert (tmp_path/'run'/'classifier'/'fwd').exists()
    learn = train(None, resume=True).fwd
    with learn.no_bar(): assert learn.validate()[0]==pytest.approx(learn.bundle_config['metrics']['valid_loss'], abs=1e-5)


def test_an_epoch_that_is_left_early(tmp_path):
    "The first batches, which were made before, are counted in that epoch alone"
    from fastai.callback.core import CancelEpochException
    from fastai.test_utils import synth_learner
    class Leaves(Callback):
        order, run_valid = Checkpoint.order+2, False
        def after_batch(self):
            if self.iter>=6: raise CancelEpochException
    def train(*cbs):
        set_seed(1)
        learn = synth_learner(n_trn=10, path=tmp_path)
        with learn.no_bar(), learn.no_logging(): learn.fit_stlr(3, .1, cbs=[Leaves(), *cbs])
        return weights(learn)
    whole = train()
    with pytest.raises(RuntimeError, match='power cut'): train(Checkpoint(tmp_path/'file', 0), PowerCut(4))
    assert torch.equal(train(Checkpoint(tmp_path/'file', 0, resume=True)), whole)


def test_the_table_of_a_finished_run(tmp_path):
    "is there when it is gone on with"
    from fastai.callback.progress import CSVLogger
    from fastai.test_utils import synth_learner
    tables = []
    for resume in (False, True):
        learn = synth_learner(n_trn=10, path=tmp_path)
        with learn.no_bar(), learn.no_logging(): learn.fit(3, cbs=[CSVLogger(tmp_path/'history.csv'), Checkpoint(tmp_path/'file', resume=resume)])
        tables.append(pd.read_csv(tmp_path/'history.csv').drop(columns='time'))
    assert len(tables[0])==3
    pd.testing.assert_frame_equal(*tables)


def test_another_split_is_another_run(tmp_path):
    "Stock data whose split is drawn anew would train on what was validated on"
    def train(seed, **kw):
        dls = TextDataLoaders.from_df(notes(60), text_col='text', label_col='label', bs=10, valid_pct=.2, seed=seed, text_vocab=clas_corpus(False).vocab[0])
        return finetune_classifier(dls, None, SHORT, config=TINY, run_dir=tmp_path/'run', **kw)
    with pytest.raises(RuntimeError, match='power cut'): train(1, cbs=PowerCut(30))
    with pytest.raises(ValueError, match='has data.train'): train(2, resume=True)
    train(1, resume=True)


def test_the_log_of_a_run_that_is_cut_off_twice(tmp_path):
    "Rows of batches that are done again are there once, though the second cut comes before anything new was written"
    from fastai.test_utils import synth_learner
    from ulmfit_ext.train.run import RunLog
    def cbs(minutes, n): return [RunLog(tmp_path/'log', minutes), Checkpoint(tmp_path/'file', 0, resume=True), PowerCut(n)]
    def fit(minutes, n):
        learn = synth_learner(n_trn=10)
        with learn.no_bar(), learn.no_logging(): learn.fit(2, cbs=cbs(minutes, n))
    with pytest.raises(RuntimeError): fit(0, 6)
    with open(tmp_path/'log', 'a') as f: f.write('{"step": 6, "of": "a batch after the checkpoint"}\n')
    with pytest.raises(RuntimeError): fit(60, 2)
    fit(0, 10**9)
    steps = pd.read_json(tmp_path/'log', lines=True).step.tolist()
    assert steps==sorted(steps) and 'of' not in pd.read_json(tmp_path/'log', lines=True)


def test_a_fit_without_a_bar_for_epochs(tmp_path):
    "looks like a validation: it is refused, and not trained without a checkpoint"
    from fastai.test_utils import synth_learner
    learn = synth_learner(n_trn=10, path=tmp_path)
    with pytest.raises(RuntimeError, match='no_bar'), learn.no_mbar(), learn.no_logging(): learn.fit(1, cbs=Checkpoint(tmp_path/'file'))
