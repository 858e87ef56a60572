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
    "Equation 3 in exact arithmetic, rising for at least one step and held where it would go below 1/ratio"
    cut = max(floor(T*cut_frac), 1)
    p = Fraction(t, cut) if t<cut else 1 - Fraction(t-cut)/(cut*(1/cut_frac-1))
    return max((1 + p*(ratio-1))/ratio, Fraction(1, ratio))


def scripts(t, T, cut_frac, ratio):
    "The authors' code: rises for at least one step and falls over the steps that are left"
    cut = max(floor(T*cut_frac), 1)
    p = Fraction(t, cut) if t<cut else 1 - Fraction(t-cut, max(T-cut, 1))
    return (1 + p*(ratio-1))/ratio


@pytest.mark.parametrize('cut_frac,ratio', [(Fraction(1,10), 32), (Fraction(1,8), 8), (Fraction(1,3), 8)])
def test_every_length(cut_frac, ratio):
    "For every T from 1 to 2000: all steps up to 40, 25 steps spread over longer runs, and the last"
    for T in range(1, 2001):
        ts = np.unique(np.r_[np.arange(min(T, 40)), np.linspace(0, T-1, 25).astype(int)])
        for formula,exact in (('scripts',scripts), ('paper',paper)):
            got = stlr(ts, T, 1., float(cut_frac), ratio, formula)
            np.testing.assert_allclose(got, [float(exact(int(t), T, cut_frac, ratio)) for t in ts], rtol=1e-9, atol=1e-12)
            assert got.min()>=1/ratio-1e-12 and got.max()<=1+1e-12


def test_where_the_equation_would_be_negative():
    "Equation 3 alone ends below zero for 120 of the T from 12 to 279; there the rate is held at its lowest"
    def alone(T):
        cut = floor(Fraction(T, 10))
        return 1-Fraction(T-1-cut, cut*9)
    negative = [T for T in range(12, 280) if (1+alone(T)*31)/32<0]
    assert len(negative)==120
    np.testing.assert_allclose([stlr(T-1, T) for T in negative], 1/32)


def learner():
    model = nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    return synth_learner(model=model, splitter=lambda m: [list(l.parameters()) for l in m], n_trn=7)


@pytest.mark.parametrize('start_epoch', [0, 1, 3])
@pytest.mark.parametrize('formula', ['paper', 'scripts'])
def test_fit_stlr_records_every_group(start_epoch, formula):
    learn, peaks = learner(), [.001, .002, .01]
    n, T = len(learn.dls.train), 4*len(learn.dls.train)
    with learn.no_bar(), learn.no_logging():
        learn.fit_stlr(4, np.array(peaks), formula=formula, start_epoch=start_epoch)
        want = np.outer(stlr(np.arange(start_epoch*n, T), T, formula=formula), peaks)
    np.testing.assert_allclose(learn.history.filter(like='lr_').values, want, rtol=1e-9)


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
    assert len(alone.history)==len(between.history)==28
    lrs = [l.history.filter(like='lr_').values for l in runs]
    np.testing.assert_array_equal(*lrs)


def test_batches_whose_gradients_accumulate_are_recorded():
    learn = learner()
    with learn.no_bar(), learn.no_logging(): learn.fit_stages(full(3, .01, 2), cbs=GradientAccumulation(32))
    assert len(learn.history)==14


def test_lr_max_forms():
    for lr, first in ((.01, [.01]*3), (slice(.001, .1), [.001, .01, .1]), ([1., 2., 3.], [1., 2., 3.])):
        learn = learner()
        with learn.no_bar(), learn.no_logging(): learn.fit_stlr(1, lr)
        np.testing.assert_allclose(learn.history.filter(like='lr_').values[0], np.array(first)/32, rtol=1e-6)
