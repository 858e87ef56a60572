import warnings
from fractions import Fraction
from math import floor
import numpy as np
import pytest
from fastai.callback.core import Callback
from fastai.callback.progress import *
from fastai.callback.training import GradientAccumulation
from fastai.test_utils import synth_learner
from torch import nn
from ulmfit_ext.train.schedule import stlr
from ulmfit_ext.train.unfreeze import full


def paper(t, T, cut_frac, ratio):
    "Equation 3 of the paper, in exact arithmetic"
    cut = floor(T*cut_frac)
    p = Fraction(t, cut) if t<cut else 1 - Fraction(t-cut)/(cut*(1/cut_frac-1))
    return (1 + p*(ratio-1))/ratio


def safe(t, T, cut_frac, ratio):
    "The same, rising for one step at least and falling over all the steps that are left"
    cut = max(floor(T*cut_frac), 1)
    p = Fraction(t, cut) if t<cut else 1 - Fraction(t-cut, max(T-cut, 1))
    return (1 + p*(ratio-1))/ratio


@pytest.mark.parametrize('cut_frac,ratio', [(Fraction(1,10), 32), (Fraction(1,8), 8), (Fraction(1,3), 8)])
def test_every_length(cut_frac, ratio):
    "For every T from 1 to 2000: all steps up to 40, 25 steps spread over longer runs, and the last"
    for T in range(1, 2001):
        ts = np.unique(np.r_[np.arange(min(T, 40)), np.linspace(0, T-1, 25).astype(int)])
        got = stlr(ts, T, 1., float(cut_frac), ratio)
        np.testing.assert_allclose(got, [float(safe(int(t), T, cut_frac, ratio)) for t in ts], rtol=1e-9)
        assert got.min()>=1/ratio-1e-12 and got.max()<=1+1e-12
        if floor(T*cut_frac)==0:
            with pytest.raises(ValueError, match='divides by zero'): stlr(ts, T, 1., float(cut_frac), ratio, 'paper')
            continue
        want = [float(paper(int(t), T, cut_frac, ratio)) for t in ts]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            np.testing.assert_allclose(stlr(ts, T, 1., float(cut_frac), ratio, 'paper'), want, rtol=1e-9, atol=1e-12)
        assert bool(caught) == (min(want)<1/ratio-1e-9)


def test_negative_lengths():
    "The paper's formula ends below zero for 120 of the T from 12 to 279"
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert sum(stlr(T-1, T, formula='paper')<0 for T in range(12, 280))==120


def learner():
    model = nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    return synth_learner(model=model, splitter=lambda m: [list(l.parameters()) for l in m], n_trn=7)


@pytest.mark.parametrize('start_epoch', [0, 1, 3])
@pytest.mark.parametrize('formula', ['safe', 'paper'])
def test_fit_stlr_records_every_group(start_epoch, formula):
    learn, peaks = learner(), [.001, .002, .01]
    n, T = len(learn.dls.train), 4*len(learn.dls.train)
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learn.fit_stlr(4, np.array(peaks), formula=formula, start_epoch=start_epoch)
        want = np.outer(stlr(np.arange(start_epoch*n, T), T, formula=formula), peaks)
    assert learn.group_lrs.shape==(T-start_epoch*n, 3)
    np.testing.assert_allclose(learn.group_lrs, want, rtol=1e-9)


@pytest.mark.parametrize('schedule', ['stlr', 'cosine'])
def test_validation_in_the_middle_changes_nothing(schedule):
    "A callback that validates after each epoch, which to callbacks is another fit"
    class InBetween(Callback):
        run_valid = False
        def after_epoch(self):
            if self.learn.create_mbar: # else it is that validation itself
                with self.learn.no_bar(): self.learn.validate()
    runs = []
    for cbs in ([], [InBetween()]):
        learn = learner()
        with learn.no_bar(), learn.no_logging(): learn.fit_stages(full(3, .01, 4), schedule, cbs=cbs)
        runs.append(learn)
    alone, between = runs
    assert alone.group_lrs.shape==(28, 3) and between.train_losses.shape==(28,)
    np.testing.assert_array_equal(between.group_lrs, alone.group_lrs)


def test_batches_whose_gradients_accumulate_are_recorded():
    learn = learner()
    with learn.no_bar(), learn.no_logging(): learn.fit_stages(full(3, .01, 2), cbs=GradientAccumulation(32))
    assert len(learn.group_lrs)==len(learn.train_losses)==14


def test_lr_max_forms():
    for lr, first in ((.01, [.01]*3), (slice(.001, .1), [.001, .01, .1]), ([1., 2., 3.], [1., 2., 3.])):
        learn = learner()
        with learn.no_bar(), learn.no_logging(): learn.fit_stlr(1, lr)
        np.testing.assert_allclose(learn.group_lrs[0], np.array(first)/32, rtol=1e-6)
